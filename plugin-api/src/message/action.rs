//! What a session asks of the host.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{AnswerHead, Decimal, Str};
use crate::error::ErrorKind;

/// One action, pushed into the sink of a step.
///
/// What an author awaits and returns becomes these; a host reads them:
///
/// ```
/// use plugin_api::message::{
///     Action, AnswerHead, Cancel, Decimal, Delta, Done, Fail, HeaderPart, HeaderValue, Hold, Http, Wait, read,
/// };
///
/// let action: Action<'_> = read(
///     br#"{"http":{"call":"1","method":"POST","url":"https://api.acme.test/complete",
///         "headers":[["accept","*/*"],["authorization",[{"text":"Bearer "},{"secret":"api_key"}]]]}}"#,
/// )?;
/// let Action::Http(Http { call: Decimal(1), headers, stream: false, timeout_ms: 0, .. }) = action else {
///     panic!("another action");
/// };
/// assert_eq!(headers[0].1, HeaderValue::Text("*/*".into()));
/// let bearer = vec![HeaderPart::Text("Bearer ".into()), HeaderPart::Secret("api_key".into())];
/// assert_eq!(headers[1].1, HeaderValue::Parts(bearer));
///
/// let table = [
///     (r#"{"wait":{"call":"2","ms":250}}"#, Action::Wait(Wait { call: Decimal(2), ms: 250 })),
///     (r#"{"cancel":{"call":"2"}}"#, Action::Cancel(Cancel { call: Decimal(2) })),
///     (r#"{"delta":{"item":3}}"#, Action::Delta(Delta { item: 3 })),
///     (
///         r#"{"hold":{"call":"4","name":"machine"}}"#,
///         Action::Hold(Hold { call: Decimal(4), name: "machine".into() }),
///     ),
///     (
///         r#"{"done":{"item":0,"answer":{"tokens":[1,263]}}}"#,
///         Action::Done(Done { item: 0, answer: AnswerHead::Tokens(vec![1, 263]) }),
///     ),
/// ];
/// for (json, action) in table {
///     assert_eq!(plugin_api::serde_json::to_string(&action)?, json);
/// }
///
/// let failed: Action<'_> = read(br#"{"fail":{"kind":"overloaded","http_status":503}}"#)?;
/// assert!(matches!(failed, Action::Fail(Fail { item: None, http_status: Some(503), .. })));
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action<'a> {
    /// Send a request; body: the request's body.
    #[serde(borrow)]
    Http(Http<'a>),
    /// Tell me when this time is over.
    Wait(Wait),
    /// Write down that I am about to hold this outside resource, then tell me; body: a note as JSON.
    #[serde(borrow)]
    Hold(Hold<'a>),
    /// Write down that I hold this resource no more, then tell me.
    #[serde(borrow)]
    Free(Hold<'a>),
    /// I no longer want the answer to this call or wait.
    Cancel(Cancel),
    /// More text of an item; body: the text.
    Delta(Delta),
    /// What the server said of its limits; advisory.
    Limits(Limits),
    /// An outside thread will wake me.
    Park {},
    /// Step me again as soon as others have run.
    Again {},
    /// An item's answer; body: its texts.
    #[serde(borrow)]
    Done(Done<'a>),
    /// An item, or the whole session, failed.
    #[serde(borrow)]
    Fail(Fail<'a>),
}

/// Head of [`Action::Http`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Http<'a> {
    /// A number unique in the session; events echo it.
    pub call: Decimal,
    /// HTTP method.
    #[serde(borrow)]
    pub method: Str<'a>,
    /// Absolute URL.
    #[serde(borrow)]
    pub url: Str<'a>,
    /// Ordered pairs, names in lower case.
    #[serde(borrow, default)]
    pub headers: Vec<(Str<'a>, HeaderValue<'a>)>,
    /// Whether the reply is wanted in chunks as it comes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// Milliseconds for this call; the host's own bound holds too. 0 leaves it to the host.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout_ms: u64,
    /// Reply headers wanted beside those of the manifest, in lower case.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub reply_headers: Vec<Str<'a>>,
}

/// A header value: text, or parts some of which the host fills in. Never a string scanned for placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// The value as it stands.
    Text(Str<'a>),
    /// Parts in order.
    Parts(Vec<HeaderPart<'a>>),
}

/// A part of a header value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderPart<'a> {
    /// Text as it stands.
    #[serde(borrow)]
    Text(Str<'a>),
    /// The secret of this slot.
    #[serde(borrow)]
    Secret(Str<'a>),
}

impl Serialize for HeaderValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for HeaderValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HeaderValue<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(HeaderValue::Text(text.into()))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(HeaderValue::Text(text.to_owned().into()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut parts: A,
            ) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(part) = parts.next_element()? {
                    list.push(part);
                }
                Ok(HeaderValue::Parts(list))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Head of [`Action::Wait`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wait {
    /// A number unique in the session.
    pub call: Decimal,
    /// Milliseconds.
    pub ms: u64,
}

/// Head of [`Action::Hold`] and [`Action::Free`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hold<'a> {
    /// A number unique in the session.
    pub call: Decimal,
    /// The resource, by a name of the plugin's own; unique in its backend.
    #[serde(borrow)]
    pub name: Str<'a>,
}

/// Head of [`Action::Cancel`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cancel {
    /// The call or wait.
    pub call: Decimal,
}

/// Head of [`Action::Delta`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Delta {
    /// The item that the text belongs to.
    #[serde(default)]
    pub item: u32,
}

/// Head of [`Action::Limits`]: what a server said of its rate limits.
///
/// ```
/// use plugin_api::{Io, Limits, Reply};
///
/// fn tell(reply: &Reply, io: &Io) {
///     let remaining = reply.header("x-ratelimit-remaining-requests");
///     let requests_remaining = remaining.and_then(|text| text.parse().ok());
///     io.limits(Limits { requests_remaining, ..Limits::default() });
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Requests left in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_remaining: Option<u64>,
    /// Tokens left in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_remaining: Option<u64>,
    /// Milliseconds until the window starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_ms: Option<u64>,
}

/// Head of [`Action::Done`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done<'a> {
    /// The item that is answered.
    #[serde(default)]
    pub item: u32,
    /// The answer.
    #[serde(borrow)]
    pub answer: AnswerHead<'a>,
}

/// Head of [`Action::Fail`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fail<'a> {
    /// The item, or none for every item that is not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// What kind of failure; the host alone decides what is retried.
    pub kind: ErrorKind,
    /// What happened, for a person.
    #[serde(borrow, default)]
    pub message: Str<'a>,
    /// The status that the server answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// How long the server asked to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The server's name for the request.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Str<'a>>,
    /// The beginning of what the server said.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Str<'a>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_is_text_or_parts_and_text_is_never_scanned() {
        let json = r#"[["a","{secret}"],["b",[{"text":"Bearer "},{"secret":"api_key"}]]]"#;
        let headers: Vec<(Str<'_>, HeaderValue<'_>)> = serde_json::from_str(json).unwrap();
        assert_eq!(headers[0].1, HeaderValue::Text("{secret}".into()));
        assert_eq!(
            headers[1].1,
            HeaderValue::Parts(vec![
                HeaderPart::Text("Bearer ".into()),
                HeaderPart::Secret("api_key".into())
            ])
        );
        assert_eq!(serde_json::to_string(&headers).unwrap(), json);
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_actions_are_not() {
        assert!(matches!(
            serde_json::from_str(r#"{"wait":{"call":"3","ms":5,"mood":"calm"}}"#),
            Ok(Action::Wait(Wait { call: Decimal(3), ms: 5 }))
        ));
        assert!(serde_json::from_str::<Action<'_>>(r#"{"dance":{}}"#).is_err());
    }
}
