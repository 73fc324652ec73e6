//! Ollama's native API (docs/api.md of ollama/ollama): `/api/generate` and `/api/chat` as lines of JSON, which are
//! streamed unless a request says `"stream": false`.
//!
//! Stricter than the real one, which ignores unknown keys: a sampling value beside `options` would else go unnoticed.

mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use self::{
    reply::{Kind, Spoken},
    request::{Chat, Generate, Options, Show},
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire, line},
    model::{Prompt, Turn},
    server::Mock,
    strict,
};

/// The wire.
pub(crate) struct Ollama;

/// The model that it lists. It answers for every other name, too.
const MODEL: &str = "mock:latest";
const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// When everything was made: the same in each run, so that replies are.
const CREATED: &str = "2023-11-14T22:13:20Z";
/// Most tokens of prompt and answer where a request does not say.
const CONTEXT: usize = 32_768;

impl Wire for Ollama {
    fn generates(&self, asked: &Asked<'_>) -> bool {
        matches!(asked.path, "/api/generate" | "/api/chat")
    }

    fn trouble(&self, _asked: &Asked<'_>, trouble: &Trouble) -> Answer {
        match trouble {
            Trouble::BadKey => refusal(401, "unauthorized"),
            Trouble::RateLimited => refusal(429, "too many requests, on cue"),
            Trouble::Overloaded => {
                refusal(503, "server busy, please try again.  maximum pending requests exceeded")
            }
            Trouble::Loading { .. } => refusal(503, "llm server loading model"),
            Trouble::Upstream { status, message } => refusal(*status, message),
        }
    }

    fn trouble_in_stream(&self, _asked: &Asked<'_>, _trouble: &Trouble) -> Vec<u8> {
        line(&json!({ "error": "an error was encountered while running the model: on cue" }))
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move { route(self, &asked, mock).await.unwrap_or_else(|refusal| refusal) })
    }
}

async fn route(wire: &Ollama, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    match (asked.method, asked.path) {
        (&Method::POST, "/api/generate") => generate(wire, asked, mock).await,
        (&Method::POST, "/api/chat") => chat(wire, asked, mock).await,
        (&Method::POST, "/api/show") => show(&read(asked)?),
        (&Method::GET, "/api/tags") => Ok(Answer::json(200, &json!({ "models": [card()] }))),
        (&Method::GET, "/api/ps") => Ok(Answer::json(200, &json!({ "models": [card()] }))),
        (&Method::GET, "/api/version") => Ok(Answer::json(200, &json!({ "version": "0.12.11" }))),
        (&Method::GET | &Method::HEAD, "/") => Ok(Answer::text(200, "Ollama is running")),
        _ => Err(Answer::text(404, "404 page not found")),
    }
}

async fn generate(wire: &Ollama, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    let request: Generate<'_> = read(asked)?;
    named(&request.model)?;
    let prompt = request.prompt.unwrap_or_default();
    if prompt.is_empty() {
        // An empty prompt loads the model.
        return Ok(reply::loaded(Kind::Generate, &request.model));
    }
    let turn = |role: &'static str, content: Cow<'_, str>| Turn {
        role: role.into(),
        content: content.into_owned().into(),
    };
    // A raw prompt is the text itself; any other goes through the model's template.
    let prompt = match request.system.filter(|_| !request.raw) {
        Some(system) => Prompt::Chat(vec![turn("system", system), turn("user", prompt)]),
        None => Prompt::Text(prompt),
    };
    let spoken = Spoken {
        kind: Kind::Generate,
        model: &request.model,
        logprobs: request.logprobs.then_some(request.top_logprobs.unwrap_or(0)),
    };
    answer(wire, asked, mock, prompt, &request.options.unwrap_or_default(), spoken, request.stream)
        .await
}

async fn chat(wire: &Ollama, asked: &Asked<'_>, mock: &Mock) -> Result<Answer, Answer> {
    let request: Chat<'_> = read(asked)?;
    named(&request.model)?;
    if request.messages.is_empty() {
        return Ok(reply::loaded(Kind::Chat, &request.model));
    }
    let turns: Vec<Turn<'_>> = request.messages.into_iter().map(Into::into).collect();
    let spoken = Spoken {
        kind: Kind::Chat,
        model: &request.model,
        logprobs: request.logprobs.then_some(request.top_logprobs.unwrap_or(0)),
    };
    let options = request.options.unwrap_or_default();
    answer(wire, asked, mock, Prompt::Chat(turns), &options, spoken, request.stream).await
}

async fn answer(
    wire: &Ollama,
    asked: &Asked<'_>,
    mock: &Mock,
    prompt: Prompt<'_>,
    options: &Options,
    spoken: Spoken<'_>,
    stream: Option<bool>,
) -> Result<Answer, Answer> {
    let said = mock.say(&options.ask(prompt)).await;
    let said = said.map_err(|trouble| wire.trouble(asked, &trouble))?;
    Ok(if stream.unwrap_or(true) { spoken.stream(&said) } else { spoken.whole(&said) })
}

fn show(request: &Show<'_>) -> Result<Answer, Answer> {
    let model = request.model.as_deref().or(request.name.as_deref()).unwrap_or("");
    named(model)?;
    Ok(Answer::json(
        200,
        &json!({
            "modelfile": format!("FROM {MODEL}"),
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": details(),
            "model_info": { "general.architecture": "mock", "mock.context_length": CONTEXT },
            "capabilities": ["completion"],
            "modified_at": CREATED,
        }),
    ))
}

fn card() -> serde_json::Value {
    json!({
        "name": MODEL, "model": MODEL, "modified_at": CREATED, "size": 0, "digest": DIGEST,
        "details": details(),
    })
}

fn details() -> serde_json::Value {
    json!({
        "parent_model": "", "format": "gguf", "family": "mock", "families": ["mock"],
        "parameter_size": "0B", "quantization_level": "F16",
    })
}

/// A name that is none, or one that the mock has been told not to have.
fn named(model: &str) -> Result<(), Answer> {
    match model {
        "" => Err(refusal(400, "model is required")),
        missing if missing.contains("missing") => {
            Err(refusal(404, &format!("model '{missing}' not found")))
        }
        _ => Ok(()),
    }
}

fn read<'a, T: Deserialize<'a>>(asked: &Asked<'a>) -> Result<T, Answer> {
    if asked.body.is_empty() {
        return Err(refusal(400, "missing request body"));
    }
    strict::read(asked.body).map_err(|misfit| {
        let path = Some(misfit.path()).filter(|path| !path.is_empty());
        let path = path.map(|path| format!("{path}: ")).unwrap_or_default();
        refusal(400, &format!("{path}{}", misfit.message()))
    })
}

fn refusal(status: u16, error: &str) -> Answer {
    Answer::json(status, &json!({ "error": error }))
}
