//! What the fake answers: TGI's reply bodies, whole or as events, and its refusals in their four shapes.
//!
//! Knows nothing of connections.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{
    Response, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Builder,
    model::{self, Piece},
    request::Generate,
};

/// Frames that go out one by one; then the body ends, or the connection breaks.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: VecDeque<Bytes>,
    /// Whether the length is told beforehand.
    whole: bool,
    breaks: bool,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Frames {
    fn whole(body: impl Into<Bytes>) -> Self {
        Self { frames: VecDeque::from([body.into()]), whole: true, ..Self::default() }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some((time, sleep)) = &mut self.pause {
            ready!(sleep.as_mut().poll(context));
            let next = Instant::now() + *time;
            sleep.as_mut().reset(next);
        }
        Poll::Ready(match self.frames.pop_front() {
            Some(frame) => Some(Ok(Frame::data(frame))),
            None => std::mem::take(&mut self.breaks)
                .then(|| Err(io::Error::other("the connection breaks on demand"))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.frames.iter().map(|frame| frame.len() as u64).sum();
        if self.whole { SizeHint::with_exact(length) } else { SizeHint::default() }
    }
}

/// A refusal: status, content type, body, `retry-after`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    content_type: &'static str,
    body: String,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn text(status: u16, body: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body, retry_after: None }
    }

    pub(super) fn json(status: u16, error: &str, error_type: &str) -> Self {
        let body = serde_json::json!({ "error": error, "error_type": error_type }).to_string();
        Self { content_type: "application/json", ..Self::text(status, body) }
    }

    pub(super) fn validation(complaint: &str) -> Self {
        Self::json(422, &format!("Input validation error: {complaint}"), "validation")
    }

    pub(super) fn page(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body>proxy</body></html>");
        Self { content_type: "text/html", ..Self::text(status, body) }
    }

    pub(super) fn after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after = seconds;
        self
    }

    pub(super) fn into_response(self) -> Response<Frames> {
        let mut response = response(self.content_type, Frames::whole(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
        }
        response
    }
}

fn response(content_type: &'static str, body: Frames) -> Response<Frames> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 without a body.
pub(super) fn empty() -> Response<Frames> {
    Response::new(Frames::whole(Bytes::new()))
}

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Frames> {
    // Structs of strings and numbers always have a JSON form.
    response("application/json", Frames::whole(serde_json::to_vec(value).unwrap_or_default()))
}

/// One token of `/tokenize`.
#[derive(Debug, Serialize)]
pub(super) struct TextToken<'a> {
    id: u32,
    text: &'a str,
    start: usize,
    stop: usize,
}

impl<'a> From<Piece<'a>> for TextToken<'a> {
    fn from(piece: Piece<'a>) -> Self {
        let stop = piece.start + piece.text.len();
        Self { id: piece.id, text: piece.text, start: piece.start, stop }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Prefill<'a> {
    id: u32,
    text: &'a str,
    logprob: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Token<'a> {
    id: u32,
    text: &'a str,
    logprob: f64,
    special: bool,
}

#[derive(Debug, Serialize)]
struct Details<'a> {
    finish_reason: &'a str,
    generated_tokens: usize,
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefill: Option<Vec<Prefill<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<&'a [Token<'a>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_tokens: Option<Vec<Vec<Token<'a>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_length: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Generated<'a> {
    generated_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    index: usize,
    token: Token<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_tokens: Option<Vec<Token<'a>>>,
    generated_text: Option<&'a str>,
    details: Option<Details<'a>>,
}

/// A generation that is done.
#[derive(Debug)]
pub(super) struct Generation<'a> {
    request: &'a Generate,
    input: Vec<Piece<'a>>,
    text: String,
    tokens: Vec<Token<'a>>,
    finish_reason: &'static str,
}

impl<'a> Generation<'a> {
    /// Lets the model say `says`, token by token, until a stop text, the budget or the end.
    pub(super) fn new(request: &'a Generate, input: Vec<Piece<'a>>, says: &'a str) -> Self {
        let parameters = &request.parameters;
        let most = parameters.max_new_tokens.unwrap_or(usize::MAX);
        let end = Piece { id: model::EOS, text: "</s>", start: says.len() };
        let (mut text, mut tokens, mut finish_reason) = (String::new(), Vec::new(), "eos_token");
        let mut before = input.last().map_or(0, |piece| piece.id);
        for piece in model::pieces(says).into_iter().chain([end]) {
            let special = piece.id == model::EOS;
            let logprob = model::logprob(before, piece.id);
            before = piece.id;
            tokens.push(Token { id: piece.id, text: piece.text, logprob, special });
            if !special {
                text.push_str(piece.text);
            }
            if tokens.len() == most {
                finish_reason = "length";
                break;
            }
            if parameters.stop.iter().any(|stop| text.ends_with(stop.as_str())) {
                finish_reason = "stop_sequence";
                break;
            }
            if special {
                break;
            }
        }
        if parameters.return_full_text == Some(true) {
            text.insert_str(0, &request.inputs);
        }
        Self { request, input, text, tokens, finish_reason }
    }

