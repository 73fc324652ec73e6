//! Text Generation Inference 3.3 (router/src/server.rs): its routes and its refusals.
//!
//! Stricter than the real one, which ignores unknown keys: a key in the wrong place would else go unnoticed.

mod openai;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use self::{
    reply::{Generation, TextToken},
    request::{ChatTokenize, Generate},
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire, named_event},
    model::{Ask, BOS, Piece, Pieces, Prompt, Said, Stops, Turn},
    server::Mock,
    strict::{self, Misfit},
};

/// The wire.
pub(crate) struct Tgi;

/// The model that it says it serves.
const MODEL: &str = "mock/tgi";
/// Its version, as the OpenAI-shaped routes tell it.
const FINGERPRINT: &str = "3.3.7-mock";
/// Most bytes of a request (`--payload-limit`).
const MAX_BODY: usize = 2_000_000;
/// Most tokens of a prompt.
const MAX_INPUT_TOKENS: usize = 16_383;
/// Most tokens of prompt and answer.
const MAX_TOTAL_TOKENS: usize = 16_384;

impl Wire for Tgi {
    fn guarded(&self, asked: &Asked<'_>) -> bool {
        asked.method == Method::POST && asked.path != "/chat_tokenize"
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        asked.method == Method::POST && !matches!(asked.path, "/tokenize" | "/chat_tokenize")
    }

    fn trouble(&self, _asked: &Asked<'_>, trouble: &Trouble) -> Answer {
        match trouble {
            Trouble::BadKey => Answer::empty(401),
            Trouble::RateLimited => refusal(429, "Model is overloaded", "overloaded"),
            Trouble::Overloaded => failed("the shard is out of memory, on cue"),
            Trouble::Loading { .. } => refusal(503, "unhealthy", "healthcheck"),
            Trouble::Upstream { status, message } if *status < 500 => validation(message),
            Trouble::Upstream { message, .. } => failed(message),
        }
    }

    fn trouble_in_stream(&self, asked: &Asked<'_>, _trouble: &Trouble) -> Vec<u8> {
        let message = "Request failed during generation: on cue";
        let frame = match asked.path.starts_with("/v1/") {
            true => json!({ "error": { "message": message, "http_status_code": 422 } }),
            false => json!({ "error": message, "error_type": "generation" }),
        };
        named_event(b"data:", &frame)
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move { route(self, &asked, mock).await.unwrap_or_else(|refusal| refusal) })
    }
}

async fn route(wire: &Tgi, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    match (asked.method, asked.path) {
        (&Method::POST, "/generate") => {
            generate(wire, asked, mock, &read(asked)?, Form::Object).await
        }
        (&Method::POST, "/generate_stream") => {
            generate(wire, asked, mock, &read(asked)?, Form::Stream).await
        }
        (&Method::POST, "/") => {
            let request: Generate<'_> = read(asked)?;
            let form = if request.stream { Form::Stream } else { Form::List };
            generate(wire, asked, mock, &request, form).await
        }
        (&Method::POST, "/tokenize") => {
            let request: Generate<'_> = read(asked)?;
            let tokens = [Piece { id: BOS, text: "", start: 0 }].into_iter();
            let tokens: Vec<_> =
                tokens.chain(Pieces::of(&request.inputs)).map(TextToken::from).collect();
            Ok(Answer::json(200, &tokens))
        }
        (&Method::POST, "/chat_tokenize") => {
            let request: ChatTokenize<'_> = read(asked)?;
            let turns: Vec<Turn<'_>> = request.messages.into_iter().map(Into::into).collect();
            let text = Prompt::template(&turns);
            let tokens: Vec<_> = Pieces::of(&text).map(TextToken::from).collect();
            let reply = json!({ "tokenize_response": tokens, "templated_text": text });
            Ok(Answer::json(200, &reply))
        }
        (&Method::POST, "/v1/chat/completions") => openai::chat(wire, asked, mock).await,
        (&Method::POST, "/v1/completions") => openai::completion(wire, asked, mock).await,
        (&Method::GET, "/info") => Ok(info()),
        (&Method::GET, "/health" | "/" | "/ping") => Ok(Answer::empty(200)),
        (&Method::GET, "/v1/models") => Ok(Answer::json(
            200,
            &json!({ "object": "list", "data": [
                { "id": MODEL, "object": "model", "created": 0, "owned_by": MODEL }
            ] }),
        )),
        _ => Err(Answer::empty(404)),
    }
}

