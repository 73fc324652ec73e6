//! A request that a backend asked for, and what a test may demand of it.

#![allow(clippy::panic, reason = "an assertion fails by panicking")]

use std::{fmt, time::Duration};

use serde_json::Value;

use super::fields;
use crate::message::{HeaderPart, HeaderValue, Http};

/// One HTTP request that a backend asked for.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{Generate, Prompt, Request, json};
/// use plugin_api::testkit::{Scripted, Stage};
///
/// let stage = Stage::<Echo>::granted(json!({ "base_url": "http://test" }), &["api_key"]);
/// let request = Request::Generate(Generate::new(Prompt::Text("Hello")));
/// let played = stage.ask(request, Scripted::json(&json!({ "text": "Hello" })));
/// let sent = &played.requests[0];
/// assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "http://test/echo"));
/// assert_eq!(sent.header("authorization").as_deref(), Some("Bearer <api_key>"));
/// assert_eq!(sent.secrets(), [("authorization", "api_key")]);
/// sent.assert_secret("authorization", "api_key");
/// sent.assert_fields(&["text", "limit"]);
/// assert_eq!(sent.json()["text"], "Hello");
/// ```
#[derive(Clone, Debug)]
pub struct Sent {
    /// The number that the backend's session gave it.
    pub call: u64,
    /// HTTP method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Names in lower case, and the parts of each value: a header of plain text has one part.
    pub headers: Vec<(String, Vec<HeaderPart<'static>>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the reply is wanted in chunks.
    pub stream: bool,
    /// The bound that the backend set; zero leaves it to the host.
    pub timeout: Duration,
    /// Reply headers that the call asks for, beside those of the manifest.
    pub reply_headers: Vec<String>,
}

impl Sent {
    pub(super) fn new(http: &Http<'_>, body: &[u8]) -> Self {
        let headers = http.headers.iter().map(|(name, value)| (name.to_string(), owned(value)));
        Self {
            call: http.call.0,
            method: http.method.to_string(),
            url: http.url.to_string(),
            headers: headers.collect(),
            body: body.to_vec(),
            stream: http.stream,
            timeout: Duration::from_millis(http.timeout_ms),
            reply_headers: http.reply_headers.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// The URL without scheme and authority, query included: `/v1/chat?beta=1`.
    pub fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The first header of this name, with `<slot>` in the place of a secret.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, parts) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(shown(parts))
    }

    /// Header and slot of each secret, in the order of the headers.
    pub fn secrets(&self) -> Vec<(&str, &str)> {
        let mut all = Vec::new();
        for (name, parts) in &self.headers {
            all.extend(parts.iter().filter_map(|part| match part {
                HeaderPart::Secret(slot) => Some((name.as_str(), &**slot)),
                HeaderPart::Text(_) => None,
            }));
        }
        all
    }

    /// Demands that the secret of `slot` goes into this header, that no other secret goes anywhere, and that no text
    /// looks as if one were meant: the host fills in header parts only and never scans a text.
    ///
    /// # Panics
    /// It is not so.
    #[track_caller]
    pub fn assert_secret(&self, header: &str, slot: &str) {
        self.assert_secrets(&[(header, slot)]);
    }

    /// As [`Sent::assert_secret`], for a request that needs none, or several: header and slot of each.
    ///
    /// # Panics
    /// It is not so.
    #[track_caller]
    pub fn assert_secrets(&self, expected: &[(&str, &str)]) {
        let found = self.secrets();
        if found != expected {
            panic!("{self}: expected the secrets {expected:?}, found {found:?}");
        }
        for (_, slot) in expected {
            let body = String::from_utf8_lossy(&self.body);
            let texts = self.headers.iter().flat_map(|(_, parts)| parts).filter_map(|part| {
                if let HeaderPart::Text(text) = part { Some(&**text) } else { None }
            });
            for text in texts.chain([self.url.as_str(), &body]) {
                let forms = [format!("\"secret\":\"{slot}\""), format!("{{{slot}}}")];
                if let Some(form) = forms.iter().find(|form| text.contains(*form)) {
                    panic!("{self}: `{form}` stands in a text, where the host leaves it as it is");
                }
            }
        }
    }

    /// Demands that the body is a JSON object of these fields and no others, as a server does that refuses what it
    /// does not know. A path's parts are joined by dots, and a list counts as what lies in it: `messages.role`. Below a
    /// path that ends in `.*` anything may stand.
    ///
    /// # Panics
    /// The body holds a field that is not listed, or is no object.
    #[track_caller]
    pub fn assert_fields(&self, known: &[&str]) {
        let body = self.json();
        if !body.is_object() {
            panic!("{self}: expected a body that is a JSON object, found {body}");
        }
        if let Some(unknown) = fields::unknown(&body, known) {
            panic!("{self}: the body has a field `{unknown}`, which is not one of {known:?}");
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

fn shown(parts: &[HeaderPart<'_>]) -> String {
    let part = |part: &HeaderPart<'_>| match part {
        HeaderPart::Text(text) => text.to_string(),
        HeaderPart::Secret(slot) => format!("<{}>", &**slot),
    };
    parts.iter().map(part).collect()
}

fn owned(value: &HeaderValue<'_>) -> Vec<HeaderPart<'static>> {
    match value {
        HeaderValue::Text(text) => vec![HeaderPart::Text(text.to_string().into())],
        HeaderValue::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                HeaderPart::Text(text) => HeaderPart::Text(text.to_string().into()),
                HeaderPart::Secret(slot) => HeaderPart::Secret(slot.to_string().into()),
            })
            .collect(),
    }
}
