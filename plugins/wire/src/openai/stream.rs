//! A streamed answer, event by event (wire.md 4.1): pieces of choices, a last event with the usage, `[DONE]`. A failure
//! may come as an event under status 200.
//!
//! Pure: gets events, sends nothing. What it hands out as new text is answer only, and never holds a stop text nor
//! the beginning of one.

use std::collections::BTreeMap;

use plugin_api::{Completion, Error, ErrorKind, Result, SseEvent, Usage, message::Str};
use serde::Deserialize;
use serde_json::Value;

use super::{
    failure,
    raw::{Message, Raw, said},
    reply::{Counts, Reading, miscounted, note_missing_logprobs},
    think::Split,
    tokens::Logprobs,
};
use crate::{object::Object, stop};

/// Collects the events of one stream.
#[derive(Debug)]
pub struct Collector {
    reading: Reading,
    choices: BTreeMap<u64, Raw>,
    model: Option<String>,
    usage: Option<Usage>,
    /// `[DONE]` came.
    done: bool,
    events: u64,
    /// Where the answer of choice 0 begins.
    split: Split,
    /// Bytes of choice 0 that were handed out, or never will be.
    handed: usize,
    /// Choice 0 has reached a stop text.
    cut: bool,
}

/// One event.
#[derive(Debug, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Object<Piece<'a>>>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(borrow, default)]
    model: Option<Str<'a>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Piece<'a> {
    /// Not always a number in what servers send.
    #[serde(default)]
    index: Value,
    #[serde(borrow, default)]
    delta: Option<Object<Message<'a>>>,
    #[serde(borrow, default)]
    text: Option<Str<'a>>,
    #[serde(borrow, default)]
    logprobs: Option<Logprobs<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Str<'a>>,
    #[serde(default, alias = "matched_stop", deserialize_with = "said")]
    stop_reason: Option<Value>,
}

impl Collector {
    /// A collector of the choices that `reading` says were asked for.
    pub fn new(reading: Reading) -> Self {
        Self {
            reading,
            choices: BTreeMap::new(),
            model: None,
            usage: None,
            done: false,
            events: 0,
            split: Split::default(),
            handed: 0,
            cut: false,
        }
    }

