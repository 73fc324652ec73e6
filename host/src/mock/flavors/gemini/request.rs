//! The bodies of `generateContent` and `countTokens`, and what Gemini does not take.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::{Refusal, config::GenerationConfig};
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

/// One of these, in the words of the reader of JSON.
pub(super) fn enumeration(
    path: &str,
    kind: &str,
    value: &str,
    known: &[&str],
) -> Result<(), Refusal> {
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
