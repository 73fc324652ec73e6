//! Requests for tokens and texts: `/tokenize`, `/v1/tokenize` and `/detokenize` (wire.md 3.1;
//! python/sglang/srt/entrypoints/openai/protocol.py, `TokenizeRequest`, version 0.5.23).
//!
//! Pure: borrows texts and messages, sends nothing.

use std::fmt;

use plugin_api::{Error, Message, Part, Result};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

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
    messages: Vec<ChatMessage<'a>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    chat_template_kwargs: &'a Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct ChatMessage<'a> {
    role: &'a str,
    content: Text<'a>,
}

/// The text parts of one message, written as one string.
#[derive(Debug)]
struct Text<'a>(&'a [Part<'a>]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Image { .. } => Ok(()),
        })
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The body that asks for the tokens of a conversation, the turn of the assistant opened.
///
/// # Errors
/// `unsupported` if a message holds an image.
pub fn chat<'a>(
    messages: &'a [Message<'a>],
    template: &'a Map<String, Value>,
) -> Result<ChatBody<'a>> {
    let messages = messages
        .iter()
        .map(|message| {
            if message.content.iter().any(|part| matches!(part, Part::Image { .. })) {
                return Err(Error::unsupported("images in chat messages"));
            }
            Ok(ChatMessage { role: &message.role, content: Text(&message.content) })
        })
        .collect::<Result<_>>()?;
    Ok(ChatBody { messages, chat_template_kwargs: template })
}
