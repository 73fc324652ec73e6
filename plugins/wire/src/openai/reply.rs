//! Replies of `/chat/completions` and `/completions` as completions.
//!
//! Pure. A reply that does not hold what the wire promises is `unexpected_reply`, never an empty answer.

use plugin_api::{Changed, Completion, Error, Reply, Result, Usage, message::Str};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    failure,
    raw::{Message, Raw, said},
    tokens::Logprobs,
};
use crate::{count, object::Object};

/// How an answer is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Texts that the answer is cut at, none of them empty; also those that the server did not get.
    pub stop: Vec<String>,
    /// Takes `<think>…</think>` at the beginning of an answer for its reasoning.
    pub think_tags: bool,
    /// Whether log-probabilities were asked for, and with how many alternatives.
    pub logprobs: Option<u32>,
    /// Choices that were asked for.
    pub n: u32,
}

/// A whole reply.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Object<Choice<'a>>>>,
    #[serde(default)]
    usage: Option<Counts>,
    #[serde(borrow, default)]
    model: Option<Str<'a>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u64>,
    /// Chat.
    #[serde(borrow, default)]
    message: Option<Object<Message<'a>>>,
    /// Completions.
    #[serde(borrow, default)]
    text: Option<Str<'a>>,
    #[serde(borrow, default)]
    logprobs: Option<Logprobs<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Str<'a>>,
    #[serde(default, alias = "matched_stop", deserialize_with = "said")]
    stop_reason: Option<Value>,
}

/// `usage`. Details are absent from many servers; some put them beside the sums. What is no count is unknown.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    #[serde(deserialize_with = "count::read")]
    prompt_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    completion_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    #[serde(deserialize_with = "count::read")]
    cached_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    prompt_cache_hit_tokens: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    reasoning_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    #[serde(deserialize_with = "count::read")]
    cached_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    #[serde(deserialize_with = "count::read")]
    reasoning_tokens: Option<u64>,
}

impl Counts {
    /// The counts as the host keeps them: reasoning is part of the completion. A server that counts it beside
    /// the completion is known by its total.
    pub(super) fn usage(self) -> Usage {
        let details = self.completion_tokens_details.unwrap_or_default();
        let reasoning_tokens = details.reasoning_tokens.or(self.reasoning_tokens);
        let sum =
            |more: u64| self.prompt_tokens?.checked_add(self.completion_tokens?)?.checked_add(more);
        let beside = reasoning_tokens
            .filter(|n| *n > 0 && self.total_tokens.is_some() && self.total_tokens == sum(*n));
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self
                .completion_tokens
                .map(|n| n.saturating_add(beside.unwrap_or(0))),
            cached_tokens: self
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .or(self.cached_tokens)
                .or(self.prompt_cache_hit_tokens),
            reasoning_tokens,
            ..Usage::default()
        }
    }
}

/// Reads a reply to a generation.
///
/// # Errors
/// What [`failure`] makes of another status, and of an error object under a good one; `unexpected_reply` if the
/// shape is not the wire's, or the choices are not as many as were asked for.
pub fn completion(reply: &Reply, reading: &Reading) -> Result<Completion> {
    if !reply.is_success() {
        return Err(failure::of(reply));
    }
    let unexpected = |message: String| {
        let mut error = Error::unexpected(message).with_excerpt(reply.body());
        error.http_status = Some(reply.status);
        error
    };
    let Object(body): Object<Body<'_>> =
        reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))?;
    if body.error.is_some() || body.choices.is_none() {
        return Err(failure::in_body(reply.body())
            .unwrap_or_else(|| unexpected("the reply holds no `choices`".to_owned())));
    }
    let mut choices = body.choices.unwrap_or_default();
    let found = choices.len();
    if found != usize::try_from(reading.n.max(1)).unwrap_or(usize::MAX) {
        return Err(unexpected(miscounted(found, reading.n)));
    }
    // A server may finish them in any order. Where it numbers none, they are in theirs.
    choices.sort_by_key(|Object(choice)| choice.index.unwrap_or(0));
    let usage = body.usage.unwrap_or_default().usage();
    let mut completion = Completion {
        usage,
        model: body.model.map(|model| model.into_owned()).filter(|model| !model.is_empty()),
        ..Completion::default()
    };
    for Object(choice) in choices {
        let mut raw = Raw::default();
        match (choice.message, choice.text) {
            (Some(Object(message)), _) => raw.add(message),
            (None, Some(text)) => raw.add_text(&text),
            (None, None) => {
                return Err(unexpected("a choice holds neither `message` nor `text`".to_owned()));
            }
        }
        raw.finish_reason = choice.finish_reason.map(|reason| reason.into_owned());
        raw.stop_reason = choice.stop_reason;
        raw.add_logprobs(choice.logprobs, reading.logprobs.unwrap_or(0));
        let finished = raw.finished(reading, &usage).map_err(|mut error| {
            error.http_status = Some(reply.status);
            error.with_excerpt(reply.body())
        });
        completion.choices.push(finished?);
    }
    note_missing_logprobs(&mut completion, reading);
    Ok(completion)
}

