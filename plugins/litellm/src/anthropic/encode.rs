//! Requests as the Messages API takes them.
//!
//! Pure: borrows the prompt and the options, sends nothing.

use plugin_api::{Changed, Error, ErrorKind, Generate, Part, Result};
use serde_json::{Map, Value};
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
    body::{
        Block, Body, Content, Format, Message, Metadata, OutputConfig, ServiceTier, Source,
        Thinking,
    },
    models,
};

/// What a backend says about all its requests.
#[derive(Clone, Debug)]
pub struct Options {
    /// `anthropic-version`.
    pub version: String,
    /// `anthropic-beta`.
    pub beta: Vec<String>,
    /// `thinking`: `{"type": "enabled", "budget_tokens": N}`, `{"type": "adaptive"}` or `{"type": "disabled"}`.
    pub thinking: Option<Value>,
    /// `output_config.effort`.
    pub effort: Option<String>,
    /// `max_tokens` of a request that names none: the API wants one.
    pub default_max_tokens: u32,
    /// Whether the model takes sampling parameters ([`super::takes_sampling`]).
    pub sampling: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "2023-06-01".to_owned(),
            beta: Vec::new(),
            thinking: None,
            effort: None,
            default_max_tokens: 4096,
            sampling: true,
        }
    }
}

/// Parameters of the vendor's own.
#[derive(Debug, Default)]
struct Extra {
    top_k: Option<u32>,
    thinking: Option<Thinking>,
    output_config: OutputConfig,
    metadata: Option<Metadata>,
    service_tier: Option<ServiceTier>,
}

/// Translates a request. `n` is the caller's: the API gives one choice a call.
///
/// # Errors
/// `unsupported` for what the API has not: log-probabilities, unknown parameters, a prefix of the answer where the
/// model continues none, images of other types. `invalid_request` for values that it would refuse.
pub fn encode(options: &Options, model: &str, request: &Generate<'_>) -> Result<Encoded> {
    if request.logprobs.is_some() {
        return Err(Error::unsupported(
            "log-probabilities: the Messages API gives none (choose a metric without them)",
        ));
    }
    let mut changed = Vec::new();
    let extra = Extra::read(options, &request.extra, &mut changed)?;
    let max_tokens = max_tokens(options, request, extra.thinking.as_ref(), &mut changed)?;
    let thinks =
        matches!(extra.thinking, Some(Thinking::Enabled { .. } | Thinking::Adaptive { .. }));
    let mut conversation = Conversation::of(&request.prompt, &mut changed)?;
    if conversation.has_prefix() {
        continue_prefix(&mut conversation, model, thinks, &mut changed)?;
    }
    if request.seed.is_some() {
        changed.push(change("seed", "dropped: the API has none"));
    }
    let stop = stop(request, &mut changed);
    let sent: Vec<&str> =
        stop.iter().map(String::as_str).filter(|stop| !stop.trim().is_empty()).collect();
    if sent.len() < stop.len() {
        changed.push(change(
            "stop",
            "stop texts of white space alone were not sent, the API refuses them; the answer is cut at \
             them all the same",
        ));
    }
    let mut body = Body {
        model,
        max_tokens,
        system: (!conversation.system.is_empty()).then(|| conversation.system.join("\n\n")),
        messages: conversation.turns.iter().map(message).collect::<Result<_>>()?,
        stop_sequences: sent,
        temperature: temperature(request, 1.0, &mut changed)?,
        top_p: top_p(request)?,
        top_k: request.top_k.or(extra.top_k).filter(|k| *k > 0),
        thinking: extra.thinking,
        output_config: (extra.output_config.effort.is_some()
            || extra.output_config.format.is_some())
        .then_some(extra.output_config),
        metadata: extra.metadata,
        service_tier: extra.service_tier,
        stream: request.stream,
    };
    body.sample(options.sampling, thinks, &mut changed);
    let (route, headers) = ("/v1/messages".to_owned(), headers(options));
    Ok(Encoded { route, headers, body: json::bytes(&body)?, stop, changed })
}

/// What every request carries, whatever it asks for.
pub fn headers(options: &Options) -> Vec<(String, String)> {
    let mut headers = vec![("anthropic-version".to_owned(), options.version.clone())];
    if !options.beta.is_empty() {
        headers.push(("anthropic-beta".to_owned(), options.beta.join(",")));
    }
    headers
}

impl Extra {
    fn read(
        options: &Options,
        parameters: &Map<String, Value>,
        changed: &mut Vec<Changed>,
    ) -> Result<Self> {
        let mut extra = Self::default();
        if let Some(value) = &options.thinking {
            extra.thinking = typed("thinking", value)?;
        }
        if let Some(effort) = &options.effort {
            extra.output_config.effort = typed("effort", &Value::from(effort.as_str()))?;
        }
        for (name, value) in parameters {
            match name.as_str() {
                "top_k" => extra.top_k = typed(name, value)?,
                "thinking" => extra.thinking = typed(name, value)?,
                "reasoning_effort" => extra.output_config.effort = typed(name, value)?,
                "output_config" => {
                    let config: OutputConfig = typed(name, value)?.unwrap_or_default();
                    let OutputConfig { effort, format } = &mut extra.output_config;
                    *effort = config.effort.or_else(|| effort.take());
                    *format = config.format.or_else(|| format.take());
                }
                "metadata" => extra.metadata = typed(name, value)?,
                "service_tier" => extra.service_tier = typed(name, value)?,
                "response_format" => match answer_format(name, value)? {
                    AnswerFormat::Text => {}
                    AnswerFormat::Json => {
                        return Err(Error::unsupported(
                            "response_format `json_object`: the API takes `json_schema`",
                        ));
                    }
                    AnswerFormat::Schema(schema) => {
                        extra.output_config.format = Some(Format::JsonSchema { schema });
                    }
                },
                "presence_penalty" | "frequency_penalty" | "repetition_penalty" | "min_p" => {
                    number_dropped(name, value, changed)?;
                }
                _ => return Err(unknown(name)),
            }
        }
        Ok(extra)
    }
}

