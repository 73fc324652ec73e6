//! The parameters of a generation under the wire's own names, and which further names are known.
//!
//! Values only: which of them a server takes is the plugin's business, and so is what happens to the others.

use plugin_api::{Error, ErrorKind, Result};
use serde::{Deserialize, ser::SerializeMap};
use serde_json::{Map, Value};

/// Everything that steers a generation, but for model, prompt and streaming. What is not set is not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    /// Most tokens of an answer. [`super::Dialect`] says under which name it is sent.
    pub max_tokens: Option<u32>,
    /// 0 is greedy.
    pub temperature: Option<f64>,
    /// Nucleus sampling; 1 is off.
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens; -1 is off. Not in OpenAI's own wire.
    pub top_k: Option<i64>,
    /// Least probability of a token, as a part of the likeliest one's. Not in OpenAI's own wire.
    pub min_p: Option<f64>,
    /// Penalty on tokens that are there already.
    pub presence_penalty: Option<f64>,
    /// Penalty on tokens by how often they are there.
    pub frequency_penalty: Option<f64>,
    /// Factor on tokens that are there already; 1 is none. Not in OpenAI's own wire.
    pub repetition_penalty: Option<f64>,
    /// Seed of the sampling. The wire has 63 bits.
    pub seed: Option<u64>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// Choices wanted; 1 is not sent.
    pub n: Option<u32>,
    /// Log-probabilities of the generated tokens, with this many alternatives each.
    pub logprobs: Option<u32>,
    /// How long a model shall reason, in the vendor's words.
    pub reasoning_effort: Option<String>,
    /// Further fields of the body, sent as they stand.
    pub extra: Map<String, Value>,
}

/// Fields of the body beside [`Parameters`]' own that are passed on: OpenAI's chat and completions (openapi.yaml
/// 2.3.0), then those that the open engines add (vLLM 0.33.0, SGLang 0.5.23) and what vendors call thinking.
const KNOWN: &[&str] = &[
    // OpenAI.
    "best_of",
    "logit_bias",
    "metadata",
    "modalities",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "response_format",
    "safety_identifier",
    "service_tier",
    "store",
    "suffix",
    "tool_choice",
    "tools",
    "user",
    "verbosity",
    "web_search_options",
    // The engines.
    "add_generation_prompt",
    "add_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "documents",
    "ebnf",
    "ignore_eos",
    "include_reasoning",
    "include_stop_str_in_output",
    "json_schema",
    "length_penalty",
    "lora_path",
    "min_tokens",
    "no_stop_trim",
    "priority",
    "regex",
    "separate_reasoning",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_regex",
    "stop_token_ids",
    "structured_outputs",
    "thinking_token_budget",
    "truncate_prompt_tokens",
    "truncation_side",
    "typical_p",
    "use_beam_search",
    "vllm_xargs",
    // Thinking.
    "enable_thinking",
    "reasoning",
    "thinking",
    "thinking_budget",
];

/// Fields that are the codec's own, which nobody else may set.
const OWN: &[&str] = &[
    "model",
    "messages",
    "prompt",
    "stream",
    "stream_options",
    "stop",
    "n",
    "logprobs",
    "echo",
    "prompt_logprobs",
];

