//! What a flavor is asked and what it answers: HTTP without connections.
//!
//! Every flavor sees its requests through [`Asked`] and answers by [`Answer`]; what the faults do to an answer is not
//! its business.

use std::{pin::Pin, time::Duration};

use hyper::{
    HeaderMap, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::Serialize;

use super::{pace::Allowance, server::Mock};

/// A request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Its method.
    pub(crate) method: &'a Method,
    /// Its path below the flavor's prefix: `/v1/models` for `/openai/v1/models`.
    pub(crate) path: &'a str,
    /// What follows `?`, as it was sent; empty without.
    pub(crate) query: &'a str,
    /// Its headers.
    pub(crate) headers: &'a HeaderMap,
    /// Its whole body.
    pub(crate) body: &'a [u8],
}

impl<'a> Asked<'a> {
    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The token of `Authorization: Bearer TOKEN`.
    pub(crate) fn bearer(&self) -> Option<&'a str> {
        let value = self.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Whether the body says that it is JSON.
    pub(crate) fn is_json(&self) -> bool {
        let value = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        value.is_some_and(|value| value.starts_with(b"application/json"))
    }

    /// The value of a query parameter, as it was sent.
    pub(crate) fn query_value(&self, name: &str) -> Option<&'a str> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

/// A reply.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers, the content type among them; the length is the server's business.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Body,
}

/// A reply's body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// All at once, its length told beforehand.
    Whole(Vec<u8>),
    /// One frame after another, each an event (SSE) or a line (NDJSON) with its own line ends.
    Events(Vec<Vec<u8>>),
}

impl Answer {
    fn new(status: u16, content_type: Option<&'static str>, body: Body) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Self { status, headers, body }
    }

    /// JSON.
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        let mut body = Vec::with_capacity(512);
        // Structs of texts and numbers always have a JSON form.
        let _ = serde_json::to_writer(&mut body, value);
        Self::new(status, Some("application/json"), Body::Whole(body))
    }

    /// Plain text.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        let body = Body::Whole(text.into().into_bytes());
        Self::new(status, Some("text/plain; charset=utf-8"), body)
    }

    /// A page.
    pub(crate) fn html(status: u16, page: impl Into<String>) -> Self {
        let body = Body::Whole(page.into().into_bytes());
        Self::new(status, Some("text/html; charset=utf-8"), body)
    }

    /// No body.
    pub(crate) fn empty(status: u16) -> Self {
        Self::new(status, None, Body::Whole(Vec::new()))
    }

    /// Server-sent events; each frame from [`event`] or alike.
    pub(crate) fn events(frames: Vec<Vec<u8>>) -> Self {
        Self::new(200, Some("text/event-stream"), Body::Events(frames))
    }

    /// A line of JSON a frame.
    pub(crate) fn lines(frames: Vec<Vec<u8>>) -> Self {
        Self::new(200, Some("application/x-ndjson"), Body::Events(frames))
    }

    /// The same with one more header. What is no header value is left out.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }
}

/// `data: JSON` and an empty line.
pub(crate) fn event(value: &impl Serialize) -> Vec<u8> {
    named_event(b"data: ", value)
}

/// An event with other words before its JSON: `data:` without the space, or `event: NAME\ndata: `.
pub(crate) fn named_event(before: &[u8], value: &impl Serialize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256);
    frame.extend_from_slice(before);
    let _ = serde_json::to_writer(&mut frame, value);
    frame.extend_from_slice(b"\n\n");
    frame
}

/// JSON and a line end.
pub(crate) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256);
    let _ = serde_json::to_writer(&mut frame, value);
    frame.push(b'\n');
    frame
}

/// What a server may have to say before it looks at the request, or when its model fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The key is missing or another one.
    BadKey,
    /// Too many requests: 429.
    RateLimited,
    /// More work than the server can take: 503, or what the vendor has for it.
    Overloaded,
    /// The model is not there yet.
    Loading {
        /// For how long.
        left: Duration,
    },
    /// The server that answers in the mock's place failed.
    Upstream {
        /// Its status; 502 if there was none.
        status: u16,
        /// What it said.
        message: String,
    },
}

/// What becomes of a request while the model is loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileLoading {
    /// It is refused: [`Trouble::Loading`].
    Refuse,
    /// It is answered when the model is there.
    Wait,
    /// It is answered as ever: it needs no model.
    Answer,
}

/// The answer, when the model has spoken.
pub(crate) type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A vendor's wire: which routes there are and what they say. Stateless; the state is the [`Mock`].
pub(crate) trait Wire: Send + Sync {
    /// The key that the request shows, in the vendor's own header.
    fn key<'a>(&self, asked: &Asked<'a>) -> Option<&'a str> {
        asked.bearer()
    }

    /// Whether the route wants a key, if there is one.
    fn guarded(&self, _asked: &Asked<'_>) -> bool {
        true
    }

    /// What becomes of a request while the model is loading.
    fn while_loading(&self, _asked: &Asked<'_>) -> WhileLoading {
        WhileLoading::Refuse
    }

    /// Whether the route asks the model for text, so that `--reply` garbles it and a body may break off.
    fn generates(&self, asked: &Asked<'_>) -> bool;

    /// How the vendor says it.
    fn trouble(&self, asked: &Asked<'_>, trouble: &Trouble) -> Answer;

    /// The error under a good status.
    fn trouble_in_200(&self, asked: &Asked<'_>, trouble: &Trouble) -> Answer {
        Answer { status: 200, ..self.trouble(asked, trouble) }
    }

    /// An error inside a stream that began well: one frame.
    fn trouble_in_stream(&self, asked: &Asked<'_>, trouble: &Trouble) -> Vec<u8> {
        match self.trouble(asked, trouble).body {
            Body::Whole(body) => [b"data: ", body.as_slice(), b"\n\n"].concat(),
            Body::Events(frames) => frames.concat(),
        }
    }

    /// Says in the vendor's headers what is left of the rate; most vendors have none.
    fn tell_allowance(&self, _headers: &mut HeaderMap, _allowance: &Allowance) {}

    /// The reply.
    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a>;
}
