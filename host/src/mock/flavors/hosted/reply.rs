//! Replies of `/chat/completions` and `/completions`, whole and as events.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Dialect,
    echo::{ById, Logprobs, answer_tokens},
    prompt::of_id,
};
use crate::mock::{
    exchange::{Answer, event},
    model::{End, Said, Token},
    pace::Allowance,
};

/// Every reply is of this second: the same request has the same reply, byte for byte.
pub(super) const CREATED: u64 = 1_767_225_600;

/// A reply, or a chunk of one.
#[derive(Serialize)]
pub(super) struct Reply<'a, C> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system_fingerprint: Option<&'static str>,
    pub(super) choices: Vec<C>,
    /// Of a chunk whose reply will have a usage: null until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_filter_results: Option<Value>,
    /// vLLM's, of a chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_logprobs: Option<Vec<Option<ById>>>,
}

/// Tokens, of all choices.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: usize,
    pub(super) completion_tokens: usize,
    pub(super) total_tokens: usize,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct PromptDetails {
    cached_tokens: usize,
    audio_tokens: usize,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: usize,
    audio_tokens: usize,
    accepted_prediction_tokens: usize,
    rejected_prediction_tokens: usize,
}

impl Usage {
    /// xAI alone leaves the thinking out of the completion.
    pub(super) fn new(dialect: Dialect, prompt: usize, answer: usize, thoughts: usize) -> Self {
        let counted = if dialect == Dialect::Xai { 0 } else { thoughts };
        Self {
            prompt_tokens: prompt,
            completion_tokens: answer + counted,
            total_tokens: prompt + answer + thoughts,
            prompt_tokens_details: PromptDetails::default(),
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: thoughts,
                ..CompletionDetails::default()
            },
        }
    }
}

/// A choice of a chat.
#[derive(Serialize)]
pub(super) struct ChatChoice<'a> {
    pub(super) index: usize,
    pub(super) message: ChatMessage<'a>,
    pub(super) logprobs: Option<ChatLogprobs<'a>>,
    pub(super) finish_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_filter_results: Option<Value>,
}

#[derive(Serialize)]
pub(super) struct ChatMessage<'a> {
    pub(super) role: &'static str,
    pub(super) content: Option<&'a str>,
    pub(super) refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<&'a str>,
}

/// A choice of a chunk of a chat.
#[derive(Serialize)]
pub(super) struct ChunkChoice<'a> {
    pub(super) index: usize,
    pub(super) delta: Delta<'a>,
    pub(super) logprobs: Option<ChatLogprobs<'a>>,
    pub(super) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_filter_results: Option<Value>,
}

#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<&'a str>,
}

/// Log-probabilities of a chat's answer.
#[derive(Serialize)]
pub(super) struct ChatLogprobs<'a> {
    content: Vec<TokenLogprob<'a>>,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct TokenLogprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
    top_logprobs: Vec<TopLogprob>,
}

#[derive(Serialize)]
struct TopLogprob {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

impl<'a> ChatLogprobs<'a> {
    /// Of all tokens that show.
    pub(super) fn all(said: &'a Said, top: usize) -> Self {
        Self::of(said, answer_tokens(said), top)
    }

    /// Of some tokens.
    pub(super) fn of(said: &'a Said, tokens: impl Iterator<Item = &'a Token>, top: usize) -> Self {
        let content = tokens.map(|token| {
            let piece = said.answer_piece(token);
            let alternatives = token.alternatives(top).into_iter().map(|(id, logprob)| {
                let token = of_id(id);
                TopLogprob { bytes: token.clone().into_bytes(), token, logprob }
            });
            TokenLogprob {
                token: piece,
                logprob: token.logprob(),
                bytes: piece.as_bytes(),
                top_logprobs: alternatives.collect(),
            }
        });
        Self { content: content.collect(), refusal: None }
    }
}

/// A choice of a completion, or of a chunk of one.
#[derive(Serialize)]
pub(super) struct TextChoice<'a> {
    pub(super) index: usize,
    pub(super) text: &'a str,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_reason: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_logprobs: Option<Vec<Option<ById>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_ids: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_token_ids: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_filter_results: Option<Value>,
}

/// `finish_reason`.
pub(super) const fn finish_reason(end: End, filtered: bool) -> &'static str {
    match end {
        _ if filtered => "content_filter",
        End::Length => "length",
        End::Eos | End::Stop(_) => "stop",
    }
}

