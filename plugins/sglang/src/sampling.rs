//! `sampling_params` of a request (wire.md 3.2). The server refuses a key that it does not know, so every key
//! is spelt by a typed field; and it fills a key that is absent from the model's or its own settings, so every
//! value that decides what is sampled is always there.
//!
//! Pure: borrows the configuration and the request.

use std::collections::BTreeMap;

use plugin_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Config;

/// Most stop texts, and most regular expressions to stop at, that the server takes.
pub const MAX_STOPS: usize = 32;

/// Longest regular expression to stop at, in bytes.
const MAX_STOP_REGEX_BYTES: usize = 256;

/// The keys of which a request may carry one.
const GRAMMARS: [&str; 4] = ["json_schema", "regex", "ebnf", "structural_tag"];

/// The object `sampling_params`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampling<'a> {
    /// Most tokens to generate.
    pub max_new_tokens: u32,
    min_new_tokens: u32,
    temperature: f64,
    top_p: f64,
    top_k: i64,
    min_p: f64,
    frequency_penalty: f64,
    presence_penalty: f64,
    repetition_penalty: f64,
    n: u32,
    ignore_eos: bool,
    skip_special_tokens: bool,
    spaces_between_special_tokens: bool,
    no_stop_trim: bool,
    /// Texts that end a choice, none of them empty, at most [`MAX_STOPS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_token_ids: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_regex: Vec<&'a str>,
    /// Seed of the sampling. Equal seeds give equal draws only on a server that was started with
    /// `--enable-deterministic-inference`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ebnf: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structural_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    logit_bias: BTreeMap<u32, f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    choice: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_params: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<&'a Map<String, Value>>,
}

impl Sampling<'_> {
    /// What a scoring sends: as little generation as every version of the server takes, and nothing that a
    /// configuration says of generation.
    pub const fn scoring() -> Self {
        Self {
            max_new_tokens: 1,
            min_new_tokens: 0,
            temperature: 0.0,
            top_p: 1.0,
            top_k: -1,
            min_p: 0.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repetition_penalty: 1.0,
            n: 1,
            ignore_eos: false,
            skip_special_tokens: true,
            spaces_between_special_tokens: true,
            no_stop_trim: false,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            stop_regex: Vec::new(),
            sampling_seed: None,
            json_schema: None,
            regex: None,
            ebnf: None,
            structural_tag: None,
            logit_bias: BTreeMap::new(),
            choice: Vec::new(),
            stream_interval: None,
            custom_params: None,
            watermark: None,
        }
    }

    /// Sets the values by which tokens are drawn; none stands for a value that nobody gave.
    ///
    /// With no value at all an answer is greedy. A value that narrows the choice says that it shall be drawn, and
    /// without a temperature then at the server's own, 1. Temperature 0 is greedy whatever else is sent: the server
    /// takes it for `top_k` 1.
    pub fn settle(&mut self, temperature: Option<f64>, top_p: Option<f64>, top_k: Option<u32>) {
        self.top_p = top_p.unwrap_or(1.0);
        self.top_k = top_k.filter(|k| *k > 0).map_or(-1, i64::from);
        let narrowed = self.top_p < 1.0 || self.top_k > 0 || self.min_p > 0.0;
        self.temperature = temperature.unwrap_or(if narrowed { 1.0 } else { 0.0 });
    }

    /// Whether tokens are drawn, so that a seed matters.
    pub fn is_random(&self) -> bool {
        self.temperature > 0.0
    }

    /// Checks the ranges that the server would refuse (wire.md 3.2), so that the message can name the key.
    ///
    /// # Errors
    /// `invalid_request`; the message begins with the key.
    pub fn check(&self) -> Result<()> {
        let penalty = |value: f64| (-2.0..=2.0).contains(&value);
        let grammars = [self.json_schema, self.regex, self.ebnf, self.structural_tag];
        for (fine, wrong) in [
            (
                self.min_new_tokens <= self.max_new_tokens,
                "min_new_tokens: expected at most max_new_tokens",
            ),
            (
                self.temperature.is_finite() && self.temperature >= 0.0,
                "temperature: expected 0 (greedy) or more",
            ),
            (
                self.top_p > 0.0 && self.top_p <= 1.0,
                "top_p: expected more than 0, and at most 1 (off)",
            ),
            ((0.0..=1.0).contains(&self.min_p), "min_p: expected 0 (off) to 1"),
            (penalty(self.frequency_penalty), "frequency_penalty: expected -2 to 2, 0 being none"),
            (penalty(self.presence_penalty), "presence_penalty: expected -2 to 2, 0 being none"),
            (
                self.repetition_penalty > 0.0 && self.repetition_penalty <= 2.0,
                "repetition_penalty: expected more than 0, and at most 2, 1 being none",
            ),
            (
                self.stop_regex.len() <= MAX_STOPS
                    && self.stop_regex.iter().all(|regex| regex.len() <= MAX_STOP_REGEX_BYTES),
                "stop_regex: expected at most 32 regular expressions of at most 256 bytes each",
            ),
            (self.stream_interval != Some(0), "stream_interval: expected 1 or more"),
            (
                grammars.iter().flatten().count() <= 1,
                "json_schema, regex, ebnf, structural_tag: at most one of them can hold",
            ),
        ] {
            if !fine {
                return Err(invalid(wrong.to_owned()));
            }
        }
        Ok(())
    }
}

