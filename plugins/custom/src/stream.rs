//! A streamed reply, event by event, by the pointers of the run file.
//!
//! Pure: gets bytes, sends nothing. What it hands out as new text never holds a stop text, nor the beginning of one.

use std::borrow::Cow;

use plugin_api::{Choice, Error, ErrorKind, Result, TokenLogprob, Usage};
use serde::de::IgnoredAny;
use serde_json::Value;
use wire::{phrases::is_markup, stop};

use crate::{
    condition::Condition,
    config::{Format, RawStream},
    decode::{self, Parts},
    events::Splitter,
    extract::{Extract, Found, Pointer, wrong},
    failure::Failures,
    typed::RawDone,
};

/// Where things are in the events of a stream.
#[derive(Debug)]
pub struct Shape {
    format: Format,
    text: Extract,
    reasoning: Option<Extract>,
    refusal: Option<Extract>,
    finish_reason: Option<Extract>,
    tokens: Option<Pointer>,
    done: Option<Done>,
}

#[derive(Debug)]
enum Done {
    Data(String),
    Condition(Condition),
}

impl Shape {
    /// Compiles the table `stream`.
    ///
    /// # Errors
    /// A pointer or a pattern is none, or nothing would tell a whole stream from one that broke off.
    pub fn compile(raw: &RawStream, reply: &decode::Shape) -> Result<Self> {
        if raw.done.is_none() && raw.finish_reason.is_none() {
            let message = "expected `done`, or `finish_reason`: without them a stream that breaks off looks whole";
            return Err(wrong("stream", message));
        }
        if raw.logprobs.is_some() && reply.tokens().is_none() {
            let message = "needs `reply.logprobs`, which says where things are in a token";
            return Err(wrong("stream.logprobs", message));
        }
        let done = |raw: &RawDone| match raw {
            RawDone::Text(text) if text.trim().is_empty() => {
                Err(wrong("stream.done", "expected a text such as \"[DONE]\", found an empty one"))
            }
            RawDone::Text(text) => Ok(Done::Data(text.trim().to_owned())),
            RawDone::Condition(raw) => Condition::compile(
                "stream.done",
                &raw.pointer,
                raw.equals.as_ref(),
                raw.matches.as_deref(),
            )
            .map(Done::Condition),
        };
        let tokens = raw.logprobs.as_deref();
        Ok(Self {
            format: raw.format,
            text: Extract::compile("stream.text", &raw.text)?,
            reasoning: Extract::optional("stream.reasoning", raw.reasoning.as_ref())?,
            refusal: Extract::optional("stream.refusal", raw.refusal.as_ref())?,
            finish_reason: Extract::optional("stream.finish_reason", raw.finish_reason.as_ref())?,
            tokens: tokens.map(|text| Pointer::parse("stream.logprobs", text)).transpose()?,
            done: raw.done.as_ref().map(done).transpose()?,
        })
    }
}

/// Collects one stream.
#[derive(Debug)]
pub struct Collector<'s> {
    shape: &'s Shape,
    reply: &'s decode::Shape,
    failures: &'s Failures,
    stops: &'s [&'s str],
    logprobs: bool,
    splitter: Splitter,
    /// The beginning of what came, at least until the first event: what a failure shows.
    head: Vec<u8>,
    events: u64,
    text: Found<String>,
    /// Bytes of `text` that were handed out.
    handed: usize,
    reasoning: Option<String>,
    refusal: Option<String>,
    finish_reason: Option<String>,
    tokens: Option<Vec<TokenLogprob>>,
    usage: Usage,
    model: Option<String>,
}

/// A stream's result.
#[derive(Debug)]
pub struct Ended {
    /// The answer.
    pub choice: Choice,
    /// What it cost.
    pub usage: Usage,
    /// The model's name as the server says it.
    pub model: Option<String>,
    /// Whether the server is done. If not, it missed a stop text or was not told of it, and would go on.
    pub by_server: bool,
}

/// Longest beginning of a stream that is kept, in bytes.
const HEAD: usize = 64 << 10;

