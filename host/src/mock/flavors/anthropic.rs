//! Anthropic's Messages (`wire.md` 4.3): `/v1/messages`, `/v1/messages/count_tokens`, `/v1/models`.
//!
//! A prompt with the word of [`super::cue::FILTERED_PROMPT`] is refused, with an empty answer; one with that of
//! [`super::cue::FILTERED_ANSWER`] in the middle of it: `stop_reason` `refusal`.

mod block;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use self::{
    reply::{Answered, Usage},
    request::{CountTokens, Messages},
};
use super::{
    cue::{self, Filter},
    speak::speak,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Body, Trouble, Wire},
    model::{Ask, cut_to_budget},
    pace::Allowance,
    server::Mock,
    strict::{self, Misfit},
};

/// The wire.
pub(crate) struct Anthropic;

/// Most tokens of a prompt.
const CONTEXT: usize = 200_000;
/// Models that are listed; any other is served, too.
const MODELS: [&str; 3] = ["claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-7"];
/// Versions of the API that there are.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", "2026-10-21"];

/// Why a request has no answer: the status, the type and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal(u16, &'static str, String);

impl Refusal {
    fn invalid(message: impl Into<String>) -> Self {
        Self(400, "invalid_request_error", message.into())
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self(404, "not_found_error", message.into())
    }

    fn answer(&self) -> Answer {
        let Self(status, kind, message) = self;
        let id = "req_mock";
        let error = json!({
            "type": "error",
            "error": { "type": kind, "message": message },
            "request_id": id,
        });
        Answer::json(*status, &error).with("request-id", id)
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        // `messages[0].role` is `messages.0.role` here.
        let path = misfit.path().replace('[', ".").replace(']', "");
        Self::invalid(match &misfit {
            Misfit::Syntax(message) => {
                format!("The request body is not valid JSON: {message}")
            }
            Misfit::Unknown { .. } => format!("{path}: Extra inputs are not permitted"),
            Misfit::Missing { .. } => format!("{path}: Field required"),
            Misfit::Type { message, .. } => {
                let expected = message.rsplit_once(", expected ").map_or("", |(_, after)| after);
                let wanted = match expected.split(" at line ").next().unwrap_or("") {
                    "a string" => "a valid string",
                    "f64" => "a valid number",
                    "i64" => "a valid integer",
                    "a boolean" => "a valid boolean",
                    "a sequence" => "a valid list",
                    "a string or an array" => "a valid string or list",
                    _ => "a valid dictionary",
                };
                format!("{path}: Input should be {wanted}")
            }
        })
    }
}

async fn route(asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Refusal> {
    match asked.header("anthropic-version") {
        None => return Err(Refusal::invalid("anthropic-version: header is required")),
        Some(version) if !VERSIONS.contains(&version) => {
            let message = format!("anthropic-version: \"{version}\" is not a valid version");
            return Err(Refusal::invalid(message));
        }
        Some(_) => {}
    }
    match (asked.method.as_str(), asked.path) {
        ("POST", "/v1/messages" | "/v1/messages/count_tokens") if !asked.is_json() => {
            Err(Refusal::invalid("content-type: must be application/json"))
        }
        ("POST", "/v1/messages") => messages(asked.body, mock).await,
        ("POST", "/v1/messages/count_tokens") => count_tokens(asked.body),
        ("GET", "/v1/models") => Ok(models()),
        ("GET", path) => match path.strip_prefix("/v1/models/") {
            Some(id) if !cue::is_missing(id) => Ok(Answer::json(200, &model(id))),
            Some(id) => Err(Refusal::not_found(format!("model: {id}"))),
            None => Err(Refusal::not_found("Not found")),
        },
        (_, "/v1/messages" | "/v1/messages/count_tokens" | "/v1/models") => {
            Err(Refusal(405, "invalid_request_error", "Method Not Allowed".to_owned()))
        }
        _ => Err(Refusal::not_found("Not found")),
    }
}

async fn messages(body: &[u8], mock: &Mock) -> Result<Answer, Refusal> {
    let mut request: Messages<'_> = strict::read(body)?;
    request.check()?;
    let thinking = request.thinking_tokens();
    let prompt = request.prompt()?;
    if cue::is_missing(&request.model) {
        return Err(Refusal::not_found(format!("model: {}", &*request.model)));
    }
    let (context, prompt_tokens) = prompt.read();
    if prompt_tokens > CONTEXT {
        let message = format!("prompt is too long: {prompt_tokens} tokens > {CONTEXT} maximum");
        return Err(Refusal::invalid(message));
    }
    let filter = cue::filter(&prompt);
    let stops = request.stops();
    let mut ask = Ask::new(prompt);
    ask.max_tokens = Some(usize::try_from(request.max_tokens).unwrap_or(usize::MAX));
    ask.stop.clone_from(&stops);
    ask.temperature = request.temperature;
    ask.top_p = request.top_p;
    let mut spoken = match speak(mock, ask, thinking).await {
        Ok(spoken) => spoken,
        Err(trouble) => return Ok(trouble_answer(&trouble)),
    };
    match filter {
        Some(Filter::Prompt) => {
            spoken.thoughts = None;
            cut_to_budget(&mut spoken.said, 0);
        }
        Some(Filter::Answer) => {
            let half = spoken.said.tokens.len() / 2;
            cut_to_budget(&mut spoken.said, half);
        }
        None => {}
    }
    let id = format!("msg_{:016x}", context.number());
    let answered = Answered {
        id: &id,
        model: &request.model,
        spoken: &spoken,
        stops: &stops,
        refused: filter.is_some(),
    };
    let answer = if request.stream == Some(true) {
        Answer::events(answered.frames())
    } else {
        Answer::json(200, &answered.message())
    };
    Ok(with_limits(answer.with("request-id", format!("req_{}", &id[4..])), answered.usage()))
}

fn count_tokens(body: &[u8]) -> Result<Answer, Refusal> {
    let request: CountTokens<'_> = strict::read(body)?;
    let (_, tokens) = request.prompt()?.read();
    Ok(Answer::json(200, &json!({ "input_tokens": tokens })))
}

fn model(id: &str) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": "2026-01-01T00:00:00Z",
        "max_input_tokens": CONTEXT,
        "max_tokens": request::MAX_OUTPUT,
        "capabilities": null,
    })
}

