//! What a server of a test does with a request.

use std::time::Duration;

use serde_json::Value;

use crate::error::ErrorKind;

/// What a server does with one request: answers, late, in pieces, in part, or not at all.
///
/// ```
/// use std::time::Duration;
/// use plugin_api::{ErrorKind, json, testkit::Scripted};
///
/// let answer = Scripted::json(&json!({ "text": "Hi" }));
/// let busy = Scripted::new(429, "slow down").header("retry-after", "3");
/// let full = Scripted::json(&json!({ "error": "full" })).status(503);
/// let stream = Scripted::sse(&[json!({ "delta": "H" }), json!({ "delta": "i" })]).cut_every(5);
/// let broken = stream.clone().breaking(ErrorKind::Transport);
/// let in_two = stream.clone().cut_at(&[7]);
/// let nobody = Scripted::unreachable(ErrorKind::Timeout).after(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
pub struct Scripted {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) pieces: Vec<usize>,
    pub(super) every: usize,
    pub(super) breaks: Option<ErrorKind>,
    /// Whether not even a status comes.
    pub(super) silent: bool,
    pub(super) after: Duration,
}

impl Scripted {
    /// A reply of this status and body. To a streamed call it comes in one piece, unless it is cut.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            pieces: Vec::new(),
            every: 0,
            breaks: None,
            silent: false,
            after: Duration::ZERO,
        }
    }

    /// A reply of status 200 with this JSON.
    pub fn json(body: &Value) -> Self {
        Self::new(200, body.to_string()).header("content-type", "application/json")
    }

    /// A reply of status 200 with these values as server-sent events, and `[DONE]` after them.
    pub fn sse(events: &[Value]) -> Self {
        let events = events.iter().map(|event| format!("data: {event}\n\n"));
        let body: String = events.chain(["data: [DONE]\n\n".to_owned()]).collect();
        Self::new(200, body).header("content-type", "text/event-stream")
    }

    /// No reply: a failure of this kind, as [`crate::message::TransportError`] lists them.
    pub fn unreachable(kind: ErrorKind) -> Self {
        Self { silent: true, ..Self::new(0, "").breaking(kind) }
    }

    /// Adds a header; the name in lower case.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// To a streamed call, the body comes in pieces that end at these offsets.
    #[must_use]
    pub fn cut_at(mut self, offsets: &[usize]) -> Self {
        self.pieces = offsets.to_vec();
        self
    }

    /// To a streamed call, the body comes in pieces of this many bytes.
    #[must_use]
    pub fn cut_every(mut self, bytes: usize) -> Self {
        self.every = bytes;
        self
    }

    /// After the body, where a streamed reply would end, the connection breaks. A whole reply never comes.
    #[must_use]
    pub fn breaking(mut self, kind: ErrorKind) -> Self {
        self.breaks = Some(kind);
        self
    }

    /// Comes this long after the request, on the clock of the test.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    /// The body in its pieces.
    pub(super) fn cut(&self) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = self.body.as_slice();
        let mut at = 0;
        for offset in &self.pieces {
            let (piece, after) = rest.split_at(offset.saturating_sub(at).min(rest.len()));
            if !piece.is_empty() {
                pieces.push(piece.to_vec());
            }
            at += piece.len();
            rest = after;
        }
        let every = if self.every == 0 { rest.len().max(1) } else { self.every };
        pieces.extend(rest.chunks(every).map(<[u8]>::to_vec));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::Scripted;

    #[test]
    fn a_body_is_cut_where_it_is_told_to_be() {
        let cut = |scripted: Scripted| {
            scripted.cut().into_iter().map(|p| String::from_utf8(p).unwrap()).collect::<Vec<_>>()
        };
        let body = || Scripted::new(200, "abcdef");
        assert_eq!(cut(body()), ["abcdef"]);
        assert_eq!(cut(body().cut_every(4)), ["abcd", "ef"]);
        assert_eq!(cut(body().cut_at(&[0, 2, 2, 1, 5])), ["ab", "cde", "f"]);
        assert_eq!(cut(body().cut_at(&[9])), ["abcdef"]);
        assert!(cut(Scripted::new(200, "")).is_empty());
    }
}