fn info() -> Answer {
    Answer::json(
        200,
        &json!({
            "model_id": MODEL,
            "model_sha": null,
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": 128,
            "max_best_of": request::MAX_BEST_OF,
            "max_stop_sequences": request::MAX_STOPS,
            "max_input_tokens": MAX_INPUT_TOKENS,
            "max_total_tokens": MAX_TOTAL_TOKENS,
            "validation_workers": 2,
            "max_client_batch_size": request::MAX_BATCH,
            "router": "text-generation-router",
            "version": "3.3.7",
            "sha": null,
            "docker_label": null,
        }),
    )
}

/// How a generation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Object,
    /// What `/` answers.
    List,
    Stream,
}

async fn generate(
    wire: &Tgi,
    asked: &Asked<'_>,
    mock: &Mock,
    request: &Generate<'_>,
    form: Form,
) -> Result<Answer, Answer> {
    let parameters = &request.parameters;
    let input = input(&request.inputs, parameters.truncate);
    request
        .check(input.len() + 1, form == Form::Stream)
        .map_err(|complaint| validation(&complaint))?;
    let text = input.first().map_or("", |first| &request.inputs[first.start..]);
    let fits = MAX_TOTAL_TOKENS - input.len() - 1;
    let sampled = parameters.samples();
    let ask = |choice| Ask {
        max_tokens: Some(parameters.max_new_tokens.unwrap_or(fits)),
        stop: parameters.stop.clone(),
        stops: Stops::AtEnd,
        temperature: Some(parameters.sampled_at()),
        top_p: parameters.top_p,
        frequency_penalty: parameters.frequency_penalty,
        seed: parameters.seed,
        choice,
        ..Ask::new(Prompt::Text(text.into()))
    };
    let mut said = Vec::with_capacity(1);
    for choice in 0..parameters.best_of.unwrap_or(1).max(1) as u64 {
        said.push(say(wire, asked, mock, &ask(choice)).await?);
    }
    let generation = Generation { request, input: &input, said: &said, sampled };
    Ok(match form {
        Form::Object => generation.object(mock.settings.prefill_logprobs),
        Form::List => generation.list(mock.settings.prefill_logprobs),
        Form::Stream => generation.stream(),
    })
}

/// The tokens of a text but for BOS, as many of the last as `truncate` leaves.
fn input(text: &str, truncate: Option<usize>) -> Vec<Piece<'_>> {
    let mut pieces = Vec::with_capacity(text.len() / 3 + 1);
    pieces.extend(Pieces::of(text));
    if let Some(most) = truncate {
        pieces.drain(..(pieces.len() + 1).saturating_sub(most.max(1)).min(pieces.len()));
    }
    pieces
}

async fn say(wire: &Tgi, asked: &Asked<'_>, mock: &Mock, ask: &Ask<'_>) -> Result<Said, Answer> {
    mock.say(ask).await.map_err(|trouble| wire.trouble(asked, &trouble))
}

/// Reads a body as the server's framework does.
fn read<'a, T: Deserialize<'a>>(asked: &Asked<'a>) -> Result<T, Answer> {
    if !asked.is_json() {
        return Err(Answer::text(415, "Expected request with `Content-Type: application/json`"));
    }
    if asked.body.len() > MAX_BODY {
        return Err(Answer::text(413, "Failed to buffer the request body: length limit exceeded"));
    }
    strict::read(asked.body).map_err(|misfit| match misfit {
        Misfit::Syntax(message) => {
            Answer::text(400, format!("Failed to parse the request body as JSON: {message}"))
        }
        misfit => {
            let path = Some(misfit.path()).filter(|path| !path.is_empty());
            let path = path.map(|path| format!("{path}: ")).unwrap_or_default();
            let message = misfit.message();
            Answer::text(
                422,
                format!(
                    "Failed to deserialize the JSON body into the target type: {path}{message}"
                ),
            )
        }
    })
}

fn refusal(status: u16, error: &str, error_type: &str) -> Answer {
    Answer::json(status, &json!({ "error": error, "error_type": error_type }))
}

fn validation(complaint: &str) -> Answer {
    refusal(422, &format!("Input validation error: {complaint}"), "validation")
}

fn failed(reason: &str) -> Answer {
    refusal(424, &format!("Request failed during generation: {reason}"), "generation")
}
