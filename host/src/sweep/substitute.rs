//! Puts values into the places of a rendered template as TOML wants them there: a whole value where a value stands, its
//! characters inside a text. So a value cannot become anything but a value, whatever characters it holds.

use serde_json::Value;

use super::literal::{escaped, literal};

/// Stands before and after a value's number in a rendered template. No TOML holds it as it is.
pub const MARK: char = '\u{1}';

/// What a place is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Plain,
    Comment,
    Basic,
    Literal,
    LongBasic,
    LongLiteral,
}

/// A value that cannot stand where the template has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Line of the rendered text, from 1.
    pub line: usize,
    /// Why.
    pub message: String,
}

/// The text with every marked number replaced by its value.
///
/// # Errors
/// The first that cannot stand where it is.
pub fn substitute(rendered: &str, values: &[Value]) -> Result<String, Misplaced> {
    let mut out = String::with_capacity(rendered.len());
    let mut state = In::Plain;
    let mut rest = rendered;
    while let Some(first) = rest.chars().next() {
        if first == MARK {
            let marked = rest.strip_prefix(MARK).and_then(|rest| rest.split_once(MARK));
            let value = marked.and_then(|(number, after)| {
                Some((values.get(number.parse::<usize>().ok()?)?, after))
            });
            if let Some((value, after)) = value {
                let line = out.matches('\n').count() + 1;
                out.push_str(&within(state, value).map_err(|message| Misplaced { line, message })?);
                rest = after;
                continue;
            }
        }
        let (taken, next) = step(state, rest, first);
        let (text, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        out.push_str(text);
        (state, rest) = (next, after);
    }
    Ok(out)
}

/// How many bytes belong together at the start of `rest`, and what follows them is in.
fn step(state: In, rest: &str, first: char) -> (usize, In) {
    let one = first.len_utf8();
    // Two quotes may stand right before the three that end a text.
    let quotes = |quote: char| rest.chars().take(5).take_while(|c| *c == quote).count();
    match (state, first) {
        (In::Plain, '"') if quotes('"') >= 3 => (3, In::LongBasic),
        (In::Plain, '\'') if quotes('\'') >= 3 => (3, In::LongLiteral),
        (In::Plain, '"') => (1, In::Basic),
        (In::Plain, '\'') => (1, In::Literal),
        (In::Plain, '#') => (1, In::Comment),
        (In::Basic | In::LongBasic, '\\') => match rest.chars().nth(1) {
            Some(next) if next != MARK => (1 + next.len_utf8(), state),
            _ => (1, state),
        },
        (In::LongBasic, '"') if quotes('"') >= 3 => (quotes('"'), In::Plain),
        (In::LongLiteral, '\'') if quotes('\'') >= 3 => (quotes('\''), In::Plain),
        (In::Basic, '"') | (In::Literal, '\'') => (1, In::Plain),
        (In::Comment | In::Basic | In::Literal, '\n') => (1, In::Plain),
        _ => (one, state),
    }
}

fn within(state: In, value: &Value) -> Result<String, String> {
    if state == In::Plain {
        return literal(value);
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) if state != In::Comment => {
            return Err("a list or a table cannot stand inside a text".to_owned());
        }
        other => literal(other)?,
    };
    let breaks = |c: char| c.is_control() && !(state == In::LongLiteral && c == '\n');
    match state {
        In::Plain | In::Basic | In::LongBasic => Ok(escaped(&text)),
        In::Comment => Ok(text.replace(char::is_control, " ")),
        In::Literal | In::LongLiteral if text.contains('\'') || text.contains(breaks) => {
            Err("it holds what cannot stand between single quotes; use double quotes".to_owned())
        }
        In::Literal | In::LongLiteral => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::node;

    /// A template whose places are `@`, with this value in all of them.
    fn put(template: &str, value: &Value) -> Result<String, String> {
        let rendered = template.replace('@', "\u{1}0\u{1}");
        substitute(&rendered, std::slice::from_ref(value)).map_err(|wrong| wrong.message)
    }

    #[test]
    fn a_value_stays_a_value_wherever_it_stands() {
        let nasty = "a\"b\\c\nd # e = [1]\n[[x]]";
        let table = [
            ("v = @", json!(nasty), json!(nasty)),
            ("v = \"<@>\"", json!(nasty), json!(format!("<{nasty}>"))),
            ("v = \"\"\"<@>\"\"\"", json!(nasty), json!(format!("<{nasty}>"))),
            ("v = '<@>'", json!("x\\y"), json!("<x\\y>")),
            ("v = '''<@>'''", json!("x\ny"), json!("<x\ny>")),
            ("v = \"a\\\"@\" # \"", json!(nasty), json!(format!("a\"{nasty}"))),
            ("v = \"\"\"a\"\"\"\"\"#\"\nw = @", json!(3), json!("a\"\"")),
            ("# \" @\nv = 1", json!(nasty), json!(1)),
            ("v = \"n@\"", json!(2.0), json!("n2.0")),
            ("v = @", json!(["x", {"y": 0.5}]), json!(["x", {"y": 0.5}])),
        ];
        for (template, value, expected) in table {
            let text = put(template, &value).unwrap();
            let read = node::parse(Path::new("t.toml"), &text).unwrap().to_value();
            assert_eq!(read["v"], expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_stand_there_is_told() {
        for (template, value, expected) in [
            ("v = '@'", json!("it's"), "use double quotes"),
            ("v = '@'", json!("a\nb"), "use double quotes"),
            ("v = \"@\"", json!([1]), "a list or a table"),
            ("v = @", json!(null), "no null"),
        ] {
            let error = put(template, &value).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }
}
