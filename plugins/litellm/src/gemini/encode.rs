//! Requests as `generateContent` takes them. The API refuses unknown keys, so every key is spelt by a typed field.
//!
//! Pure: borrows the prompt and the options, sends nothing.

use std::borrow::Cow;

use plugin_api::{Changed, Error, ErrorKind, Generate, JsonSchema, Part, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    call::Encoded,
    conversation::{Conversation, Speaker, Turn},
    parameters::{
        Base64, change, invalid, sampling_dropped, stop, temperature, to_json, top_p, typed,
        unknown,
    },
};

/// Most stop texts that the API takes.
const MOST_STOPS: usize = 5;
/// Most alternatives a token that the API gives.
const MOST_ALTERNATIVES: u32 = 20;

/// What a backend says about all its requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// `safetySettings`; none leaves the vendor's own.
    pub safety: Vec<Safety>,
    /// `thinkingConfig`: `{"thinkingBudget": N}` or `{"thinkingLevel": "LOW"}`, and `"includeThoughts": true`.
    pub thinking: Option<Value>,
    /// Whether the model takes sampling parameters ([`super::takes_sampling`]).
    pub sampling: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { safety: Vec::new(), thinking: None, sampling: true }
    }
}

/// How strictly one category of harm is filtered. Names that the vendor adds later are passed on; it refuses those that
/// it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Safety {
    /// `HARM_CATEGORY_HARASSMENT`, `HARM_CATEGORY_HATE_SPEECH`, `HARM_CATEGORY_SEXUALLY_EXPLICIT`,
    /// `HARM_CATEGORY_DANGEROUS_CONTENT`, `HARM_CATEGORY_CIVIC_INTEGRITY`.
    pub category: String,
    /// `BLOCK_LOW_AND_ABOVE`, `BLOCK_MEDIUM_AND_ABOVE`, `BLOCK_ONLY_HIGH`, `BLOCK_NONE`, `OFF`.
    pub threshold: String,
}

/// Body of `:generateContent` and `:streamGenerateContent`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "GenerationConfig::is_empty")]
    generation_config: GenerationConfig<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    safety_settings: Vec<Safety>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<ServiceTier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<ContentPart<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum ContentPart<'a> {
    Text(&'a str),
    #[serde(rename_all = "camelCase")]
    InlineData {
        mime_type: &'a str,
        data: Base64<'a>,
    },
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_schema: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

impl GenerationConfig<'_> {
    /// Whether nothing is to be said; an empty object would mean the same.
    fn is_empty(&self) -> bool {
        let Self {
            candidate_count,
            max_output_tokens,
            temperature,
            top_p,
            top_k,
            stop_sequences,
            seed,
            response_logprobs,
            logprobs,
            presence_penalty,
            frequency_penalty,
            response_mime_type,
            response_schema,
            response_json_schema,
            thinking_config,
        } = self;
        candidate_count.is_none()
            && max_output_tokens.is_none()
            && temperature.is_none()
            && top_p.is_none()
            && top_k.is_none()
            && stop_sequences.is_empty()
            && seed.is_none()
            && response_logprobs.is_none()
            && logprobs.is_none()
            && presence_penalty.is_none()
            && frequency_penalty.is_none()
            && response_mime_type.is_none()
            && response_schema.is_none()
            && response_json_schema.is_none()
            && thinking_config.is_none()
    }
}

/// `thinkingConfig`. The API also reads snake case; so does this, and writes the documented names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThinkingConfig {
    #[serde(default, alias = "include_thoughts", skip_serializing_if = "Option::is_none")]
    include_thoughts: Option<bool>,
    #[serde(default, alias = "thinking_budget", skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<i32>,
    #[serde(default, alias = "thinking_level", skip_serializing_if = "Option::is_none")]
    thinking_level: Option<ThinkingLevel>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ThinkingLevel {
    #[serde(alias = "minimal")]
    Minimal,
    #[serde(alias = "low")]
    Low,
    #[serde(alias = "medium")]
    Medium,
    #[serde(alias = "high")]
    High,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ServiceTier {
    Standard,
    Flex,
    Priority,
}

/// Translates a request.
///
/// # Errors
/// `unsupported` for what the API has not: unknown parameters, a prefix of the answer, what is no image.
/// `invalid_request` for values that it would refuse.
pub fn encode(options: &Options, model: &str, request: &Generate<'_>) -> Result<Encoded> {
    let mut changed = Vec::new();
    let conversation = Conversation::of(&request.prompt, &mut changed)?;
    if conversation.has_prefix() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the API does not promise to continue a last message of the model: end the prompt with a \
             message of the user",
        ));
    }
    let stop = stop(request, &mut changed);
    if stop.len() > MOST_STOPS {
        changed.push(change(
            "stop",
            format!(
                "only the first {MOST_STOPS} of {} were sent, the API takes no more; the answer is cut at \
                 all of them",
                stop.len()
            ),
        ));
    }
    let mut config = GenerationConfig {
        candidate_count: Some(request.n).filter(|n| *n > 1),
        max_output_tokens: request.max_tokens,
        temperature: temperature(request, 2.0, &mut changed)?,
        top_p: top_p(request)?,
        top_k: request.top_k.filter(|k| *k > 0),
        stop_sequences: stop.iter().take(MOST_STOPS).map(String::as_str).collect(),
        seed: request.seed.map(|seed| narrow(seed, &mut changed)),
        ..GenerationConfig::default()
    };
    if let Some(wanted) = request.logprobs {
        config.ask_for_logprobs(wanted, &mut changed);
    }
    if let Some(value) = &options.thinking {
        config.thinking_config = typed("thinking", value)?;
    }
    let system = conversation.system.iter().map(|text| ContentPart::Text(text)).collect::<Vec<_>>();
    let mut body = Body {
        contents: conversation.turns.iter().map(content).collect::<Result<_>>()?,
        system_instruction: (!system.is_empty()).then_some(Content { role: None, parts: system }),
        generation_config: config,
        safety_settings: options.safety.clone(),
        cached_content: None,
        service_tier: None,
        store: None,
    };
    for (name, value) in &request.extra {
        body.take(name, value, &mut changed)?;
    }
    let config = &mut body.generation_config;
    if !options.sampling {
        let (temperature, top_p) = (config.temperature.take(), config.top_p.take());
        sampling_dropped(model, temperature, top_p, config.top_k.take(), &mut changed);
    }
    let body = to_json(&body)?;
    Ok(Encoded { route: route(model, request.stream), headers: Vec::new(), body, stop, changed })
}

