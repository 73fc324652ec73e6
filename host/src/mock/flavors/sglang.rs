//! SGLang 0.5.23 (python/sglang/srt/entrypoints/http_server.py): its native routes and its four shapes of refusal.
//!
//! Stricter than the real one at the top level, which ignores unknown keys there: a sampling value beside
//! `sampling_params` would else go unnoticed.

mod generate;
mod openai;
mod reply;
mod request;
mod sampling;
#[cfg(test)]
mod tests;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use self::request::{Detokenize, Ids, Tokenize};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire, event},
    model::{BOS, EOS, Pieces, Prompt, Turn, decode},
    server::Mock,
    strict::{self, Misfit},
};

/// The wire.
pub(crate) struct Sglang;

/// The model that it says it serves.
const MODEL: &str = "mock/sglang";
/// Most tokens of prompt and answer.
const CONTEXT: usize = 32_768;

impl Wire for Sglang {
    fn guarded(&self, asked: &Asked<'_>) -> bool {
        !asked.path.starts_with("/health") && asked.path != "/ready"
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        matches!(asked.path, "/generate" | "/v1/completions" | "/v1/chat/completions")
    }

    fn trouble(&self, _asked: &Asked<'_>, trouble: &Trouble) -> Answer {
        match trouble {
            Trouble::BadKey => Answer::json(401, &json!({ "error": "Unauthorized" })),
            Trouble::RateLimited => raised(429, "Too many requests, on cue."),
            Trouble::Overloaded => raised(503, "The request queue is full."),
            Trouble::Loading { .. } => Answer::empty(503),
            Trouble::Upstream { status, message } if *status < 500 => complaint(message),
            Trouble::Upstream { message, .. } => raised(500, message),
        }
    }

    fn trouble_in_200(&self, asked: &Asked<'_>, trouble: &Trouble) -> Answer {
        match asked.path {
            "/generate" => reply::aborted("Aborted, on cue.", batch(asked.body)),
            _ => Answer { status: 200, ..self.trouble(asked, trouble) },
        }
    }

    fn trouble_in_stream(&self, _asked: &Asked<'_>, _trouble: &Trouble) -> Vec<u8> {
        event(&json!({ "error": {
            "message": "The request queue is full.",
            "type": "invalid_request_error",
            "code": 503,
            "retryable": true,
        } }))
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move { route(self, &asked, mock).await.unwrap_or_else(|refusal| refusal) })
    }
}

/// Prompts of a batch; none for a request with one prompt, which is answered without a list.
fn batch(body: &[u8]) -> Option<usize> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let texts = body["text"].as_array();
    let ids = body["input_ids"].as_array().filter(|ids| ids.first().is_some_and(Value::is_array));
    texts.or(ids).map(Vec::len)
}

async fn route(wire: &Sglang, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    match (asked.method, asked.path) {
        (&Method::POST | &Method::PUT, "/generate") => generate::answer(wire, asked, mock).await,
        (&Method::POST, "/v1/chat/completions") => openai::chat(wire, asked, mock).await,
        (&Method::POST, "/v1/completions") => openai::completion(wire, asked, mock).await,
        (&Method::POST, "/tokenize" | "/v1/tokenize") => tokenize(read(asked)?),
        (&Method::POST, "/detokenize" | "/v1/detokenize") => Ok(detokenize(&read(asked)?)),
        (&Method::GET, "/model_info" | "/get_model_info") => Ok(model_info()),
        (&Method::GET, "/server_info" | "/get_server_info") => Ok(server_info(mock)),
        (&Method::GET, "/health" | "/health_generate" | "/ready") => Ok(Answer::empty(200)),
        (&Method::GET, "/v1/models") => {
            Ok(Answer::json(200, &json!({ "object": "list", "data": [card()] })))
        }
        (&Method::GET, path) if path.strip_prefix("/v1/models/") == Some(MODEL) => {
            Ok(Answer::json(200, &card()))
        }
        _ => Err(Answer::json(404, &json!({ "detail": "Not Found" }))),
    }
}

fn card() -> Value {
    json!({
        "id": MODEL, "object": "model", "created": crate::mock::flavors::compatible::CREATED,
        "owned_by": "sglang", "root": MODEL, "parent": null, "max_model_len": CONTEXT,
    })
}