/// A server that leaves log-probabilities out has dropped the request for them.
pub(super) fn note_missing_logprobs(completion: &mut Completion, reading: &Reading) {
    let missing = completion.choices.iter().any(|c| c.logprobs.is_none() && !c.text.is_empty());
    if reading.logprobs.is_some() && missing {
        completion.changed.push(Changed {
            parameter: "logprobs".to_owned(),
            detail: "the server gave none of the answer's tokens, although they were asked for"
                .to_owned(),
        });
    }
}

/// What is wrong with a number of choices.
pub(super) fn miscounted(found: usize, wanted: u32) -> String {
    let wanted = wanted.max(1);
    format!(
        "the server gave {found} choices, and {wanted} were asked for (`n`); a server that gives one a call must be \
         asked for each"
    )
}

#[cfg(test)]
mod tests {
    use plugin_api::{ErrorKind, FinishReason};
    use serde_json::json;

    use super::*;

    fn read(body: &Value, reading: &Reading) -> Result<Completion> {
        completion(&Reply::new(200, &[], body.to_string().as_bytes()), reading)
    }

    fn chat(message: &Value, finish_reason: &Value) -> Value {
        json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "acme-1",
                "choices": [{ "index": 0, "message": message, "logprobs": null,
                              "finish_reason": finish_reason }],
                "usage": { "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13 } })
    }

    #[test]
    fn a_message_becomes_text_reasoning_and_a_reason() {
        let thinking =
            Reading { think_tags: true, stop: vec!["\n\n".into()], ..Reading::default() };
        for (message, finish, text, reasoning, reason) in [
            (
                json!({ "role": "assistant", "content": "B\n\nQ" }),
                json!("length"),
                "B",
                None,
                "stop",
            ),
            (
                json!({ "content": "<think>A?\n\nno</think> B." }),
                json!("stop"),
                "B.",
                Some("A?\n\nno"),
                "stop",
            ),
            (json!({ "content": "<think>A? no" }), json!("length"), "", Some("A? no"), "length"),
            (
                json!({ "content": null, "reasoning_content": "hm" }),
                json!("length"),
                "",
                Some("hm"),
                "length",
            ),
            (
                json!({ "content": "", "reasoning": "hm" }),
                json!("length"),
                "",
                Some("hm"),
                "length",
            ),
            (
                json!({ "content": "A", "reasoning_content": "x", "reasoning": "x" }),
                json!("stop"),
                "A",
                Some("x"),
                "stop",
            ),
            (
                json!({ "content": null, "refusal": "I will not." }),
                json!("stop"),
                "I will not.",
                None,
                "content_filter",
            ),
            (json!({ "content": null }), json!("content_filter"), "", None, "content_filter"),
            (
                json!({ "content": null, "tool_calls": [{ "id": "1" }] }),
                json!(""),
                "",
                None,
                "tool_calls",
            ),
            (
                json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "type": "text", "text": "A" }] }),
                json!("stop"),
                "A",
                Some("hm"),
                "stop",
            ),
            (json!({ "content": "A" }), json!(null), "A", None, "unknown"),
            (json!({ "content": "A" }), json!("weary"), "A", None, "weary"),
            (json!({ "content": "" }), json!("stop"), "", None, "stop"),
        ] {
            let completion = read(&chat(&message, &finish), &thinking).unwrap();
            let choice = &completion.choices[0];
            assert_eq!(choice.text, text, "{message}");
            assert_eq!(choice.reasoning.as_deref(), reasoning, "{message}");
            assert_eq!(choice.finish_reason.as_str(), reason, "{message}");
            assert_eq!(completion.model.as_deref(), Some("acme-1"));
        }
    }

    #[test]
    fn tags_are_text_where_they_are_not_asked_for() {
        let message = json!({ "content": "<think>A</think>B" });
        let completion = read(&chat(&message, &json!("stop")), &Reading::default()).unwrap();
        assert_eq!(completion.choices[0].text, "<think>A</think>B");
    }

    #[test]
    fn what_the_wire_does_not_promise_is_unexpected_and_never_an_empty_answer() {
        let good = chat(&json!({ "content": "A" }), &json!("stop"));
        let with = |path: &str, value: Value| {
            let mut body = good.clone();
            *body.pointer_mut(path).unwrap() = value;
            body
        };
        for body in [
            with("/choices", json!([])),
            with("/choices", json!(null)),
            with("/choices", json!({})),
            with("/choices/0", json!("A")),
            with("/choices/0", json!({ "finish_reason": "stop" })),
            with("/choices/0/message", json!("A")),
            with("/choices/0/message", json!({})),
            with("/choices/0/message/content", json!(null)),
            with("/choices/0/message/content", json!([])),
            with("/choices/0/message/content", json!([{ "type": "image" }])),
            with("/choices/0/message", json!({ "content": null, "tool_calls": [] })),
            with("/choices/0/message/content", json!(7)),
            with("/choices/0/finish_reason", json!(7)),
            with("/usage", json!("many")),
            with("/model", json!(7)),
            json!({}),
            json!([]),
            json!("A"),
        ] {
            let error = read(&body, &Reading::default()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{body}");
            assert!(error.excerpt.is_some());
        }
        let text = good.to_string();
        for end in 0..text.len() {
            let reply = Reply::new(200, &[], &text.as_bytes()[..end]);
            let error = completion(&reply, &Reading::default()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnexpectedReply, "cut at {end}");
        }
    }

    #[test]
    fn an_error_under_status_200_is_a_failure_of_its_kind() {
        let body = json!({ "error": { "message": "busy", "code": 503 } });
        assert_eq!(read(&body, &Reading::default()).unwrap_err().kind, ErrorKind::Overloaded);
        let aborted = chat(&json!({ "content": "A" }), &json!("abort"));
        assert_eq!(read(&aborted, &Reading::default()).unwrap_err().kind, ErrorKind::Overloaded);
        let beside =
            json!({ "error": null, "choices": [{ "text": "A", "finish_reason": "stop" }] });
        assert_eq!(read(&beside, &Reading::default()).unwrap().choices[0].text, "A");
    }

    #[test]
    fn choices_come_in_the_order_of_their_numbers() {
        let body = json!({ "choices": [
            { "index": 1, "text": "b", "finish_reason": "stop" },
            { "index": 0, "text": "a", "finish_reason": "length" }] });
        let reading = Reading { n: 2, ..Reading::default() };
        let completion = read(&body, &reading).unwrap();
        let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(completion.choices[0].finish_reason, FinishReason::Length);
        assert!(read(&body, &Reading::default()).unwrap_err().message.contains("2 choices"));
    }

    #[test]
    fn reasoning_is_counted_as_part_of_the_completion_and_may_be_hidden() {
        let mut body = chat(&json!({ "content": "" }), &json!("length"));
        for (usage, completion_tokens, cached) in [
            (
                json!({ "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13,
                     "completion_tokens_details": { "reasoning_tokens": 4 },
                     "prompt_tokens_details": { "cached_tokens": 8, "audio_tokens": 0 } }),
                4,
                Some(8),
            ),
            // Beside the completion.
            (
                json!({ "prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 14,
                     "completion_tokens_details": { "reasoning_tokens": 4 }, "cached_tokens": 3 }),
                5,
                Some(3),
            ),
            (
                json!({ "prompt_tokens": 9, "completion_tokens": 4, "reasoning_tokens": 4,
                     "prompt_cache_hit_tokens": 2, "prompt_tokens_details": null }),
                4,
                Some(2),
            ),
        ] {
            body["usage"] = usage;
            let completion = read(&body, &Reading::default()).unwrap();
            assert_eq!(completion.usage.completion_tokens, Some(completion_tokens));
            assert_eq!(completion.usage.cached_tokens, cached);
            assert_eq!(completion.usage.reasoning_tokens, Some(4));
            let reasoning = completion.choices[0].reasoning.as_deref().unwrap();
            assert!(reasoning.contains("4 reasoning tokens"), "{reasoning}");
        }
    }

    #[test]
    fn counts_that_cannot_be_do_no_harm() {
        let mut body = chat(&json!({ "content": "A" }), &json!("stop"));
        for (count, read_as) in [
            (json!(10.0), Some(10)),
            (json!("10"), None),
            (json!(-5), None),
            (json!(3.5), None),
            (json!(u64::MAX), None),
            (json!({}), None),
        ] {
            body["usage"] = json!({ "prompt_tokens": count, "completion_tokens": count, "total_tokens": count,
                                    "prompt_tokens_details": { "cached_tokens": count },
                                    "completion_tokens_details": { "reasoning_tokens": count } });
            let completion = read(&body, &Reading::default()).unwrap();
            assert_eq!(completion.choices[0].text, "A");
            let Usage { prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, .. } =
                completion.usage;
            for found in [prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens] {
                assert_eq!(found, read_as, "{count}");
            }
        }
    }

    #[test]
    fn log_probabilities_are_read_in_both_shapes() {
        let token = |text: &str, logprob: f64| {
            json!({ "token": text, "logprob": logprob, "bytes": text.as_bytes(),
                    "top_logprobs": [{ "token": "z", "logprob": -9999.0, "bytes": null },
                                     { "token": text, "logprob": logprob, "bytes": null }] })
        };
        let mut body = chat(&json!({ "content": "A.\n\n" }), &json!("stop"));
        body["choices"][0]["logprobs"] = json!({ "content": [token("A", -0.5), token(".", -9999.0), token("\n\n", -0.1)], "refusal": null });
        let reading =
            Reading { logprobs: Some(1), stop: vec!["\n\n".into()], ..Reading::default() };
        let found = read(&body, &reading).unwrap().choices.remove(0).logprobs.unwrap();
        let found: Vec<_> =
            found.iter().map(|t| (t.token.as_str(), t.logprob, t.top.len())).collect();
        assert_eq!(found, [("A", Some(-0.5), 1), (".", Some(-9999.0), 1)]);

        let body = json!({ "choices": [{ "text": " A", "finish_reason": "length", "logprobs": {
            "tokens": [" A"], "token_logprobs": [-0.25], "text_offset": [5],
            "top_logprobs": [{ " B": -2.0, " A": -0.25 }] } }] });
        let found = read(&body, &reading).unwrap().choices.remove(0).logprobs.unwrap();
        assert_eq!(found[0].logprob, Some(-0.25));
        assert_eq!(found[0].top, [(" A".to_owned(), Some(-0.25))]);
    }

    #[test]
    fn log_probabilities_that_do_not_come_are_reported() {
        let reading = Reading { logprobs: Some(0), ..Reading::default() };
        let found = read(&chat(&json!({ "content": "A" }), &json!("stop")), &reading).unwrap();
        assert_eq!(found.changed[0].parameter, "logprobs");
    }
}