/// Azure's verdict on an answer.
pub(super) fn verdict(filtered: bool) -> Value {
    let violence = if filtered { "medium" } else { "safe" };
    json!({
        "hate": { "filtered": false, "severity": "safe" },
        "self_harm": { "filtered": false, "severity": "safe" },
        "sexual": { "filtered": false, "severity": "safe" },
        "violence": { "filtered": filtered, "severity": violence },
    })
}

/// Azure's verdict on a prompt.
pub(super) fn prompt_verdict() -> Value {
    json!([{
        "prompt_index": 0,
        "content_filter_results": {
            "hate": { "filtered": false, "severity": "safe" },
            "jailbreak": { "filtered": false, "detected": false },
            "self_harm": { "filtered": false, "severity": "safe" },
            "sexual": { "filtered": false, "severity": "safe" },
            "violence": { "filtered": false, "severity": "safe" },
        },
    }])
}

/// What the chunks of one reply have in common.
#[derive(Clone, Copy)]
pub(super) struct Chunks<'a> {
    pub(super) dialect: Dialect,
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) model: &'a str,
    /// Whether a last chunk has the usage.
    pub(super) usage: bool,
}

impl<'a> Chunks<'a> {
    fn reply<C>(&self, choices: Vec<C>, usage: Option<Usage>) -> Reply<'a, C> {
        Reply {
            id: self.id,
            object: self.object,
            created: CREATED,
            model: self.model,
            system_fingerprint: fingerprint(self.dialect),
            choices,
            usage: self.usage.then_some(usage),
            prompt_filter_results: None,
            prompt_logprobs: None,
        }
    }

    /// A chunk of one choice.
    pub(super) fn chunk<C: Serialize>(&self, choice: C) -> Vec<u8> {
        event(&self.reply(vec![choice], None))
    }

    /// Azure's first chunk, which has its verdict on the prompt and nothing else.
    pub(super) fn first(&self) -> Option<Vec<u8>> {
        (self.dialect == Dialect::Azure).then(|| {
            event(&json!({
                "choices": [], "created": 0, "id": "", "model": "", "object": "",
                "prompt_filter_results": prompt_verdict(),
            }))
        })
    }

    /// The events after the last choice's.
    pub(super) fn end(&self, usage: Usage, frames: &mut Vec<Vec<u8>>) {
        if self.usage {
            frames.push(event(&self.reply(Vec::<()>::new(), Some(usage))));
        }
        frames.push(b"data: [DONE]\n\n".to_vec());
    }
}

/// `system_fingerprint`, of those that have one.
pub(super) fn fingerprint(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenAi | Dialect::Azure | Dialect::Xai => Some("fp_mock"),
        Dialect::Vllm | Dialect::Moonshot | Dialect::HuggingFace => None,
    }
}

/// The headers that tell what is left of a rate, of those vendors that have them.
pub(crate) fn tell_allowance(headers: &mut HeaderMap, allowance: &Allowance) {
    let Allowance { limit, remaining, reset } = allowance;
    let mut put = |name, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("x-ratelimit-limit-requests", limit.to_string());
    put("x-ratelimit-remaining-requests", remaining.to_string());
    put("x-ratelimit-reset-requests", format!("{}ms", reset.as_nanos().div_ceil(1_000_000)));
}

/// An answer with the headers that tell how much may still be asked.
pub(super) fn with_limits(dialect: Dialect, answer: Answer, id: &str, usage: Usage) -> Answer {
    const REQUESTS: usize = 10_000;
    const TOKENS: usize = 2_000_000;
    let answer = answer.with("x-request-id", format!("req_{id}"));
    if !matches!(dialect, Dialect::OpenAi | Dialect::Azure | Dialect::Xai) {
        return answer;
    }
    answer
        .with("x-ratelimit-limit-requests", REQUESTS)
        .with("x-ratelimit-limit-tokens", TOKENS)
        .with("x-ratelimit-remaining-requests", REQUESTS - 1)
        .with("x-ratelimit-remaining-tokens", TOKENS.saturating_sub(usage.total_tokens))
        .with("x-ratelimit-reset-requests", "6ms")
        .with("x-ratelimit-reset-tokens", format!("{}ms", usage.total_tokens * 30 / 1000))
}
