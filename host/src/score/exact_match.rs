//! Compares an answer with its references after deleting what a task ignores.
//!
//! Source: lm-evaluation-harness, `exact_match_hf_evaluate`, with its steps in its order. Nothing is
//! stripped unless the task says so.

use fancy_regex::Regex;

/// Python's `string.punctuation`.
const PUNCTUATION: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;

/// What is ignored in a comparison.
#[derive(Debug, Clone, Default)]
pub struct ExactMatch {
    /// Patterns whose matches are deleted.
    pub regexes_to_ignore: Vec<Regex>,
    /// Compare in lower case.
    pub ignore_case: bool,
    /// Delete ASCII punctuation.
    pub ignore_punctuation: bool,
    /// Delete digits.
    pub ignore_numbers: bool,
}

/// A pattern took too long on a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}` failed on a text: {reason}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What went wrong.
    pub reason: String,
}

impl PatternError {
    pub(crate) fn new(pattern: &Regex, error: &fancy_regex::Error) -> Self {
        Self { pattern: pattern.as_str().to_owned(), reason: error.to_string() }
    }
}

impl ExactMatch {
    /// A text without what is ignored.
    ///
    /// # Errors
    /// [`PatternError`] when a pattern backtracks without end.
    pub fn normalise(&self, text: &str) -> Result<String, PatternError> {
        let mut text = text.to_owned();
        for pattern in &self.regexes_to_ignore {
            text = pattern
                .try_replacen(&text, 0, fancy_regex::NoExpand(""))
                .map_err(|error| PatternError::new(pattern, &error))?
                .into_owned();
        }
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation {
            text.retain(|c| !PUNCTUATION.contains(c));
        }
        if self.ignore_numbers {
            text.retain(|c| !c.is_ascii_digit());
        }
        Ok(text)
    }

    /// Whether an answer equals any of its references.
    ///
    /// # Errors
    /// [`PatternError`] when a pattern backtracks without end.
    pub fn matches(&self, answer: &str, references: &[String]) -> Result<bool, PatternError> {
        let answer = self.normalise(answer)?;
        for reference in references {
            if self.normalise(reference)? == answer {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_apply_to_both_sides_in_order() {
        let gsm8k = ExactMatch {
            regexes_to_ignore: [",", r"\$", r"(?s).*#### ", r"\.$"]
                .map(|p| Regex::new(p).unwrap())
                .into(),
            ignore_case: true,
            ..ExactMatch::default()
        };
        let plain = ExactMatch::default();
        let all =
            ExactMatch { ignore_punctuation: true, ignore_numbers: true, ..ExactMatch::default() };
        let table = [
            (&gsm8k, "$1,234.", "so\n#### 1234", true),
            (&gsm8k, "YES", "yes", true),
            (&plain, "yes", "yes ", false),
            (&plain, "Yes", "yes", false),
            (&all, "a-b 12", "ab 3", true),
            (&all, "a—b", "ab", false),
        ];
        for (rules, answer, reference, expected) in table {
            let found =
                rules.matches(answer, &["nothing".to_owned(), reference.to_owned()]).unwrap();
            assert_eq!(found, expected, "{answer} {reference}");
        }
    }

    #[test]
    fn no_reference_is_never_matched() {
        assert!(!ExactMatch::default().matches("", &[]).unwrap());
    }
}
