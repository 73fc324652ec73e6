//! `/generate_stream`, event by event: one token each, the last with the whole text; a failure comes as an event under
//! status 200 (router/src/server.rs, `generate_stream_internal`, version 3.3).
//!
//! Pure: gets the data of events, sends nothing. What it hands out as new text never holds a stop text, nor the
//! beginning of one.

use std::borrow::Cow;

use plugin_api::{Choice, Error, ErrorKind, Result, TokenLogprob, Usage, message::Str};
use serde::Deserialize;

use super::{
    decode::{self, Details, Token},
    failure,
};
use crate::{object::Object, stop};

/// Collects the events of one stream.
#[derive(Debug)]
pub struct Collector<'s> {
    stops: &'s [&'s str],
    logprobs: bool,
    text: String,
    /// Bytes of `text` that were handed out.
    handed: usize,
    /// Tokens so far.
    count: u64,
    /// The tokens with the byte of `text` at which each begins.
    tokens: Vec<(usize, TokenLogprob)>,
}

/// A stream's result.
#[derive(Debug)]
pub struct Ended {
    /// The answer.
    pub choice: Choice,
    /// What it cost.
    pub usage: Usage,
    /// Whether the server is done. If not, it missed a stop text or was not told of it, and would go on.
    pub by_server: bool,
}

/// One event: a token, or an error. No field is always there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow)]
    error: Option<Str<'a>>,
    #[serde(borrow)]
    error_type: Option<Str<'a>>,
    #[serde(borrow)]
    token: Option<Token<'a>>,
    #[serde(borrow)]
    top_tokens: Option<Vec<Token<'a>>>,
    #[serde(borrow)]
    generated_text: Option<Str<'a>>,
    #[serde(borrow)]
    details: Option<Details<'a>>,
}

