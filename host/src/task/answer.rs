//! From a generated text to the answer in it.
//!
//! Knows the text and the sample's options, not how the text came about. Source of the order in
//! which a text is cut: lm-evaluation-harness, `postprocess_generated_text`.

use fancy_regex::Regex;
use serde::{Deserialize, Serialize};

use super::boundary::is_space;
use super::choices::Choices;
use super::letter::find_choice;
use super::number::last_number;
use super::raw::Take;
use crate::score::exact_match::PatternError;

/// An answer, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The answer: a label of the sample, a number written one way, or a text.
    Found(String),
    /// There is none in the text.
    None,
}

/// How the answer is found.
#[derive(Debug, Clone)]
pub enum Extract {
    /// A label of the sample's options.
    Choice,
    /// The last number.
    Number,
    /// A match of a pattern, without the spaces around it.
    Regex {
        /// The pattern.
        pattern: Regex,
        /// The group; none is the first that is not empty.
        group: Option<usize>,
        /// Which match.
        take: Take,
    },
    /// The whole text as it is; an empty one is no answer.
    Whole,
}

/// A generated text without what is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut<'a> {
    /// The reply.
    pub reply: &'a str,
    /// Whether a stop ended it, so that it is complete whatever came after.
    pub at_stop: bool,
}

/// Cuts a generated text: what follows the last `think_end`, without whitespace before it, up to the
/// first of each stop in turn.
#[must_use]
pub fn cut<'a>(text: &'a str, think_end: Option<&str>, stops: &[String]) -> Cut<'a> {
    let thought = think_end.and_then(|end| text.rfind(end).map(|at| at + end.len()));
    let mut reply = thought.map_or(text, |at| text[at..].trim_start_matches(is_space));
    let mut at_stop = false;
    for stop in stops.iter().filter(|stop| !stop.is_empty()) {
        if let Some((before, _)) = reply.split_once(stop.as_str()) {
            (reply, at_stop) = (before, true);
        }
    }
    Cut { reply, at_stop }
}

impl Extract {
    /// The answer in a reply that is cut already. `choices` are the sample's; empty where it has none.
    ///
    /// # Errors
    /// [`PatternError`] when the pattern backtracks without end.
    pub fn answer(&self, reply: &str, choices: &Choices) -> Result<Answer, PatternError> {
        let found = match self {
            Self::Choice => {
                find_choice(reply, choices).map(|option| choices.labels[option].clone())
            }
            Self::Number => last_number(reply),
            Self::Regex { pattern, group, take } => find_match(reply, pattern, *group, *take)?,
            Self::Whole => {
                Some(reply.to_owned()).filter(|reply| !reply.trim_matches(is_space).is_empty())
            }
        };
        Ok(found.map_or(Answer::None, Answer::Found))
    }
}

fn find_match(
    reply: &str,
    pattern: &Regex,
    group: Option<usize>,
    take: Take,
) -> Result<Option<String>, PatternError> {
    let mut found = None;
    for captures in pattern.captures_iter(reply) {
        let captures = captures.map_err(|error| PatternError::new(pattern, &error))?;
        let text = |i: usize| captures.get(i).map(|m| m.as_str());
        let chosen = match group {
            Some(group) => text(group),
            None if captures.len() == 1 => text(0),
            None => (1..captures.len()).filter_map(text).find(|text| !text.is_empty()),
        };
        if let Some(chosen) =
            chosen.map(|text| text.trim_matches(is_space)).filter(|text| !text.is_empty())
        {
            found = Some(chosen.to_owned());
            if take == Take::First {
                break;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(stops: &[&str]) -> Vec<String> {
        stops.iter().map(|stop| (*stop).to_owned()).collect()
    }

    #[test]
    fn vector_v6_cuts() {
        let table: &[(&str, Option<&str>, &[&str], &str)] = &[
            ("B\n\nQuestion: next", None, &["\n\n"], "B"),
            ("<think>A?\n\nno</think> B.\n\nQ", Some("</think>"), &["\n\n"], "B."),
            ("foo ENDbar STOP", None, &["STOP", "END"], "foo "),
            ("a</t>b</t>\n c", Some("</t>"), &[], "c"),
            ("no thought", Some("</think>"), &[""], "no thought"),
            ("\n\nB", None, &["\n\n"], ""),
            ("B", None, &[], "B"),
        ];
        for (text, think_end, stop, expected) in table {
            let found = cut(text, *think_end, &stops(stop));
            assert_eq!(found.reply, *expected, "{text}");
            let stopped = stop.iter().any(|stop| !stop.is_empty());
            assert_eq!(found.at_stop, stopped, "{text}");
        }
    }

    fn regex(pattern: &str, group: Option<usize>, take: Take, reply: &str) -> Answer {
        let extract = Extract::Regex { pattern: Regex::new(pattern).unwrap(), group, take };
        extract.answer(reply, &Choices::default()).unwrap()
    }

    #[test]
    fn a_pattern_gives_its_group() {
        let found = |text: &str| Answer::Found(text.to_owned());
        let reply = "#### 1 \n#### 22";
        assert_eq!(regex(r"#### (.+)", None, Take::First, reply), found("1"));
        assert_eq!(regex(r"#### (.+)", None, Take::Last, reply), found("22"));
        assert_eq!(regex(r"#### (.+)", Some(0), Take::First, reply), found("#### 1"));
        assert_eq!(regex(r"(x)?#### (\d+)", None, Take::Last, reply), found("22"));
        assert_eq!(regex(r"\d+", None, Take::First, reply), found("1"));
        assert_eq!(regex(r"y(\d)", None, Take::First, reply), Answer::None);
    }

    #[test]
    fn a_whole_reply_is_taken_as_it_is() {
        let answer = |reply: &str| Extract::Whole.answer(reply, &Choices::default()).unwrap();
        assert_eq!(answer(" x "), Answer::Found(" x ".to_owned()));
        assert_eq!(answer(" \n"), Answer::None);
    }
}
