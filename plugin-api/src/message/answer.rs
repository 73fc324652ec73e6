//! The answers of a `done` action as they travel: texts are spans of the action's body.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Span, Str};
use crate::capability::Capability;

/// The answer to one item.
///
/// An author gives it as [`crate::Answer`]; so it travels:
///
/// ```
/// use plugin_api::message::{AnswerHead, ChoiceHead, CompletionHead, Span, read};
///
/// let body = b"It is.";
/// let answer: AnswerHead<'_> = read(
///     br#"{"completion":{"choices":[{"text":[0,6],"finish_reason":"stop"}],"usage":{"completion_tokens":3}}}"#,
/// )?;
/// let AnswerHead::Completion(CompletionHead { choices, usage, model: None, .. }) = answer else {
///     panic!("another answer");
/// };
/// let ChoiceHead { text, finish_reason, .. } = &choices[0];
/// assert_eq!((text.text(body), finish_reason.as_str()), (Ok("It is."), "stop"));
/// assert_eq!(usage.completion_tokens, Some(3));
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerHead<'a> {
    /// To `generate`.
    #[serde(borrow)]
    Completion(CompletionHead<'a>),
    /// To `loglikelihood`, one a continuation in order; to `loglikelihood_rolling`, just one.
    Likelihoods(Vec<Likelihood>),
    /// To `health`.
    Health(Health),
    /// To `describe`.
    Description(Description),
    /// To `tokenize`.
    Tokens(Vec<u32>),
    /// To `render`.
    Rendered(Span),
    /// To `embed`; none stands for a component that is not a number.
    Vectors(Vec<Vec<Option<f32>>>),
    /// To `prepare` and `release`.
    Nothing {},
}

/// What a model generated.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CompletionHead<'a> {
    /// The choices, `n` of them.
    pub choices: Vec<ChoiceHead>,
    /// Tokens used, as far as the server says.
    #[serde(default)]
    pub usage: Usage,
    /// The model's name as the server reports it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Str<'a>>,
    /// Parameters that were dropped or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<Changed>,
}

/// One choice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChoiceHead {
    /// The answer's text.
    pub text: Span,
    /// Reasoning, kept apart from the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Span>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Log-probabilities of its tokens, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
}

/// Why a choice ended. A name that this version does not know is kept in [`FinishReason::Other`].
///
/// ```
/// use plugin_api::FinishReason;
///
/// assert_eq!(FinishReason::from("length"), FinishReason::Length);
/// assert_eq!(FinishReason::from("weary").as_str(), "weary");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done, or a stop text came.
    Stop,
    /// The token budget was spent.
    Length,
    /// The vendor filtered the answer, or the model refused.
    ContentFilter,
    /// The model called a tool.
    ToolCalls,
    /// Anything else.
    Other(String),
}

impl FinishReason {
    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::ToolCalls => "tool_calls",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for FinishReason {
    fn from(name: &str) -> Self {
        match name {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "content_filter" => Self::ContentFilter,
            "tool_calls" => Self::ToolCalls,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FinishReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for FinishReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Str::deserialize(deserializer).map(|name| Self::from(&*name))
    }
}

/// Log-probability of one generated token.
///
/// ```
/// use plugin_api::TokenLogprob;
///
/// let top = vec![(" Hi".to_owned(), Some(-0.1)), (" Ho".to_owned(), Some(-2.4))];
/// let token = TokenLogprob { token: " Hi".into(), logprob: Some(-0.1), top };
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm; none for minus infinity or unknown.
    pub logprob: Option<f64>,
    /// Alternatives at that position, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(String, Option<f64>)>,
}

/// Tokens that a request used.
///
/// ```
/// use plugin_api::Usage;
///
/// let mut usage = Usage { prompt_tokens: Some(3), ..Usage::default() };
/// usage.add(Usage { prompt_tokens: Some(4), completion_tokens: Some(1), ..Usage::default() });
/// assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(7), Some(1)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens generated, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Prompt tokens that came from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// Generated tokens that were reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// What the request cost, in billionths of a US dollar: an estimate from a price table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd_nanos: Option<u64>,
}

impl Usage {
    /// Adds what another request used. A count is known as soon as a part of it is; the cost, which must never look
    /// smaller than it is, only where both parts are.
    pub fn add(&mut self, more: Usage) {
        for (sum, more) in [
            (&mut self.prompt_tokens, more.prompt_tokens),
            (&mut self.completion_tokens, more.completion_tokens),
            (&mut self.cached_tokens, more.cached_tokens),
            (&mut self.reasoning_tokens, more.reasoning_tokens),
        ] {
            if let Some(more) = more {
                // A server may say any number.
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
        let costs = self.cost_usd_nanos.zip(more.cost_usd_nanos);
        self.cost_usd_nanos = costs.map(|(sum, more)| sum.saturating_add(more));
    }
}

/// A parameter that was dropped or changed, because the server or model would not take it.
///
/// ```
/// let changed = plugin_api::Changed {
///     parameter: "top_k".into(),
///     detail: "the API has no top_k; it was left out".into(),
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its name in the request.
    pub parameter: String,
    /// What was done and why, for a person.
    pub detail: String,
}

/// How likely one continuation is.
///
/// ```
/// use plugin_api::Likelihood;
///
/// let one = Likelihood {
///     logprob: Some(-1.5),
///     tokens: 2,
///     token_logprobs: Some(vec![Some(-0.5), Some(-1.0)]),
///     ..Likelihood::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Sum of the natural log-probabilities of its tokens; none if it is not a finite number.
    pub logprob: Option<f64>,
    /// Number of tokens summed; never 0.
    pub tokens: u32,
    /// Whether each token is the likeliest one; none if the server does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy: Option<bool>,
    /// Whether the last token of the context merged with the first of the continuation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boundary_merged: bool,
    /// Token by token, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_logprobs: Option<Vec<Option<f64>>>,
    /// Tokens of context and continuation that the server worked on for this one, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
}

/// Whether a server is ready.
///
/// ```
/// let health = plugin_api::Health { ready: false, detail: "the model is being loaded".into() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Ready for requests.
    pub ready: bool,
    /// Why not, or what else is worth knowing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What is behind a backend, as far as the plugin can tell.
///
/// ```
/// use plugin_api::Description;
///
/// let description = Description {
///     model: Some("acme-7b".into()),
///     context_tokens: Some(8192),
///     bos: Some("none".into()),
///     ..Description::default()
/// };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// The model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The engine that serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The engine's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Context size in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// What is put before a context: `bos`, `none`, or a vendor's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos: Option<String>,
    /// Capabilities of the manifest that this backend lacks all the same, because of its configuration or its
    /// server. The host plans without them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Capability>,
    /// The price table that costs are estimated from, by name and date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_add_up_as_far_as_they_are_known() {
        let usage = |counts: [Option<u64>; 5]| {
            let [prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost_usd_nanos] =
                counts;
            Usage {
                prompt_tokens,
                completion_tokens,
                cached_tokens,
                reasoning_tokens,
                cost_usd_nanos,
            }
        };
        let mut sum = usage([Some(1), None, Some(3), Some(u64::MAX), Some(5)]);
        sum.add(usage([Some(2), Some(4), None, Some(1), Some(6)]));
        assert_eq!(sum, usage([Some(3), Some(4), Some(3), Some(u64::MAX), Some(11)]));
        sum.add(Usage::default());
        assert_eq!(sum, usage([Some(3), Some(4), Some(3), Some(u64::MAX), None]));
    }
}
