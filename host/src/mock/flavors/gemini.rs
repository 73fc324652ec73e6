//! Google's Gemini (`wire.md` 4.4): `generateContent`, `streamGenerateContent`, `countTokens` and the models, below
//! `/v1beta`.
//!
//! Field names are taken in camelCase alone, as they are documented, though the service reads others, too. A prompt with
//! the word of [`super::cue::FILTERED_PROMPT`] is blocked, one with that of [`super::cue::FILTERED_ANSWER`] has a
//! candidate that is.

mod config;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::{
    reply::Answered,
    request::{CountTokens, Generate},
};
use super::{
    cue::{self, Filter},
    speak::speak,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Body, Trouble, Wire},
    model::{Ask, Prompt, cut_to_budget},
    server::Mock,
    strict::{self, Misfit},
};

/// The wire.
pub(crate) struct Gemini;

/// Most tokens of a prompt.
const CONTEXT: usize = 1_048_576;
/// Models that are listed; any other is served, too.
const MODELS: [&str; 3] = ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-3-pro-preview"];

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    code: u16,
    status: &'static str,
    message: String,
    details: Option<Value>,
}

impl Refusal {
    fn invalid(message: impl Into<String>) -> Self {
        let (status, message) = ("INVALID_ARGUMENT", message.into());
        Self { code: 400, status, message, details: None }
    }

    /// As the service's own checks say it.
    fn field(path: &str, complaint: &str) -> Self {
        Self::invalid(format!("* GenerateContentRequest.{path}: {complaint}\n"))
    }

    /// As the reader of JSON says it.
    fn violation(field: &str, description: String) -> Self {
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": description }],
        }]);
        Self { details: Some(details), ..Self::invalid(description) }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self { code: 404, status: "NOT_FOUND", ..Self::invalid(message) }
    }

    fn no_model(name: &str) -> Self {
        Self::not_found(format!(
            "models/{name} is not found for API version v1beta, or is not supported for generateContent. Call \
             ListModels to see the list of available models and their supported methods."
        ))
    }

    fn answer(&self) -> Answer {
        let Self { code, status, message, details } = self;
        let mut error = json!({ "code": code, "message": message, "status": status });
        if let Some(details) = details {
            error["details"] = details.clone();
        }
        Answer::json(*code, &json!({ "error": error }))
    }
}

/// `generationConfig.topP` as `generation_config.top_p`.
fn snake(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for character in path.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        let path = misfit.path();
        match &misfit {
            Misfit::Syntax(message) => {
                Self::violation("", format!("Invalid JSON payload received. {message}"))
            }
            Misfit::Unknown { .. } => {
                let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
                let parent = snake(parent);
                let at = if parent.is_empty() { String::new() } else { format!(" at '{parent}'") };
                Self::violation(
                    &parent,
                    format!(
                        "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
                    ),
                )
            }
            Misfit::Missing { .. } => Self::field(&snake(path), "required field is not specified"),
            Misfit::Type { message, .. } => {
                let expected = message.rsplit_once(", expected ").map_or("", |(_, after)| after);
                let wanted = match expected.split(" at line ").next().unwrap_or("") {
                    "a string" => "TYPE_STRING",
                    "f64" => "TYPE_FLOAT",
                    "i64" | "i32" => "TYPE_INT32",
                    "a boolean" => "TYPE_BOOL",
                    _ => "TYPE_MESSAGE",
                };
                let path = snake(path);
                let found = message.split(", expected ").next().unwrap_or("");
                let found = found.split_once(": ").map_or(found, |(_, found)| found);
                Self::violation(&path, format!("Invalid value at '{path}' ({wanted}), {found}"))
            }
        }
    }
}

async fn route(asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Refusal> {
    let nothing = || Refusal::not_found(format!("{} is not a method of this API.", asked.path));
    let rest = asked
        .path
        .strip_prefix("/v1beta")
        .unwrap_or(asked.path)
        .strip_prefix("/models")
        .ok_or_else(nothing)?;
    let Some(rest) = rest.strip_prefix('/') else {
        let listed = rest.is_empty() && asked.method == "GET";
        return if listed { Ok(models()) } else { Err(nothing()) };
    };
    let (name, action) = rest.split_once(':').unwrap_or((rest, ""));
    if name.is_empty() || cue::is_missing(name) {
        return Err(Refusal::no_model(name));
    }
    if asked.method == "POST" && !asked.is_json() {
        return Err(Refusal::invalid("Invalid content type; expected application/json."));
    }
    match (asked.method.as_str(), action) {
        ("GET", "") => Ok(Answer::json(200, &model(name))),
        ("POST", "generateContent") => generate(name, asked.body, Form::Object, mock).await,
        ("POST", "streamGenerateContent") => {
            let form = match asked.query_value("alt") {
                Some("sse") => Form::Events,
                _ => Form::List,
            };
            generate(name, asked.body, form, mock).await
        }
        ("POST", "countTokens") => {
            let request: CountTokens<'_> = strict::read(asked.body)?;
            let (_, tokens) = request.prompt()?.read();
            Ok(Answer::json(
                200,
                &json!({
                    "totalTokens": tokens,
                    "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": tokens }],
                }),
            ))
        }
        _ => Err(nothing()),
    }
}

