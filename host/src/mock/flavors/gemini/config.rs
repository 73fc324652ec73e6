//! `generationConfig`, and what Gemini's models do not take of it.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::{Refusal, request::enumeration};
use crate::mock::flavors::text::Text;

/// How to generate.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "what the mock does not heed is accepted and checked for its type")]
pub(super) struct GenerationConfig<'a> {
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<i64>,
    #[serde(default)]
    pub(super) candidate_count: Option<i64>,
    #[serde(default)]
    pub(super) max_output_tokens: Option<i64>,
    #[serde(borrow, default)]
    stop_sequences: Vec<Text<'a>>,
    #[serde(default)]
    pub(super) seed: Option<i32>,
    #[serde(default)]
    pub(super) response_logprobs: Option<bool>,
    #[serde(default)]
    pub(super) logprobs: Option<i64>,
    #[serde(default)]
    pub(super) presence_penalty: Option<f64>,
    #[serde(default)]
    pub(super) frequency_penalty: Option<f64>,
    #[serde(borrow, default)]
    response_mime_type: Option<Text<'a>>,
    #[serde(default)]
    response_schema: Option<IgnoredAny>,
    #[serde(default)]
    response_json_schema: Option<IgnoredAny>,
    #[serde(default)]
    response_modalities: Option<Vec<IgnoredAny>>,
    #[serde(borrow, default)]
    thinking_config: Option<ThinkingConfig<'a>>,
    #[serde(borrow, default)]
    media_resolution: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinkingConfig<'a> {
    #[serde(default)]
    thinking_budget: Option<i64>,
    #[serde(borrow, default)]
    thinking_level: Option<Text<'a>>,
    #[serde(default)]
    include_thoughts: Option<bool>,
}

const LEVELS: [&str; 4] = ["MINIMAL", "LOW", "MEDIUM", "HIGH"];
/// Models without sampling parameters.
const WITHOUT_SAMPLING: [&str; 4] =
    ["gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash"];

/// Gemini 2.5 and later.
pub(super) fn thinks(model: &str) -> bool {
    model.starts_with("gemini-2.5") || is_third(model)
}

fn is_third(model: &str) -> bool {
    model.strip_prefix("gemini-").is_some_and(|version| {
        version.as_bytes().first().is_some_and(|digit| (b'3'..=b'9').contains(digit))
    })
}

impl<'a> GenerationConfig<'a> {
    /// Checks every value.
    ///
    /// # Errors
    /// The first that the model does not take.
    pub(super) fn check(&self, model: &str) -> Result<(), Refusal> {
        let refuse = |name: &str, complaint: &str| {
            Err(Refusal::field(&format!("generation_config.{name}"), complaint))
        };
        let sampling = [
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("top_k", self.top_k.is_some()),
        ];
        let without = WITHOUT_SAMPLING.iter().any(|name| model.starts_with(name));
        if let Some((name, _)) = sampling.into_iter().find(|(_, present)| *present && without) {
            return refuse(name, "not supported for this model");
        }
        let outside = |value: Option<f64>, least: f64, most: f64| {
            value.is_some_and(|value| !(least..=most).contains(&value))
        };
        if outside(self.temperature, 0.0, 2.0) {
            return refuse("temperature", "temperature must be in the range [0.0, 2.0]");
        }
        if outside(self.top_p, 0.0, 1.0) {
            return refuse("top_p", "top_p must be in the range [0.0, 1.0]");
        }
        if self.top_k.is_some_and(|top_k| top_k < 1) {
            return refuse("top_k", "top_k must be positive");
        }
        if self.candidate_count.is_some_and(|count| !(1..=8).contains(&count)) {
            return refuse("candidate_count", "candidate_count must be in the range [1, 8]");
        }
        if self.max_output_tokens.is_some_and(|most| most < 1) {
            return refuse("max_output_tokens", "max_output_tokens must be positive");
        }
        if self.stop_sequences.len() > 5 {
            let got = self.stop_sequences.len();
            let complaint =
                format!("the number of stop_sequences must not exceed 5 [currently {got}]");
            return refuse("stop_sequences", &complaint);
        }
        if self.stop_sequences.iter().any(|stop| stop.is_empty()) {
            return refuse("stop_sequences", "stop_sequences must not be empty");
        }
        for (name, penalty) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            if outside(penalty, -2.0, 2.0) {
                return refuse(name, "penalty must be in the range [-2.0, 2.0]");
            }
        }
        match self.logprobs {
            Some(_) if self.response_logprobs != Some(true) => {
                return refuse("logprobs", "logprobs is only valid if response_logprobs is true");
            }
            Some(most) if !(0..=20).contains(&most) => {
                return refuse("logprobs", "logprobs must be in the range [0, 20]");
            }
            _ => {}
        }
        match self.response_mime_type.as_deref() {
            None | Some("text/plain" | "application/json" | "text/x.enum") => {}
            Some(_) => {
                return refuse(
                    "response_mime_type",
                    "allowed mimetypes are `text/plain`, `application/json`, `application/xml`, `application/yaml` \
                     and `text/x.enum`.",
                );
            }
        }
        match &self.thinking_config {
            Some(thinking) => thinking.check(model),
            None => Ok(()),
        }
    }

    /// The texts that end a candidate.
    pub(super) fn stops(&self) -> Vec<Cow<'a, str>> {
        self.stop_sequences.iter().map(|stop| stop.0.clone()).collect()
    }

    /// Whether the thinking is shown.
    pub(super) fn includes_thoughts(&self) -> bool {
        self.thinking_config
            .as_ref()
            .is_some_and(|thinking| thinking.include_thoughts == Some(true))
    }

    /// How many tokens the model thinks before it answers.
    pub(super) fn thinking_tokens(&self, model: &str) -> usize {
        if !thinks(model) {
            return 0;
        }
        let thinking = self.thinking_config.as_ref();
        let level = thinking.and_then(|thinking| thinking.thinking_level.as_deref());
        let budget = thinking.and_then(|thinking| thinking.thinking_budget);
        match (level, budget) {
            (Some("MINIMAL"), _) => 4,
            (Some("LOW"), _) => 12,
            (Some("HIGH"), _) => 64,
            // -1 leaves it to the model.
            (None, Some(budget)) => usize::try_from(budget).unwrap_or(32).min(32),
            _ => 32,
        }
    }
}

impl ThinkingConfig<'_> {
    fn check(&self, model: &str) -> Result<(), Refusal> {
        if !thinks(model) {
            return Err(Refusal::invalid("Thinking is not supported for this model."));
        }
        if let Some(level) = self.thinking_level.as_deref() {
            let path = "generation_config.thinking_config.thinking_level";
            enumeration(path, "ThinkingConfig.ThinkingLevel", level, &LEVELS)?;
            if !is_third(model) {
                return Err(Refusal::invalid("Thinking level is not supported for this model."));
            }
            if self.thinking_budget.is_some() {
                return Err(Refusal::invalid(
                    "You can only set only one of thinking budget and thinking level.",
                ));
            }
        }
        match self.thinking_budget {
            Some(0) if model.starts_with("gemini-2.5-pro") => Err(Refusal::invalid(
                "Budget 0 is invalid. This model only works in thinking mode.",
            )),
            Some(budget) if !(-1..=32_768).contains(&budget) => Err(Refusal::invalid(format!(
                "The thinking budget {budget} is invalid. Please choose a value between 0 and 32768, or -1."
            ))),
            _ => Ok(()),
        }
    }
}
