//! A choice as the wire brings it, whole or piece by piece, and what it becomes: text without reasoning and stop text,
//! a finish reason under one name.
//!
//! Pure. Whole replies and streams meet here, so that they cannot differ in what an answer is. It is empty only if the
//! server says so: by a content that is `""`, by reasoning, a refusal or a tool call in its place, or by a finish
//! reason that leaves room for none. A content that is null or missing is no answer (evaluation.md 6.4).
//!
//! They differ where a stream shows less. A whole reply that names no finish reason is whole all the same, as its JSON
//! shows, and ends as `unknown`; a stream shows its end by nothing else (wire.md 7.1), and without one broke off. And a
//! stream that stops before any text came is an empty answer ([`Raw::end`]).

use std::{borrow::Cow, fmt};

use plugin_api::{Choice, Error, FinishReason, Result, TokenLogprob, Usage, message::Str};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    reply::Reading,
    think::Split,
    tokens::{Logprobs, Measured},
};
use crate::{ending::broken_off, stop};

/// One choice so far.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// The content.
    text: String,
    reasoning: String,
    refusal: String,
    called_tool: bool,
    /// Whether anything of it came, if only an empty text.
    says: bool,
    /// The wire's own word.
    pub(super) finish_reason: Option<String>,
    /// What ended it, where the server tells: a stop text, or something else.
    pub(super) stop_reason: Option<Value>,
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
    /// Whether there was a text, if only an empty one; a list may hold none.
    says: bool,
}

impl<'a> Content<'a> {
    fn text(text: Cow<'a, str>) -> Self {
        Self { text, thinking: String::new(), says: true }
    }
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
                Ok(Content::text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Content::text(Cow::Owned(text.to_owned())))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut parts: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut content = Content::default();
                while let Some(part) = parts.next_element::<Part<'de>>()? {
                    content.says |= part.text.is_some() || part.thinking.is_some();
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
    fn is_empty(&self) -> bool {
        !self.content.as_ref().is_some_and(|content| content.says)
            && self.refusal.is_none()
            && self.function_call.is_none()
            && self.tool_calls.as_ref().is_none_or(Vec::is_empty)
            && [&self.reasoning_content, &self.reasoning].into_iter().all(Option::is_none)
    }
}

