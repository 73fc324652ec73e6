//! What a `[[backend]]` of a run file may say: `base_url` and `model` in the table itself, a key of your own below
//! `config` (`config.timeout_seconds = 30`). The comments are what `host plugin inspect` and editors show.

use schemars::JsonSchema;
use serde::Deserialize;

/// A server that speaks OpenAI's chat and completions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server listens, without `/v1`.
    pub base_url: String,
    /// The model's name at the server.
    pub model: String,
}

impl Config {
    /// A route of the server.
    pub(crate) fn url(&self, route: &str) -> String {
        format!("{}{route}", self.base_url.trim_end_matches('/'))
    }
}
