//! The body of `/chat/completions`, and the values that it may have.
//!
//! One type has every dialect's fields; those that a vendor has not are refused as unknown after reading.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    Dialect, Message, Refusal,
    values::{at_most, decimal, integer, one_of},
};
use crate::mock::flavors::text::{Text, TextOr};

/// Most tokens that vLLM's server would fit into its context.
pub(super) const MOST: i64 = Dialect::Vllm.context() as i64;

/// What vLLM takes beside OpenAI's fields, as far as the mock knows it, for chat and for completions. Kept apart
/// because a field of it makes a request vLLM's.
macro_rules! request {
    ($(#[$about:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "what the mock does not heed is accepted and checked for its type")]
        pub(crate) struct $name<'a> {
            $($own)*
            /// Which model.
            #[serde(borrow, default)]
            pub(crate) model: Option<Text<'a>>,
            /// `[-2, 2]`.
            #[serde(default)]
            pub(crate) frequency_penalty: Option<f64>,
            /// `{"token id": -100..100}`.
            #[serde(default)]
            pub(crate) logit_bias: Option<IgnoredAny>,
            /// `[1, 128]`.
            #[serde(default)]
            pub(crate) n: Option<i64>,
            /// `[-2, 2]`.
            #[serde(default)]
            pub(crate) presence_penalty: Option<f64>,
            /// Of a sampled answer.
            #[serde(default)]
            pub(crate) seed: Option<i64>,
            /// One to four texts.
            #[serde(borrow, default)]
            pub(crate) stop: Option<TextOr<'a, Text<'a>>>,
            /// As events.
            #[serde(default)]
            pub(crate) stream: Option<bool>,
            /// Only with `stream`.
            #[serde(default)]
            pub(crate) stream_options: Option<StreamOptions>,
            /// `[0, 2]`.
            #[serde(default)]
            pub(crate) temperature: Option<f64>,
            /// `[0, 1]`.
            #[serde(default)]
            pub(crate) top_p: Option<f64>,
            /// Who asks.
            #[serde(borrow, default)]
            pub(crate) user: Option<Text<'a>>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) top_k: Option<i64>,
            /// vLLM's, `[0, 1]`.
            #[serde(default)]
            pub(crate) min_p: Option<f64>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) repetition_penalty: Option<f64>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) min_tokens: Option<i64>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) ignore_eos: Option<bool>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) stop_token_ids: Option<Vec<u32>>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) include_stop_str_in_output: Option<bool>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) skip_special_tokens: Option<bool>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) spaces_between_special_tokens: Option<bool>,
            /// vLLM's: -1, or how many of the last tokens to keep.
            #[serde(default)]
            pub(crate) truncate_prompt_tokens: Option<i64>,
            /// vLLM's: how many alternatives to each token of the prompt; -1 for all.
            #[serde(default)]
            pub(crate) prompt_logprobs: Option<i64>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) add_special_tokens: Option<bool>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) return_token_ids: Option<bool>,
            /// vLLM's.
            #[serde(default)]
            pub(crate) priority: Option<i64>,
            /// vLLM's.
            #[serde(borrow, default)]
            pub(crate) request_id: Option<Text<'a>>,
            /// vLLM's.
            #[serde(borrow, default)]
            pub(crate) cache_salt: Option<Text<'a>>,
        }

        impl $name<'_> {
            /// The first field that only vLLM has.
            pub(crate) fn beyond_openai(&self) -> Option<&'static str> {
                [
                    ("top_k", self.top_k.is_some()),
                    ("min_p", self.min_p.is_some()),
                    ("repetition_penalty", self.repetition_penalty.is_some()),
                    ("min_tokens", self.min_tokens.is_some()),
                    ("ignore_eos", self.ignore_eos.is_some()),
                    ("stop_token_ids", self.stop_token_ids.is_some()),
                    ("include_stop_str_in_output", self.include_stop_str_in_output.is_some()),
                    ("skip_special_tokens", self.skip_special_tokens.is_some()),
                    ("spaces_between_special_tokens", self.spaces_between_special_tokens.is_some()),
                    ("truncate_prompt_tokens", self.truncate_prompt_tokens.is_some()),
                    ("prompt_logprobs", self.prompt_logprobs.is_some()),
                    ("add_special_tokens", self.add_special_tokens.is_some()),
                    ("return_token_ids", self.return_token_ids.is_some()),
                    ("priority", self.priority.is_some()),
                    ("request_id", self.request_id.is_some()),
                    ("cache_salt", self.cache_salt.is_some()),
                ]
                .into_iter()
                .find_map(|(name, present)| present.then_some(name))
            }

            /// Checks what both routes have in common; `most` is the budget.
            pub(crate) fn check_common(&self, vllm: bool, most: Option<i64>) -> Result<(), Refusal> {
                decimal("temperature", self.temperature, 0.0..=2.0)?;
                decimal("top_p", self.top_p, 0.0..=1.0)?;
                decimal("frequency_penalty", self.frequency_penalty, -2.0..=2.0)?;
                decimal("presence_penalty", self.presence_penalty, -2.0..=2.0)?;
                integer("n", self.n, 1..=128)?;
                let stops = match &self.stop {
                    Some(TextOr::List(texts)) => texts.len(),
                    _ => 0,
                };
                if !vllm {
                    at_most("stop", 4, stops)?;
                }
                if self.stream_options.is_some() && self.stream != Some(true) {
                    let message =
                        "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
                    return Err(Refusal::new(message).of("stream_options", "invalid_value"));
                }
                if vllm {
                    decimal("min_p", self.min_p, 0.0..=1.0)?;
                    decimal("repetition_penalty", self.repetition_penalty, f64::MIN_POSITIVE..=2.0)?;
                    integer("top_k", self.top_k, -1..=i64::MAX)?;
                    integer("min_tokens", self.min_tokens, 0..=most.unwrap_or($crate::mock::flavors::hosted::request::MOST))?;
                    integer("truncate_prompt_tokens", self.truncate_prompt_tokens, -1..=i64::MAX)?;
                    integer("prompt_logprobs", self.prompt_logprobs, -1..=20)?;
                    if self.prompt_logprobs.is_some() && self.stream == Some(true) {
                        let message = "`prompt_logprobs` are not available when `stream=True`.";
                        return Err(Refusal::new(message).of("prompt_logprobs", "invalid_value"));
                    }
                } else if let Some(name) = self.beyond_openai() {
                    return Err(Refusal::unknown(name));
                }
                Ok(())
            }

            /// Whether the answer goes out as events.
            pub(crate) fn streams(&self) -> bool {
                self.stream == Some(true)
            }

            /// Whether the last event has the usage.
            pub(crate) fn streams_usage(&self) -> bool {
                self.stream_options.is_some_and(|options| options.include_usage == Some(true))
            }
        }
    };
}

