//! Azure OpenAI: the path names the deployment and the query the version of the API, or the v1 form, whose body names
//! the deployment (`wire.md` 4.2). A prompt with the word of [`super::cue::FILTERED_PROMPT`] is a 400.

use hyper::HeaderMap;
use serde_json::json;

use super::{
    hosted::{Dialect, chat, completions, models, tell_allowance, trouble},
    openai,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire},
    pace::Allowance,
    server::Mock,
};

/// The wire.
pub(crate) struct Azure;

fn refuse(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": { "code": code, "message": message } }))
}

fn nothing_here() -> Answer {
    refuse(404, "404", "Resource not found")
}

/// `YYYY-MM-DD`, perhaps `-preview`.
fn is_version(version: &str) -> bool {
    let date = version.strip_suffix("-preview").unwrap_or(version).as_bytes();
    date.len() == 10
        && date.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

async fn answer(asked: Asked<'_>, mock: &Mock) -> Answer {
    let version = asked.query_value("api-version");
    let Some(rest) = asked.path.strip_prefix("/openai/") else {
        return nothing_here();
    };
    if let Some(rest) = rest.strip_prefix("v1/") {
        if !matches!(version, None | Some("preview" | "latest" | "v1")) {
            return refuse(400, "BadRequest", "API version not supported");
        }
        return generate(&asked, None, rest, mock).await;
    }
    if !version.is_some_and(is_version) {
        return nothing_here();
    }
    match rest.strip_prefix("deployments/").and_then(|rest| rest.split_once('/')) {
        Some((deployment, route)) if !deployment.is_empty() => {
            generate(&asked, Some(deployment), route, mock).await
        }
        _ => generate(&asked, None, rest, mock).await,
    }
}

async fn generate(asked: &Asked<'_>, deployment: Option<&str>, route: &str, mock: &Mock) -> Answer {
    // Without a deployment in the path, only the v1 form has anything but models.
    let v1 = asked.path.starts_with("/openai/v1/");
    match route {
        "models" if deployment.is_none() && asked.method == "GET" => models(Dialect::Azure, None),
        "chat/completions" | "completions" if deployment.is_some() || v1 => {
            if let Some(refusal) = openai::unfit(asked) {
                return Dialect::Azure.refuse(&refusal);
            }
            if route == "completions" {
                completions(Dialect::Azure, deployment, asked.body, mock).await
            } else {
                chat(Dialect::Azure, deployment, asked.body, mock).await
            }
        }
        _ => nothing_here(),
    }
}

impl Wire for Azure {
    fn key<'a>(&self, asked: &Asked<'a>) -> Option<&'a str> {
        asked.header("api-key").or_else(|| asked.bearer())
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        openai::asks_for_text(asked)
    }

    fn trouble(&self, _: &Asked<'_>, failed: &Trouble) -> Answer {
        trouble(Dialect::Azure, failed)
    }

    fn tell_allowance(&self, headers: &mut HeaderMap, allowance: &Allowance) {
        tell_allowance(headers, allowance);
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(async move {
            let answer = answer(asked, mock).await;
            answer
                .with("apim-request-id", "00000000-0000-0000-0000-000000000000")
                .with("x-ms-region", "Mock")
        })
    }
}
