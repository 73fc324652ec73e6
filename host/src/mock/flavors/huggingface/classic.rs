//! Classic serverless text generation: TGI's parameters, options of its own around them, and a list as the reply.

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::error;
use crate::mock::{
    exchange::{Answer, Asked, Body, Wire},
    flavors::{cue, tgi::Tgi},
    server::Mock,
    strict::{self, Misfit},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow)]
    inputs: &'a RawValue,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    stream: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(rename = "use_cache", default)]
    _use_cache: Option<bool>,
    #[serde(default)]
    wait_for_model: Option<bool>,
}

/// Whether the request waits for a model that is loading, by its header or its options.
pub(super) fn waits(asked: &Asked<'_>) -> bool {
    let by_header = asked.header("x-wait-for-model").is_some_and(|value| value == "true");
    by_header
        || strict::read::<Request<'_>>(asked.body)
            .is_ok_and(|request| request.options.wait_for_model == Some(true))
}

/// Answers as TGI does below `/`, where a reply is a list.
pub(super) async fn answer(id: &str, asked: Asked<'_>, mock: &Mock) -> Answer {
    if cue::is_missing(id) {
        return error(404, &format!("Model {id} does not exist"));
    }
    let request = match strict::read::<Request<'_>>(asked.body) {
        Ok(request) => request,
        Err(Misfit::Syntax(message)) => {
            return error(400, &format!("The body is not valid JSON: {message}"));
        }
        Err(misfit) => {
            return refuse(&format!("Error in `{}`: {}", misfit.path(), misfit.message()));
        }
    };
    let mut body = Vec::with_capacity(asked.body.len() + 16);
    body.extend_from_slice(b"{\"inputs\":");
    body.extend_from_slice(request.inputs.get().as_bytes());
    if let Some(parameters) = request.parameters {
        body.extend_from_slice(b",\"parameters\":");
        body.extend_from_slice(parameters.get().as_bytes());
    }
    body.extend_from_slice(if request.stream { b",\"stream\":true}" } else { b"}" });
    let answer = Tgi.answer(Asked { path: "/", body: &body, ..asked }, mock).await;
    in_json(answer)
}

/// What TGI's framework says in plain text, this service says in JSON.
fn in_json(answer: Answer) -> Answer {
    match &answer.body {
        Body::Whole(body) if answer.status >= 400 && !body.starts_with(b"{") => {
            refuse(&String::from_utf8_lossy(body))
        }
        _ => answer,
    }
}

fn refuse(complaint: &str) -> Answer {
    Answer::json(400, &json!({ "error": [complaint], "warnings": [] }))
}