fn models() -> Answer {
    let data: Vec<Value> = MODELS.iter().map(|id| model(id)).collect();
    let (first, last) = (MODELS[0], MODELS[MODELS.len() - 1]);
    Answer::json(
        200,
        &json!({ "data": data, "first_id": first, "has_more": false, "last_id": last }),
    )
}

/// An answer with the headers that tell how much may still be asked.
fn with_limits(answer: Answer, usage: Usage) -> Answer {
    const RESET: &str = "2030-01-01T00:00:00Z";
    let left = |most: usize, used: usize| most.saturating_sub(used).to_string();
    answer
        .with("anthropic-ratelimit-requests-limit", "4000")
        .with("anthropic-ratelimit-requests-remaining", "3999")
        .with("anthropic-ratelimit-requests-reset", RESET)
        .with("anthropic-ratelimit-tokens-limit", "2400000")
        .with(
            "anthropic-ratelimit-tokens-remaining",
            left(2_400_000, usage.input_tokens + usage.output_tokens),
        )
        .with("anthropic-ratelimit-tokens-reset", RESET)
        .with("anthropic-ratelimit-input-tokens-limit", "2000000")
        .with("anthropic-ratelimit-input-tokens-remaining", left(2_000_000, usage.input_tokens))
        .with("anthropic-ratelimit-input-tokens-reset", RESET)
        .with("anthropic-ratelimit-output-tokens-limit", "400000")
        .with("anthropic-ratelimit-output-tokens-remaining", left(400_000, usage.output_tokens))
        .with("anthropic-ratelimit-output-tokens-reset", RESET)
}

fn trouble_answer(trouble: &Trouble) -> Answer {
    let refusal = match trouble {
        Trouble::BadKey => Refusal(401, "authentication_error", "invalid x-api-key".to_owned()),
        Trouble::RateLimited => Refusal(
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit. Please try again later."
                .to_owned(),
        ),
        Trouble::Overloaded | Trouble::Loading { .. } => {
            Refusal(529, "overloaded_error", "Overloaded".to_owned())
        }
        Trouble::Upstream { status, message } if *status < 500 => {
            Refusal(400, "invalid_request_error", message.clone())
        }
        Trouble::Upstream { message, .. } => Refusal(500, "api_error", message.clone()),
    };
    refusal.answer()
}

impl Wire for Anthropic {
    fn key<'a>(&self, asked: &Asked<'a>) -> Option<&'a str> {
        asked.header("x-api-key").or_else(|| asked.bearer())
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        asked.path == "/v1/messages"
    }

    fn trouble(&self, _: &Asked<'_>, trouble: &Trouble) -> Answer {
        trouble_answer(trouble)
    }

    fn trouble_in_stream(&self, _: &Asked<'_>, trouble: &Trouble) -> Vec<u8> {
        match trouble_answer(trouble).body {
            Body::Whole(body) => [b"event: error\ndata: ", body.as_slice(), b"\n\n"].concat(),
            Body::Events(frames) => frames.concat(),
        }
    }

    fn tell_allowance(&self, headers: &mut HeaderMap, allowance: &Allowance) {
        let reset =
            jiff::Timestamp::now().checked_add(allowance.reset).unwrap_or(jiff::Timestamp::MAX);
        for (name, text) in [
            ("anthropic-ratelimit-requests-limit", allowance.limit.to_string()),
            ("anthropic-ratelimit-requests-remaining", allowance.remaining.to_string()),
            ("anthropic-ratelimit-requests-reset", reset.to_string()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(
            async move { route(&asked, mock).await.unwrap_or_else(|refusal| refusal.answer()) },
        )
    }
}
