//! Pointers and patterns: how a text or a count is found in a reply.
//!
//! Pure. Everything is parsed when the backend opens; what is wrong in a pointer or a pattern is said with the key
//! that holds it.

use std::{borrow::Cow, fmt};

use plugin_api::{Error, ErrorKind, Result};
use regex::Regex;
use serde_json::Value;
use wire::count;

use crate::typed::RawExtract;

/// A mistake in the configuration.
pub fn wrong(key: &str, message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("{key}: {message}"))
}

/// A pattern of the configuration.
///
/// # Errors
/// It is not a regular expression; the message names the key.
pub fn pattern(key: &str, text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| wrong(key, error))
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// It does not begin with `/`, or has a `~` that escapes nothing; the message names the key.
    pub fn parse(key: &str, text: &str) -> Result<Self> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(wrong(
                key,
                format_args!("expected a JSON pointer such as `/choices/0/text`, found `{text}`"),
            ));
        }
        if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err(wrong(
                key,
                format_args!("`{text}`: in a JSON pointer `~` is written `~0` and `/` is `~1`"),
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// What is there.
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        value.pointer(&self.0)
    }

    /// What is there, unless it is null.
    pub fn present<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.find(value).filter(|found| !found.is_null())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("the whole") } else { write!(f, "`{}`", self.0) }
    }
}

/// What an [`Extract`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Nothing is there, or the pattern does not match.
    Missing,
    /// Null is there.
    Null,
    /// A text, perhaps empty.
    Text(T),
}

impl<T> Found<T> {
    /// The text, if there is one.
    pub fn text(self) -> Option<T> {
        match self {
            Self::Text(text) => Some(text),
            Self::Missing | Self::Null => None,
        }
    }
}

/// Where a text is, and how it is taken out.
#[derive(Clone, Debug)]
pub struct Extract {
    key: String,
    pointers: Vec<Pointer>,
    each: Option<Pointer>,
    regex: Option<Regex>,
}

impl Extract {
    /// Compiles what the key says.
    ///
    /// # Errors
    /// A pointer or the pattern is none, or the pattern has not one group; the message names the key.
    pub fn compile(key: &str, raw: &RawExtract) -> Result<Self> {
        if raw.pointer.0.is_empty() {
            return Err(wrong(key, "expected at least one pointer"));
        }
        let pointers =
            raw.pointer.0.iter().map(|text| Pointer::parse(key, text)).collect::<Result<_>>()?;
        let each = raw.each.as_deref().map(|text| Pointer::parse(key, text)).transpose()?;
        let regex = raw.regex.as_deref().map(|text| pattern(key, text)).transpose()?;
        let groups = regex.as_ref().map_or(1, |regex| regex.captures_len() - 1);
        if groups != 1 {
            let message = format!(
                "expected a regex with exactly one group, which holds the text; it has {groups} (a group \
                 that only gathers is written `(?:…)`)"
            );
            return Err(wrong(key, message));
        }
        Ok(Self { key: key.to_owned(), pointers, each, regex })
    }

    /// Compiles what an optional key says.
    ///
    /// # Errors
    /// As for [`Extract::compile`].
    pub fn optional(key: &str, raw: Option<&RawExtract>) -> Result<Option<Self>> {
        raw.map(|raw| Self::compile(key, raw)).transpose()
    }

    /// The key that holds it, and where it looks, for messages.
    pub fn place(&self) -> String {
        let pointers: Vec<_> = self.pointers.iter().map(Pointer::to_string).collect();
        format!("`{}` ({})", self.key, pointers.join(", "))
    }

    /// Whether a pattern takes the text out of what is found.
    pub fn has_pattern(&self) -> bool {
        self.regex.is_some()
    }

    /// The text in `value`.
    ///
    /// # Errors
    /// `unexpected_reply` if something else than a text is there.
    pub fn text<'v>(&self, value: &'v Value) -> Result<Found<Cow<'v, str>>> {
        Ok(match self.piece(value)? {
            Found::Text(text) => self.refined(text),
            other => other,
        })
    }

    /// The text in `value` without regard to the pattern: a piece of a text that is not yet whole.
    ///
    /// # Errors
    /// As for [`Extract::text`].
    pub fn piece<'v>(&self, value: &'v Value) -> Result<Found<Cow<'v, str>>> {
        let mut found = Found::Missing;
        for pointer in &self.pointers {
            let text = match pointer.find(value) {
                None => continue,
                Some(Value::Null) => {
                    if found == Found::Missing {
                        found = Found::Null;
                    }
                    continue;
                }
                Some(there) => match &self.each {
                    None => Cow::Borrowed(self.string(pointer, there)?),
                    Some(each) => match self.joined(pointer, each, there)? {
                        Some(text) => Cow::Owned(text),
                        None => continue,
                    },
                },
            };
            if !text.is_empty() {
                return Ok(Found::Text(text));
            }
            found = Found::Text(text);
        }
        Ok(found)
    }

    /// What the pattern takes out of a whole text.
    pub fn refined<'t>(&self, text: Cow<'t, str>) -> Found<Cow<'t, str>> {
        let Some(regex) = &self.regex else {
            return Found::Text(text);
        };
        let group = |text: &str| {
            let group = regex.captures(text)?.get(1);
            // A group on the side that was not taken is an empty text: the pattern as a whole matched.
            Some(group.map_or(0..0, |group| group.range()))
        };
        let Some(range) = group(&text) else {
            return Found::Missing;
        };
        Found::Text(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
            Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
        })
    }

    /// The count in `value`; none too if a number or a text is there that is no count, for which no answer is lost.
    ///
    /// # Errors
    /// `unexpected_reply` if something else is there: the pointer leads elsewhere.
    pub fn count(&self, value: &Value) -> Result<Option<u64>> {
        if self.regex.is_some() || self.each.is_some() {
            let number = self.text(value)?.text().and_then(|text| text.trim().parse().ok());
            return Ok(number.as_ref().and_then(count::of));
        }
        match self.pointers.iter().find_map(|pointer| pointer.present(value)) {
            None | Some(Value::String(_)) => Ok(None),
            Some(Value::Number(number)) => Ok(count::of(number)),
            Some(other) => Err(Error::unexpected(format!(
                "{}: expected a count, found {}",
                self.place(),
                kind_of(other)
            ))),
        }
    }

    fn string<'v>(&self, pointer: &Pointer, there: &'v Value) -> Result<&'v str> {
        there.as_str().ok_or_else(|| {
            Error::unexpected(format!(
                "`{}`: expected a text at {pointer}, found {}",
                self.key,
                kind_of(there)
            ))
        })
    }

    /// The texts of a list's items as one; none if no item has one.
    fn joined(&self, pointer: &Pointer, each: &Pointer, there: &Value) -> Result<Option<String>> {
        let items = there.as_array().ok_or_else(|| {
            Error::unexpected(format!(
                "`{}`: expected a list at {pointer}, found {}",
                self.key,
                kind_of(there)
            ))
        })?;
        let mut whole = None;
        for text in items.iter().filter_map(|item| each.present(item)) {
            whole.get_or_insert_with(String::new).push_str(self.string(each, text)?);
        }
        Ok(whole)
    }
}

