//! OpenAI, with or without `/v1` before the routes; and vLLM's server, for models whose names begin with `vllm-`: those
//! are answered as [`super::vllm`] answers for any. `/tokenize`, `/detokenize`, `/health` and `/version` are vLLM's, too.

use hyper::HeaderMap;
use serde_json::json;

use super::hosted::{
    Dialect, Refusal, chat, completions, detokenize, models, tell_allowance, tokenize, trouble,
};
use crate::mock::{
    exchange::{Answer, Answering, Asked, Trouble, Wire},
    pace::Allowance,
    server::Mock,
};

/// The wire.
pub(crate) struct OpenAi;

/// The route, without the version before it.
pub(super) fn route<'a>(asked: &Asked<'a>) -> &'a str {
    asked.path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(asked.path)
}

/// Whether a route asks for text.
pub(super) fn asks_for_text(asked: &Asked<'_>) -> bool {
    asked.path.ends_with("/completions")
}

/// Why a request cannot be a generation at all: its method or its content type.
pub(super) fn unfit(asked: &Asked<'_>) -> Option<Refusal> {
    if asked.method != "POST" {
        return Some(Refusal::no_route(asked));
    }
    let content_type = asked.header("content-type").unwrap_or("");
    (!asked.is_json()).then(|| Refusal::content_type(content_type))
}

/// What the vendors of this shape have in common: chat, models, completions where there are any.
pub(super) async fn answer(dialect: Dialect, asked: Asked<'_>, mock: &Mock) -> Answer {
    let route = route(&asked);
    match route {
        "/chat/completions" | "/completions" => match unfit(&asked) {
            Some(refusal) => dialect.refuse(&refusal),
            None if route == "/completions" => completions(dialect, None, asked.body, mock).await,
            None => chat(dialect, None, asked.body, mock).await,
        },
        _ if asked.method != "GET" => dialect.refuse(&Refusal::no_route(&asked)),
        "/models" => models(dialect, None),
        _ => match route.strip_prefix("/models/") {
            Some(id) => models(dialect, Some(id)),
            None => dialect.refuse(&Refusal::no_route(&asked)),
        },
    }
}

/// Whether a route wants a key; those that tell how the server is do not.
pub(super) fn guarded(asked: &Asked<'_>) -> bool {
    !matches!(asked.path, "/health" | "/version")
}

/// What [`answer`] has, and what only vLLM's server has beside it.
pub(super) async fn serve(dialect: Dialect, asked: Asked<'_>, mock: &Mock) -> Answer {
    match (asked.method.as_str(), route(&asked)) {
        ("GET", "/health") => Answer::empty(200),
        ("GET", "/version") => Answer::json(200, &json!({ "version": "0.33.0" })),
        ("POST", "/tokenize") => tokenize(asked.body),
        ("POST", "/detokenize") => detokenize(asked.body),
        _ => answer(dialect, asked, mock).await,
    }
}

impl Wire for OpenAi {
    fn guarded(&self, asked: &Asked<'_>) -> bool {
        guarded(asked)
    }

    fn generates(&self, asked: &Asked<'_>) -> bool {
        asks_for_text(asked)
    }

    fn trouble(&self, _: &Asked<'_>, failed: &Trouble) -> Answer {
        trouble(Dialect::OpenAi, failed)
    }

    fn tell_allowance(&self, headers: &mut HeaderMap, allowance: &Allowance) {
        tell_allowance(headers, allowance);
    }

    fn answer<'a>(&'a self, asked: Asked<'a>, mock: &'a Mock) -> Answering<'a> {
        Box::pin(serve(Dialect::OpenAi, asked, mock))
    }
}
