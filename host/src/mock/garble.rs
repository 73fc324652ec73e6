//! Replies that no client should take for an answer: `--reply KIND`.
//!
//! Pure: works on any flavor's answer and knows no wire.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value, json};

use super::exchange::{Answer, Asked, Body, Trouble, Wire};

/// What a generation answers instead of an answer, under the status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A page, as a proxy shows it.
    Html,
    /// No body.
    Empty,
    /// The first half of the answer.
    Truncated,
    /// The answer's own fields, each with a value of another type.
    WrongTypes,
    /// The vendor's own error.
    ErrorIn200,
    /// 10 MiB of JSON.
    Huge,
    /// JSON that has nothing of an answer.
    UnknownShape,
}

impl Reply {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Html,
        Self::Empty,
        Self::Truncated,
        Self::WrongTypes,
        Self::ErrorIn200,
        Self::Huge,
        Self::UnknownShape,
    ];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::WrongTypes => "wrong-types",
            Self::ErrorIn200 => "error-in-200",
            Self::Huge => "huge",
            Self::UnknownShape => "unknown-shape",
        }
    }

    /// The reply in place of `answer`.
    pub(crate) fn instead(self, answer: Answer, wire: &dyn Wire, asked: &Asked<'_>) -> Answer {
        match self {
            Self::Html => Answer::html(
                200,
                "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>",
            ),
            Self::Empty => Answer { body: Body::Whole(Vec::new()), ..answer },
            Self::Truncated => Answer { body: halved(answer.body), ..answer },
            Self::WrongTypes => Answer { body: each_json(answer.body, mistype), ..answer },
            Self::ErrorIn200 => match answer.body {
                Body::Whole(_) => wire.trouble_in_200(asked, &Trouble::Overloaded),
                Body::Events(mut frames) => {
                    frames.truncate(frames.len() / 2);
                    frames.push(wire.trouble_in_stream(asked, &Trouble::Overloaded));
                    Answer { body: Body::Events(frames), ..answer }
                }
            },
            Self::Huge => {
                Answer::json(200, &json!({ "padding": "0123456789abcdef".repeat(10 << 16) }))
            }
            Self::UnknownShape => {
                Answer::json(200, &json!({ "greeting": "hello", "items": [1, 2] }))
            }
        }
    }
}

fn halved(body: Body) -> Body {
    match body {
        Body::Whole(mut body) => {
            body.truncate(body.len() / 2);
            Body::Whole(body)
        }
        Body::Events(frames) => {
            let mut all = frames.concat();
            all.truncate(all.len() / 2);
            Body::Events(vec![all])
        }
    }
}

/// Changes the JSON of a body, and that of each line of its events.
fn each_json(body: Body, change: impl Fn(Value) -> Value) -> Body {
    let changed = |bytes: &[u8]| {
        serde_json::from_slice(bytes).ok().map(|value| change(value).to_string().into_bytes())
    };
    match body {
        Body::Whole(body) => Body::Whole(changed(&body).unwrap_or(body)),
        Body::Events(frames) => {
            let frame = |frame: Vec<u8>| {
                let start = frame.iter().position(|byte| *byte == b'{').unwrap_or(frame.len());
                let (before, rest) = frame.split_at(start);
                let end = rest.iter().rposition(|byte| *byte == b'}').map_or(0, |at| at + 1);
                let (value, after) = rest.split_at(end);
                changed(value).map(|value| [before, &value, after].concat()).unwrap_or(frame)
            };
            Body::Events(frames.into_iter().map(frame).collect())
        }
    }
}

/// The same keys, no value of its type.
fn mistype(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let other = match value {
                        Value::Null => json!({}),
                        Value::Bool(_) => json!("yes"),
                        Value::Number(_) => json!("many"),
                        Value::String(_) => json!(7),
                        Value::Array(_) => json!("a list"),
                        Value::Object(_) => json!([1]),
                    };
                    (name, other)
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(mistype).collect()),
        other => json!([other]),
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no reply has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no reply of the mock is called `{0}`; expected one of {names}", names = names())]
pub struct UnknownReply(String);

fn names() -> String {
    Reply::ALL.map(Reply::name).join(", ")
}

impl FromStr for Reply {
    type Err = UnknownReply;

    fn from_str(name: &str) -> Result<Self, UnknownReply> {
        let known = Self::ALL.into_iter().find(|reply| reply.name() == name);
        known.ok_or_else(|| UnknownReply(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_keeps_its_type() {
        let body = Body::Whole(br#"{"a":"text","b":1,"c":[1],"d":{"e":1},"f":null}"#.to_vec());
        let Body::Whole(changed) = each_json(body, mistype) else { panic!("events") };
        let expected = r#"{"a":7,"b":"many","c":"a list","d":[1],"f":{}}"#;
        assert_eq!(String::from_utf8(changed).unwrap(), expected);
    }

    #[test]
    fn events_keep_what_is_around_their_json() {
        let frames = vec![b"event: x\ndata: {\"a\":1}\n\n".to_vec(), b"data: [DONE]\n\n".to_vec()];
        let Body::Events(changed) = each_json(Body::Events(frames), mistype) else {
            panic!("whole")
        };
        assert_eq!(changed[0], b"event: x\ndata: {\"a\":\"many\"}\n\n");
        assert_eq!(changed[1], b"data: [DONE]\n\n");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for reply in Reply::ALL {
            assert_eq!(reply.to_string().parse(), Ok(reply));
        }
        assert!("xml".parse::<Reply>().unwrap_err().to_string().contains("html, empty"));
    }
}
