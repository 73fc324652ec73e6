//! Templates of nothing but text and names, as most prompts are: put together without the template engine.
//!
//! Gives what the engine gives or nothing at all: whatever else a template or a record holds is left to the engine.

use serde_json::Value;

use super::raw::Record;

/// A template of text and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// Names that mean something else than a field.
const RESERVED: [&str; 16] = [
    "doc", "true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if",
    "self", "super", "loop",
];

/// Whether an expression is the name of a field and nothing else.
pub(super) fn is_field(expression: &str) -> bool {
    let mut letters = expression.bytes();
    letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !RESERVED.contains(&expression)
}

impl Plain {
    /// A template by its source; none if it holds more than text and names.
    pub(super) fn new(source: &str) -> Option<Self> {
        if source.contains("{%") || source.contains("{#") {
            return None;
        }
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some((text, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}")?;
            let name = name.trim_matches([' ', '\n', '\t']);
            if !is_field(name) {
                return None;
            }
            pieces.push(Piece::Text(text.to_owned()));
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Some(Self(pieces))
    }

    /// What it makes of a record; none unless all its names are fields that hold text.
    pub(super) fn render(&self, record: &Record) -> Option<String> {
        let texts = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Name(name) => record.get(name).and_then(Value::as_str),
        });
        // In one allocation of the right size.
        texts.collect::<Option<Vec<&str>>>().map(|texts| texts.concat())
    }
}