pub(super) use request;

/// How to stream.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamOptions {
    /// Whether a last event has the usage.
    #[serde(default)]
    pub(crate) include_usage: Option<bool>,
    /// Whether events are padded.
    #[serde(rename = "include_obfuscation", default)]
    _include_obfuscation: Option<bool>,
}

/// The form of the answer. The mock takes it and answers as ever.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    json_schema: Option<IgnoredAny>,
}

/// Moonshot's switch of thinking.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThinkingSwitch<'a> {
    /// `enabled` or `disabled`.
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Text<'a>,
}

request! {
    /// A request for a chat's next message.
    ChatRequest {
        /// The chat so far.
        #[serde(borrow)]
        pub(crate) messages: Vec<Message<'a>>,
        /// Most tokens, those of reasoning among them.
        #[serde(default)]
        pub(crate) max_completion_tokens: Option<i64>,
        /// The same, deprecated.
        #[serde(default)]
        pub(crate) max_tokens: Option<i64>,
        /// Whether log-probabilities are wanted.
        #[serde(default)]
        pub(crate) logprobs: Option<bool>,
        /// `[0, 20]`.
        #[serde(default)]
        pub(crate) top_logprobs: Option<i64>,
        /// `text`, `json_object`, `json_schema`.
        #[serde(borrow, default)]
        pub(crate) response_format: Option<ResponseFormat<'a>>,
        /// How much to think.
        #[serde(borrow, default)]
        pub(crate) reasoning_effort: Option<Text<'a>>,
        #[serde(borrow, default)]
        service_tier: Option<Text<'a>>,
        #[serde(borrow, default)]
        verbosity: Option<Text<'a>>,
        /// What to call.
        #[serde(default)]
        pub(crate) tools: Option<IgnoredAny>,
        /// What to call, as a word or an object.
        #[serde(default)]
        pub(crate) tool_choice: Option<IgnoredAny>,
        /// The older form of `tools`.
        #[serde(default)]
        pub(crate) functions: Option<IgnoredAny>,
        /// The older form of `tool_choice`.
        #[serde(default)]
        pub(crate) function_call: Option<IgnoredAny>,
        #[serde(default)]
        parallel_tool_calls: Option<bool>,
        #[serde(default)]
        store: Option<bool>,
        #[serde(borrow, default)]
        safety_identifier: Option<Text<'a>>,
        #[serde(borrow, default)]
        prompt_cache_key: Option<Text<'a>>,
        #[serde(borrow, default)]
        prompt_cache_retention: Option<Text<'a>>,
        #[serde(default)]
        metadata: Option<IgnoredAny>,
        #[serde(default)]
        modalities: Option<IgnoredAny>,
        #[serde(default)]
        audio: Option<IgnoredAny>,
        #[serde(default)]
        prediction: Option<IgnoredAny>,
        #[serde(default)]
        web_search_options: Option<IgnoredAny>,
        /// xAI's.
        #[serde(default)]
        pub(crate) search_parameters: Option<IgnoredAny>,
        /// Moonshot's.
        #[serde(borrow, default)]
        pub(crate) thinking: Option<ThinkingSwitch<'a>>,
        /// Hugging Face's (TGI's).
        #[serde(default)]
        pub(crate) tool_prompt: Option<IgnoredAny>,
        /// vLLM's and SGLang's.
        #[serde(default)]
        pub(crate) chat_template_kwargs: Option<IgnoredAny>,
        /// vLLM's.
        #[serde(default)]
        pub(crate) add_generation_prompt: Option<bool>,
        /// vLLM's: whether the answer continues the last message.
        #[serde(default)]
        pub(crate) continue_final_message: Option<bool>,
        /// vLLM's.
        #[serde(default)]
        pub(crate) include_reasoning: Option<bool>,
    }
}

