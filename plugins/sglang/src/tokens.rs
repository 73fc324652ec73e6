//! Requests for tokens and texts: `/tokenize`, `/v1/tokenize` and `/detokenize` (wire.md 3.1;
//! python/sglang/srt/entrypoints/openai/protocol.py, `TokenizeRequest`, version 0.5.23).
//!
//! Pure: borrows texts and messages, sends nothing.

use plugin_api::{Message, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use wire::text::{self, TextMessage};

/// Body of `/tokenize` for texts: the answer has a list of ids for each.
#[derive(Debug, Serialize)]
pub struct TokenizeBody<'a> {
    prompt: &'a [&'a str],
    add_special_tokens: bool,
}

/// The body that asks for the tokens of texts.
pub const fn tokenize<'a>(texts: &'a [&'a str], add_special_tokens: bool) -> TokenizeBody<'a> {
    TokenizeBody { prompt: texts, add_special_tokens }
}

/// Body of `/detokenize`.
#[derive(Debug, Serialize)]
pub struct DetokenizeBody<'a> {
    tokens: &'a [u32],
    skip_special_tokens: bool,
}

/// The body that asks for the text of tokens, special ones included.
pub const fn detokenize(tokens: &[u32]) -> DetokenizeBody<'_> {
    DetokenizeBody { tokens, skip_special_tokens: false }
}

/// Body of `/v1/tokenize` for a conversation.
#[derive(Debug, Serialize)]
pub struct ChatBody<'a> {
    messages: Vec<TextMessage<'a>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    chat_template_kwargs: &'a Map<String, Value>,
}

/// The body that asks for the tokens of a conversation, the turn of the assistant opened.
///
/// # Errors
/// `unsupported` if a message holds an image.
pub fn chat<'a>(
    messages: &'a [Message<'a>],
    template: &'a Map<String, Value>,
) -> Result<ChatBody<'a>> {
    Ok(ChatBody { messages: text::messages(messages)?, chat_template_kwargs: template })
}
