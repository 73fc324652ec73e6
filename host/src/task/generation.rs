//! Parameters of generation, checked.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::raw::RawGenerate;

/// The most tokens of a reply when the task does not say (as lm-evaluation-harness).
pub const DEFAULT_MAX_TOKENS: u32 = 256;

/// Parameters of generation that make sense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// The most tokens of a reply, at least 1.
    pub max_tokens: u32,
    /// Temperature, not negative; 0 is greedy.
    pub temperature: f64,
    /// Nucleus sampling, in (0, 1].
    pub top_p: Option<f64>,
    /// Sample from the k most likely tokens.
    pub top_k: Option<u32>,
    /// Record the log-probability of each generated token, with this many alternatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Texts at which a server is to end a reply, none of them empty. A task with `think_end` sends none.
    pub stop: Vec<String>,
    /// Seed of sampling.
    pub seed: Option<u64>,
    /// Replies of one request.
    pub n: NonZeroU32,
    /// Further parameters of the vendor.
    pub vendor: Map<String, Value>,
}

/// A parameter that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`generate.{key}` must be {expected}")]
pub struct GenerationError {
    /// The key.
    pub key: String,
    /// What was expected.
    pub expected: &'static str,
}

fn bad(key: &str, expected: &'static str) -> GenerationError {
    GenerationError { key: key.to_owned(), expected }
}

impl Generation {
    /// Checks parameters; `default_stop` is used when the task names no stops.
    ///
    /// # Errors
    /// [`GenerationError`] names the first parameter out of range.
    pub fn new(raw: &RawGenerate, default_stop: Vec<String>) -> Result<Self, GenerationError> {
        let max_tokens = raw.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        if max_tokens == 0 {
            return Err(bad("max_tokens", "at least 1"));
        }
        let temperature = raw.temperature.unwrap_or(0.0);
        if !temperature.is_finite() || temperature < 0.0 {
            return Err(bad("temperature", "a number from 0 up"));
        }
        if raw.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return Err(bad("top_p", "a number above 0 and at most 1"));
        }
        if raw.top_k == Some(0) {
            return Err(bad("top_k", "at least 1"));
        }
        let stop = raw.stop.clone().unwrap_or(default_stop);
        if stop.iter().any(String::is_empty) {
            return Err(bad("stop", "a list of texts that are not empty"));
        }
        let n = NonZeroU32::new(raw.n.unwrap_or(1)).ok_or_else(|| bad("n", "at least 1"))?;
        if raw.think_end.as_ref().is_some_and(String::is_empty) {
            return Err(bad("think_end", "a text that is not empty; leave it out for none"));
        }
        const OWN: [&str; 9] = [
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "logprobs",
            "stop",
            "seed",
            "n",
            "think_end",
        ];
        if let Some(key) = OWN.iter().find(|key| raw.vendor.contains_key(**key)) {
            return Err(bad(&format!("vendor.{key}"), "written as a key of `generate` itself"));
        }
        Ok(Self {
            max_tokens,
            temperature,
            top_p: raw.top_p,
            top_k: raw.top_k,
            logprobs: raw.logprobs,
            stop,
            seed: raw.seed,
            n,
            vendor: raw.vendor.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> Result<Generation, String> {
        Generation::new(&toml::from_str(toml).unwrap(), vec!["\n\n".into()])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_lm_eval() {
        let generation = check("").unwrap();
        assert_eq!(
            (generation.max_tokens, generation.temperature, generation.n.get()),
            (256, 0.0, 1)
        );
        assert_eq!(generation.stop, ["\n\n"]);
        assert_eq!(check("stop = []").unwrap().stop, [""; 0]);
    }

    #[test]
    fn each_bad_parameter_is_named() {
        let table = [
            "max_tokens = 0",
            "temperature = -1.0",
            "temperature = nan",
            "top_p = 0.0",
            "top_p = 1.5",
        ];
        for toml in table.into_iter().chain([
            "top_k = 0",
            "stop = ['']",
            "n = 0",
            "think_end = ''",
            "vendor = {n = 2}",
        ]) {
            let key = toml.split(' ').next().unwrap();
            assert!(check(toml).unwrap_err().contains(key), "{toml}");
        }
        assert_eq!(check("vendor = {min_p = 0.1}").unwrap().vendor["min_p"], 0.1);
    }
}
