//! A whole reply as choices, by the pointers of the run file; and what an answer is once its parts are found, which
//! streams share.
//!
//! Pure. What is not where the configuration says, or of another type, is an unexpected reply, never an empty answer.

use std::{borrow::Cow, collections::BTreeMap};

use plugin_api::{Choice, Error, FinishReason, Reply, Result, TokenLogprob, Usage};
use serde_json::Value;
use wire::{ending::broken_off, stop};

use crate::{
    config::{RawReply, RawUsage},
    extract::{Extract, Found, Pointer, kind_of, wrong},
    failure::Failures,
    logprobs::{self, Tokens},
};

/// Where things are in a reply.
#[derive(Debug)]
pub struct Shape {
    choices: Option<Pointer>,
    index: Option<Pointer>,
    text: Extract,
    reasoning: Option<Extract>,
    refusal: Option<Extract>,
    finish_reason: Option<Extract>,
    finish_reasons: BTreeMap<String, String>,
    model: Option<Extract>,
    prompt_tokens: Option<Extract>,
    completion_tokens: Option<Extract>,
    cached_tokens: Option<Extract>,
    reasoning_tokens: Option<Extract>,
    tokens: Option<Tokens>,
}

/// The parts of one choice as they were found.
#[derive(Debug)]
pub struct Parts<'v> {
    /// The answer's text.
    pub text: Found<Cow<'v, str>>,
    /// The reasoning.
    pub reasoning: Option<Cow<'v, str>>,
    /// A refusal.
    pub refusal: Option<Cow<'v, str>>,
    /// The server's word for why it ended.
    pub finish_reason: Option<Cow<'v, str>>,
    /// Log-probabilities.
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// What one reply gives.
#[derive(Debug)]
pub struct Decoded {
    /// The choices in order.
    pub choices: Vec<Choice>,
    /// What the server counted.
    pub usage: Usage,
    /// The model's name as the server says it.
    pub model: Option<String>,
}

/// What is wanted of a reply.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'s> {
    /// Stop texts to cut at, none of them empty.
    pub stop: &'s [&'s str],
    /// Whether log-probabilities are wanted.
    pub logprobs: bool,
    /// Number of choices.
    pub n: u32,
}