impl Body<'_> {
    /// One parameter of the vendor's own, by the vendor's name or in snake case.
    fn take(&mut self, name: &str, value: &Value, changed: &mut Vec<Changed>) -> Result<()> {
        let config = &mut self.generation_config;
        match name {
            "presence_penalty" | "presencePenalty" => config.presence_penalty = typed(name, value)?,
            "frequency_penalty" | "frequencyPenalty" => {
                config.frequency_penalty = typed(name, value)?;
            }
            "response_mime_type" | "responseMimeType" => {
                config.response_mime_type = typed(name, value)?;
            }
            "response_schema" | "responseSchema" => config.response_schema = typed(name, value)?,
            "response_json_schema" | "responseJsonSchema" => {
                config.response_json_schema = typed(name, value)?;
            }
            "thinking_config" | "thinkingConfig" => config.thinking_config = typed(name, value)?,
            "safety_settings" | "safetySettings" => {
                self.safety_settings = typed(name, value)?.unwrap_or_default();
            }
            "cached_content" | "cachedContent" => self.cached_content = typed(name, value)?,
            "service_tier" | "serviceTier" => self.service_tier = typed(name, value)?,
            "store" => self.store = typed(name, value)?,
            "repetition_penalty" => {
                if typed::<f64>(name, value)?.is_some() {
                    changed.push(change(name, "dropped: the API has none"));
                }
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

impl GenerationConfig<'_> {
    /// `logprobs` counts the alternatives; without it the chosen tokens come alone.
    fn ask_for_logprobs(&mut self, wanted: u32, changed: &mut Vec<Changed>) {
        self.response_logprobs = Some(true);
        self.logprobs = Some(wanted.min(MOST_ALTERNATIVES)).filter(|n| *n > 0);
        if wanted > MOST_ALTERNATIVES {
            changed.push(change(
                "logprobs",
                format!(
                    "{MOST_ALTERNATIVES} alternatives a token instead of {wanted}: the API gives no more"
                ),
            ));
        }
    }
}

/// The API's seeds have 32 bits, one of them the sign.
fn narrow(seed: u64, changed: &mut Vec<Changed>) -> i32 {
    i32::try_from(seed).unwrap_or_else(|_| {
        let narrow = i32::try_from(seed & 0x7fff_ffff).unwrap_or_default();
        changed.push(change("seed", format!("{narrow} instead of {seed}: the API takes 31 bits")));
        narrow
    })
}

fn content<'a>(turn: &'a Turn<'a>) -> Result<Content<'a>> {
    let role = match turn.speaker {
        Speaker::User => "user",
        Speaker::Assistant => "model",
    };
    let parts = turn.parts.iter().map(|part| match part {
        Part::Text(text) => Ok(ContentPart::Text(text)),
        Part::Image { media_type, .. } if !media_type.starts_with("image/") => {
            Err(invalid(format!("`{media_type}` is no type of image (image/png, say)")))
        }
        Part::Image { media_type, data } => {
            Ok(ContentPart::InlineData { mime_type: media_type, data: Base64(data) })
        }
    });
    Ok(Content { role: Some(role), parts: parts.collect::<Result<_>>()? })
}

/// The route, below the API's version, which is the base URL's.
fn route(model: &str, stream: bool) -> String {
    // A name with a folder of its own (`models/…`, `tunedModels/…`) is the vendor's full one.
    let folder = if model.contains('/') { "" } else { "models/" };
    let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    format!("/{folder}{}:{method}", escaped(model))
}

/// A model's name as a part of a URL.
fn escaped(model: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/@".contains(&byte);
    if model.bytes().all(plain) {
        return Cow::Borrowed(model);
    }
    let escape = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    Cow::Owned(model.bytes().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_the_model_in_full_and_stays_one_path() {
        for (model, stream, route_) in [
            ("gemini-2.5-pro", false, "/models/gemini-2.5-pro:generateContent"),
            ("models/gemini-2.5-pro", true, "/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
            ("tunedModels/mine", false, "/tunedModels/mine:generateContent"),
            ("a?b#c", false, "/models/a%3Fb%23c:generateContent"),
        ] {
            assert_eq!(route(model, stream), route_);
        }
    }
}