impl Parameters {
    /// Sets one field by its name on the wire, as a task's vendor parameters have it.
    ///
    /// # Errors
    /// `unsupported` for a name that is not known; `invalid_request` for a value of the wrong type.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        match name {
            "max_tokens" | "max_completion_tokens" | "max_new_tokens" => {
                self.max_tokens = typed(name, value)?;
            }
            "temperature" => self.temperature = typed(name, value)?,
            "top_p" => self.top_p = typed(name, value)?,
            "top_k" => self.top_k = typed(name, value)?,
            "min_p" => self.min_p = typed(name, value)?,
            "presence_penalty" => self.presence_penalty = typed(name, value)?,
            "frequency_penalty" => self.frequency_penalty = typed(name, value)?,
            "repetition_penalty" => self.repetition_penalty = typed(name, value)?,
            "seed" => self.seed = typed(name, value)?,
            "reasoning_effort" => self.reasoning_effort = typed(name, value)?,
            "top_logprobs" => self.logprobs = typed(name, value)?,
            known if KNOWN.contains(&known) => {
                self.extra.insert(name.to_owned(), value.clone());
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the parameter `{name}` is not one of this wire; if the server has it, write it \
                         into `extra_body`, which is sent as it stands"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Adds fields whether they are known or not.
    ///
    /// # Errors
    /// `invalid_request` for a field that the codec writes itself, and for a known one of the wrong type.
    pub fn add_extra(&mut self, fields: &Map<String, Value>) -> Result<()> {
        for (name, value) in fields {
            if OWN.contains(&name.as_str()) {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!("`{name}` is written by the plugin itself and cannot be set"),
                ));
            }
            match self.set(name, value) {
                Err(error) if error.kind == ErrorKind::Unsupported => {
                    self.extra.insert(name.clone(), value.clone());
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Takes one field out by its name on the wire; whether it was there.
    pub fn drop(&mut self, name: &str) -> bool {
        match name {
            "max_tokens" => self.max_tokens.take().is_some(),
            "temperature" => self.temperature.take().is_some(),
            "top_p" => self.top_p.take().is_some(),
            "top_k" => self.top_k.take().is_some(),
            "min_p" => self.min_p.take().is_some(),
            "presence_penalty" => self.presence_penalty.take().is_some(),
            "frequency_penalty" => self.frequency_penalty.take().is_some(),
            "repetition_penalty" => self.repetition_penalty.take().is_some(),
            "seed" => self.seed.take().is_some(),
            "stop" => !std::mem::take(&mut self.stop).is_empty(),
            "n" => self.n.take().is_some(),
            "logprobs" => self.logprobs.take().is_some(),
            "reasoning_effort" => self.reasoning_effort.take().is_some(),
            other => self.extra.remove(other).is_some(),
        }
    }

    /// Writes what both routes have in common.
    pub(super) fn put<M: SerializeMap>(&self, map: &mut M) -> std::result::Result<(), M::Error> {
        put(map, "temperature", self.temperature)?;
        put(map, "top_p", self.top_p)?;
        put(map, "top_k", self.top_k)?;
        put(map, "min_p", self.min_p)?;
        put(map, "presence_penalty", self.presence_penalty)?;
        put(map, "frequency_penalty", self.frequency_penalty)?;
        put(map, "repetition_penalty", self.repetition_penalty)?;
        put(map, "seed", self.seed)?;
        put(map, "n", self.n.filter(|n| *n > 1))?;
        if !self.stop.is_empty() {
            map.serialize_entry("stop", &self.stop)?;
        }
        self.extra.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))
    }
}

/// Writes a field that is set.
pub(super) fn put<M: SerializeMap, T: serde::Serialize>(
    map: &mut M,
    name: &'static str,
    value: Option<T>,
) -> std::result::Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, &value))
}

fn typed<'a, T: Deserialize<'a>>(name: &str, value: &'a Value) -> Result<T> {
    T::deserialize(value)
        .map_err(|error| Error::new(ErrorKind::InvalidRequest, format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_known_name_is_set_and_an_unknown_one_is_refused_by_name() {
        let mut parameters = Parameters::default();
        for (name, value) in [
            ("max_new_tokens", json!(5)),
            ("top_k", json!(-1)),
            ("reasoning_effort", json!("low")),
            ("chat_template_kwargs", json!({ "enable_thinking": false })),
            ("seed", json!(null)),
        ] {
            parameters.set(name, &value).unwrap();
        }
        assert_eq!((parameters.max_tokens, parameters.top_k), (Some(5), Some(-1)));
        assert_eq!(parameters.extra.len(), 1);
        let error = parameters.set("stop_sequences", &json!([])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("`stop_sequences`"));
        assert_eq!(
            parameters.set("top_p", &json!("high")).unwrap_err().kind,
            ErrorKind::InvalidRequest
        );
    }

    #[test]
    fn extra_fields_are_sent_as_they_stand_but_never_replace_the_codecs_own() {
        let mut parameters = Parameters::default();
        let fields = json!({ "min_p": 0.1, "brand_new": [1] });
        parameters.add_extra(fields.as_object().unwrap()).unwrap();
        assert_eq!(parameters.min_p, Some(0.1));
        assert_eq!(parameters.extra["brand_new"], json!([1]));
        for own in ["model", "messages", "stream", "n", "stop"] {
            let fields = json!({ own: 1 });
            assert!(parameters.add_extra(fields.as_object().unwrap()).is_err(), "{own}");
        }
    }

    #[test]
    fn every_field_can_be_dropped_by_its_name() {
        let mut parameters = Parameters {
            max_tokens: Some(1),
            temperature: Some(1.0),
            top_p: Some(1.0),
            top_k: Some(1),
            min_p: Some(1.0),
            presence_penalty: Some(1.0),
            frequency_penalty: Some(1.0),
            repetition_penalty: Some(1.0),
            seed: Some(1),
            stop: vec!["x".to_owned()],
            n: Some(2),
            logprobs: Some(1),
            reasoning_effort: Some("low".to_owned()),
            extra: Map::from_iter([("logit_bias".to_owned(), json!({}))]),
        };
        for name in [
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "seed",
            "stop",
            "n",
            "logprobs",
            "reasoning_effort",
            "logit_bias",
        ] {
            assert!(parameters.drop(name), "{name}");
            assert!(!parameters.drop(name), "{name}");
        }
        assert_eq!(parameters, Parameters::default());
    }
}
