//! `sampling_params` (python/sglang/srt/sampling/sampling_params.py): its keys, defaults and bounds.
//!
//! Pure.

use serde::{Deserialize, de::IgnoredAny};

use crate::mock::{
    flavors::compatible::OneOrMany,
    model::{Ask, Prompt},
};

/// Tokens that are generated where a request does not say.
const DEFAULT_NEW_TOKENS: usize = 128;
/// Below it, a temperature is 0.
const GREEDY: f64 = 1e-6;
/// Most stop texts, and most stop expressions.
const MAX_STOPS: usize = 32;

/// How to generate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sampling {
    max_new_tokens: Option<usize>,
    min_new_tokens: Option<usize>,
    pub(super) temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
    stop: Option<OneOrMany<String>>,
    stop_token_ids: Option<Vec<u32>>,
    stop_regex: Option<OneOrMany<String>>,
    ignore_eos: Option<bool>,
    #[serde(rename = "skip_special_tokens")]
    _skip_special_tokens: Option<bool>,
    #[serde(rename = "spaces_between_special_tokens")]
    _spaces_between_special_tokens: Option<bool>,
    no_stop_trim: Option<bool>,
    n: Option<usize>,
    json_schema: Option<String>,
    regex: Option<String>,
    ebnf: Option<String>,
    structural_tag: Option<String>,
    #[serde(rename = "logit_bias")]
    _logit_bias: Option<IgnoredAny>,
    sampling_seed: Option<u64>,
    #[serde(rename = "stream_interval")]
    _stream_interval: Option<usize>,
    #[serde(rename = "custom_params")]
    _custom_params: Option<IgnoredAny>,
    #[serde(rename = "beam_width")]
    _beam_width: Option<usize>,
    #[serde(rename = "watermark")]
    _watermark: Option<IgnoredAny>,
    #[serde(rename = "choice")]
    _choice: Option<IgnoredAny>,
}

/// What the OpenAI-shaped routes hand on.
#[derive(Clone, Debug, Default)]
pub(super) struct Handed {
    pub(super) max_new_tokens: Option<usize>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) stop: Option<OneOrMany<String>>,
    pub(super) seed: Option<u64>,
    pub(super) n: Option<usize>,
    pub(super) no_stop_trim: Option<bool>,
    pub(super) ignore_eos: Option<bool>,
}

impl From<Handed> for Sampling {
    fn from(handed: Handed) -> Self {
        Self {
            max_new_tokens: handed.max_new_tokens,
            temperature: handed.temperature,
            top_p: handed.top_p,
            frequency_penalty: handed.frequency_penalty,
            presence_penalty: handed.presence_penalty,
            stop: handed.stop,
            sampling_seed: handed.seed,
            n: handed.n,
            no_stop_trim: handed.no_stop_trim,
            ignore_eos: handed.ignore_eos,
            ..Self::default()
        }
    }
}

impl Sampling {
    /// Most tokens of an answer.
    pub(super) fn max_new_tokens(&self) -> usize {
        self.max_new_tokens.unwrap_or(DEFAULT_NEW_TOKENS)
    }

    /// Answers to each prompt.
    pub(super) fn n(&self) -> usize {
        self.n.unwrap_or(1)
    }

    /// Whether the stop text stays in the answer.
    pub(super) fn keeps_stop(&self) -> bool {
        self.no_stop_trim.unwrap_or(false)
    }

    /// Tokens that end an answer.
    pub(super) fn stop_token_ids(&self) -> &[u32] {
        self.stop_token_ids.as_deref().unwrap_or_default()
    }

    /// The stop texts.
    pub(super) fn stops(&self) -> Vec<String> {
        self.stop.clone().map(OneOrMany::into_vec).unwrap_or_default()
    }

    /// The temperature of the answer: 0 where it is as good as that.
    fn sampled_at(&self) -> f64 {
        match self.temperature.unwrap_or(1.0) {
            temperature if temperature < GREEDY => 0.0,
            temperature => temperature,
        }
    }

