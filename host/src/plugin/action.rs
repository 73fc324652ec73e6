//! What a plugin pushed, read on receipt: typed and owned, or a breach of the contract.

use std::{cell::RefCell, ops::Deref, sync::Arc};

use plugin_api::{
    Answer, Error, ErrorKind,
    abi::Buf,
    message::{self, Action, HeaderPart, HeaderValue, Limits, Str},
};

/// One action of a step.
#[derive(Debug)]
pub enum Pushed {
    /// Send a request.
    Http(HttpCall),
    /// Tell when this time is over.
    Wait {
        /// The plugin's number for it.
        call: u64,
        /// Milliseconds.
        ms: u64,
    },
    /// Note that an outside resource is about to be held.
    Hold {
        /// The plugin's number for it.
        call: u64,
        /// The resource.
        name: String,
        /// What frees it in another process.
        note: serde_json::Value,
    },
    /// Note that an outside resource is held no more.
    Free {
        /// The plugin's number for it.
        call: u64,
        /// The resource.
        name: String,
    },
    /// Forget a call or wait.
    Cancel(u64),
    /// More text of an item came. Its `done` brings the whole text, so only the time is of use.
    Delta,
    /// What a server said of its limits.
    Limits(Limits),
    /// An outside thread will wake the session.
    Park,
    /// Step again soon.
    Again,
    /// An item's answer.
    Done(u32, Answer),
    /// An item's failure, or that of all which are not answered.
    Fail(Option<u32>, Error),
    /// Not an action of this contract.
    Breach(String),
}

/// What a step puts a pushed action into.
pub trait Receive {
    /// Takes it over. `head` is the caller's.
    fn receive(head: &[u8], body: Buf) -> Self;
}

impl Receive for Pushed {
    fn receive(head: &[u8], body: Buf) -> Self {
        Self::read(head, body)
    }
}

/// An action as it was pushed, to be read in another process.
#[derive(Debug)]
pub struct RawAction {
    /// Whatever the plugin gave for JSON.
    pub head: Vec<u8>,
    /// The body, in the plugin's own memory.
    pub body: Buf,
}

impl Receive for RawAction {
    fn receive(head: &[u8], body: Buf) -> Self {
        Self { head: head.to_vec(), body }
    }
}

/// A request as the plugin wants it sent; secrets are still names.
#[derive(Debug)]
pub struct HttpCall {
    /// All but the body: mostly the same from sample to sample, and then read once.
    pub head: Arc<HttpHead>,
    /// The body, in the plugin's own memory.
    pub body: Buf,
}

impl Deref for HttpCall {
    type Target = HttpHead;

    fn deref(&self) -> &HttpHead {
        &self.head
    }
}

/// A request without its body.
#[derive(Clone, Debug)]
pub struct HttpHead {
    /// The plugin's number for it.
    pub call: u64,
    /// HTTP method.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Value)>,
    /// Whether the reply is wanted in chunks.
    pub stream: bool,
    /// Milliseconds for this call; 0 leaves it to the host.
    pub timeout_ms: u64,
    /// Reply headers wanted beside those of the manifest.
    pub reply_headers: Vec<String>,
}

/// A header value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// As it stands.
    Text(String),
    /// Parts in order.
    Parts(Vec<Part>),
}

/// A part of a header value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// The secret of this slot.
    Secret(String),
}

impl Pushed {
    /// Reads an action. Whatever cannot be read is a [`Pushed::Breach`] that says why.
    pub fn read(head: &[u8], body: Buf) -> Self {
        if let Some(head) = last_http(head) {
            return Self::Http(HttpCall { head, body });
        }
        let action = match Action::read(head) {
            Ok(action) => action,
            Err(error) => return Self::Breach(unread(head, &error)),
        };
        match action {
            Action::Http(http) => {
                let http = Arc::new(HttpHead::from(http));
                keep_http(head, &http);
                Self::Http(HttpCall { head: http, body })
            }
            Action::Wait(wait) => Self::Wait { call: wait.call.0, ms: wait.ms },
            Action::Hold(hold) => match serde_json::from_slice(body.as_slice()) {
                Ok(note) => Self::Hold { call: hold.call.0, name: hold.name.into_owned(), note },
                Err(error) => Self::Breach(format!("the note of a hold is not JSON: {error}")),
            },
            Action::Free(hold) => Self::Free { call: hold.call.0, name: hold.name.into_owned() },
            Action::Cancel(cancel) => Self::Cancel(cancel.call.0),
            Action::Delta(_) => match std::str::from_utf8(body.as_slice()) {
                Ok(_) => Self::Delta,
                Err(_) => Self::Breach("the text of a delta is not UTF-8".to_owned()),
            },
            Action::Limits(limits) => Self::Limits(limits),
            Action::Park {} => Self::Park,
            Action::Again {} => Self::Again,
            Action::Done(done) => match Answer::resolve(done.answer, body.as_slice()) {
                Ok(answer) => Self::Done(done.item, answer),
                Err(error) => Self::Breach(error.to_string()),
            },
            Action::Fail(fail) => Self::Fail(fail.item, fail.into()),
        }
    }
}

/// Why a head is no action, with the path to what is wrong: its first word is the action's kind.
fn unread(head: &[u8], error: &serde_json::Error) -> String {
    let mut reader = serde_json::Deserializer::from_slice(head);
    let read: Result<Action<'_>, _> = serde_path_to_error::deserialize(&mut reader);
    let path = read.err().map(|found| found.path().to_string());
    match path.filter(|path| path.starts_with(|first: char| first.is_ascii_lowercase())) {
        Some(path) => format!("an action cannot be read: {path}: {error}"),
        None => format!("an action cannot be read: {error}"),
    }
}

