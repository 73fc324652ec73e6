//! The bodies of `generateContent` and `countTokens`, and what Gemini does not take.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::Refusal;
use crate::mock::{
    flavors::text::{Text, joined},
    model::{Prompt, Turn},
};

/// A request for candidates.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code, reason = "what the mock does not heed is accepted and checked for its type")]
pub(super) struct Generate<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    contents: Vec<Content<'a>>,
    #[serde(borrow, default)]
    system_instruction: Option<Content<'a>>,
    #[serde(borrow, default)]
    generation_config: Option<GenerationConfig<'a>>,
    #[serde(borrow, default)]
    safety_settings: Vec<SafetySetting<'a>>,
    #[serde(default)]
    tools: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    tool_config: Option<IgnoredAny>,
    #[serde(borrow, default)]
    cached_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(default)]
    store: Option<bool>,
}

/// A request for the number of tokens.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CountTokens<'a> {
    #[serde(borrow, default)]
    contents: Vec<Content<'a>>,
    #[serde(borrow, default)]
    generate_content_request: Option<Generate<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content<'a> {
    #[serde(borrow, default)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    parts: Vec<Part<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    inline_data: Option<Blob<'a>>,
    #[serde(borrow, default)]
    file_data: Option<FileData<'a>>,
    #[serde(default)]
    function_call: Option<IgnoredAny>,
    #[serde(default)]
    function_response: Option<IgnoredAny>,
    #[serde(default)]
    executable_code: Option<IgnoredAny>,
    #[serde(default)]
    code_execution_result: Option<IgnoredAny>,
    #[serde(default)]
    thought: Option<bool>,
    #[serde(borrow, rename = "thoughtSignature", default)]
    _thought_signature: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Blob<'a> {
    #[serde(borrow, default)]
    mime_type: Text<'a>,
    #[serde(borrow, default)]
    data: Text<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileData<'a> {
    #[serde(borrow, rename = "mimeType", default)]
    _mime_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    file_uri: Text<'a>,
}

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
    presence_penalty: Option<f64>,
    #[serde(default)]
    frequency_penalty: Option<f64>,
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SafetySetting<'a> {
    #[serde(borrow, default)]
    category: Text<'a>,
    #[serde(borrow, default)]
    threshold: Text<'a>,
}

const CATEGORIES: [&str; 10] = [
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
    "HARM_CATEGORY_JAILBREAK",
    "HARM_CATEGORY_IMAGE_HARASSMENT",
    "HARM_CATEGORY_IMAGE_HATE",
    "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT",
];
const THRESHOLDS: [&str; 5] =
    ["BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"];
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

fn enumeration(path: &str, kind: &str, value: &str, known: &[&str]) -> Result<(), Refusal> {
    if known.contains(&value) {
        return Ok(());
    }
    let package = "type.googleapis.com/google.ai.generativelanguage.v1beta";
    Err(Refusal::violation(
        path,
        format!("Invalid value at '{path}' ({package}.{kind}), \"{value}\""),
    ))
}

impl<'a> Generate<'a> {
    /// Checks everything but the contents.
    ///
    /// # Errors
    /// The first thing that Gemini does not take.
    pub(super) fn check(&self, model: &str) -> Result<(), Refusal> {
        for (at, setting) in self.safety_settings.iter().enumerate() {
            let path = |field: &str| format!("safety_settings[{at}].{field}");
            enumeration(&path("category"), "HarmCategory", &setting.category, &CATEGORIES)?;
            let kind = "SafetySetting.HarmBlockThreshold";
            enumeration(&path("threshold"), kind, &setting.threshold, &THRESHOLDS)?;
        }
        match &self.generation_config {
            Some(config) => config.check(model),
            None => Ok(()),
        }
    }

    /// How to generate.
    pub(super) fn config(&mut self) -> GenerationConfig<'a> {
        self.generation_config.take().unwrap_or_default()
    }

    /// The contents, and the system's text before them.
    ///
    /// # Errors
    /// What Gemini does not take of them.
    pub(super) fn prompt(&mut self) -> Result<Prompt<'a>, Refusal> {
        prompt(self.system_instruction.take(), std::mem::take(&mut self.contents))
    }
}

impl<'a> CountTokens<'a> {
    /// The contents.
    ///
    /// # Errors
    /// What Gemini does not take of them, or both forms at once.
    pub(super) fn prompt(self) -> Result<Prompt<'a>, Refusal> {
        match self.generate_content_request {
            Some(_) if !self.contents.is_empty() => Err(Refusal::invalid(
                "Set either `contents` or `generate_content_request`, not both.",
            )),
            Some(mut request) => request.prompt(),
            None => prompt(None, self.contents),
        }
    }
}

fn prompt<'a>(
    system: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
) -> Result<Prompt<'a>, Refusal> {
    if contents.is_empty() {
        return Err(Refusal::field("contents", "contents is not specified"));
    }
    let mut turns = Vec::with_capacity(contents.len() + 1);
    if let Some(system) = system {
        let content = text("system_instruction", system.parts)?;
        turns.push(Turn { role: Cow::Borrowed("system"), content });
    }
    for (at, content) in contents.into_iter().enumerate() {
        let role = match content.role.as_deref() {
            None | Some("user" | "function") => "user",
            Some("model") => "assistant",
            Some(_) => return Err(Refusal::invalid("Please use a valid role: user, model.")),
        };
        let content = text(&format!("contents[{at}]"), content.parts)?;
        turns.push(Turn { role: Cow::Borrowed(role), content });
    }
    Ok(Prompt::Chat(turns))
}

fn text<'a>(path: &str, parts: Vec<Part<'a>>) -> Result<Cow<'a, str>, Refusal> {
    if parts.is_empty() {
        let complaint = "contents.parts must not be empty.";
        return Err(Refusal::field(&format!("{path}.parts"), complaint));
    }
    for (at, part) in parts.iter().enumerate() {
        let path = format!("{path}.parts[{at}]");
        let present = [
            part.text.is_some(),
            part.inline_data.is_some(),
            part.file_data.is_some(),
            part.function_call.is_some(),
            part.function_response.is_some(),
            part.executable_code.is_some(),
            part.code_execution_result.is_some(),
        ];
        match present.into_iter().filter(|present| *present).count() {
            0 => {
                let complaint = "required oneof field 'data' must have one initialized field";
                return Err(Refusal::field(&format!("{path}.data"), complaint));
            }
            1 => {}
            _ => {
                let complaint = "oneof field 'data' is already set. Cannot set another one.";
                return Err(Refusal::violation(
                    &path,
                    format!("Invalid value at '{path}' ({complaint})"),
                ));
            }
        }
        if let Some(blob) = &part.inline_data
            && (blob.mime_type.is_empty() || blob.data.is_empty())
        {
            return Err(Refusal::field(
                &format!("{path}.inline_data"),
                "mime_type and data are required",
            ));
        }
        if part.file_data.as_ref().is_some_and(|file| file.file_uri.is_empty()) {
            return Err(Refusal::field(&format!("{path}.file_data"), "file_uri is required"));
        }
    }
    let texts = parts.into_iter().filter(|part| part.thought != Some(true));
    Ok(joined(texts.filter_map(|part| part.text).map(|text| text.0)))
}

impl<'a> GenerationConfig<'a> {
    fn check(&self, model: &str) -> Result<(), Refusal> {
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