    /// Takes one event; true once the answer is complete.
    ///
    /// # Errors
    /// The failure that the event tells; `unexpected_reply` if it is of another shape.
    pub fn take(&mut self, event: &SseEvent) -> Result<bool> {
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(self.done);
        }
        if data == "[DONE]" {
            self.done = true;
            return Ok(true);
        }
        let unexpected = |message: String| Error::unexpected(message).with_excerpt(data.as_bytes());
        let Object(chunk): Object<Chunk<'_>> = serde_json::from_str(data).map_err(|error| {
            failure::in_body(data.as_bytes()).unwrap_or_else(|| {
                unexpected(format!("an event of the stream is not the expected JSON: {error}"))
            })
        })?;
        if chunk.error.is_some() || event.name == "error" {
            return Err(failure::in_body(data.as_bytes()).unwrap_or_else(|| {
                Error::new(ErrorKind::Other, "an event of the stream tells an unknown failure")
                    .with_excerpt(data.as_bytes())
            }));
        }
        if chunk.choices.is_none() && chunk.usage.is_none() {
            return match failure::in_body(data.as_bytes()) {
                Some(error) => Err(error),
                None => Err(unexpected("an event of the stream holds no `choices`".to_owned())),
            };
        }
        self.events += 1;
        if self.model.is_none() {
            self.model = chunk.model.map(|m| m.into_owned()).filter(|model| !model.is_empty());
        }
        // The sums of the last event that has any: some servers send them with every event.
        let is_counted = chunk.usage.is_some();
        if let Some(counts) = chunk.usage {
            self.usage = Some(counts.usage());
        }
        for (position, Object(piece)) in (0..).zip(chunk.choices.unwrap_or_default()) {
            self.add(position, piece);
        }
        // The end of the stream need not be waited for, which a proxy may hold back. Sums that came before the answer's
        // end are not the last ones.
        Ok(is_counted && self.is_whole())
    }

    fn add(&mut self, position: u64, piece: Piece<'_>) {
        let raw = self.choices.entry(piece.index.as_u64().unwrap_or(position)).or_default();
        if let Some(Object(delta)) = piece.delta {
            raw.add(delta);
        }
        if let Some(text) = piece.text {
            raw.add_text(&text);
        }
        raw.add_logprobs(piece.logprobs, self.reading.logprobs.unwrap_or(0));
        // Some servers send an empty one with every piece, others at the end of a tool call.
        let ends = |reason: &Str<'_>| !reason.is_empty() || raw.called_tool();
        if let Some(reason) = piece.finish_reason.filter(ends) {
            raw.end(reason.into_owned());
            raw.stop_reason = piece.stop_reason;
        }
    }

    /// Whether as many choices have ended as were asked for.
    fn is_whole(&self) -> bool {
        let ended = self.choices.values().filter(|raw| raw.finish_reason.is_some()).count();
        ended == self.choices.len() && ended >= wanted(&self.reading)
    }

    /// Text of choice 0 that is new and cannot become part of a stop text.
    pub fn delta(&mut self) -> String {
        let Some(raw) = self.choices.get(&0) else { return String::new() };
        if self.reading.think_tags {
            self.split.advance(raw.text());
        } else {
            self.split = Split::Plain;
        }
        let Some(begin) = self.split.answer().filter(|_| !self.cut) else {
            return String::new();
        };
        let from = self.handed.max(begin);
        let found = stop::find(raw.text(), from, &self.reading.stop);
        self.cut = found.is_some();
        let safe =
            found.unwrap_or_else(|| stop::safe_len(raw.text(), from, &self.reading.stop)).max(from);
        self.handed = safe;
        raw.text().get(from..safe).unwrap_or_default().to_owned()
    }

    /// The answer.
    ///
    /// # Errors
    /// `transport` if the stream broke off before its end, or its last event came although a choice has none: so ends a
    /// stream that a proxy lost behind it. `unexpected_reply` if it ended with fewer choices than were asked for.
    pub fn finish(&mut self) -> Result<Completion> {
        if !self.done && !self.is_whole() {
            return Err(Error::new(
                ErrorKind::Transport,
                format!("the stream ended after {} events, before its last one", self.events),
            ));
        }
        let found = self.choices.len();
        if found != wanted(&self.reading) {
            return Err(Error::unexpected(miscounted(found, self.reading.n)));
        }
        if !self.is_whole() {
            return Err(Error::new(
                ErrorKind::Transport,
                "the stream ended without saying how its answer did (finish_reason)",
            ));
        }
        let usage = self.usage.unwrap_or_default();
        let choices = std::mem::take(&mut self.choices).into_values();
        let choices =
            choices.map(|raw| raw.finished(&self.reading, &usage)).collect::<Result<_>>()?;
        let mut completion =
            Completion { choices, usage, model: self.model.take(), ..Completion::default() };
        note_missing_logprobs(&mut completion, &self.reading);
        Ok(completion)
    }
}

