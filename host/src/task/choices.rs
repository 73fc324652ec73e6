//! The options of a sample, and which of them is right.
//!
//! Pure: values in, options out. Whether an option is scored by likelihood or read from a reply is
//! not known here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::raw::TargetIs;

/// The options of a sample: as many labels as texts, at least two, none empty, labels all different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choices {
    /// What each option says.
    pub texts: Vec<String>,
    /// What each option is called, such as `A`.
    pub labels: Vec<String>,
}

/// Why options or their target make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Something else than a list of texts.
    #[error("`{key}` must be a list of texts, here is {found}")]
    NotAList {
        /// The key of the task file.
        key: &'static str,
        /// The value found.
        found: String,
    },
    /// Nothing to choose from.
    #[error("a sample needs at least two options, this one has {0}")]
    TooFew(usize),
    /// An option without text, whose likelihood cannot be divided by its length.
    #[error("option {0} (from 0) is empty")]
    EmptyText(usize),
    /// Labels and texts do not go together.
    #[error("there are {texts} options and {labels} labels")]
    LabelCount {
        /// How many options.
        texts: usize,
        /// How many labels.
        labels: usize,
    },
    /// A label that is empty or used twice.
    #[error("the label `{0}` is empty or used twice")]
    BadLabel(String),
    /// A target that names no option.
    #[error(
        "wrong label: `target` is {target}, which is none of the labels {labels:?}, no index below {count} and no option's text"
    )]
    WrongLabel {
        /// The target found.
        target: String,
        /// The labels of the sample.
        labels: Vec<String>,
        /// How many options it has.
        count: usize,
    },
    /// A target that names two options.
    #[error(
        "`target` is {target}, which is the index of one option and the text of another; set `target_is`"
    )]
    Ambiguous {
        /// The target found.
        target: String,
    },
}

/// The labels of `count` options when the task gives none: `A` to `Z`, then `AA`, `AB` and so on, as
/// the columns of a spreadsheet. Options that are only scored by likelihood never show them.
fn default_labels(count: usize) -> Vec<String> {
    (1..=count).map(label).collect()
}

/// The label of a position from 1: its digits in base 26, where `Z` and not a zero ends a place.
fn label(mut position: usize) -> String {
    let mut letters = Vec::new();
    while position > 0 {
        position -= 1;
        letters.extend(('A'..='Z').nth(position % 26));
        position /= 26;
    }
    letters.into_iter().rev().collect()
}

impl Choices {
    /// Puts texts and labels together; labels are `A`, `B`, … when absent.
    ///
    /// # Errors
    /// [`ChoiceError`] when they do not make options.
    pub fn new(texts: Vec<String>, labels: Option<Vec<String>>) -> Result<Self, ChoiceError> {
        if texts.len() < 2 {
            return Err(ChoiceError::TooFew(texts.len()));
        }
        if let Some(empty) = texts.iter().position(String::is_empty) {
            return Err(ChoiceError::EmptyText(empty));
        }
        let labels = labels.unwrap_or_else(|| default_labels(texts.len()));
        if labels.len() != texts.len() {
            return Err(ChoiceError::LabelCount { texts: texts.len(), labels: labels.len() });
        }
        for (i, label) in labels.iter().enumerate() {
            if label.trim().is_empty() || labels[..i].contains(label) {
                return Err(ChoiceError::BadLabel(label.clone()));
            }
        }
        Ok(Self { texts, labels })
    }

    /// The indices of the right options, ascending, at least one. Of a list each element is right.
    ///
    /// # Errors
    /// [`ChoiceError`] when a target names no option, or two.
    pub fn gold(&self, target: &Value, target_is: TargetIs) -> Result<Vec<usize>, ChoiceError> {
        let mut gold = match target {
            Value::Array(items) => items
                .iter()
                .map(|item| self.index_of(item, target_is))
                .collect::<Result<Vec<_>, _>>()?,
            one => vec![self.index_of(one, target_is)?],
        };
        gold.sort_unstable();
        gold.dedup();
        if gold.is_empty() { Err(self.wrong(target)) } else { Ok(gold) }
    }

