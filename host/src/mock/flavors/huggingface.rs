//! Hugging Face (`wire.md` 5): the router's chat, classic text generation, and Inference Endpoints with their management
//! and the servers that they run.
//!
//! All of it below one prefix: the router at `/v1`, classic models at `/hf-inference/models/{id}`, the management at
//! `/v2/endpoint/{namespace}`, the endpoints themselves at `/endpoints/{name}`, and who one is at `/api/whoami-v2`.

mod classic;
mod endpoints;
mod manage;

use serde_json::{Value, json};

pub(crate) use self::endpoints::Endpoints;
use super::{
    hosted::{Dialect, trouble},
    openai,
    tgi::Tgi,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, WhileLoading, Wire},
    server::Mock,
};

/// The wire.
pub(crate) struct HuggingFace;

/// The parts of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// `/v1/...`
    Router,
    /// `/hf-inference/models/{id}`
    Classic(&'a str),
    /// `/v2/endpoint/{namespace}...`, without what is before the namespace.
    Management(&'a str),
    /// `/endpoints/{name}` and the path below it.
    Endpoint(&'a str, &'a str),
    /// `/api/whoami-v2`
    Whoami,
    Nothing,
}

impl<'a> Part<'a> {
    fn of(path: &'a str) -> Self {
        if path == "/api/whoami-v2" {
            return Self::Whoami;
        }
        if let Some(id) = path.strip_prefix("/hf-inference/models/") {
            return Self::Classic(id);
        }
        if let Some(rest) = path.strip_prefix("/v2/endpoint/") {
            return Self::Management(rest);
        }
        if let Some(rest) = path.strip_prefix("/endpoints/") {
            let (name, below) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
            return Self::Endpoint(name, below);
        }
        if path.starts_with("/v1/") { Self::Router } else { Self::Nothing }
    }
}

/// An error in the words of everything but the router and the endpoints' servers.
fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": message }))
}

fn whoami() -> Value {
    json!({
        "type": "user",
        "id": "0000000000000000000000aa",
        "name": "mock",
        "fullname": "The Mock",
        "email": "mock@example.com",
        "canPay": true,
        "isPro": false,
        "orgs": [{ "type": "org", "id": "0000000000000000000000bb", "name": "mock-org" }],
        "auth": { "type": "access_token", "accessToken": { "displayName": "mock", "role": "fineGrained" } },
    })
}

impl Wire for HuggingFace {
    fn generates(&self, asked: &Asked<'_>) -> bool {
        match Part::of(asked.path) {
            Part::Router => openai::asks_for_text(asked),
            Part::Classic(_) => true,
            Part::Endpoint(_, path) => Tgi.generates(&Asked { path, ..*asked }),
            Part::Management(_) | Part::Whoami | Part::Nothing => false,
        }
    }

    fn while_loading(&self, asked: &Asked<'_>) -> WhileLoading {
        match Part::of(asked.path) {
            Part::Classic(_) if classic::waits(asked) => WhileLoading::Wait,
            Part::Classic(_) | Part::Endpoint(..) => WhileLoading::Refuse,
            Part::Router if openai::asks_for_text(asked) => WhileLoading::Refuse,
            Part::Router | Part::Management(_) | Part::Whoami | Part::Nothing => {
                WhileLoading::Answer
            }
        }
    }

    fn trouble(&self, asked: &Asked<'_>, failed: &Trouble) -> Answer {
        match (Part::of(asked.path), failed) {
            (_, Trouble::BadKey) | (Part::Router, _) => trouble(Dialect::HuggingFace, failed),
            (Part::Classic(id), Trouble::Loading { left }) => {
                let message = format!("Model {id} is currently loading");
                Answer::json(
                    503,
                    &json!({ "error": message, "estimated_time": left.as_secs_f64() }),
                )
            }
            (Part::Endpoint(..), Trouble::Loading { .. }) => endpoints::unavailable(),
            (Part::Endpoint(_, path), _) => Tgi.trouble(&Asked { path, ..*asked }, failed),
            (Part::Classic(_), Trouble::Overloaded) => Answer::json(
                503,
                &json!({ "error": "Service Unavailable", "error_type": "overloaded" }),
            ),
            _ => trouble(Dialect::HuggingFace, failed),
        }
    }

    fn trouble_in_stream(&self, asked: &Asked<'_>, failed: &Trouble) -> Vec<u8> {
        match Part::of(asked.path) {
            Part::Endpoint(_, path) => Tgi.trouble_in_stream(&Asked { path, ..*asked }, failed),
            Part::Classic(_) => Tgi.trouble_in_stream(&Asked { path: "/", ..*asked }, failed),
            _ => {
                let frame = json!({ "error": { "message": "Service Unavailable", "type": "server_error" } });
                crate::mock::exchange::event(&frame)
            }
        }
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move {
            match Part::of(asked.path) {
                Part::Router if openai::route(&asked) != "/completions" => {
                    openai::answer(Dialect::HuggingFace, asked, mock).await
                }
                Part::Classic(id) if asked.method == "POST" => {
                    classic::answer(id, asked, mock).await
                }
                Part::Management(rest) => manage::answer(rest, &asked, mock),
                Part::Endpoint(name, path) => endpoints::answer(name, path, asked, mock).await,
                Part::Whoami if asked.method == "GET" => Answer::json(200, &whoami()),
                _ => error(404, "Not Found"),
            }
        })
    }
}