    fn top(&self, token: Token<'a>) -> Option<Vec<Token<'a>>> {
        let n = self.request.parameters.top_n_tokens.filter(|n| *n > 0)?;
        let other = |k: u32| Token {
            id: token.id + k,
            text: "?",
            logprob: token.logprob - f64::from(k),
            special: false,
        };
        Some(std::iter::once(token).chain((1..n).map(other)).collect())
    }

    fn details(&self) -> Details<'_> {
        let parameters = &self.request.parameters;
        Details {
            finish_reason: self.finish_reason,
            generated_tokens: self.tokens.len(),
            seed: parameters.samples().then(|| parameters.seed.unwrap_or(42)),
            prefill: None,
            tokens: None,
            top_tokens: None,
            input_length: None,
        }
    }

    fn prefill(&self, server: &Builder) -> Vec<Prefill<'_>> {
        if !(server.prefill && self.request.parameters.decoder_input_details) {
            return Vec::new();
        }
        let likely = (server.likely)(&self.request.inputs);
        let before = std::iter::once(None).chain(self.input.iter().map(|piece| Some(piece.id)));
        let logprob = |before, id| if likely { model::LIKELY } else { model::logprob(before, id) };
        before
            .zip(&self.input)
            .map(|(before, piece)| Prefill {
                id: piece.id,
                text: if piece.id == model::BOS { "<s>" } else { piece.text },
                logprob: before.map(|before| logprob(before, piece.id)),
            })
            .collect()
    }

    /// The reply of `/generate`.
    pub(super) fn whole(&self, server: &Builder) -> Response<Frames> {
        let parameters = &self.request.parameters;
        let details = (parameters.details || parameters.decoder_input_details).then(|| Details {
            prefill: Some(self.prefill(server)),
            tokens: Some(&self.tokens),
            top_tokens: self.tokens.iter().map(|token| self.top(*token)).collect(),
            ..self.details()
        });
        let mut response = json(&Generated { generated_text: &self.text, details });
        self.count(&mut response);
        response
    }

    /// The reply of `/generate_stream`, as far as `cut` lets it go.
    pub(super) fn stream(&self, server: &Builder, cut: Option<&Cut>) -> Response<Frames> {
        let last = self.tokens.len();
        let events = self.tokens.iter().zip(1..).map(|(token, index)| Event {
            index,
            token: *token,
            top_tokens: self.top(*token),
            generated_text: (index == last).then_some(&self.text),
            details: (index == last && self.request.parameters.details)
                .then(|| Details { input_length: Some(self.input.len()), ..self.details() }),
        });
        // A stream that is cut must not have got its last event out.
        let most = cut.map_or(usize::MAX, |cut| cut.after.min(last.saturating_sub(1)));
        let mut frames: VecDeque<Bytes> = events.take(most).map(|event| frame(&event)).collect();
        if cut.is_some_and(|cut| cut.error) {
            frames.push_back(frame(&serde_json::json!({
                "error": "Request failed during generation: on demand",
                "error_type": "generation",
            })));
        }
        let pause = Some(server.token_latency).filter(|time| !time.is_zero());
        let pause = pause.map(|time| (time, Box::pin(sleep(time))));
        let breaks = cut.is_some_and(|cut| cut.breaks);
        let body = Frames { frames, whole: false, breaks, pause };
        let mut response = response("text/event-stream", body);
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    fn count(&self, response: &mut Response<Frames>) {
        let headers = response.headers_mut();
        headers.insert("x-compute-type", HeaderValue::from_static("1-fake"));
        headers.insert("x-prompt-tokens", HeaderValue::from(self.input.len()));
        headers.insert("x-generated-tokens", HeaderValue::from(self.tokens.len()));
    }
}

/// How a stream ends before its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) after: usize,
    pub(super) error: bool,
    pub(super) breaks: bool,
}

fn frame(event: &impl Serialize) -> Bytes {
    let mut frame = b"data:".to_vec();
    // Events are structs of strings and numbers, which always have a JSON form.
    if serde_json::to_writer(&mut frame, event).is_err() {
        return Bytes::new();
    }
    frame.extend_from_slice(b"\n\n");
    frame.into()
}