impl<'a> Sampling<'a> {
    /// The defaults of the configuration, but for what [`Self::settle`] decides.
    pub fn configured(config: &'a Config) -> Self {
        Self {
            max_new_tokens: config.max_new_tokens,
            min_new_tokens: config.min_new_tokens,
            min_p: config.min_p,
            frequency_penalty: config.frequency_penalty,
            presence_penalty: config.presence_penalty,
            repetition_penalty: config.repetition_penalty,
            ignore_eos: config.ignore_eos,
            skip_special_tokens: config.skip_special_tokens,
            spaces_between_special_tokens: config.spaces_between_special_tokens,
            no_stop_trim: config.no_stop_trim,
            stop_token_ids: config.stop_token_ids.clone(),
            stop_regex: config.stop_regex.iter().map(String::as_str).collect(),
            json_schema: config.json_schema.as_deref(),
            regex: config.regex.as_deref(),
            ebnf: config.ebnf.as_deref(),
            structural_tag: config.structural_tag.as_deref(),
            logit_bias: config.logit_bias.clone(),
            stream_interval: config.stream_interval,
            custom_params: config.custom_params.as_ref(),
            watermark: config.watermark.as_ref(),
            ..Sampling::scoring()
        }
    }

    /// The same for one choice with this seed.
    pub fn seeded(&self, seed: i64) -> Self {
        Self { sampling_seed: Some(seed), ..self.clone() }
    }

    /// The same for `n` choices of one prompt.
    pub fn for_choices(&self, n: u32) -> Self {
        Self { n, ..self.clone() }
    }

    /// Forgets the grammar of the configuration where the request brings its own, which wins.
    pub fn make_way(&mut self, extra: &Map<String, Value>) {
        if GRAMMARS.iter().any(|name| extra.contains_key(*name)) {
            (self.json_schema, self.regex, self.ebnf, self.structural_tag) =
                (None, None, None, None);
        }
    }

    /// One parameter of the vendor's own; false if it has no place here.
    ///
    /// # Errors
    /// `invalid_request` for a value of the wrong type; `unsupported` for beam search.
    pub fn take(&mut self, name: &str, value: &'a Value) -> Result<bool> {
        match name {
            "min_new_tokens" => self.min_new_tokens = typed(name, value)?,
            "min_p" => self.min_p = typed(name, value)?,
            "frequency_penalty" => self.frequency_penalty = typed(name, value)?,
            "presence_penalty" => self.presence_penalty = typed(name, value)?,
            "repetition_penalty" => self.repetition_penalty = typed(name, value)?,
            "ignore_eos" => self.ignore_eos = typed(name, value)?,
            "skip_special_tokens" => self.skip_special_tokens = typed(name, value)?,
            "spaces_between_special_tokens" => {
                self.spaces_between_special_tokens = typed(name, value)?;
            }
            "no_stop_trim" => self.no_stop_trim = typed(name, value)?,
            "stop_token_ids" => self.stop_token_ids = typed(name, value)?,
            "stop_regex" => {
                self.stop_regex = match value.as_str() {
                    Some(one) => vec![one],
                    None => typed(name, value)?,
                }
            }
            "json_schema" => self.json_schema = typed(name, value)?,
            "regex" => self.regex = typed(name, value)?,
            "ebnf" => self.ebnf = typed(name, value)?,
            "structural_tag" => self.structural_tag = typed(name, value)?,
            "logit_bias" => self.logit_bias = typed(name, value)?,
            "choice" => self.choice = typed(name, value)?,
            "stream_interval" => self.stream_interval = typed(name, value)?,
            "custom_params" => self.custom_params = object(name, value)?,
            "watermark" => self.watermark = object(name, value)?,
            // Beam search answers in another shape, and means something else by `n`.
            "beam_width" if typed::<u32>(name, value)? > 1 => {
                return Err(Error::unsupported("beam search (`beam_width` above 1)"));
            }
            "beam_width" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A value of the type that the key has.
///
/// # Errors
/// `invalid_request`, naming the key.
pub fn typed<'a, T: Deserialize<'a>>(name: &str, value: &'a Value) -> Result<T> {
    T::deserialize(value).map_err(|error| invalid(format!("{name}: {error}")))
}

/// An object, or none for null.
///
/// # Errors
/// `invalid_request`, naming the key.
pub fn object<'a>(name: &str, value: &'a Value) -> Result<Option<&'a Map<String, Value>>> {
    match value {
        Value::Object(map) => Ok(Some(map)),
        Value::Null => Ok(None),
        _ => Err(invalid(format!("{name}: expected an object"))),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_greedy_and_a_narrowed_choice_is_drawn() {
        let settled = |temperature, top_p, top_k, min_p| {
            let mut sampling = Sampling { min_p, ..Sampling::scoring() };
            sampling.settle(temperature, top_p, top_k);
            (sampling.temperature, sampling.top_p, sampling.top_k)
        };
        for (given, settled_to) in [
            ((None, None, None, 0.0), (0.0, 1.0, -1)),
            ((None, Some(1.0), Some(0), 0.0), (0.0, 1.0, -1)),
            ((None, Some(0.9), None, 0.0), (1.0, 0.9, -1)),
            ((None, None, Some(40), 0.0), (1.0, 1.0, 40)),
            ((None, None, None, 0.1), (1.0, 1.0, -1)),
            ((Some(0.0), Some(0.9), Some(5), 0.1), (0.0, 0.9, 5)),
            ((Some(0.7), None, None, 0.0), (0.7, 1.0, -1)),
        ] {
            assert_eq!(settled(given.0, given.1, given.2, given.3), settled_to, "{given:?}");
        }
    }
}