impl Shape {
    /// Compiles the table `reply`.
    ///
    /// # Errors
    /// A pointer or a pattern is none; the message names the key.
    pub fn compile(raw: &RawReply) -> Result<Self> {
        let pointer = |key: &str, text: &Option<String>| {
            text.as_deref().map(|text| Pointer::parse(key, text)).transpose()
        };
        let RawUsage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens } =
            &raw.usage;
        let count = |key: &str, raw: &Option<_>| {
            Extract::optional(&format!("reply.usage.{key}"), raw.as_ref())
        };
        if raw.index.is_some() && raw.choices.is_none() {
            return Err(wrong("reply.index", "needs `reply.choices`, the list that it orders"));
        }
        Ok(Self {
            choices: pointer("reply.choices", &raw.choices)?,
            index: pointer("reply.index", &raw.index)?,
            text: Extract::compile("reply.text", &raw.text)?,
            reasoning: Extract::optional("reply.reasoning", raw.reasoning.as_ref())?,
            refusal: Extract::optional("reply.refusal", raw.refusal.as_ref())?,
            finish_reason: Extract::optional("reply.finish_reason", raw.finish_reason.as_ref())?,
            finish_reasons: raw.finish_reasons.clone(),
            model: Extract::optional("reply.model", raw.model.as_ref())?,
            prompt_tokens: count("prompt_tokens", prompt_tokens)?,
            completion_tokens: count("completion_tokens", completion_tokens)?,
            cached_tokens: count("cached_tokens", cached_tokens)?,
            reasoning_tokens: count("reasoning_tokens", reasoning_tokens)?,
            tokens: raw.logprobs.as_ref().map(Tokens::compile).transpose()?,
        })
    }

    /// Where things are in a list of tokens, if the configuration says.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// The choices of a whole reply.
    ///
    /// # Errors
    /// What [`Failures`] makes of another status and of an error under a good one; `unexpected_reply` if the reply is
    /// no JSON, or something in it is not as the configuration says.
    pub fn reply(&self, failures: &Failures, reply: &Reply, wanted: Wanted<'_>) -> Result<Decoded> {
        let value: Value = reply.json()?;
        if let Some(error) = failures.within(reply.status, &value) {
            return Err(error);
        }
        self.choices(&value, wanted).map_err(|mut error| {
            error.http_status = Some(reply.status);
            error.with_excerpt(reply.body())
        })
    }

    fn choices(&self, value: &Value, wanted: Wanted<'_>) -> Result<Decoded> {
        let usage = self.usage(value)?;
        let mut list: Vec<&Value> = match &self.choices {
            None => vec![value],
            Some(pointer) => match pointer.find(value) {
                Some(Value::Array(list)) => list.iter().collect(),
                other => {
                    let found = other.map_or("nothing", kind_of);
                    return Err(Error::unexpected(format!(
                        "`reply.choices`: expected a list at {pointer}, found {found}"
                    )));
                }
            },
        };
        if list.len() != wanted.n as usize {
            return Err(Error::unexpected(format!(
                "the reply has {} choices where {} were asked for",
                list.len(),
                wanted.n
            )));
        }
        if let Some(index) = &self.index {
            list.sort_by_key(|choice| index.find(choice).and_then(Value::as_u64));
        }
        let choices = list.into_iter().map(|choice| {
            let text = |extract: &Option<Extract>| match extract {
                Some(extract) => extract.text(choice).map(Found::text),
                None => Ok(None),
            };
            let tokens = self.tokens.as_ref().filter(|_| wanted.logprobs);
            let parts = Parts {
                text: self.text.text(choice)?,
                reasoning: text(&self.reasoning)?,
                refusal: text(&self.refusal)?,
                finish_reason: text(&self.finish_reason)?,
                logprobs: tokens
                    .map(|tokens| tokens.find(tokens.list(), choice))
                    .transpose()?
                    .flatten(),
            };
            self.choice(parts, &self.text, usage, wanted.stop)
        });
        Ok(Decoded { choices: choices.collect::<Result<_>>()?, usage, model: self.model(value)? })
    }

    /// A choice out of its parts. `text` is where its text was looked for.
    ///
    /// # Errors
    /// `overloaded` if the server broke the generation off: what text there is is no answer. `unexpected_reply` if
    /// there is no text and nothing that explains why.
    pub fn choice(
        &self,
        parts: Parts<'_>,
        text: &Extract,
        usage: Usage,
        stops: &[&str],
    ) -> Result<Choice> {
        let some = |part: Option<Cow<'_, str>>| {
            part.map(Cow::into_owned).filter(|part| !part.trim().is_empty())
        };
        let word = parts.finish_reason.as_deref();
        let word = word.map(|word| self.finish_reasons.get(word).map_or(word, String::as_str));
        if let Some(error) = word.and_then(broken_off) {
            return Err(error);
        }
        let mut finish_reason =
            word.map_or_else(|| FinishReason::Other("unknown".to_owned()), FinishReason::from);
        let mut reasoning = some(parts.reasoning);
        let refusal = some(parts.refusal);
        let hidden = usage.reasoning_tokens.filter(|count| *count > 0);
        let reasoned = reasoning.is_some() || hidden.is_some();
        let cut_off = finish_reason == FinishReason::Length;
        let explained = refusal.is_some()
            || matches!(finish_reason, FinishReason::ContentFilter | FinishReason::ToolCalls);
        let mut answer = match parts.text {
            Found::Text(text) => text.into_owned(),
            // A wrong pointer finds nothing; a server that leaves the text out says why.
            Found::Missing if explained || (cut_off && reasoned) => String::new(),
            // Null is the server's own word for an empty text.
            Found::Null if explained || cut_off || reasoned => String::new(),
            missing => {
                let found = if missing == Found::Null { "null" } else { "nothing" };
                return Err(Error::unexpected(format!(
                    "{} finds {found}, or its regex does not match: is this the reply that it is written for?",
                    text.place()
                )));
            }
        };
        if answer.is_empty() && reasoning.is_none() {
            // The host tells an answer that reasoning left no room for by its reasoning.
            reasoning =
                hidden.map(|n| format!("({n} reasoning tokens, text not shown by the server)"));
        }
        let mut tokens = parts.logprobs;
        if let Some(refusal) = refusal {
            finish_reason = FinishReason::ContentFilter;
            if answer.is_empty() {
                answer = refusal;
            }
        } else if let Some(cut) = stop::find(&answer, 0, stops) {
            answer.truncate(cut);
            finish_reason = FinishReason::Stop;
            // Behind a pattern the tokens' texts are not the answer's.
            if let Some(tokens) = tokens.as_mut().filter(|_| !text.has_pattern()) {
                logprobs::keep_before(tokens, cut);
            }
        }
        Ok(Choice { text: answer, reasoning, finish_reason, logprobs: tokens })
    }

    /// The counts in a reply or an event.
    ///
    /// # Errors
    /// `unexpected_reply` if something else than a number or a text is there.
    pub fn usage(&self, value: &Value) -> Result<Usage> {
        let count = |extract: &Option<Extract>| match extract {
            Some(extract) => extract.count(value),
            None => Ok(None),
        };
        Ok(Usage {
            prompt_tokens: count(&self.prompt_tokens)?,
            completion_tokens: count(&self.completion_tokens)?,
            cached_tokens: count(&self.cached_tokens)?,
            reasoning_tokens: count(&self.reasoning_tokens)?,
            ..Usage::default()
        })
    }

    /// The model's name in a reply or an event.
    ///
    /// # Errors
    /// `unexpected_reply` if something else than a text is there.
    pub fn model(&self, value: &Value) -> Result<Option<String>> {
        let Some(model) = &self.model else {
            return Ok(None);
        };
        Ok(model.text(value)?.text().filter(|name| !name.is_empty()).map(Cow::into_owned))
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::ErrorKind;
    use serde_json::json;

    use super::*;
    use crate::config::RawErrors;

    fn shape() -> Shape {
        let raw = json!({
            "choices": "/choices", "index": "/index",
            "text": "/message/content", "reasoning": ["/message/reasoning_content", "/message/reasoning"],
            "refusal": "/message/refusal",
            "finish_reason": "/finish_reason", "finish_reasons": { "max_tokens": "length", "end": "stop", "lost": "abort", "ERROR": "stop" },
            "model": "/model",
            "usage": { "prompt_tokens": "/usage/in", "completion_tokens": "/usage/out",
                       "cached_tokens": "/usage/cached", "reasoning_tokens": "/usage/thought" },
            "logprobs": { "tokens": "/logprobs", "token": "/t", "logprob": "/p", "top": "/top" }
        });
        Shape::compile(&serde_json::from_value(raw).unwrap()).unwrap()
    }

    fn decode(body: &str, n: u32) -> Result<Decoded> {
        let failures = Failures::compile(&RawErrors::default()).unwrap();
        let wanted = Wanted { stop: &["|"], logprobs: true, n };
        shape().reply(&failures, &Reply::new(200, &[], body.as_bytes()), wanted)
    }

    fn one(choice: Value) -> Result<Choice> {
        let usage = choice.get("usage").cloned();
        let body = json!({ "choices": [choice], "usage": usage }).to_string();
        decode(&body, 1).map(|mut decoded| decoded.choices.remove(0))
    }

    #[test]
    fn choices_come_in_their_own_order() {
        let body = json!({ "model": "m", "usage": { "in": 1, "out": 2, "cached": 3, "thought": 4 }, "choices": [
            { "index": 1, "message": { "content": "b" }, "finish_reason": "max_tokens" },
            { "index": 0, "message": { "content": "a|b" }, "finish_reason": "length" },
            { "index": 2, "message": { "content": "c", "reasoning": "hm" }, "finish_reason": "odd" },
        ] });
        let decoded = decode(&body.to_string(), 3).unwrap();
        let choices: Vec<_> =
            decoded.choices.iter().map(|c| (c.text.as_str(), c.finish_reason.as_str())).collect();
        assert_eq!(choices, [("a", "stop"), ("b", "length"), ("c", "odd")]);
        assert_eq!(decoded.choices[2].reasoning.as_deref(), Some("hm"));
        assert_eq!(decoded.model.as_deref(), Some("m"));
        let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, .. } =
            decoded.usage;
        assert_eq!(
            [prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens],
            [Some(1), Some(2), Some(3), Some(4)]
        );
        assert!(decode(&body.to_string(), 2).unwrap_err().message.contains("3 choices"));
    }

    #[test]
    fn no_text_is_an_empty_answer_only_if_the_server_says_why() {
        for (message, reason, usage, text) in [
            (json!({ "content": "" }), "stop", json!(null), Some("")),
            (json!({ "content": null }), "stop", json!(null), None),
            (json!({ "content": null }), "length", json!(null), Some("")),
            (json!({ "content": null, "reasoning": "hm" }), "stop", json!(null), Some("")),
            (json!({ "content": null }), "content_filter", json!(null), Some("")),
            (json!({ "content": null }), "tool_calls", json!(null), Some("")),
            (
                json!({ "content": null, "refusal": "I can't." }),
                "stop",
                json!(null),
                Some("I can't."),
            ),
            (json!({}), "stop", json!(null), None),
            (json!({}), "length", json!(null), None),
            (json!({ "reasoning": "hm" }), "length", json!(null), Some("")),
            (json!({ "reasoning": "hm" }), "stop", json!(null), None),
            (json!({}), "length", json!({ "thought": 7 }), Some("")),
            (json!({}), "content_filter", json!(null), Some("")),
        ] {
            let choice =
                one(json!({ "message": message, "finish_reason": reason, "usage": usage }));
            match (&choice, text) {
                (Ok(choice), Some(text)) => assert_eq!(choice.text, text, "{message} {reason}"),
                (Err(error), None) => assert_eq!(error.kind, ErrorKind::UnexpectedReply),
                _ => panic!("{message} {reason} {usage}: {choice:?}"),
            }
        }
    }

    #[test]
    fn an_answer_without_room_after_its_reasoning_is_told_by_the_reasoning() {
        let hidden = json!({ "message": { "content": "" }, "finish_reason": "length", "usage": { "thought": 7 } });
        let choice = one(hidden).unwrap();
        assert_eq!(choice.finish_reason, FinishReason::Length);
        assert!(choice.reasoning.unwrap().contains("7 reasoning tokens"));
        let shown = json!({ "message": { "content": "x" }, "finish_reason": "stop", "usage": { "thought": 7 } });
        assert_eq!(one(shown).unwrap().reasoning, None);
    }

    #[test]
    fn a_generation_that_the_server_broke_off_is_no_answer() {
        for choice in [
            json!({ "message": { "content": "4" }, "finish_reason": "abort" }),
            json!({ "message": { "content": "42" }, "finish_reason": "error" }),
            json!({ "message": { "content": "" }, "finish_reason": "error", "error": { "message": "lost" } }),
            json!({ "message": {}, "finish_reason": "aborted" }),
            // What the run file says that a word means.
            json!({ "message": { "content": "4|2" }, "finish_reason": "lost" }),
        ] {
            let error = one(choice.clone()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Overloaded, "{choice}");
            assert!(error.excerpt.is_some(), "{choice}");
        }
        let meant = json!({ "message": { "content": "42" }, "finish_reason": "ERROR" });
        assert_eq!(one(meant).unwrap().finish_reason, FinishReason::Stop);
    }

    #[test]
    fn a_refusal_ends_as_filtered_and_is_not_cut() {
        let choice = one(json!({ "message": { "content": null, "refusal": "No | no" }, "finish_reason": "stop" })).unwrap();
        assert_eq!(
            (choice.text.as_str(), choice.finish_reason),
            ("No | no", FinishReason::ContentFilter)
        );
    }

    #[test]
    fn tokens_behind_a_stop_text_are_dropped() {
        let token = |t: &str| json!({ "t": t, "p": -0.5, "top": [{ "t": t, "p": -0.5 }, { "t": "x", "p": null }] });
        let tokens = json!([token("a"), token("b|"), token("c")]);
        let choice = one(json!({ "message": { "content": "ab|c" }, "logprobs": tokens })).unwrap();
        let tokens = choice.logprobs.unwrap();
        assert_eq!(tokens.iter().map(|t| t.token.as_str()).collect::<Vec<_>>(), ["a", "b|"]);
        assert_eq!(tokens[0].top, [("a".to_owned(), Some(-0.5)), ("x".to_owned(), None)]);
        assert_eq!(choice.finish_reason, FinishReason::Stop);
        let none = one(json!({ "message": { "content": "a" }, "logprobs": null })).unwrap();
        assert_eq!((none.logprobs, none.finish_reason.as_str()), (None, "unknown"));
    }

    #[test]
    fn a_wrong_type_anywhere_is_an_unexpected_reply() {
        let good = json!({ "model": "m", "usage": { "in": 1, "out": 2, "cached": 3, "thought": 4 }, "choices": [
            { "index": 0, "message": { "content": "a", "reasoning": "r", "refusal": "" }, "finish_reason": "stop",
              "logprobs": [{ "t": "a", "p": -1.0, "top": [{ "t": "a", "p": -1.0 }] }] },
        ] });
        decode(&good.to_string(), 1).unwrap();
        for place in [
            "/model",
            "/usage/in",
            "/usage/out",
            "/usage/cached",
            "/usage/thought",
            "/choices",
            "/choices/0",
            "/choices/0/message",
            "/choices/0/message/content",
            "/choices/0/message/reasoning",
            "/choices/0/message/refusal",
            "/choices/0/finish_reason",
            "/choices/0/logprobs",
            "/choices/0/logprobs/0",
            "/choices/0/logprobs/0/t",
            "/choices/0/logprobs/0/p",
            "/choices/0/logprobs/0/top",
            "/choices/0/logprobs/0/top/0",
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = json!({ "what": [] });
            let error = decode(&bad.to_string(), 1).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{place}");
            assert!(error.excerpt.is_some(), "{place}");
        }
        for body in ["", "null", "[]", "3", "<html>", "{\"choices\":[]}", "{\"choices\":[null]}"] {
            assert_eq!(decode(body, 1).unwrap_err().kind, ErrorKind::UnexpectedReply, "{body}");
        }
        let whole = good.to_string();
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut], 1).unwrap_err().kind, ErrorKind::UnexpectedReply);
        }
    }
}