/// How a generation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Object,
    Events,
    /// A list of what would be the events.
    List,
}

async fn generate(name: &str, body: &[u8], form: Form, mock: &Mock) -> Result<Answer, Refusal> {
    let mut request: Generate<'_> = strict::read(body)?;
    request.check(name)?;
    let prompt: Prompt<'_> = request.prompt()?;
    let (context, prompt_tokens) = prompt.read();
    if prompt_tokens > CONTEXT {
        return Err(Refusal::invalid(format!(
            "The input token count ({prompt_tokens}) exceeds the maximum number of tokens allowed ({CONTEXT})."
        )));
    }
    let filter = cue::filter(&prompt);
    let config = request.config();
    let stop = config.stops();
    let thinking = config.thinking_tokens(name);
    let ask = Ask {
        max_tokens: config.max_output_tokens.and_then(|most| usize::try_from(most).ok()),
        stop,
        temperature: config.temperature,
        top_p: config.top_p,
        seed: config.seed.map(|seed| i64::from(seed).cast_unsigned()),
        ..Ask::new(prompt)
    };
    let mut spoken = Vec::with_capacity(1);
    let count =
        if filter == Some(Filter::Prompt) { 0 } else { config.candidate_count.unwrap_or(1) };
    for choice in 0..u64::try_from(count).unwrap_or(1) {
        match speak(mock, Ask { choice, ..ask.clone() }, thinking).await {
            Ok(said) => spoken.push(said),
            Err(trouble) => return Ok(trouble_answer(&trouble)),
        }
        if let (Some(Filter::Answer), Some(last)) = (filter, spoken.last_mut()) {
            cut_to_budget(&mut last.said, 0);
        }
    }
    let id = format!("mock{:016x}", context.number());
    let prompt_tokens = spoken.first().map_or(prompt_tokens, |first| first.said.prompt_tokens);
    let answered = Answered {
        id: &id,
        model: name,
        spoken: &spoken,
        prompt_tokens,
        filter,
        thoughts: config.includes_thoughts(),
        logprobs: (config.response_logprobs == Some(true))
            .then(|| config.logprobs.and_then(|most| usize::try_from(most).ok()).unwrap_or(0)),
    };
    Ok(match form {
        Form::Object => Answer::json(200, &answered.whole()),
        Form::Events => Answer::events(answered.frames()),
        Form::List => {
            let chunks: Vec<Value> = answered
                .frames()
                .iter()
                .filter_map(|frame| serde_json::from_slice(frame.strip_prefix(b"data: ")?).ok())
                .collect();
            Answer::json(200, &chunks)
        }
    })
}

fn model(name: &str) -> Value {
    json!({
        "name": format!("models/{name}"),
        "version": "001",
        "displayName": name,
        "description": "The mock's model",
        "inputTokenLimit": CONTEXT,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
        "thinking": config::thinks(name),
    })
}

fn models() -> Answer {
    let models: Vec<Value> = MODELS.iter().map(|name| model(name)).collect();
    Answer::json(200, &json!({ "models": models }))
}

fn trouble_answer(trouble: &Trouble) -> Answer {
    let refusal =
        |code, status, message: &str| Refusal { code, status, ..Refusal::invalid(message) };
    let refusal = match trouble {
        Trouble::BadKey => Refusal {
            details: Some(json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": { "service": "generativelanguage.googleapis.com" },
            }])),
            ..Refusal::invalid("API key not valid. Please pass a valid API key.")
        },
        Trouble::RateLimited => Refusal {
            details: Some(json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "1s",
            }])),
            ..refusal(
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details.",
            )
        },
        Trouble::Overloaded => {
            refusal(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
        }
        Trouble::Loading { .. } => {
            refusal(503, "UNAVAILABLE", "The model is not ready yet. Please try again later.")
        }
        Trouble::Upstream { status, message } if *status < 500 => Refusal::invalid(message.clone()),
        Trouble::Upstream { message, .. } => refusal(500, "INTERNAL", message),
    };
    refusal.answer()
}

impl Wire for Gemini {
    fn key<'a>(&self, asked: &Asked<'a>) -> Option<&'a str> {
        asked.header("x-goog-api-key").or_else(|| asked.query_value("key"))
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        asked.path.ends_with("enerateContent")
    }

    fn trouble(&self, _: &Asked<'_>, trouble: &Trouble) -> Answer {
        trouble_answer(trouble)
    }

    fn trouble_in_stream(&self, _: &Asked<'_>, trouble: &Trouble) -> Vec<u8> {
        match trouble_answer(trouble).body {
            Body::Whole(body) => [b"data: ", body.as_slice(), b"\r\n\r\n"].concat(),
            Body::Events(frames) => frames.concat(),
        }
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(
            async move { route(&asked, mock).await.unwrap_or_else(|refusal| refusal.answer()) },
        )
    }
}