/// The budget that the API wants, which includes the thinking's.
fn max_tokens(
    options: &Options,
    request: &Generate<'_>,
    thinking: Option<&Thinking>,
    changed: &mut Vec<Changed>,
) -> Result<u32> {
    let max_tokens = request.max_tokens.unwrap_or_else(|| {
        let most = options.default_max_tokens;
        changed.push(change(
            "max_tokens",
            format!("{most} sent: none was given and the API wants it"),
        ));
        most
    });
    if let Some(Thinking::Enabled { budget_tokens, .. }) = thinking {
        if *budget_tokens < 1024 {
            return Err(invalid("thinking.budget_tokens: expected 1024 or more"));
        }
        if *budget_tokens >= max_tokens {
            return Err(invalid(format!(
                "thinking.budget_tokens is {budget_tokens} but max_tokens, which includes it, is \
                 {max_tokens}: raise max_tokens or lower the budget"
            )));
        }
    }
    Ok(max_tokens)
}

/// Prepares the last message of the assistant, which the API continues on older models and refuses if it ends in white
/// space.
fn continue_prefix(
    conversation: &mut Conversation<'_>,
    model: &str,
    thinks: bool,
    changed: &mut Vec<Changed>,
) -> Result<()> {
    if thinks || !models::takes_prefix(model) {
        let why = if thinks { "with thinking enabled, the API" } else { model };
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "{why} does not continue a last message of the assistant: end the prompt with a message \
                 of the user"
            ),
        ));
    }
    let Some(turn) = conversation.turns.last_mut() else {
        return Ok(());
    };
    if let Some(Part::Text(text)) = turn.parts.last_mut() {
        let trimmed = text.trim_end();
        if trimmed.len() < text.len() {
            changed.push(change(
                "prompt",
                "white space at the end of the answer's prefix dropped: the API refuses it",
            ));
        }
        *text = trimmed;
    }
    turn.parts.retain(|part| !matches!(part, Part::Text("")));
    if turn.parts.is_empty() {
        conversation.turns.pop();
    }
    if conversation.turns.is_empty() {
        return Err(invalid("the prompt holds no message of the user: the API wants one"));
    }
    Ok(())
}

fn message<'a>(turn: &'a Turn<'a>) -> Result<Message<'a>> {
    let role = match turn.speaker {
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
    };
    if let [Part::Text(text)] = turn.parts.as_slice() {
        return Ok(Message { role, content: Content::Text(text) });
    }
    let blocks = turn.parts.iter().map(|part| match part {
        Part::Text(text) => Ok(Block::Text { text }),
        Part::Image { media_type, data } => Ok(Block::Image {
            source: Source::Base64 { media_type: known_type(media_type)?, data: Base64(data) },
        }),
    });
    Ok(Message { role, content: Content::Blocks(blocks.collect::<Result<_>>()?) })
}

/// The API's own list.
fn known_type(media_type: &str) -> Result<&'static str> {
    ["image/jpeg", "image/png", "image/gif", "image/webp"]
        .into_iter()
        .find(|known| *known == media_type)
        .ok_or_else(|| {
            Error::unsupported(&format!(
                "images of type `{media_type}` (expected JPEG, PNG, GIF or WebP)"
            ))
        })
}

impl Body<'_> {
    /// Leaves out the sampling parameters that model and thinking do not take. Temperature 1 is the API's default:
    /// leaving it out changes nothing.
    fn sample(&mut self, sampling: bool, thinks: bool, changed: &mut Vec<Changed>) {
        if !sampling {
            let temperature = self.temperature.take().filter(|temperature| *temperature != 1.0);
            let (top_p, top_k) = (self.top_p.take(), self.top_k.take());
            sampling_dropped(self.model, temperature, top_p, top_k, changed);
            return;
        }
        if thinks {
            let mut drop = |name: &str, what: String| {
                changed.push(change(
                    name,
                    format!("dropped: with thinking enabled the API takes {what}"),
                ));
            };
            if self.temperature.take().is_some_and(|temperature| temperature != 1.0) {
                drop("temperature", "1 alone, so that answers are not greedy".to_owned());
            }
            if self.top_p.take_if(|p| *p < 0.95).is_some() {
                drop("top_p", "0.95 to 1".to_owned());
            }
            if self.top_k.take().is_some() {
                drop("top_k", "none".to_owned());
            }
            return;
        }
        if models::takes_one_knob(self.model)
            && self.temperature.is_some()
            && self.top_p.take().is_some()
        {
            changed.push(change(
                "top_p",
                format!("dropped: {} does not take it beside a temperature", self.model),
            ));
        }
    }
}
