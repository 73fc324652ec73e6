//! Requests as `generateContent` takes them.
//!
//! Pure: borrows the prompt and the options, sends nothing.

use std::borrow::Cow;

use plugin_api::{Changed, Error, ErrorKind, Generate, JsonSchema, Part, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::json;

use crate::{
    call::Encoded,
    conversation::{Conversation, Speaker, Turn},
    parameters::{
        AnswerFormat, Base64, answer_format, change, invalid, number_dropped, sampling_dropped,
        stop, temperature, top_p, typed, unknown,
    },
};

use super::{
    body::{Body, Content, ContentPart, Effort, GenerationConfig, ThinkingLevel},
    models,
};

/// Most stop texts that the API takes.
const MOST_STOPS: usize = 5;
/// Most alternatives a token that the API gives.
const MOST_ALTERNATIVES: u32 = 20;
/// The media type of JSON.
const JSON: &str = "application/json";

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
        body.take(name, value, models::thinks_by_level(model), &mut changed)?;
    }
    let config = &mut body.generation_config;
    if !options.sampling {
        let (temperature, top_p) = (config.temperature.take(), config.top_p.take());
        sampling_dropped(model, temperature, top_p, config.top_k.take(), &mut changed);
    }
    let body = json::bytes(&body)?;
    Ok(Encoded { route: route(model, request.stream), headers: Vec::new(), body, stop, changed })
}

impl Body<'_> {
    /// One parameter of the vendor's own, by the vendor's name or in snake case.
    fn take(
        &mut self,
        name: &str,
        value: &Value,
        by_level: bool,
        changed: &mut Vec<Changed>,
    ) -> Result<()> {
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
            "response_format" => match answer_format(name, value)? {
                AnswerFormat::Text => {}
                AnswerFormat::Json => config.response_mime_type = Some(JSON.to_owned()),
                AnswerFormat::Schema(schema) => {
                    config.response_mime_type = Some(JSON.to_owned());
                    config.response_json_schema = Some(schema);
                }
            },
            "reasoning_effort" => {
                if let Some(effort) = typed(name, value)? {
                    config.reason(effort, by_level, changed)?;
                }
            }
            "repetition_penalty" | "min_p" => number_dropped(name, value, changed)?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

impl GenerationConfig<'_> {
    /// Says how long to think: by a level, or on models before version 3, which know none, by the budgets that LiteLLM
    /// takes; for `minimal` the least that every model takes.
    fn reason(&mut self, effort: Effort, by_level: bool, changed: &mut Vec<Changed>) -> Result<()> {
        let config = self.thinking_config.get_or_insert_default();
        (config.thinking_budget, config.thinking_level) = (None, None);
        if by_level {
            config.thinking_level = Some(match effort {
                Effort::None => {
                    return Err(invalid("reasoning_effort: the model thinks at least `minimal`"));
                }
                Effort::Minimal => ThinkingLevel::Minimal,
                Effort::Low => ThinkingLevel::Low,
                Effort::Medium => ThinkingLevel::Medium,
                Effort::High => ThinkingLevel::High,
            });
            return Ok(());
        }
        let budget = match effort {
            Effort::None => 0,
            Effort::Minimal => 512,
            Effort::Low => 1024,
            Effort::Medium => 2048,
            Effort::High => 4096,
        };
        config.thinking_budget = Some(budget);
        changed.push(change(
            "reasoning_effort",
            format!("sent as a thinking budget of {budget} tokens"),
        ));
        Ok(())
    }

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