thread_local! {
    /// The head of the request that this thread read last, as it was pushed and as it was read.
    static LAST_HTTP: RefCell<Option<(Vec<u8>, Arc<HttpHead>)>> = const { RefCell::new(None) };
}

/// Longest head that is kept: one may hold whatever a plugin writes there.
const KEPT_HEAD: usize = 2 * 1024;

/// What a head says, if it is that of the last request byte for byte.
fn last_http(head: &[u8]) -> Option<Arc<HttpHead>> {
    let of_last = |last: &RefCell<Option<(Vec<u8>, Arc<HttpHead>)>>| {
        let last = last.borrow();
        let (_, http) = last.as_ref().filter(|(known, _)| known == head)?;
        Some(Arc::clone(http))
    };
    // A thread that is ending keeps none any more.
    LAST_HTTP.try_with(of_last).ok().flatten()
}

fn keep_http(head: &[u8], http: &Arc<HttpHead>) {
    if head.len() <= KEPT_HEAD {
        let _ =
            LAST_HTTP.try_with(|last| *last.borrow_mut() = Some((head.to_vec(), Arc::clone(http))));
    }
}

impl From<message::Http<'_>> for HttpHead {
    fn from(http: message::Http<'_>) -> Self {
        let headers = http.headers.into_iter();
        Self {
            call: http.call.0,
            method: http.method.into_owned(),
            url: http.url.into_owned(),
            headers: headers.map(|(name, value)| (name.into_owned(), owned(value))).collect(),
            stream: http.stream,
            timeout_ms: http.timeout_ms,
            reply_headers: http.reply_headers.into_iter().map(Str::into_owned).collect(),
        }
    }
}

fn owned(value: HeaderValue<'_>) -> Value {
    match value {
        HeaderValue::Text(text) => Value::Text(text.into_owned()),
        HeaderValue::Parts(parts) => Value::Parts(
            parts
                .into_iter()
                .map(|part| match part {
                    HeaderPart::Text(text) => Part::Text(text.into_owned()),
                    HeaderPart::Secret(slot) => Part::Secret(slot.into_owned()),
                })
                .collect(),
        ),
    }
}

/// A breach of the contract as a failure of the session.
pub fn protocol(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str, body: &[u8]) -> Pushed {
        Pushed::read(head.as_bytes(), Buf::from(body.to_vec()))
    }

    #[test]
    fn a_request_like_the_last_one_is_read_once_and_any_other_anew() {
        let head = |call: u32, url: &str| {
            format!(
                r#"{{"http":{{"call":"{call}","method":"POST","url":"{url}","headers":[["a","b"]]}}}}"#
            )
        };
        let call = |head: &str, body: &[u8]| match read(head, body) {
            Pushed::Http(call) => call,
            other => panic!("{other:?}"),
        };
        let first = call(&head(1, "http://x/a"), b"one");
        let same = call(&head(1, "http://x/a"), b"two");
        assert!(Arc::ptr_eq(&first.head, &same.head));
        assert_eq!((first.body.as_slice(), same.body.as_slice()), (&b"one"[..], &b"two"[..]));
        let other = call(&head(1, "http://x/b"), b"");
        assert_eq!((other.call, other.url.as_str()), (1, "http://x/b"));
        assert_eq!(call(&head(2, "http://x/b"), b"").call, 2);
        assert!(matches!(read(r#"{"park":{}}"#, b""), Pushed::Park));
    }

    #[test]
    fn what_breaks_the_contract_is_told_apart_from_what_fails() {
        for (head, body) in [
            ("not json", &b""[..]),
            (r#"{"dance":{}}"#, b""),
            (r#"{"delta":{"item":0}}"#, b"\xff"),
            (r#"{"hold":{"call":"1","name":"a"}}"#, b"no json"),
            (r#"{"done":{"item":0,"answer":{"rendered":[0,9]}}}"#, b"short"),
        ] {
            assert!(matches!(read(head, body), Pushed::Breach(_)), "{head}");
        }
        for (head, expected) in [
            ("not json", "an action cannot be read: expected value"),
            (r#"{"dance":{}}"#, "an action cannot be read: "),
            (
                r#"{"done":{"item":0,"answer":{"completion":{"choices":[],"usage":{"prompt_tokens":1.5}}}}}"#,
                "an action cannot be read: done.answer.completion.usage.prompt_tokens: invalid type: floating point `1.5`, expected u64",
            ),
            (
                r#"{"fail":{"kind":"rate_limited","retry_after_ms":100.5}}"#,
                "an action cannot be read: fail.retry_after_ms: invalid type",
            ),
            (
                r#"{"done":{"item":0,"answer":{"completion":{"choices":[{"text":[0,0]}]}}}}"#,
                "an action cannot be read: done.answer.completion.choices[0]: missing field `finish_reason`",
            ),
        ] {
            let Pushed::Breach(told) = read(head, b"") else { panic!("{head}") };
            assert!(told.starts_with(expected), "{told}");
        }
        let Pushed::Fail(None, error) = read(r#"{"fail":{"kind":"tired","message":"no"}}"#, b"")
        else {
            panic!("a fail action");
        };
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Other, "no"));
    }
}
