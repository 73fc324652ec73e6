//! What a `[[backend]]` of a run file may say below `config`: `config.smoothing = 0.05`. The comments are what
//! `host plugin inspect` and editors show.

use plugin_api::{Error, ErrorKind, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// A model of which byte follows which. It learns from the asset `text`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How often each pair of bytes counts as seen before the text is read; more than 0.
    #[serde(default = "default_smoothing")]
    pub smoothing: f64,
}

fn default_smoothing() -> f64 {
    0.05
}

impl Config {
    /// Says which key makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        if self.smoothing > 0.0 && self.smoothing.is_finite() {
            return Ok(());
        }
        let message = format!(
            "config.smoothing: expected a number above 0, found {}",
            self.smoothing
        );
        Err(Error::new(ErrorKind::InvalidRequest, message))
    }
}