impl<'s> Collector<'s> {
    /// A collector that cuts at these stop texts, none of them empty.
    pub fn new(stops: &'s [&'s str], logprobs: bool) -> Self {
        Self { stops, logprobs, text: String::new(), handed: 0, count: 0, tokens: Vec::new() }
    }

    /// Takes the data of one event; gives the result if it was the last one that matters.
    ///
    /// # Errors
    /// The failure that the event tells; `unexpected_reply` if it is of another shape.
    pub fn take(&mut self, data: &str) -> Result<Option<Ended>> {
        if data.is_empty() {
            return Ok(None);
        }
        let Object(event): Object<Event<'_>> = serde_json::from_str(data).map_err(|error| {
            Error::unexpected(format!("an event of the stream is not the expected JSON: {error}"))
                .with_excerpt(data.as_bytes())
        })?;
        if let Some(error) = event.error {
            return Err(failure::named(&error, event.error_type.as_deref().unwrap_or("")));
        }
        let Some(token) = event.token else {
            return Err(Error::unexpected("an event of the stream holds neither token nor error")
                .with_excerpt(data.as_bytes()));
        };
        self.count += 1;
        if self.logprobs {
            let top = event.top_tokens.as_deref().unwrap_or_default();
            self.tokens.push((self.text.len(), decode::token_logprob(&token, top)));
        }
        if !token.special {
            self.text.push_str(&token.text);
        }
        Ok(match event.generated_text {
            Some(text) => Some(self.complete(text.0, event.details.as_ref())),
            None => stop::find(&self.text, self.handed, self.stops).map(|cut| self.cut(cut)),
        })
    }

    /// Text that is new since the last time and cannot be part of a stop text.
    pub fn delta(&mut self) -> &str {
        let safe = stop::safe_len(&self.text, self.handed, self.stops);
        let from = std::mem::replace(&mut self.handed, safe);
        self.text.get(from..safe).unwrap_or_default()
    }

    /// The part of the result's text that was not handed out. (The last event's text is decoded as a whole and
    /// may differ from the tokens' texts, in the space at its beginning say; then nothing is added.)
    pub fn rest<'c>(&self, choice: &'c Choice) -> &'c str {
        let handed = self.text.get(..self.handed).unwrap_or_default();
        choice.text.strip_prefix(handed).unwrap_or_default()
    }

    /// The failure of a stream that ends here.
    pub fn broken_off(&self) -> Error {
        Error::new(
            ErrorKind::Transport,
            format!("the stream ended after {} tokens, before its last event", self.count),
        )
    }

    fn complete(&mut self, text: Cow<'_, str>, details: Option<&Details<'_>>) -> Ended {
        let cut = stop::find(&text, 0, self.stops);
        let reason = details.map(|details| &*details.finish_reason);
        let mut choice = decode::finished(text.into_owned(), cut, reason);
        choice.logprobs = self.logprobs(cut);
        let usage = Usage {
            prompt_tokens: details.and_then(|details| details.input_length),
            completion_tokens: details
                .and_then(|details| details.generated_tokens)
                .or(Some(self.count)),
            ..Usage::default()
        };
        Ended { choice, usage, by_server: true }
    }

    fn cut(&mut self, cut: usize) -> Ended {
        let mut choice = decode::finished(self.text.clone(), Some(cut), None);
        choice.logprobs = self.logprobs(Some(cut));
        let usage = Usage { completion_tokens: Some(self.count), ..Usage::default() };
        Ended { choice, usage, by_server: false }
    }

    fn logprobs(&mut self, cut: Option<usize>) -> Option<Vec<TokenLogprob>> {
        let tokens = std::mem::take(&mut self.tokens);
        let kept = tokens.into_iter().take_while(|(begins, _)| cut.is_none_or(|cut| *begins < cut));
        self.logprobs.then(|| kept.map(|(_, token)| token).collect())
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::FinishReason;
    use serde_json::json;

    use super::*;

    fn token(text: &str) -> String {
        json!({ "index": 1, "token": { "id": 5, "text": text, "logprob": -0.5, "special": false },
                "generated_text": null, "details": null })
        .to_string()
    }

    fn last(text: &str, whole: &str) -> String {
        json!({ "index": 2, "token": { "id": 5, "text": text, "logprob": -0.5, "special": false },
                "generated_text": whole,
                "details": { "finish_reason": "stop_sequence", "generated_tokens": 3, "seed": null,
                             "input_length": 7 } })
        .to_string()
    }

    #[test]
    fn text_handed_out_never_holds_the_beginning_of_a_stop_text() {
        let stops = ["\n\nQ:"];
        let mut collector = Collector::new(&stops, true);
        let mut deltas = Vec::new();
        for text in [" A", "\n", "\n", "B\n"] {
            assert!(collector.take(&token(text)).unwrap().is_none());
            deltas.push(collector.delta().to_owned());
        }
        assert_eq!(deltas, [" A", "", "", "\n\nB"]);
        let ended = collector.take(&last("\nQ:", " A\n\nB\n\nQ:")).unwrap().unwrap();
        assert_eq!(ended.choice.text, " A\n\nB");
        assert_eq!(ended.choice.finish_reason, FinishReason::Stop);
        assert_eq!(ended.choice.logprobs.as_ref().map(Vec::len), Some(4));
        assert_eq!(collector.rest(&ended.choice), "");
        assert_eq!((ended.usage.prompt_tokens, ended.usage.completion_tokens), (Some(7), Some(3)));
        assert!(ended.by_server);
    }

    #[test]
    fn a_stop_text_that_the_server_misses_ends_the_stream_early() {
        let stops = ["##"];
        let mut collector = Collector::new(&stops, false);
        assert!(collector.take(&token("yes")).unwrap().is_none());
        let ended = collector.take(&token(" ## more")).unwrap().unwrap();
        assert_eq!((ended.choice.text.as_str(), ended.by_server), ("yes ", false));
        assert_eq!(ended.usage.completion_tokens, Some(2));
    }

    #[test]
    fn an_error_event_is_a_failure_of_its_kind() {
        let mut collector = Collector::new(&[], false);
        for (data, kind) in [
            (
                r#"{"error":"Request failed during generation: x","error_type":"generation"}"#,
                ErrorKind::Overloaded,
            ),
            (
                r#"{"error":"Input validation error: y","error_type":"validation"}"#,
                ErrorKind::InvalidRequest,
            ),
            (r#"{"error":"z"}"#, ErrorKind::Other),
            (r#"{"index":3}"#, ErrorKind::UnexpectedReply),
            ("<html>", ErrorKind::UnexpectedReply),
        ] {
            assert_eq!(collector.take(data).unwrap_err().kind, kind, "{data}");
        }
    }
}
