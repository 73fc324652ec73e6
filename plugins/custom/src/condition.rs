//! What a reply is compared with: a value at its place, a status.
//!
//! Pure. Compiled when the backend opens, as [`crate::extract`] is.

use plugin_api::Result;
use regex::Regex;
use serde_json::Value;

use crate::{
    extract::{Pointer, pattern, wrong},
    typed::{RawStatus, RawStatuses},
};

/// Something that must be in a reply.
#[derive(Clone, Debug)]
pub struct Condition {
    pointer: Pointer,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Equals(Value),
    Matches(Regex),
}

impl Condition {
    /// Compiles a condition of the table that `key` names.
    ///
    /// # Errors
    /// The pointer or the pattern is none, or both `equals` and `matches` are given.
    pub fn compile(
        key: &str,
        pointer: &str,
        equals: Option<&Value>,
        matches: Option<&str>,
    ) -> Result<Self> {
        let pointer = Pointer::parse(&format!("{key}.pointer"), pointer)?;
        let test = match (equals, matches) {
            (None, None) => Test::Present,
            (Some(value), None) => Test::Equals(value.clone()),
            (None, Some(text)) => Test::Matches(pattern(&format!("{key}.matches"), text)?),
            (Some(_), Some(_)) => {
                return Err(wrong(key, "expected either `equals` or `matches`, found both"));
            }
        };
        Ok(Self { pointer, test })
    }

    /// Compiles a condition whose pointer may be left out together with what it would find.
    ///
    /// # Errors
    /// As for [`Condition::compile`]; and if there is something to compare with and no pointer.
    pub fn optional(
        key: &str,
        pointer: Option<&str>,
        equals: Option<&Value>,
        matches: Option<&str>,
    ) -> Result<Option<Self>> {
        match pointer {
            Some(pointer) => Self::compile(key, pointer, equals, matches).map(Some),
            None if equals.is_some() || matches.is_some() => {
                Err(wrong(key, "`equals` and `matches` need a `pointer` to what they look at"))
            }
            None => Ok(None),
        }
    }

    /// Whether it holds. A number or truth value is matched as it is written.
    pub fn holds(&self, value: &Value) -> bool {
        let Some(there) = self.pointer.present(value) else {
            return false;
        };
        match &self.test {
            Test::Present => true,
            Test::Equals(wanted) => there == wanted,
            Test::Matches(regex) => match there {
                Value::String(text) => regex.is_match(text),
                other => regex.is_match(&other.to_string()),
            },
        }
    }
}

/// HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<std::ops::RangeInclusive<u16>>);

impl Statuses {
    /// Reads statuses.
    ///
    /// # Errors
    /// One is neither a status nor a hundred of them; the message names the key.
    pub fn parse(key: &str, raw: &RawStatuses) -> Result<Self> {
        let range = |status: &RawStatus| match status {
            RawStatus::Number(number) => {
                u16::try_from(*number).ok().filter(|n| (100..600).contains(n)).map(|n| n..=n)
            }
            RawStatus::Text(text) => {
                let digit = text.strip_suffix("xx").and_then(|digit| digit.parse::<u16>().ok());
                digit.filter(|n| (1..6).contains(n)).map(|n| n * 100..=n * 100 + 99)
            }
        };
        let ranges = raw.0.iter().map(range).collect::<Option<Vec<_>>>();
        match ranges.filter(|ranges| !ranges.is_empty()) {
            Some(ranges) => Ok(Self(ranges)),
            None => Err(wrong(
                key,
                "expected a status from 100 to 599, \"1xx\" to \"5xx\", or a list of such",
            )),
        }
    }

    /// Whether this status is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_look_at_what_is_there() {
        let reply = json!({ "done": true, "code": 42, "text": "queue is full", "null": null });
        let holds = |pointer: &str, equals: Option<Value>, matches: Option<&str>| {
            Condition::compile("rule", pointer, equals.as_ref(), matches).unwrap().holds(&reply)
        };
        assert!(holds("/done", Some(json!(true)), None));
        assert!(!holds("/done", Some(json!("true")), None));
        assert!(holds("/code", None, None));
        assert!(!holds("/null", None, None));
        assert!(holds("/text", None, Some("full$")));
        assert!(holds("/code", None, Some("^4")));
        assert!(!holds("/gone", None, Some("")));
        assert!(Condition::compile("rule", "/a", Some(&json!(1)), Some("b")).is_err());
        assert!(Condition::optional("rule", None, Some(&json!(1)), None).is_err());
    }

    #[test]
    fn statuses_are_single_or_by_the_hundred() {
        let parse =
            |value: Value| Statuses::parse("status", &serde_json::from_value(value).unwrap());
        let statuses = parse(json!([429, "5xx"])).unwrap();
        for (status, is_in) in [(429, true), (428, false), (500, true), (599, true), (600, false)] {
            assert_eq!(statuses.contains(status), is_in, "{status}");
        }
        for wrong in [json!(42), json!("6xx"), json!("429"), json!("xx"), json!([])] {
            assert!(parse(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