impl ChatRequest<'_> {
    /// Checks every value that has bounds.
    ///
    /// # Errors
    /// The first that is out of them.
    pub(crate) fn check(&self, vllm: bool) -> Result<(), Refusal> {
        self.check_common(vllm, self.max_completion_tokens.or(self.max_tokens))?;
        integer("max_completion_tokens", self.max_completion_tokens, 1..=i64::MAX)?;
        integer("max_tokens", self.max_tokens, 1..=i64::MAX)?;
        if self.max_tokens.is_some() && self.max_completion_tokens.is_some() && !vllm {
            let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
            return Err(Refusal::new(message).of("max_tokens", "invalid_parameter_combination"));
        }
        integer("top_logprobs", self.top_logprobs, 0..=20)?;
        if self.top_logprobs.is_some() && self.logprobs != Some(true) {
            let message =
                "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.";
            return Err(Refusal::new(message).of("top_logprobs", "invalid_value"));
        }
        if let Some(format) = &self.response_format {
            one_of(
                "response_format.type",
                Some(&format.kind),
                &["json_object", "json_schema", "text"],
            )?;
            match (&*format.kind == "json_schema", format.json_schema.is_some()) {
                (true, false) => return Err(Refusal::missing("response_format.json_schema")),
                (false, true) => return Err(Refusal::unknown("response_format.json_schema")),
                _ => {}
            }
        }
        one_of(
            "reasoning_effort",
            self.reasoning_effort.as_deref(),
            &["none", "minimal", "low", "medium", "high", "xhigh", "max"],
        )?;
        one_of("verbosity", self.verbosity.as_deref(), &["low", "medium", "high"])?;
        one_of(
            "service_tier",
            self.service_tier.as_deref(),
            &["auto", "default", "flex", "scale", "priority"],
        )?;
        let of_vllm = [
            ("chat_template_kwargs", self.chat_template_kwargs.is_some()),
            ("add_generation_prompt", self.add_generation_prompt.is_some()),
            ("continue_final_message", self.continue_final_message.is_some()),
            ("include_reasoning", self.include_reasoning.is_some()),
        ];
        match of_vllm.into_iter().find(|(_, present)| *present && !vllm) {
            Some((name, _)) => Err(Refusal::unknown(name)),
            None => Ok(()),
        }
    }

    /// Refuses the fields that some vendors have and this one has not.
    ///
    /// # Errors
    /// The first.
    pub(crate) fn check_foreign(&self, own: &[&str]) -> Result<(), Refusal> {
        let message = |of: fn(&Message<'_>) -> bool| self.messages.iter().any(of);
        let foreign = [
            ("search_parameters", self.search_parameters.is_some()),
            ("thinking", self.thinking.is_some()),
            ("tool_prompt", self.tool_prompt.is_some()),
            ("messages[].reasoning_content", message(|m| m.reasoning_content.is_some())),
            ("messages[].partial", message(|m| m.partial.is_some())),
        ];
        match foreign.into_iter().find(|(name, present)| *present && !own.contains(name)) {
            Some((name, _)) => Err(Refusal::unknown(name)),
            None => Ok(()),
        }
    }

    /// Most tokens, whichever name was used.
    pub(crate) fn budget(&self) -> Option<usize> {
        let most = self.max_completion_tokens.or(self.max_tokens);
        most.and_then(|most| usize::try_from(most).ok())
    }
}