    fn index_of(&self, target: &Value, target_is: TargetIs) -> Result<usize, ChoiceError> {
        let text = match target {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.wrong(target)),
        };
        let by_label = self.labels.iter().position(|label| *label == text.trim());
        let by_index = text.trim().parse::<usize>().ok().filter(|index| *index < self.texts.len());
        let by_text = self.texts.iter().position(|choice| *choice == text);
        let found = match target_is {
            TargetIs::Label => by_label,
            TargetIs::Index => by_index,
            TargetIs::Text => by_text,
            TargetIs::Auto => match (by_label, by_index, by_text) {
                (Some(label), _, _) => Some(label),
                (None, Some(index), Some(other)) if index != other => {
                    return Err(ChoiceError::Ambiguous { target: target.to_string() });
                }
                (None, index, other) => index.or(other),
            },
        };
        found.ok_or_else(|| self.wrong(target))
    }

    fn wrong(&self, target: &Value) -> ChoiceError {
        let (labels, count) = (self.labels.clone(), self.texts.len());
        ChoiceError::WrongLabel { target: target.to_string(), labels, count }
    }

    /// The options as lines, `A. text`, without a line end after the last.
    #[must_use]
    pub fn lines(&self) -> String {
        let lines: Vec<String> = self
            .labels
            .iter()
            .zip(&self.texts)
            .map(|(label, text)| format!("{label}. {text}"))
            .collect();
        lines.join("\n")
    }
}

/// A JSON list of texts; numbers are taken as they are written.
///
/// # Errors
/// [`ChoiceError::NotAList`] for anything else.
pub fn list_of_texts(key: &'static str, value: &Value) -> Result<Vec<String>, ChoiceError> {
    let not_a_list = || ChoiceError::NotAList { key, found: value.to_string() };
    value
        .as_array()
        .ok_or_else(not_a_list)?
        .iter()
        .map(|item| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(not_a_list()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choices(texts: &[&str], labels: Option<&[&str]>) -> Result<Choices, ChoiceError> {
        let own = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Choices::new(own(texts), labels.map(own))
    }

    #[test]
    fn a_target_is_label_index_or_text() {
        let options = choices(&["red", "green", "blue"], None).unwrap();
        let table = [
            (json!(0), vec![0]),
            (json!("2"), vec![2]),
            (json!("B"), vec![1]),
            (json!(" B\n"), vec![1]),
            (json!("blue"), vec![2]),
            (json!(["blue", 0, "A"]), vec![0, 2]),
        ];
        for (target, gold) in table {
            assert_eq!(options.gold(&target, TargetIs::Auto).unwrap(), gold, "{target}");
        }
        for target in
            [json!(3), json!(-1), json!("D"), json!("b"), json!([]), json!(null), json!(1.5)]
        {
            assert!(options.gold(&target, TargetIs::Auto).is_err(), "{target}");
        }
    }

    #[test]
    fn labels_that_are_numbers_come_before_indices() {
        let options = choices(&["w", "x", "y", "z"], Some(&["1", "2", "3", "4"])).unwrap();
        assert_eq!(options.gold(&json!("1"), TargetIs::Auto).unwrap(), [0]);
        assert_eq!(options.gold(&json!("1"), TargetIs::Index).unwrap(), [1]);
    }

    #[test]
    fn a_target_that_could_be_two_options_is_refused() {
        let options = choices(&["3", "1", "0"], None).unwrap();
        assert!(matches!(
            options.gold(&json!("0"), TargetIs::Auto),
            Err(ChoiceError::Ambiguous { .. })
        ));
        assert_eq!(options.gold(&json!("0"), TargetIs::Text).unwrap(), [2]);
        assert_eq!(options.gold(&json!("1"), TargetIs::Auto).unwrap(), [1], "both readings agree");
    }

    #[test]
    fn labels_go_on_after_z() {
        let options = choices(&["x"; 703], None).unwrap();
        let table =
            [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA")];
        for (index, expected) in table {
            assert_eq!(options.labels[index], expected, "{index}");
        }
    }

    #[test]
    fn what_makes_no_options_is_refused() {
        assert_eq!(choices(&["a"], None), Err(ChoiceError::TooFew(1)));
        assert_eq!(choices(&["a", ""], None), Err(ChoiceError::EmptyText(1)));
        assert_eq!(
            choices(&["a", "b"], Some(&["A"])),
            Err(ChoiceError::LabelCount { texts: 2, labels: 1 })
        );
        assert_eq!(choices(&["a", "b"], Some(&["A", "A"])), Err(ChoiceError::BadLabel("A".into())));
    }
}