fn wanted(reading: &Reading) -> usize {
    usize::try_from(reading.n.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use plugin_api::Reply;
    use serde_json::json;

    use super::{super::reply::completion, *};

    fn event(data: &Value) -> SseEvent {
        SseEvent { name: String::new(), data: data.to_string() }
    }

    fn piece(index: u64, content: &str, finish: &Value) -> SseEvent {
        event(&json!({ "object": "chat.completion.chunk", "model": "acme-1", "choices": [
            { "index": index, "delta": { "content": content }, "finish_reason": finish }] }))
    }

    fn done() -> SseEvent {
        SseEvent { name: String::new(), data: "[DONE]".to_owned() }
    }

    fn collector(stop: &[&str], n: u32) -> Collector {
        let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
        Collector::new(Reading { stop, think_tags: true, logprobs: None, n })
    }

    #[test]
    fn what_is_handed_out_is_answer_only_and_never_holds_a_stop_text() {
        let mut collector = collector(&["\n\nQ:"], 1);
        let mut deltas = Vec::new();
        for text in ["<th", "ink>a\n\nQ:", "</think>", "\n", "\nA", "\n", "\n", "B\n", "\nQ: x"] {
            assert!(!collector.take(&piece(0, text, &Value::Null)).unwrap());
            deltas.push(collector.delta());
        }
        assert_eq!(deltas, ["", "", "", "", "A", "", "", "\n\nB", ""]);
        assert!(!collector.take(&piece(0, "", &json!("stop"))).unwrap());
        let usage =
            json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 9 } });
        assert!(collector.take(&event(&usage)).unwrap());
        let completion = collector.finish().unwrap();
        assert_eq!(completion.choices[0].text, "A\n\nB");
        assert_eq!(completion.choices[0].reasoning.as_deref(), Some("a\n\nQ:"));
        assert_eq!(completion.usage.completion_tokens, Some(9));
        assert_eq!(completion.model.as_deref(), Some("acme-1"));
    }

    #[test]
    fn a_stream_is_whole_with_its_reasons_or_its_last_event_and_broken_without() {
        let mut ended = collector(&[], 1);
        ended.take(&piece(0, "A", &json!("stop"))).unwrap();
        assert_eq!(ended.finish().unwrap().choices[0].text, "A");

        let mut said = collector(&[], 1);
        said.take(&piece(0, "A", &Value::Null)).unwrap();
        assert!(said.take(&done()).unwrap());
        assert_eq!(said.finish().unwrap_err().kind, ErrorKind::Transport, "no finish reason");

        let mut empty = collector(&[], 1);
        for (text, sum) in [("A", 1), ("B", 2)] {
            let data = json!({ "choices": [{ "delta": { "content": text }, "finish_reason": "" }],
                               "usage": { "prompt_tokens": 3, "completion_tokens": sum } });
            assert!(!empty.take(&event(&data)).unwrap(), "not its end");
        }
        assert!(empty.take(&done()).unwrap());
        assert_eq!(empty.finish().unwrap_err().kind, ErrorKind::Transport, "an empty one");

        let mut broken = collector(&[], 1);
        broken.take(&piece(0, "A", &Value::Null)).unwrap();
        assert_eq!(broken.finish().unwrap_err().kind, ErrorKind::Transport);
        assert_eq!(collector(&[], 1).finish().unwrap_err().kind, ErrorKind::Transport);

        let mut empty = collector(&[], 1);
        empty.take(&done()).unwrap();
        assert_eq!(empty.finish().unwrap_err().kind, ErrorKind::UnexpectedReply);
    }

    #[test]
    fn an_answer_is_empty_only_if_the_server_says_so_in_a_stream_as_in_a_whole_reply() {
        let call = json!({ "tool_calls": [{ "id": "1" }] });
        let refused = json!({ "content": null, "refusal": "No." });
        let thought = json!({ "content": null, "reasoning_content": "hm" });
        let listed = json!({ "content": [{ "type": "text", "text": "" }] });
        for (message, finish, found) in [
            (json!({ "content": "" }), "stop", Ok("")),
            (listed, "stop", Ok("")),
            (json!({ "content": null }), "stop", Err(ErrorKind::UnexpectedReply)),
            (json!({ "role": "assistant" }), "stop", Err(ErrorKind::UnexpectedReply)),
            (json!({ "content": [] }), "stop", Err(ErrorKind::UnexpectedReply)),
            (json!({ "content": null, "tool_calls": [] }), "stop", Err(ErrorKind::UnexpectedReply)),
            (json!({ "content": null }), "weary", Err(ErrorKind::UnexpectedReply)),
            (json!({ "content": null }), "error", Err(ErrorKind::Overloaded)),
            (json!({ "content": null }), "length", Ok("")),
            (json!({ "content": null }), "MAX_TOKENS", Ok("")),
            (json!({ "content": null }), "content_filter", Ok("")),
            (thought, "stop", Ok("")),
            (refused, "stop", Ok("No.")),
            (call.clone(), "stop", Ok("")),
            (call, "", Ok("")),
        ] {
            let body = json!({ "choices": [{ "message": message, "finish_reason": finish }] });
            let reply = Reply::new(200, &[], body.to_string().as_bytes());
            let whole = completion(&reply, &Reading::default());
            let mut collector = collector(&[], 1);
            for (delta, finish) in [(&message, Value::Null), (&json!({}), finish.into())] {
                let data = json!({ "choices": [{ "delta": delta, "finish_reason": finish }] });
                collector.take(&event(&data)).unwrap();
            }
            collector.take(&done()).unwrap();
            let streamed = collector.finish();
            let text = |read: &plugin_api::Result<plugin_api::Completion>| {
                let read = read.as_ref().map(|read| read.choices[0].text.clone());
                read.map_err(|error| error.kind)
            };
            let found = found.map(str::to_owned);
            assert_eq!(text(&whole), found, "{message} {finish}");
            // A stream of llama.cpp begins with a null content; of a model that stops at once nothing else comes.
            let found = if finish == "stop" { found.or(Ok(String::new())) } else { found };
            assert_eq!(text(&streamed), found, "{message} {finish}");
        }
    }

    #[test]
    fn sums_that_come_before_the_end_are_not_taken_for_the_last_ones() {
        let sums = |n: u64| json!({ "prompt_tokens": 3, "completion_tokens": n });
        let mut collector = collector(&[], 1);
        for (delta, finish, usage) in
            [("A", json!(null), sums(1)), ("", json!("stop"), Value::Null)]
        {
            let data = json!({ "usage": usage, "choices": [
                { "index": 0, "delta": { "content": delta }, "finish_reason": finish }] });
            assert!(!collector.take(&event(&data)).unwrap());
        }
        assert!(collector.take(&event(&json!({ "choices": [], "usage": sums(2) }))).unwrap());
        assert_eq!(collector.finish().unwrap().usage.completion_tokens, Some(2));
    }

    #[test]
    fn every_choice_is_collected_and_only_the_first_is_handed_out() {
        let mut collector = collector(&[], 2);
        collector.take(&piece(1, "b", &Value::Null)).unwrap();
        assert_eq!(collector.delta(), "");
        collector.take(&piece(0, "a", &json!("length"))).unwrap();
        assert_eq!(collector.delta(), "a");
        collector.take(&piece(1, "c", &json!("stop"))).unwrap();
        assert_eq!(collector.delta(), "");
        let completion = collector.finish().unwrap();
        let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
        assert_eq!(texts, ["a", "bc"]);
    }

    #[test]
    fn an_index_that_is_no_number_falls_back_to_the_position() {
        let mut collector = collector(&[], 1);
        let odd = json!({ "choices": [{ "index": "0", "text": "A", "finish_reason": "stop" }] });
        collector.take(&event(&odd)).unwrap();
        assert_eq!(collector.finish().unwrap().choices[0].text, "A");
    }

    #[test]
    fn an_error_event_is_a_failure_of_its_kind() {
        for (name, data, kind) in [
            ("", r#"{"error":{"message":"slow","code":429}}"#, ErrorKind::RateLimited),
            ("error", r#"{"message":"busy","code":503}"#, ErrorKind::Overloaded),
            ("error", r#"{"choices":[]}"#, ErrorKind::Other),
            ("", r#"{"error":"x","choices":[]}"#, ErrorKind::Other),
            ("", r#"{"id":"x"}"#, ErrorKind::UnexpectedReply),
            ("", "<html>", ErrorKind::UnexpectedReply),
            ("", r#"{"choices":[{"delta":7}]}"#, ErrorKind::UnexpectedReply),
        ] {
            let event = SseEvent { name: name.to_owned(), data: data.to_owned() };
            assert_eq!(collector(&[], 1).take(&event).unwrap_err().kind, kind, "{data}");
        }
    }

    #[test]
    fn reasoning_and_log_probabilities_come_in_pieces() {
        let reading = Reading { logprobs: Some(0), ..Reading::default() };
        let mut collector = Collector::new(reading);
        let event_of = |delta: Value, logprobs: Value, finish: Value| {
            event(&json!({ "choices": [{ "index": 0, "delta": delta, "logprobs": logprobs,
                                         "finish_reason": finish }], "usage": null }))
        };
        let token = json!({ "content": [{ "token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": [] }] });
        for event in [
            event_of(json!({ "role": "assistant", "content": "" }), json!(null), json!(null)),
            event_of(json!({ "reasoning_content": "h" }), json!(null), json!(null)),
            event_of(
                json!({ "reasoning_content": "m", "content": null }),
                json!(null),
                json!(null),
            ),
            event_of(json!({ "content": "A" }), token, json!(null)),
            event_of(json!({}), json!(null), json!("stop")),
        ] {
            assert!(!collector.take(&event).unwrap());
        }
        let choice = collector.finish().unwrap().choices.remove(0);
        assert_eq!((choice.text.as_str(), choice.reasoning.as_deref()), ("A", Some("hm")));
        assert_eq!(choice.logprobs.map(|tokens| tokens.len()), Some(1));
    }
}