fn model_info() -> Answer {
    Answer::json(
        200,
        &json!({
            "model_path": MODEL,
            "served_model_name": MODEL,
            "tokenizer_path": MODEL,
            "is_generation": true,
            "preferred_sampling_params": null,
            "weight_version": "default",
            "load_format": "auto",
            "reasoning_parser": null,
            "tool_call_parser": null,
            "disaggregation_mode": "null",
            "has_image_understanding": false,
            "has_audio_understanding": false,
            "model_type": "mock",
            "architectures": ["MockForCausalLM"],
        }),
    )
}

fn server_info(mock: &Mock) -> Answer {
    Answer::json(
        200,
        &json!({
            "model_path": MODEL,
            "served_model_name": MODEL,
            "context_length": CONTEXT,
            "incremental_streaming_output": mock.settings.sglang_incremental,
            "internal_states": [],
            "version": "0.5.23",
        }),
    )
}

fn tokenize(request: Tokenize<'_>) -> Result<Answer, Answer> {
    let special = request.add_special_tokens.unwrap_or(true);
    let (tokens, count) = match (request.prompt, request.messages) {
        (Some(prompt), None) => {
            let is_list = prompt.is_list();
            let ids = prompt.into_vec().iter().map(|text| ids(text, special)).collect::<Vec<_>>();
            let counts: Vec<usize> = ids.iter().map(Vec::len).collect();
            if is_list {
                (json!(ids), json!(counts))
            } else {
                (json!(ids.concat()), json!(counts.iter().sum::<usize>()))
            }
        }
        (None, Some(messages)) => {
            let turns: Vec<Turn<'_>> = messages.into_iter().map(Into::into).collect();
            // A template begins with BOS.
            let ids = ids(&Prompt::template(&turns), true);
            let count = ids.len();
            (json!(ids), json!(count))
        }
        _ => return Err(bad_request("one of `prompt` and `messages` must be given")),
    };
    let reply = json!({ "tokens": tokens, "count": count, "max_model_len": CONTEXT });
    Ok(Answer::json(200, &reply))
}

fn detokenize(request: &Detokenize) -> Answer {
    let skip = request.skip_special_tokens.unwrap_or(true);
    let text = |ids: &Vec<u32>| {
        let mut text = String::new();
        for id in ids.iter().filter(|id| !(skip && matches!(**id, BOS | EOS))) {
            decode(*id, &mut text);
        }
        text
    };
    let text = match &request.tokens {
        Ids::One(ids) => json!(text(ids)),
        Ids::Many(lists) => lists.iter().map(text).collect(),
    };
    Answer::json(200, &json!({ "text": text }))
}

/// The ids of a text, BOS before them if wanted.
fn ids(text: &str, bos: bool) -> Vec<u32> {
    let mut ids = Vec::with_capacity(text.len() / 3 + 2);
    ids.extend(bos.then_some(BOS));
    ids.extend(Pieces::of(text).map(|piece| piece.id));
    ids
}

/// Reads a body as the server does.
fn read<'a, T: Deserialize<'a>>(asked: &Asked<'a>) -> Result<T, Answer> {
    if asked.path.starts_with("/v1/") && !asked.is_json() {
        return Err(bad_request("Unsupported Media Type: Only 'application/json' is allowed"));
    }
    strict::read(asked.body).map_err(|misfit| match &misfit {
        Misfit::Unknown { path, message } if path.starts_with("sampling_params") => {
            Answer::json(400, &json!({ "error": message }))
        }
        _ => {
            let path = Some(misfit.path()).filter(|path| !path.is_empty()).unwrap_or("body");
            bad_request(&format!("{path}: {}", misfit.message()))
        }
    })
}

/// A value out of range, a prompt too long: an object with a message.
fn complaint(message: &str) -> Answer {
    Answer::json(400, &json!({ "error": { "message": message } }))
}

/// A body that does not fit.
fn bad_request(message: &str) -> Answer {
    let body = json!({
        "object": "error", "message": message, "type": "Bad Request", "param": null, "code": 400,
    });
    Answer::json(400, &body)
}

/// An HTTP error that the server raises.
fn raised(status: u16, message: &str) -> Answer {
    let body = json!({
        "object": "error", "message": message, "type": status.to_string(), "param": null,
        "code": status,
    });
    Answer::json(status, &body)
}
