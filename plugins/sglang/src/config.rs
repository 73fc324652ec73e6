//! What a run file may say of an SGLang backend. The doc comments are the JSON Schema's descriptions.
//!
//! Sampling values here are defaults: a request that says something else wins. Knows nothing of requests.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::sampling::Sampling;

/// An SGLang server, by its native routes.
///
/// A server started with `--api-key` needs the secret slot `api_key` (environment variable `SGLANG_API_KEY`).
/// Because `base_url` is the run file's own choice, its table must also say `secrets = ["api_key"]`.
///
/// Every sampling value is sent with every request, so that neither the model's `generation_config.json` nor
/// the server's `--preferred-sampling-params` can change a score.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server listens, `http://127.0.0.1:30000` say, without the route and without `/v1`.
    pub base_url: String,
    /// A name for the model in reports. SGLang does not name its model in native answers.
    #[serde(default)]
    pub model: Option<String>,

    /// Most tokens to generate where a request does not say.
    #[serde(default = "default_new_tokens")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: u32,
    /// Fewest tokens to generate: until then neither the end token nor `stop_token_ids` can come.
    #[serde(default)]
    pub min_new_tokens: u32,
    /// Sampling temperature where a request does not say; 0 is greedy. Where nobody says, it is 1 if
    /// `top_p`, `top_k` or `min_p` narrow the choice, and else 0: with no sampling value at all, answers are
    /// greedy.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub temperature: Option<f64>,
    /// Nucleus sampling where a request does not say; 1 is off, and the default.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub top_p: Option<f64>,
    /// Sampling among the likeliest tokens where a request does not say; 0 is off, and the default.
    #[serde(default)]
    pub top_k: Option<u32>,
    /// Sampling among tokens at least this likely, relative to the likeliest; 0 is off.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_p: f64,
    /// Penalty on tokens by their frequency, between -2 and 2; 0 is none. Penalties hold for greedy requests
    /// too.
    #[serde(default)]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub frequency_penalty: f64,
    /// Penalty on tokens that were already generated, between -2 and 2; 0 is none.
    #[serde(default)]
    #[schemars(range(min = -2.0, max = 2.0))]
    pub presence_penalty: f64,
    /// Factor on tokens that were already there, more than 0 and at most 2; 1 is none.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 2.0))]
    pub repetition_penalty: f64,
    /// Ids of tokens that end an answer, beside the model's own end token.
    #[serde(default)]
    pub stop_token_ids: Vec<u32>,
    /// Regular expressions (Python's) that end an answer: at most 32, each at most 256 bytes long.
    #[serde(default)]
    pub stop_regex: Vec<String>,
    /// Goes on after the model's end token.
    #[serde(default)]
    pub ignore_eos: bool,
    /// Leaves special tokens out of the text.
    #[serde(default = "yes")]
    pub skip_special_tokens: bool,
    /// Puts spaces between special tokens in the text.
    #[serde(default = "yes")]
    pub spaces_between_special_tokens: bool,
    /// Asks the server to leave the stop text in the answer. The answer is cut there all the same, here and
    /// not by the server.
    #[serde(default)]
    pub no_stop_trim: bool,
    /// What to add to the logits of tokens, by token id.
    #[serde(default)]
    pub logit_bias: BTreeMap<u32, f64>,
    /// A JSON Schema that answers must fit, as JSON text. Of `json_schema`, `regex`, `ebnf` and
    /// `structural_tag` at most one may be there.
    #[serde(default)]
    pub json_schema: Option<String>,
    /// A regular expression that answers must match.
    #[serde(default)]
    pub regex: Option<String>,
    /// A grammar in EBNF that answers must match.
    #[serde(default)]
    pub ebnf: Option<String>,
    /// A structural tag that answers must fit, as JSON text.
    #[serde(default)]
    pub structural_tag: Option<String>,
    /// Tokens between two pieces of a stream, where the server's own choice does not suit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub stream_interval: Option<u32>,
    /// Parameters for a custom logit processor.
    #[serde(default)]
    pub custom_params: Option<Map<String, Value>>,
    /// A custom logit processor in the serialised form that SGLang's `to_str()` gives. The server must have
    /// been started with `--enable-custom-logit-processor`.
    #[serde(default)]
    pub custom_logit_processor: Option<String>,
    /// The server's watermark settings, `{ enabled = false }` say. A watermark changes what is sampled.
    #[serde(default)]
    pub watermark: Option<Map<String, Value>>,

    /// Reports the log-probability of each generated token with this many alternatives, where a request does
    /// not ask for log-probabilities itself.
    #[serde(default)]
    pub top_logprobs_num: Option<u32>,
    /// Tokens, by id, whose log-probability is reported too at each generated token, whatever their rank: those of
    /// the answers that a question allows, say. A request may name others.
    #[serde(default)]
    pub token_ids_logprob: Vec<u32>,
    /// A LoRA adapter, by the name or path that the server knows. It holds for log-likelihood too.
    #[serde(default)]
    pub lora_path: Option<String>,
    /// Priority in the server's queue, where it was started with `--enable-priority-scheduling`.
    #[serde(default)]
    pub priority: Option<i64>,
    /// Keeps the server's prefix cache apart from that of other salts.
    #[serde(default)]
    pub cache_salt: Option<String>,
    /// Classes requests for the server's prefix cache, beside the salt.
    #[serde(default)]
    pub extra_key: Option<String>,
    /// Key by which a server with several workers routes.
    #[serde(default)]
    pub routing_key: Option<String>,

    /// Whether plain texts are tokenised with the special tokens that the server's tokenizer adds (BOS, for
    /// models that have one), as the server does with text. With `false`, prompts and contexts are tokenised
    /// without and sent as token ids. Chat templates bring their own special tokens either way.
    #[serde(default = "yes")]
    pub add_special_tokens: bool,
    /// The token that an empty context stands for in log-likelihood, where the tokenizer adds none.
    #[serde(default)]
    pub prefix_token_id: Option<u32>,
    /// The server's context length in tokens, by which a long text is cut into windows for rolling
    /// log-likelihood. Unset, `/v1/models` is asked.
    #[serde(default)]
    #[schemars(range(min = 4))]
    pub max_context_tokens: Option<u32>,
    /// Variables for the chat template, `{ enable_thinking = false }` say.
    #[serde(default)]
    pub chat_template_kwargs: Map<String, Value>,
    /// Which route tells whether the server is ready.
    #[serde(default)]
    pub health: HealthRoute,
}

