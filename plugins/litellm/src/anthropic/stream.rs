//! A streamed message, event by event: `message_start`, blocks with their deltas, `message_delta` with the reason and
//! the counts, `message_stop`; `ping` and events of later versions in between; a failure as an `error` event under
//! status 200 (wire.md 4.3).
//!
//! Pure: gets events, sends nothing.

use plugin_api::{Completion, Error, ErrorKind, Result, SseEvent, message::Str};
use serde::Deserialize;

use crate::call::Collect;

use super::{
    decode::{Block, Counted, Gathered},
    failure::{self, Named},
};

/// A collector that cuts the answer at these stop texts.
pub fn collector(stop: &[String]) -> Box<dyn Collect> {
    Box::new(Collector { gathered: Gathered::new(stop), events: 0, ended: false })
}

struct Collector {
    gathered: Gathered,
    events: u64,
    ended: bool,
}

/// Any event; which fields it has depends on its type.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
    #[serde(borrow, default)]
    message: Option<Started<'a>>,
    #[serde(borrow, default)]
    content_block: Option<Block<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    usage: Option<Counted>,
    #[serde(borrow, default)]
    error: Option<Named<'a>>,
}

/// The message as it stands before its first block.
#[derive(Debug, Deserialize)]
struct Started<'a> {
    #[serde(borrow, default)]
    model: Option<Str<'a>>,
    #[serde(default)]
    usage: Option<Counted>,
}

/// A piece of a block, or of the message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(rename = "type", borrow)]
    kind: Str<'a>,
    #[serde(borrow)]
    text: Option<Str<'a>>,
    #[serde(borrow)]
    thinking: Option<Str<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Str<'a>>,
}

impl Collect for Collector {
    fn take(&mut self, event: &SseEvent) -> Result<bool> {
        if self.ended || event.data.is_empty() {
            return Ok(self.ended);
        }
        self.events += 1;
        let unexpected = |what: &str| Error::unexpected(what).with_excerpt(event.data.as_bytes());
        let Event { kind, message, content_block, delta, usage, error } =
            serde_json::from_str(&event.data).map_err(|error| {
                unexpected(&format!("an event of the stream is not the expected JSON: {error}"))
            })?;
        match &*kind {
            "message_start" => {
                let started =
                    message.ok_or_else(|| unexpected("message_start without a message"))?;
                self.gathered.model = started.model.map(Str::into_owned);
                self.gathered.count_input(started.usage.unwrap_or_default());
            }
            "content_block_start" => {
                let block = content_block
                    .ok_or_else(|| unexpected("content_block_start without a block"))?;
                self.gathered
                    .block(&block)
                    .map_err(|error| error.with_excerpt(event.data.as_bytes()))?;
            }
            "content_block_delta" => {
                let delta =
                    delta.ok_or_else(|| unexpected("content_block_delta without a delta"))?;
                match (&*delta.kind, delta.text, delta.thinking) {
                    ("text_delta", Some(text), _) => self.gathered.text.push(&text),
                    ("thinking_delta", _, Some(thinking)) => self.gathered.think(&thinking),
                    ("text_delta" | "thinking_delta", ..) => {
                        return Err(unexpected("a delta holds no text"));
                    }
                    _ => {}
                }
            }
            "message_delta" => {
                let delta = delta.ok_or_else(|| unexpected("message_delta without a delta"))?;
                if let Some(reason) = delta.stop_reason {
                    self.gathered.stop_reason = Some(reason.into_owned());
                }
                self.gathered.count(usage.unwrap_or_default());
            }
            "message_stop" if self.gathered.stop_reason.is_none() => {
                return Err(unexpected("the message does not say why it ended (stop_reason)"));
            }
            "message_stop" => self.ended = true,
            "error" => {
                let error = error.ok_or_else(|| unexpected("an error event without an error"))?;
                return Err(failure::named(&error).with_excerpt(event.data.as_bytes()));
            }
            _ => {}
        }
        // A stop text that the server was not told of, or missed: it would go on.
        self.ended |= self.gathered.text.is_cut();
        Ok(self.ended)
    }

    fn delta(&mut self) -> String {
        self.gathered.text.delta(self.ended)
    }

    fn finish(&mut self) -> Result<Completion> {
        if !self.ended {
            return Err(Error::new(
                ErrorKind::Transport,
                format!("the stream ended after {} events, before its last one", self.events),
            ));
        }
        Ok(self.gathered.completion())
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::FinishReason;
    use serde_json::{Value, json};

    use super::*;

    fn event(data: &Value) -> SseEvent {
        SseEvent { name: String::new(), data: data.to_string() }
    }

    fn text(text: &str) -> SseEvent {
        event(&json!({ "type": "content_block_delta", "index": 0,
                       "delta": { "type": "text_delta", "text": text } }))
    }

    #[test]
    fn a_stop_text_that_the_server_does_not_know_ends_the_stream_early() {
        let mut collector = collector(&["\n\n".to_owned()]);
        let start = json!({ "type": "message_start", "message": { "model": "m", "content": [],
                            "usage": { "input_tokens": 3, "output_tokens": 1 } } });
        assert!(!collector.take(&event(&start)).unwrap());
        assert!(!collector.take(&text("yes\n")).unwrap());
        assert_eq!(collector.delta(), "yes");
        assert!(collector.take(&text("\nQ: more")).unwrap());
        assert_eq!(collector.delta(), "");
        let completion = collector.finish().unwrap();
        assert_eq!(completion.choices[0].text, "yes");
        assert_eq!(completion.choices[0].finish_reason, FinishReason::Stop);
        assert_eq!(completion.usage.prompt_tokens, Some(3));
        assert_eq!(
            completion.usage.completion_tokens, None,
            "the first event's count is not the last"
        );
    }

    #[test]
    fn an_error_event_is_a_failure_of_its_kind() {
        for (data, kind) in [
            (
                json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } }),
                ErrorKind::Overloaded,
            ),
            (
                json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "m" } }),
                ErrorKind::RateLimited,
            ),
            (json!({ "type": "error", "error": { "type": "new_error" } }), ErrorKind::Other),
            (json!({ "type": "error" }), ErrorKind::UnexpectedReply),
            (json!({ "type": "message_stop" }), ErrorKind::UnexpectedReply),
            (json!({ "type": "content_block_delta" }), ErrorKind::UnexpectedReply),
            (json!({ "no": "type" }), ErrorKind::UnexpectedReply),
            (json!([]), ErrorKind::UnexpectedReply),
        ] {
            let error = collector(&[]).take(&event(&data)).unwrap_err();
            assert_eq!(error.kind, kind, "{data}");
        }
    }

    #[test]
    fn a_stream_without_its_last_event_is_no_answer() {
        let mut collector = collector(&[]);
        let delta = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } });
        for event in [event(&json!({ "type": "ping" })), text("yes"), event(&delta)] {
            assert!(!collector.take(&event).unwrap());
        }
        assert_eq!(collector.finish().unwrap_err().kind, ErrorKind::Transport);
        assert!(collector.take(&event(&json!({ "type": "message_stop" }))).unwrap());
        assert_eq!(collector.finish().unwrap().choices[0].text, "yes");
    }
}
