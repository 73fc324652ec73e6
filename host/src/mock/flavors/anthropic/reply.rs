//! A message as Anthropic answers it, whole and as events.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::json;

use crate::mock::{
    exchange::named_event,
    flavors::speak::Spoken,
    model::{End, Said},
};

/// What a reply is made of.
pub(super) struct Answered<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    pub(super) spoken: &'a Spoken,
    /// The texts that end an answer.
    pub(super) stops: &'a [Cow<'a, str>],
    /// Whether the model refuses.
    pub(super) refused: bool,
}

/// A message.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    stop_details: Option<StopDetails>,
    container: Option<()>,
    usage: Usage,
}

#[derive(Serialize)]
struct StopDetails {
    r#type: &'static str,
    category: Option<&'static str>,
    explanation: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Thinking { thinking: &'a str, signature: &'a str },
    Text { text: &'a str, citations: Option<()> },
}

/// Tokens.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Usage {
    pub(super) input_tokens: usize,
    /// Those of the thinking among them.
    pub(super) output_tokens: usize,
    cache_creation_input_tokens: usize,
    cache_read_input_tokens: usize,
    cache_creation: Option<()>,
    inference_geo: Option<()>,
    output_tokens_details: Details,
    server_tool_use: Option<()>,
    service_tier: &'static str,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Details {
    thinking_tokens: usize,
}

#[derive(Serialize)]
struct Delta<'a> {
    r#type: &'static str,
    index: usize,
    delta: DeltaText<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum DeltaText<'a> {
    TextDelta { text: &'a str },
    ThinkingDelta { thinking: &'a str },
    SignatureDelta { signature: &'a str },
}

const SIGNATURE: &str = "bW9jaw==";

impl<'a> Answered<'a> {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.spoken.said.prompt_tokens,
            output_tokens: self.spoken.completion_tokens(),
            output_tokens_details: Details { thinking_tokens: self.spoken.thought_tokens() },
            service_tier: "standard",
            ..Usage::default()
        }
    }

    fn stop_reason(&self) -> (&'static str, Option<&'a str>) {
        match self.spoken.said.end {
            _ if self.refused => ("refusal", None),
            End::Eos => ("end_turn", None),
            End::Stop(number) => ("stop_sequence", self.stops.get(number).map(|stop| &**stop)),
            End::Length => ("max_tokens", None),
        }
    }

    fn stop_details(&self) -> Option<StopDetails> {
        self.refused.then_some(StopDetails { r#type: "refusal", category: None, explanation: None })
    }

    fn content(&self) -> Vec<Block<'a>> {
        let thoughts = self.spoken.thoughts.as_ref().map(Said::text);
        let thoughts = thoughts.map(|thinking| Block::Thinking { thinking, signature: SIGNATURE });
        let text = self.spoken.said.text();
        // An empty text is no block: an empty answer has no content.
        let text = (!text.is_empty()).then_some(Block::Text { text, citations: None });
        thoughts.into_iter().chain(text).collect()
    }

    /// The whole message.
    pub(super) fn message(&self) -> Message<'a> {
        let (stop_reason, stop_sequence) = self.stop_reason();
        Message {
            content: self.content(),
            stop_reason: Some(stop_reason),
            stop_sequence,
            stop_details: self.stop_details(),
            usage: self.usage(),
            ..self.opened()
        }
    }

    /// The message before anything is said.
    fn opened(&self) -> Message<'a> {
        Message {
            id: self.id,
            r#type: "message",
            role: "assistant",
            model: self.model,
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            container: None,
            usage: Usage {
                output_tokens: 1,
                output_tokens_details: Details::default(),
                ..self.usage()
            },
        }
    }

    /// The events.
    pub(super) fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::with_capacity(self.spoken.completion_tokens() + 10);
        let start = json!({ "type": "message_start", "message": self.opened() });
        frames.push(named_event(b"event: message_start\ndata: ", &start));
        let mut index = 0;
        if let Some(thoughts) = &self.spoken.thoughts {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            start_block(&mut frames, index, &block);
            for token in &thoughts.tokens {
                push_delta(
                    &mut frames,
                    index,
                    DeltaText::ThinkingDelta { thinking: thoughts.piece(token) },
                );
            }
            push_delta(&mut frames, index, DeltaText::SignatureDelta { signature: SIGNATURE });
            stop_block(&mut frames, index);
            index += 1;
        }
        let said = &self.spoken.said;
        if !said.text().is_empty() {
            start_block(
                &mut frames,
                index,
                &json!({ "type": "text", "text": "", "citations": null }),
            );
            frames.push(b"event: ping\ndata: {\"type\": \"ping\"}\n\n".to_vec());
            let pieces = said.tokens.iter().map(|token| said.answer_piece(token));
            for text in pieces.filter(|text| !text.is_empty()) {
                push_delta(&mut frames, index, DeltaText::TextDelta { text });
            }
            stop_block(&mut frames, index);
        }
        let (stop_reason, stop_sequence) = self.stop_reason();
        let end = json!({
            "type": "message_delta",
            "delta": {
                "stop_reason": stop_reason,
                "stop_sequence": stop_sequence,
                "stop_details": self.stop_details(),
                "container": null,
            },
            "usage": self.usage(),
        });
        frames.push(named_event(b"event: message_delta\ndata: ", &end));
        frames.push(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_vec());
        frames
    }
}

fn start_block(frames: &mut Vec<Vec<u8>>, index: usize, block: &serde_json::Value) {
    let start = json!({ "type": "content_block_start", "index": index, "content_block": block });
    frames.push(named_event(b"event: content_block_start\ndata: ", &start));
}

fn push_delta(frames: &mut Vec<Vec<u8>>, index: usize, delta: DeltaText<'_>) {
    let delta = Delta { r#type: "content_block_delta", index, delta };
    frames.push(named_event(b"event: content_block_delta\ndata: ", &delta));
}

fn stop_block(frames: &mut Vec<Vec<u8>>, index: usize) {
    let stop = json!({ "type": "content_block_stop", "index": index });
    frames.push(named_event(b"event: content_block_stop\ndata: ", &stop));
}