impl Raw {
    /// Adds a message, or the next piece of it.
    pub(super) fn add(&mut self, message: Message<'_>) {
        self.says |= !message.is_empty();
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

    /// A piece of a stream says how it ended. A model that stops at once has no piece with text, and many servers begin
    /// with a null content whatever follows: in a stream, a stop is word enough that the text is empty.
    pub(super) fn end(&mut self, reason: String) {
        self.says |= finish_reason(&reason) == FinishReason::Stop;
        self.finish_reason = Some(reason);
    }

    /// Adds the text of a completion, or the next piece of it.
    pub(super) fn add_text(&mut self, text: &str) {
        self.says = true;
        self.text.push_str(text);
    }

    /// The text so far, with what reasoning it holds.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it calls a tool, as far as it came.
    pub(super) fn called_tool(&self) -> bool {
        self.called_tool
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
    /// `overloaded` if the server broke the generation off; `unexpected_reply` if it says nothing, and nothing explains
    /// why.
    pub(super) fn finished(self, reading: &Reading, usage: &Usage) -> Result<Choice> {
        if let Some(error) = self.finish_reason.as_deref().and_then(broken_off) {
            return Err(error);
        }
        let (inside, begin) = if reading.think_tags { Split::whole(&self.text) } else { (None, 0) };
        let stopped_at_text = self.stopped_at_text(reading);
        let told_apart = !self.reasoning.is_empty();
        let mut reasoning = self.reasoning;
        if let Some(inside) = inside {
            if !reasoning.is_empty() {
                reasoning.push('\n');
            }
            reasoning.push_str(inside);
        }
        let cut = stop::find(&self.text, begin, &reading.stop);
        let finish_reason = match self.finish_reason.as_deref() {
            _ if !self.refusal.is_empty() => FinishReason::ContentFilter,
            _ if cut.is_some() => FinishReason::Stop,
            Some("") | None if self.called_tool => FinishReason::ToolCalls,
            None | Some("") => FinishReason::Other("unknown".to_owned()),
            Some(name) => finish_reason(name),
        };
        if !self.says && !explains_nothing(&finish_reason) {
            return Err(Error::unexpected(
                "a message holds neither content nor reasoning, refusal or tool call",
            ));
        }
        let end = cut.unwrap_or(self.text.len());
        let tokens = self.tokens.filter(|_| reading.logprobs.is_some());
        let logprobs = tokens.and_then(|tokens| {
            let before = if told_apart { before(&tokens, &self.text)? } else { 0 };
            Some(between(tokens, before + begin, cut.map(|cut| before + cut)))
        });
        let mut text = self.text.get(begin..end).unwrap_or_default().to_owned();
        // A server without a reasoning parser, and some with one, look for stop texts in the reasoning too: what it
        // broke off there is no answer that the model left empty.
        let broken_off = text.is_empty() && cut.is_none() && !reasoning.is_empty();
        let finish_reason = match finish_reason {
            FinishReason::Stop if broken_off && stopped_at_text => FinishReason::Length,
            other => other,
        };
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

    /// Whether a stop text may have ended it. Servers that do not say so are taken to have found one if there was any
    /// to find.
    fn stopped_at_text(&self, reading: &Reading) -> bool {
        match &self.stop_reason {
            Some(reason) => reason.is_string(),
            None => !reading.stop.is_empty(),
        }
    }
}

/// Whether a choice that holds nothing is explained by how it ended.
const fn explains_nothing(finish_reason: &FinishReason) -> bool {
    matches!(
        finish_reason,
        FinishReason::Length | FinishReason::ContentFilter | FinishReason::ToolCalls
    )
}

/// `stop_reason` (vLLM) or `matched_stop` (SGLang): a stop text, a token's id, or null for the model's own end. Null is
/// not the same as nothing.
pub(super) fn said<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Bytes of the tokens before the answer's text. Some servers give the tokens of reasoning that they tell apart too,
/// others those of the answer alone; behind the text may stand the tokens of its end. None if the tokens do not hold the
/// text, so that nobody can tell which are its own.
fn before(tokens: &[Measured], text: &str) -> Option<usize> {
    let whole: String = tokens.iter().map(|measured| measured.token.token.as_str()).collect();
    let (mut end, mut bytes) = (whole.len(), tokens.iter().map(|token| token.bytes).sum::<usize>());
    for token in tokens.iter().rev() {
        if whole.get(..end)?.ends_with(text) {
            return bytes.checked_sub(text.len());
        }
        end -= token.token.token.len();
        bytes -= token.bytes;
    }
    text.is_empty().then_some(0)
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

    fn measured(tokens: &[&str]) -> Vec<Measured> {
        let one = |text: &&str| Measured {
            bytes: text.len(),
            token: TokenLogprob { token: (*text).to_owned(), logprob: Some(-0.1), top: Vec::new() },
        };
        tokens.iter().map(one).collect()
    }

    #[test]
    fn tokens_go_with_the_text_that_they_make() {
        let texts = |cut| {
            let tokens = measured(&["<think>", "x</think>", " A", "\n", "\nQ", ""]);
            let kept = between(tokens, 17, cut).into_iter();
            kept.map(|token| token.token).collect::<Vec<_>>()
        };
        assert_eq!(texts(Some(18)), [" A"]);
        assert_eq!(texts(None), [" A", "\n", "\nQ", ""]);
    }

    #[test]
    fn tokens_of_reasoning_that_is_told_apart_are_not_the_answers() {
        let all = ["hm e", "</think>", "\n\n", "th", "e", "<|im_end|>"];
        for (tokens, text, kept) in [
            (&all[..], "the", Some(&["th", "e", "<|im_end|>"][..])),
            // The answer's own alone.
            (&all[3..5], "the", Some(&["th", "e"])),
            // The budget ended in the reasoning.
            (&all[..1], "", Some(&[])),
            (&[], "", Some(&[])),
            (&all[..2], "the", None),
        ] {
            let raw = Raw {
                text: text.to_owned(),
                says: true,
                reasoning: "hm e".to_owned(),
                tokens: Some(measured(tokens)),
                ..Raw::default()
            };
            let reading = Reading { logprobs: Some(0), ..Reading::default() };
            let choice = raw.finished(&reading, &Usage::default()).unwrap();
            let found: Option<Vec<_>> =
                choice.logprobs.map(|l| l.into_iter().map(|t| t.token).collect());
            assert_eq!(
                found.as_deref(),
                kept.map(|kept| kept.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
                    .as_deref(),
                "{tokens:?}"
            );
        }
    }

    #[test]
    fn a_stop_text_inside_the_reasoning_leaves_no_answer_to_grade() {
        let ending = |text: &str, reasoning: &str, stop_reason: Option<Value>, stop: &[&str]| {
            let raw = Raw {
                text: text.to_owned(),
                says: true,
                reasoning: reasoning.to_owned(),
                finish_reason: Some("stop".to_owned()),
                stop_reason,
                ..Raw::default()
            };
            let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
            let reading = Reading { stop, think_tags: true, ..Reading::default() };
            raw.finished(&reading, &Usage::default()).unwrap().finish_reason.to_string()
        };
        for (text, reasoning, stop_reason, stop, reason) in [
            ("", "hm", None, &["\n\n"][..], "length"),
            ("<think>hm", "", None, &["\n\n"], "length"),
            ("<think>hm</think>", "", Some("\n\n".into()), &[], "length"),
            // The model's own end, as far as anybody can tell: it left its answer empty.
            ("", "hm", Some(Value::Null), &["\n\n"], "stop"),
            ("", "hm", Some(7.into()), &["\n\n"], "stop"),
            ("", "hm", None, &[], "stop"),
            ("", "", None, &["\n\n"], "stop"),
            ("A", "hm", None, &["\n\n"], "stop"),
            // The answer itself begins with it.
            ("<think>hm</think>Q: x", "", None, &["Q:"], "stop"),
        ] {
            assert_eq!(
                ending(text, reasoning, stop_reason.clone(), stop),
                reason,
                "{text} {reasoning} {stop_reason:?}"
            );
        }
    }
}
