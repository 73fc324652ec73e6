//! Replies of the Messages API as completions: the answer is its `text` blocks, thinking is kept apart.
//!
//! Pure: borrows from the reply.

use plugin_api::{Completion, Error, FinishReason, Reply, Result, Usage, message::Str};
use serde::Deserialize;
use wire::count;

use crate::answer::{Text, hidden_reasoning};

use super::failure;

/// A message, whole or as a stream begins with it.
#[derive(Debug, Deserialize)]
pub(super) struct MessageReply<'a> {
    #[serde(borrow, default)]
    pub(super) model: Option<Str<'a>>,
    #[serde(borrow)]
    content: Vec<Block<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Str<'a>>,
    #[serde(default)]
    pub(super) usage: Option<Counted>,
}

/// A block of an answer, or the beginning of one.
#[derive(Debug, Deserialize)]
pub(super) struct Block<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    text: Option<Str<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Str<'a>>,
}

/// Tokens as the API counts them; what is no count is unknown. In a stream each count is that of the whole so far.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    #[serde(deserialize_with = "count::read")]
    input_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    cache_read_input_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    #[serde(deserialize_with = "count::read")]
    thinking_tokens: Option<u64>,
}

/// Reads a reply.
///
/// # Errors
/// What [`failure::failure`] makes of a status that is no success, and of an error object under a good one;
/// `unexpected_reply` for any other shape.
pub fn decode(reply: &Reply, stop: &[String]) -> Result<Completion> {
    if !reply.is_success() {
        return Err(failure::failure(reply));
    }
    let message: MessageReply<'_> =
        reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))?;
    let mut gathered = Gathered::new(stop);
    for block in &message.content {
        gathered.block(block).map_err(|error| error.with_excerpt(reply.body()))?;
    }
    gathered.model = message.model.map(Str::into_owned);
    gathered.count(message.usage.unwrap_or_default());
    gathered.stop_reason = message.stop_reason.map(Str::into_owned);
    if gathered.stop_reason.is_none() {
        return Err(Error::unexpected("the message does not say why it ended (stop_reason)")
            .with_excerpt(reply.body()));
    }
    let completion = gathered.completion();
    let ended = completion.choices.iter().all(|choice| choice.finish_reason == FinishReason::Stop);
    let known = |block: &Block<'_>| KNOWN.contains(&&*block.kind);
    if ended && !message.content.is_empty() && !message.content.iter().any(known) {
        return Err(Error::unexpected("the message has content, but no block of a known type")
            .with_excerpt(reply.body()));
    }
    Ok(completion)
}

/// Types of blocks that an answer is made of.
const KNOWN: [&str; 3] = ["text", "thinking", "redacted_thinking"];

/// An answer being put together from blocks or from events.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) text: Text,
    /// Texts of the thinking blocks; empty where the server omits them.
    thinking: Vec<String>,
    pub(super) model: Option<String>,
    pub(super) stop_reason: Option<String>,
    counted: Counted,
}

impl Gathered {
    pub(super) fn new(stop: &[String]) -> Self {
        Self {
            text: Text::new(stop),
            thinking: Vec::new(),
            model: None,
            stop_reason: None,
            counted: Counted::default(),
        }
    }

    /// Takes a block, or the beginning of one. Blocks of other types (tools, search results) are no part of the answer.
    pub(super) fn block(&mut self, block: &Block<'_>) -> Result<()> {
        match &*block.kind {
            "text" => match &block.text {
                Some(text) => self.text.push(text),
                None => return Err(Error::unexpected("a text block holds no text")),
            },
            "thinking" => self.thinking.push(block.thinking.as_deref().unwrap_or("").to_owned()),
            "redacted_thinking" => self.thinking.push("(redacted thinking)".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Appends to the thinking block that came last.
    pub(super) fn think(&mut self, more: &str) {
        match self.thinking.last_mut() {
            Some(thinking) => thinking.push_str(more),
            None => self.thinking.push(more.to_owned()),
        }
    }

    /// Takes counts; those that are not named stay.
    pub(super) fn count(&mut self, newer: Counted) {
        let known = self.counted;
        self.counted = Counted {
            input_tokens: newer.input_tokens.or(known.input_tokens),
            cache_creation_input_tokens: newer
                .cache_creation_input_tokens
                .or(known.cache_creation_input_tokens),
            cache_read_input_tokens: newer
                .cache_read_input_tokens
                .or(known.cache_read_input_tokens),
            output_tokens: newer.output_tokens.or(known.output_tokens),
            output_tokens_details: newer.output_tokens_details.or(known.output_tokens_details),
        };
    }

    /// Takes the counts that a stream begins with: what it says of the output is not yet true.
    pub(super) fn count_input(&mut self, counted: Counted) {
        self.count(Counted { output_tokens: None, output_tokens_details: None, ..counted });
    }

    /// The answer as far as it came.
    pub(super) fn completion(&self) -> Completion {
        let reason = finish_reason(self.stop_reason.as_deref().unwrap_or("unknown"));
        Completion {
            choices: vec![self.text.choice(reason, self.reasoning(), None)],
            usage: self.usage(),
            model: self.model.clone(),
            ..Completion::default()
        }
    }

    fn reasoning(&self) -> Option<String> {
        let shown: Vec<&str> =
            self.thinking.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        if !shown.is_empty() {
            return Some(shown.join("\n\n"));
        }
        let tokens = self.thinking_tokens().filter(|tokens| *tokens > 0);
        (tokens.is_some() || !self.thinking.is_empty()).then(|| hidden_reasoning(tokens))
    }

    fn thinking_tokens(&self) -> Option<u64> {
        self.counted.output_tokens_details.and_then(|details| details.thinking_tokens)
    }

    /// `input_tokens` leaves out what a cache held or took in; the prompt is the sum of the three.
    fn usage(&self) -> Usage {
        let counted = &self.counted;
        let cached = counted.cache_read_input_tokens.unwrap_or(0);
        let written = counted.cache_creation_input_tokens.unwrap_or(0);
        Usage {
            prompt_tokens: counted
                .input_tokens
                .map(|tokens| tokens.saturating_add(cached).saturating_add(written)),
            completion_tokens: counted.output_tokens,
            cached_tokens: counted.cache_read_input_tokens,
            reasoning_tokens: self.thinking_tokens(),
            ..Usage::default()
        }
    }
}

/// wire.md 7.2. A reason that is not known, `pause_turn` among them, keeps its name.
fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}