/// What a value is, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extract(value: Value) -> Result<Extract> {
        Extract::compile("reply.text", &serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_text_is_found_where_the_pointers_say() {
        let reply = json!({ "a": "x", "n": null, "e": "", "s~/": "odd", "list": [
            { "kind": "thought", "thought": "hm" }, { "text": "one" }, { "text": null }, { "text": " two" }
        ] });
        for (raw, found) in [
            (json!("/a"), Found::Text("x")),
            (json!("/b"), Found::Missing),
            (json!("/n"), Found::Null),
            (json!(["/b", "/n", "/e", "/a"]), Found::Text("x")),
            (json!(["/n", "/e", "/b"]), Found::Text("")),
            (json!("/s~0~1"), Found::Text("odd")),
            (json!({ "pointer": "/list", "each": "/text" }), Found::Text("one two")),
            (json!({ "pointer": "/list", "each": "/thought" }), Found::Text("hm")),
            (json!({ "pointer": "/list", "each": "/image" }), Found::Missing),
            (json!({ "pointer": "/list", "each": "/text", "regex": "(t.o)$" }), Found::Text("two")),
            (json!({ "pointer": "/a", "regex": "(y)" }), Found::Missing),
            (json!({ "pointer": "/a", "regex": "x|(y)" }), Found::Text("")),
        ] {
            let text = extract(raw.clone()).unwrap();
            let text = text.text(&reply).unwrap();
            let expected = match found {
                Found::Text(text) => Found::Text(Cow::Borrowed(text)),
                Found::Null => Found::Null,
                Found::Missing => Found::Missing,
            };
            assert_eq!(text, expected, "{raw}");
        }
    }

    #[test]
    fn what_is_no_text_is_an_unexpected_reply() {
        let reply = json!({ "a": 1, "list": [{ "text": 1 }] });
        for raw in [
            json!("/a"),
            json!("/list"),
            json!({ "pointer": "/a", "each": "/text" }),
            json!({ "pointer": "/list", "each": "/text" }),
        ] {
            let error = extract(raw.clone()).unwrap().text(&reply).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{raw}");
            assert!(error.message.contains("reply.text"), "{error}");
        }
    }

    #[test]
    fn a_mistake_is_said_with_its_key() {
        for (raw, says) in [
            (json!("text"), "JSON pointer"),
            (json!("/a~2"), "`~0`"),
            (json!([]), "at least one"),
            (json!({ "pointer": "/a", "regex": "(" }), "unclosed"),
            (json!({ "pointer": "/a", "regex": "a" }), "it has 0"),
            (json!({ "pointer": "/a", "regex": "(a)(b)" }), "it has 2"),
        ] {
            let error = extract(raw).unwrap_err();
            assert!(error.message.starts_with("reply.text: "), "{error}");
            assert!(error.message.contains(says), "{error}");
        }
    }

    #[test]
    fn counts_are_whole_numbers_or_found_in_a_text() {
        let reply = json!({ "n": 12, "f": 12.0, "x": 1.5, "t": "12 tokens", "null": null, "minus": -5,
                            "s": "12", "most": u64::MAX, "o": { "n": 12 }, "l": [12], "b": true });
        let count = |raw: Value| extract(raw).unwrap().count(&reply);
        assert_eq!(count(json!("/n")).unwrap(), Some(12));
        assert_eq!(count(json!("/f")).unwrap(), Some(12));
        assert_eq!(count(json!(["/null", "/gone"])).unwrap(), None);
        assert_eq!(count(json!({ "pointer": "/t", "regex": "^(\\d+)" })).unwrap(), Some(12));
        for unknown in [
            json!("/x"),
            json!("/t"),
            json!("/s"),
            json!("/minus"),
            json!("/most"),
            json!({ "pointer": "/t", "regex": "([a-z]+)" }),
        ] {
            assert_eq!(count(unknown.clone()).unwrap(), None, "{unknown}");
        }
        for wrong in
            [json!("/o"), json!("/l"), json!("/b"), json!({ "pointer": "/n", "regex": "(1)" })]
        {
            assert_eq!(count(wrong).unwrap_err().kind, ErrorKind::UnexpectedReply);
        }
    }
}
