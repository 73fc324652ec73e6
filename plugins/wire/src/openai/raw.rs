//! A choice as the wire brings it, whole or piece by piece, and what it becomes: text without reasoning and stop text,
//! a finish reason under one name.
//!
//! Pure. Whole replies and streams meet here, so that they cannot differ.

use std::{borrow::Cow, fmt};

use plugin_api::{
    Choice, Error, ErrorKind, FinishReason, Result, TokenLogprob, Usage, message::Str,
};
use serde::{Deserialize, Deserializer, de};

use super::{
    reply::Reading,
    think::Split,
    tokens::{Logprobs, Measured},
};
use crate::stop;

/// One choice so far.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// The content.
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) called_tool: bool,
    /// The wire's own word.
    pub(super) finish_reason: Option<String>,
    pub(super) tokens: Option<Vec<Measured>>,
}

/// `message` of a whole choice, or `delta` of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Str<'a>>,
    #[serde(borrow)]
    reasoning: Option<Str<'a>>,
    #[serde(borrow)]
    refusal: Option<Str<'a>>,
    tool_calls: Option<Vec<de::IgnoredAny>>,
    function_call: Option<de::IgnoredAny>,
}

/// A content: a string, or parts, of which text and thinking count.
#[derive(Debug, Default)]
struct Content<'a> {
    text: Cow<'a, str>,
    thinking: String,
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Content<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Content { text: Cow::Borrowed(text), thinking: String::new() })
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Content { text: Cow::Owned(text.to_owned()), thinking: String::new() })
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut parts: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut content = Content::default();
                while let Some(part) = parts.next_element::<Part<'de>>()? {
                    content.text.to_mut().push_str(part.text.as_deref().unwrap_or_default());
                    if let Some(thinking) = part.thinking {
                        content.thinking.push_str(&thinking.text);
                    }
                }
                Ok(content)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Str<'a>>,
    #[serde(borrow)]
    thinking: Option<Box<Content<'a>>>,
}

impl Message<'_> {
    /// Whether it says nothing at all, not even that there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.content.is_none()
            && self.refusal.is_none()
            && self.function_call.is_none()
            && self.tool_calls.is_none()
            && [&self.reasoning_content, &self.reasoning].into_iter().all(Option::is_none)
    }
}

impl Raw {
    /// Adds a message, or the next piece of it.
    pub(super) fn add(&mut self, message: Message<'_>) {
        if let Some(content) = message.content {
            self.text.push_str(&content.text);
            self.reasoning.push_str(&content.thinking);
        }
        let reasoning = message.reasoning_content.filter(|text| !text.is_empty());
        if let Some(reasoning) = reasoning.or(message.reasoning) {
            self.reasoning.push_str(&reasoning);
        }
        if let Some(refusal) = message.refusal {
            self.refusal.push_str(&refusal);
        }
        self.called_tool |= message.function_call.is_some()
            || message.tool_calls.is_some_and(|calls| !calls.is_empty());
    }

    /// Adds log-probabilities, or the next of them.
    pub(super) fn add_logprobs(&mut self, logprobs: Option<Logprobs<'_>>, alternatives: u32) {
        if let Some(tokens) = logprobs.and_then(|logprobs| logprobs.tokens(alternatives)) {
            self.tokens.get_or_insert_default().extend(tokens);
        }
    }

