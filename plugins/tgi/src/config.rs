//! What a run file may say of a TGI backend. The doc comments are the JSON Schema's descriptions.
//!
//! Sampling values here are defaults: a request that says something else wins. Knows nothing of requests.

use plugin_api::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::tgi::Defaults;

/// A Text Generation Inference server.
///
/// A server started with `--api-key` needs the secret slot `api_key` (environment variable `TGI_API_KEY`).
/// Because `base_url` is the run file's own choice, its table must also say `secrets = ["api_key"]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server listens, `http://127.0.0.1:3000` say, without the route.
    pub base_url: String,
    /// A name for the model in reports. TGI serves one model and does not name it in its answers.
    #[serde(default)]
    pub model: Option<String>,
    /// Most tokens to generate where a request does not say. Unset, the server fills its window.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u32>,
    /// Sampling temperature where a request does not say; 0 is greedy. With no sampling value at all the
    /// server is greedy.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub temperature: Option<f64>,
    /// Nucleus sampling where a request does not say; 1 is off.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens where a request does not say; 0 is off.
    #[serde(default)]
    pub top_k: Option<u32>,
    /// Typical decoding (<https://arxiv.org/abs/2202.00666>) where a request does not say; 1 is off.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub typical_p: Option<f64>,
    /// Penalty on tokens that were already there; 1 is none. It holds for greedy requests too.
    #[serde(default)]
    pub repetition_penalty: Option<f64>,
    /// Penalty on tokens by their frequency, between -2 and 2; 0 is none.
    #[serde(default)]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub frequency_penalty: Option<f64>,
    /// Reports the log-probability of each generated token with this many alternatives, where a request
    /// does not ask for log-probabilities itself.
    #[serde(default)]
    pub top_n_tokens: Option<u32>,
    /// Keeps the last so many tokens of a prompt that is too long. It is never applied to log-likelihood:
    /// there a prompt that is too long fails as `context_length`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub truncate: Option<u32>,
    /// Marks the text (<https://arxiv.org/abs/2301.10226>). It changes what is sampled.
    #[serde(default)]
    pub watermark: Option<bool>,
    /// A LoRA adapter that the server has loaded.
    #[serde(default)]
    pub adapter_id: Option<String>,
    /// Asks the server for finish reasons and token counts. Without them a choice ends as `unknown`
    /// unless a stop text was found, and there is no usage.
    #[serde(default = "yes")]
    pub details: bool,
    /// The server's `--max-stop-sequences`: a request's further stop texts are not sent, only applied to
    /// the answer.
    #[serde(default = "four")]
    pub max_stop_sequences: usize,
    /// The server's `--max-top-n-tokens`: more alternatives are not asked for.
    #[serde(default = "five")]
    pub max_top_n_tokens: u32,
}

impl Config {
    /// Checks what a type cannot say, and drops the slash that would double in every URL.
    ///
    /// # Errors
    /// `invalid_request`; the message names the key.
    pub fn resolved(mut self) -> Result<Self> {
        let trimmed = self.base_url.trim_end_matches('/').len();
        self.base_url.truncate(trimmed);
        let address =
            ["http://", "https://"].iter().find_map(|scheme| self.base_url.strip_prefix(scheme));
        if address.is_none_or(str::is_empty) {
            // The value is not shown: a password may stand in it.
            return Err(wrong("base_url: expected `http://host:port` or `https://host`"));
        }
        if self.max_new_tokens == Some(0) {
            return Err(wrong("max_new_tokens: the server takes 1 or more"));
        }
        if self.truncate == Some(0) {
            return Err(wrong("truncate: the server takes 1 or more"));
        }
        if self.temperature.is_some_and(|temperature| temperature < 0.0) {
            return Err(wrong("temperature: expected 0 (greedy) or more"));
        }
        for (name, value) in [("top_p", self.top_p), ("typical_p", self.typical_p)] {
            if value.is_some_and(|value| value <= 0.0 || value > 1.0) {
                return Err(wrong(&format!("{name}: expected more than 0, and at most 1 (off)")));
            }
        }
        Ok(self)
    }

    /// What holds where a request says nothing.
    pub fn defaults(&self) -> Defaults {
        Defaults {
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            typical_p: self.typical_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            top_n_tokens: self.top_n_tokens,
            truncate: self.truncate,
            watermark: self.watermark,
            adapter_id: self.adapter_id.clone(),
            details: self.details,
            max_stop_sequences: self.max_stop_sequences,
            max_top_n_tokens: self.max_top_n_tokens,
            return_full_text: None,
        }
    }
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

const fn yes() -> bool {
    true
}

const fn four() -> usize {
    4
}

const fn five() -> u32 {
    5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_loses_its_slash_and_must_be_http() {
        let plain: Config = serde_json::from_str(r#"{"base_url":"http://tgi:80/"}"#).unwrap();
        assert_eq!(plain.resolved().unwrap().base_url, "http://tgi:80");
        for wrong in ["tgi:80", "ftp://tgi", "http://", ""] {
            let config: Config =
                serde_json::from_value(serde_json::json!({ "base_url": wrong })).unwrap();
            assert!(config.resolved().unwrap_err().message.starts_with("base_url"), "{wrong}");
        }
    }

    #[test]
    fn a_value_that_the_server_would_refuse_every_time_is_refused_at_once() {
        for key in ["max_new_tokens", "truncate", "top_p", "typical_p"] {
            let config = serde_json::json!({ "base_url": "http://a", key: 0 });
            let config: Config = serde_json::from_value(config).unwrap();
            assert!(config.resolved().unwrap_err().message.starts_with(key), "{key}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let json = r#"{"base_url":"http://a","stop_sequences":[]}"#;
        assert!(serde_json::from_str::<Config>(json).is_err());
    }
}