impl<'s> Collector<'s> {
    /// A collector that cuts at these stop texts, none of them empty.
    pub fn new(
        shape: &'s Shape,
        reply: &'s decode::Shape,
        failures: &'s Failures,
        stops: &'s [&'s str],
        logprobs: bool,
    ) -> Self {
        Self {
            shape,
            reply,
            failures,
            stops,
            logprobs,
            splitter: Splitter::new(shape.format),
            head: Vec::new(),
            events: 0,
            text: Found::Missing,
            handed: 0,
            reasoning: None,
            refusal: None,
            finish_reason: None,
            tokens: None,
            usage: Usage::default(),
            model: None,
        }
    }

    /// Takes bytes, cut anywhere; gives the result once the answer is whole.
    ///
    /// # Errors
    /// The failure that an event tells; `unexpected_reply` if one is of another shape; `transport` if the text that
    /// ends the stream comes before the finish reason: so ends a stream whose server a proxy lost.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Ended>> {
        if self.events == 0 && self.head.len() < HEAD {
            let room = (HEAD - self.head.len()).min(bytes.len());
            self.head.extend(bytes.iter().take(room));
        }
        for data in self.splitter.push(bytes) {
            if let Some(ended) = self.event(&data)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Takes the end of the stream.
    ///
    /// # Errors
    /// `transport` if the stream broke off; `unexpected_reply` if it was none; the failure that it tells.
    pub fn end(&mut self) -> Result<Ended> {
        let last = self.splitter.finish();
        // What the stream's end cut off is no event.
        if let Some(data) = last.filter(|data| self.is_event(data))
            && let Some(ended) = self.event(&data)?
        {
            return Ok(ended);
        }
        if self.shape.done.is_none() && self.finish_reason.is_some() {
            return self.complete();
        }
        Err(self.broken_off())
    }

    /// Text that is new since the last time and cannot be part of a stop text.
    pub fn delta(&mut self) -> &str {
        let Found::Text(text) = &self.text else {
            return "";
        };
        if self.shape.text.has_pattern() {
            return "";
        }
        let safe = stop::safe_len(text, self.handed, self.stops);
        let from = std::mem::replace(&mut self.handed, safe);
        text.get(from..safe).unwrap_or_default()
    }

    /// The part of the result's text that was not handed out.
    pub fn rest<'c>(&self, choice: &'c Choice) -> &'c str {
        choice.text.get(self.handed..).unwrap_or_default()
    }

    fn is_end(&self, data: &str) -> bool {
        matches!(&self.shape.done, Some(Done::Data(end)) if end == data.trim())
    }

    fn is_event(&self, data: &str) -> bool {
        self.is_end(data) || serde_json::from_str::<IgnoredAny>(data).is_ok()
    }

    fn event(&mut self, data: &str) -> Result<Option<Ended>> {
        let data = data.trim();
        if data.is_empty() {
            return Ok(None);
        }
        if self.is_end(data) {
            if self.events > 0 && self.shape.finish_reason.is_some() && self.finish_reason.is_none()
            {
                return Err(Error::new(
                    ErrorKind::Transport,
                    "the stream ended without saying how its answer did (`stream.finish_reason`)",
                ));
            }
            return self.complete().map(Some);
        }
        let value: Value = serde_json::from_str(data).map_err(|error| {
            // A body of several lines is more telling than the first of them.
            let shown = if self.events == 0 { &self.head } else { data.as_bytes() };
            Error::unexpected(format!("an event of the stream is not the expected JSON: {error}"))
                .with_excerpt(shown)
        })?;
        self.events += 1;
        if let Some(error) = self.failures.within(200, &value) {
            return Err(error);
        }
        self.take(&value).map_err(|error| error.with_excerpt(data.as_bytes()))?;
        if matches!(&self.shape.done, Some(Done::Condition(end)) if end.holds(&value)) {
            return self.complete().map(Some);
        }
        let cut = match &self.text {
            Found::Text(text) if !self.shape.text.has_pattern() && self.refusal.is_none() => {
                stop::find(text, self.handed, self.stops)
            }
            _ => None,
        };
        if cut.is_none() {
            return Ok(None);
        }
        let mut ended = self.complete()?;
        ended.by_server = false;
        Ok(Some(ended))
    }

    /// Takes what an event holds.
    fn take(&mut self, value: &Value) -> Result<()> {
        let shape = self.shape;
        match (shape.text.piece(value)?, &mut self.text) {
            (Found::Text(piece), Found::Text(text)) => text.push_str(&piece),
            (Found::Text(piece), text) => *text = Found::Text(piece.into_owned()),
            (Found::Null, text @ Found::Missing) => *text = Found::Null,
            _ => {}
        }
        append(&mut self.reasoning, shape.reasoning.as_ref(), value)?;
        append(&mut self.refusal, shape.refusal.as_ref(), value)?;
        if let Some(finish_reason) = &shape.finish_reason {
            let word = finish_reason.text(value)?.text().filter(|word| !word.is_empty());
            self.finish_reason = word.map(Cow::into_owned).or(self.finish_reason.take());
        }
        if let (Some(list), Some(tokens), true) =
            (&shape.tokens, self.reply.tokens(), self.logprobs)
            && let Some(more) = tokens.find(list, value)?
        {
            self.tokens.get_or_insert_with(Vec::new).extend(more);
        }
        let new = self.reply.usage(value)?;
        self.usage = Usage {
            prompt_tokens: new.prompt_tokens.or(self.usage.prompt_tokens),
            completion_tokens: new.completion_tokens.or(self.usage.completion_tokens),
            cached_tokens: new.cached_tokens.or(self.usage.cached_tokens),
            reasoning_tokens: new.reasoning_tokens.or(self.usage.reasoning_tokens),
            ..Usage::default()
        };
        if let Some(model) = self.reply.model(value)? {
            self.model = Some(model);
        }
        Ok(())
    }

    /// The answer out of what came so far.
    fn complete(&mut self) -> Result<Ended> {
        let shape = self.shape;
        let refined = |extract: Option<&Extract>, text: Option<String>| {
            extract?.refined(Cow::Owned(text?)).text()
        };
        let text = match &self.text {
            Found::Text(text) => shape.text.refined(Cow::Borrowed(text.as_str())),
            Found::Null => Found::Null,
            Found::Missing => Found::Missing,
        };
        let parts = Parts {
            text,
            reasoning: refined(shape.reasoning.as_ref(), self.reasoning.take()),
            refusal: refined(shape.refusal.as_ref(), self.refusal.take()),
            finish_reason: self.finish_reason.take().map(Cow::Owned),
            logprobs: self.tokens.take(),
        };
        let choice = self
            .reply
            .choice(parts, &shape.text, self.usage, self.stops)
            .map_err(|error| error.with_excerpt(&self.head))?;
        Ok(Ended { choice, usage: self.usage, model: self.model.take(), by_server: true })
    }

    /// The failure of a stream that ends here.
    fn broken_off(&self) -> Error {
        let head = self.head.trim_ascii();
        if self.events > 0 || self.splitter.would_begin(head) {
            return Error::new(
                ErrorKind::Transport,
                format!("the stream ended after {} events, before its last one", self.events),
            );
        }
        // A server that fails before the first event may answer with a plain body, whatever was asked for.
        if let Some(error) =
            serde_json::from_slice(head).ok().and_then(|value| self.failures.within(200, &value))
        {
            return error;
        }
        let message = if is_markup(head) {
            "a page came instead of events: is `base_url` the API's?"
        } else {
            "what came holds no event: does the server stream, and as `stream.format` says?"
        };
        Error::unexpected(message).with_excerpt(head)
    }
}

/// Adds the text that an event holds.
fn append(sum: &mut Option<String>, extract: Option<&Extract>, value: &Value) -> Result<()> {
    let Some(extract) = extract else {
        return Ok(());
    };
    if let Some(piece) = extract.piece(value)?.text().filter(|piece| !piece.is_empty()) {
        sum.get_or_insert_with(String::new).push_str(&piece);
    }
    Ok(())
}