    /// The choice as the host keeps it.
    ///
    /// # Errors
    /// `overloaded` if the server broke the generation off.
    pub(super) fn finished(self, reading: &Reading, usage: &Usage) -> Result<Choice> {
        let (inside, begin) = if reading.think_tags { Split::whole(&self.text) } else { (None, 0) };
        let mut reasoning = self.reasoning;
        if let Some(inside) = inside {
            if !reasoning.is_empty() {
                reasoning.push('\n');
            }
            reasoning.push_str(inside);
        }
        let cut = stop::find(&self.text, begin, &reading.stop);
        let finish_reason = match self.finish_reason.as_deref() {
            Some("abort" | "aborted" | "error") => {
                return Err(Error::new(
                    ErrorKind::Overloaded,
                    "the server broke the generation off (finish reason `abort` or `error`)",
                ));
            }
            _ if !self.refusal.is_empty() => FinishReason::ContentFilter,
            _ if cut.is_some() => FinishReason::Stop,
            Some("") | None if self.called_tool => FinishReason::ToolCalls,
            None | Some("") => FinishReason::Other("unknown".to_owned()),
            Some(name) => finish_reason(name),
        };
        let end = cut.unwrap_or(self.text.len());
        let tokens = self.tokens.filter(|_| reading.logprobs.is_some());
        let logprobs = tokens.map(|tokens| between(tokens, begin, cut));
        let mut text = self.text.get(begin..end).unwrap_or_default().to_owned();
        if text.is_empty() && !self.refusal.is_empty() {
            text = self.refusal;
        }
        let hidden = usage.reasoning_tokens.filter(|tokens| *tokens > 0);
        let reasoning = match hidden {
            Some(tokens)
                if reasoning.is_empty()
                    && text.is_empty()
                    && finish_reason == FinishReason::Length =>
            {
                Some(format!("({tokens} reasoning tokens, text not shown by the server)"))
            }
            _ => Some(reasoning).filter(|text| !text.is_empty()),
        };
        Ok(Choice { text, reasoning, finish_reason, logprobs })
    }
}

/// The tokens of the text from `begin` that begin before `cut`. What stands for the model's end has no text and
/// comes last.
fn between(tokens: Vec<Measured>, begin: usize, cut: Option<usize>) -> Vec<TokenLogprob> {
    let mut at = 0;
    tokens
        .into_iter()
        .filter_map(|Measured { bytes, token }| {
            let begins = at;
            at += bytes;
            let after = at > begin || begins >= begin;
            (after && cut.is_none_or(|cut| begins < cut)).then_some(token)
        })
        .collect()
}

/// The wire's word for the end of a choice. Words of other wires come through gateways (wire.md 4.6, 7.2); what is
/// not known is kept.
fn finish_reason(name: &str) -> FinishReason {
    match name {
        "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "COMPLETE" | "STOP" => {
            FinishReason::Stop
        }
        "length"
        | "max_tokens"
        | "MAX_TOKENS"
        | "model_length"
        | "model_context_window_exceeded" => FinishReason::Length,
        "content_filter" | "refusal" | "SAFETY" | "RECITATION" | "BLOCKLIST"
        | "PROHIBITED_CONTENT" | "SPII" => FinishReason::ContentFilter,
        "tool_calls" | "tool_use" | "function_call" => FinishReason::ToolCalls,
        other => FinishReason::Other(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_wire_have_one_name_and_unknown_ones_are_kept() {
        for (name, reason) in [
            ("stop", FinishReason::Stop),
            ("max_tokens", FinishReason::Length),
            ("refusal", FinishReason::ContentFilter),
            ("function_call", FinishReason::ToolCalls),
            ("weary", FinishReason::Other("weary".to_owned())),
        ] {
            assert_eq!(finish_reason(name), reason);
        }
    }

    #[test]
    fn tokens_go_with_the_text_that_they_make() {
        let tokens = ["<think>", "x</think>", " A", "\n", "\nQ", ""];
        let texts = |cut| {
            let tokens = tokens.iter().map(|text| Measured {
                bytes: text.len(),
                token: TokenLogprob {
                    token: (*text).to_owned(),
                    logprob: Some(-0.1),
                    top: Vec::new(),
                },
            });
            let kept = between(tokens.collect(), 17, cut).into_iter();
            kept.map(|token| token.token).collect::<Vec<_>>()
        };
        assert_eq!(texts(Some(18)), [" A"]);
        assert_eq!(texts(None), [" A", "\n", "\nQ", ""]);
    }
}