    /// The request for one answer.
    pub(super) fn ask<'a>(&self, prompt: Prompt<'a>, choice: usize) -> Ask<'a> {
        let most = self.max_new_tokens();
        let endless = self.ignore_eos.unwrap_or(false);
        Ask {
            max_tokens: Some(most),
            min_tokens: if endless { most } else { self.min_new_tokens.unwrap_or(0) },
            stop: self.stops().into_iter().map(Into::into).collect(),
            temperature: Some(self.sampled_at()),
            top_p: self.top_p,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.sampling_seed,
            choice: choice as u64,
            ..Ask::new(prompt)
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The complaint.
    pub(super) fn check(&self) -> Result<(), String> {
        let most = self.max_new_tokens();
        let least = self.min_new_tokens.unwrap_or(0);
        let outside = |value: Option<f64>, low: f64, high: f64| {
            value.filter(|value| !(low..=high).contains(value))
        };
        if let Some(value) = self.temperature.filter(|value| value.is_nan() || *value < 0.0) {
            return Err(format!("temperature must be non-negative, got {value}."));
        }
        if let Some(value) = self.top_p.filter(|value| !(*value > 0.0 && *value <= 1.0)) {
            return Err(format!("top_p must be in (0, 1], got {value}."));
        }
        if let Some(value) = self.top_k.filter(|value| *value < 1 && *value != -1) {
            return Err(format!("top_k must be -1 (disable) or at least 1, got {value}."));
        }
        if let Some(value) = outside(self.min_p, 0.0, 1.0) {
            return Err(format!("min_p must be in [0, 1], got {value}."));
        }
        for (name, value) in [
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
        ] {
            if let Some(value) = outside(value, -2.0, 2.0) {
                return Err(format!("{name} must be in [-2, 2], got {value}."));
            }
        }
        if let Some(value) =
            self.repetition_penalty.filter(|value| !(*value > 0.0 && *value <= 2.0))
        {
            return Err(format!("repetition_penalty must be in (0, 2], got {value}."));
        }
        if least > most {
            return Err(format!(
                "min_new_tokens must be in [0, max_new_tokens({most})], got {least}."
            ));
        }
        if self.n == Some(0) {
            return Err("n must be at least 1, got 0.".to_owned());
        }
        for (name, list) in [("stop", &self.stop), ("stop_regex", &self.stop_regex)] {
            let given = list.clone().map(OneOrMany::into_vec).unwrap_or_default().len();
            if given > MAX_STOPS {
                return Err(format!(
                    "{name} has {given} entries, at most {MAX_STOPS} are allowed."
                ));
            }
        }
        let grammars = [&self.json_schema, &self.regex, &self.ebnf, &self.structural_tag];
        if grammars.iter().filter(|grammar| grammar.is_some()).count() > 1 {
            return Err(
                "Only one of regex, json_schema, ebnf, or structural_tag can be set.".into()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_complained_of() {
        let complaint = |text: &str| serde_json::from_str::<Sampling>(text).unwrap().check().err();
        for (text, expected) in [
            (r#"{"temperature":-0.1}"#, "temperature"),
            (r#"{"top_p":0}"#, "top_p"),
            (r#"{"top_p":1.1}"#, "top_p"),
            (r#"{"top_k":0}"#, "top_k"),
            (r#"{"min_p":2}"#, "min_p"),
            (r#"{"frequency_penalty":3}"#, "frequency_penalty"),
            (r#"{"repetition_penalty":0}"#, "repetition_penalty"),
            (r#"{"max_new_tokens":2,"min_new_tokens":3}"#, "min_new_tokens"),
            (r#"{"n":0}"#, "n must"),
            (r#"{"regex":"a","ebnf":"b"}"#, "Only one"),
        ] {
            let complaint = complaint(text).unwrap_or_default();
            assert!(complaint.starts_with(expected), "{text}: {complaint}");
        }
        let all = r#"{"temperature":0,"top_p":1.0,"top_k":-1,"min_p":0,"stop":["a"],"n":2}"#;
        assert_eq!(complaint(all), None);
        let stops = format!(r#"{{"stop":{:?}}}"#, vec!["a"; 33]);
        assert!(complaint(&stops).unwrap().starts_with("stop has 33"));
    }

    #[test]
    fn a_request_samples_unless_it_says_0() {
        let temperature = |text: &str| {
            let sampling: Sampling = serde_json::from_str(text).unwrap();
            sampling.ask(Prompt::Text("Q".into()), 0).temperature
        };
        assert_eq!(temperature("{}"), Some(1.0));
        assert_eq!(temperature(r#"{"temperature":0}"#), Some(0.0));
        assert_eq!(temperature(r#"{"temperature":1e-7}"#), Some(0.0));
        assert_eq!(temperature(r#"{"temperature":0.5}"#), Some(0.5));
    }
}
