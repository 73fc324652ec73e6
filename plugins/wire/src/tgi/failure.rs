//! What TGI's refusals mean. Four shapes: JSON with `error` and `error_type` (router/src/server.rs), the
//! framework's plain text for a body it cannot read, an empty 401, and whatever a proxy in front says.
//!
//! Pure. It classifies; whether to try again is the host's decision. Which key a 401 means is the plugin's to
//! say: here no plugin's secrets are known.

use plugin_api::{Error, ErrorKind, Reply, message::Str};
use serde::Deserialize;

use crate::{
    object::Object,
    phrases::{is_markup, is_too_long},
};

/// TGI's own error object, as a body or as an event of a stream.
#[derive(Debug, Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Str<'a>,
    #[serde(borrow, default)]
    error_type: Str<'a>,
}

/// The failure that a reply without success tells.
pub fn of(reply: &Reply) -> Error {
    let mut error = reply.error();
    if let Ok(Object(refusal)) = serde_json::from_slice::<Object<Refusal<'_>>>(reply.body()) {
        let (kind, message) = classify(&refusal.error, &refusal.error_type);
        error.kind = kind.unwrap_or(error.kind);
        error.message = message;
        return error;
    }
    if is_markup(reply.body()) && !says_enough(reply.status) {
        error.kind = ErrorKind::UnexpectedReply;
        error.message = "a page came instead of JSON: is this a TGI server?".to_owned();
        return error;
    }
    if reply.status == 404 {
        error.message = "the server does not know this route: is this a TGI server?".to_owned();
    }
    error
}

/// The failure that a body tells although its status was good.
pub fn in_body(body: &[u8]) -> Option<Error> {
    let Object(refusal): Object<Refusal<'_>> = serde_json::from_slice(body).ok()?;
    Some(named(&refusal.error, &refusal.error_type))
}

/// The failure that an error object inside a stream tells.
pub fn named(text: &str, error_type: &str) -> Error {
    let (kind, message) = classify(text, error_type);
    Error::new(kind.unwrap_or(ErrorKind::Other), message)
}

/// Kind and message of TGI's own error object; no kind if the type is not one that TGI is known for.
fn classify(text: &str, error_type: &str) -> (Option<ErrorKind>, String) {
    let kind = match error_type {
        "validation" if is_too_long(text) => ErrorKind::ContextLength,
        "validation" | "template_error" | "missing_template_variable" | "tool_error" => {
            ErrorKind::InvalidRequest
        }
        "overloaded" => ErrorKind::RateLimited,
        "generation"
        | "incomplete_generation"
        | "incomplete_generation_stream"
        | "stream_serialization_error" => ErrorKind::Overloaded,
        "healthcheck" => ErrorKind::Loading,
        _ => return (loading(text), text.to_owned()),
    };
    (Some(kind), text.to_owned())
}

/// A gateway before the server, while the model is not up.
fn loading(text: &str) -> Option<ErrorKind> {
    text.contains("loading").then_some(ErrorKind::Loading)
}

/// Statuses that a proxy, or a web framework whose server failed, answers with a page of its own, and that mean the same
/// without it.
const fn says_enough(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 413 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_refusal_has_its_kind() {
        use ErrorKind::{
            ContextLength, InvalidRequest, Loading, Overloaded, RateLimited, Timeout, Unauthorized,
            UnexpectedReply,
        };
        let json = |error: &str, kind: &str| {
            serde_json::json!({ "error": error, "error_type": kind }).to_string()
        };
        for (status, body, kind) in [
            (
                422,
                json(
                    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 `inputs` tokens and 100 `max_new_tokens`",
                    "validation",
                ),
                ContextLength,
            ),
            (
                422,
                json(
                    "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
                    "validation",
                ),
                ContextLength,
            ),
            (
                422,
                json("Input validation error: `top_p` must be > 0.0 and < 1.0", "validation"),
                InvalidRequest,
            ),
            (422, json("Template error: no template", "template_error"), InvalidRequest),
            (424, json("Request failed during generation: CUDA", "generation"), Overloaded),
            (429, json("Model is overloaded", "overloaded"), RateLimited),
            (500, json("Incomplete generation", "incomplete_generation"), Overloaded),
            (503, json("unhealthy", "healthcheck"), Loading),
            (503, json("Model acme/m is currently loading", ""), Loading),
            (503, json("something new", "brand_new"), Overloaded),
            (400, "Failed to parse the request body as JSON".into(), InvalidRequest),
            (415, "Expected request with `Content-Type: application/json`".into(), InvalidRequest),
            (
                422,
                "Failed to deserialize the JSON body into the target type".into(),
                InvalidRequest,
            ),
            (413, "length limit exceeded".into(), InvalidRequest),
            (401, String::new(), Unauthorized),
            (404, String::new(), InvalidRequest),
            (400, "<html>nginx</html>".into(), UnexpectedReply),
            (500, " <!DOCTYPE html>".into(), Overloaded),
            (502, "<html>bad gateway</html>".into(), Overloaded),
            (504, "<html>gateway time-out</html>".into(), Timeout),
        ] {
            let error = of(&Reply::new(status, &[], body.as_bytes()));
            assert_eq!(error.kind, kind, "{status} {body}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn the_servers_words_and_its_wait_are_kept() {
        let body = br#"{"error":"Model is overloaded","error_type":"overloaded"}"#;
        let error = of(&Reply::new(429, &[("retry-after", "2")], body));
        assert_eq!(error.message, "Model is overloaded");
        assert_eq!(error.retry_after_ms, Some(2000));
    }
}