/// A route that tells whether the server is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthRoute {
    /// `/health`. It generates a token too, unless the server was told not to.
    #[default]
    Plain,
    /// `/health_generate`, which always generates a token, and may take seconds.
    Generate,
}

impl HealthRoute {
    /// The route.
    pub const fn route(self) -> &'static str {
        match self {
            Self::Plain => "/health",
            Self::Generate => "/health_generate",
        }
    }
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
        // The value is not shown: a password may stand in it.
        if address.is_none_or(str::is_empty) {
            return Err(wrong("base_url: expected `http://host:port` or `https://host`"));
        }
        if self.base_url.ends_with("/v1") {
            return Err(wrong(
                "base_url: the native routes lie beside `/v1`, not under it: leave `/v1` out (or use the \
                 `litellm` plugin for the server's OpenAI-style routes)",
            ));
        }
        if self.max_new_tokens == 0 {
            return Err(wrong("max_new_tokens: expected 1 or more"));
        }
        if self.max_context_tokens.is_some_and(|tokens| tokens < 4) {
            return Err(wrong("max_context_tokens: expected 4 or more"));
        }
        let mut sampling = Sampling::configured(&self);
        sampling.settle(self.temperature, self.top_p, self.top_k);
        sampling.check()?;
        Ok(self)
    }
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

const fn yes() -> bool {
    true
}

const fn one() -> f64 {
    1.0
}

/// The server's own default, which is sent all the same.
const fn default_new_tokens() -> u32 {
    128
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(config: Value) -> Result<Config> {
        serde_json::from_value::<Config>(config).unwrap().resolved()
    }

    #[test]
    fn a_base_url_loses_its_slash_and_is_the_servers_root() {
        for (given, kept) in
            [("http://a:1/", "http://a:1"), ("https://a/sglang//", "https://a/sglang")]
        {
            assert_eq!(resolved(json!({ "base_url": given })).unwrap().base_url, kept);
        }
        for wrong in ["a:30000", "ftp://a", "http://", "", "http://a:1/v1/"] {
            let error = resolved(json!({ "base_url": wrong })).unwrap_err();
            assert!(error.message.starts_with("base_url"), "{wrong}");
        }
    }

    #[test]
    fn a_value_that_the_server_would_refuse_every_time_is_refused_at_once() {
        for (key, value) in [
            ("max_new_tokens", json!(0)),
            ("min_new_tokens", json!(129)),
            ("temperature", json!(-0.1)),
            ("top_p", json!(0)),
            ("min_p", json!(1.5)),
            ("frequency_penalty", json!(-2.5)),
            ("presence_penalty", json!(2.5)),
            ("repetition_penalty", json!(0)),
            ("stop_regex", json!(["x".repeat(257)])),
            ("stop_regex", json!(vec!["x"; 33])),
            ("stream_interval", json!(0)),
            ("max_context_tokens", json!(3)),
        ] {
            let error = resolved(json!({ "base_url": "http://a", key: value })).unwrap_err();
            assert!(error.message.starts_with(key), "{key}: {error}");
        }
        let two = json!({ "base_url": "http://a", "regex": "a", "ebnf": "root ::= \"a\"" });
        assert!(resolved(two).unwrap_err().message.contains("at most one"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let json = r#"{"base_url":"http://a","stop":["x"]}"#;
        assert!(serde_json::from_str::<Config>(json).is_err());
    }

    #[test]
    fn the_health_route_is_a_choice_of_two() {
        assert_eq!(HealthRoute::default().route(), "/health");
        let config = resolved(json!({ "base_url": "http://a", "health": "generate" })).unwrap();
        assert_eq!(config.health.route(), "/health_generate");
    }
}
