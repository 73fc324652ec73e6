//! What SGLang's refusals mean (wire.md 3.4): `error` as a text or as an object, a flat object with `message`,
//! the framework's `detail`, an abort inside a success, and whatever a proxy in front says.
//!
//! Pure. It classifies; whether to try again is the host's decision.

use plugin_api::{Error, ErrorKind, Reply};
use serde_json::{Map, Value};
use wire::phrases::{is_markup, is_too_long};

use crate::decode::Finish;

/// What an error says, wherever it stands.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    message: String,
    /// The HTTP status that it stands for.
    code: Option<u16>,
    /// Whether the server holds it for final.
    is_final: bool,
}

/// The failure that a reply without success tells.
pub fn of(reply: &Reply) -> Error {
    let mut error = reply.error();
    if let Some(told) = serde_json::from_slice(reply.body()).ok().as_ref().and_then(read) {
        error.kind = kind_by_words(&told.message).unwrap_or(error.kind);
        error.message = told.message;
    } else if is_markup(reply.body()) && !says_enough(reply.status) {
        error.kind = ErrorKind::UnexpectedReply;
        error.message = "a page came instead of JSON: is this an SGLang server?".to_owned();
        return error;
    }
    match reply.status {
        401 => {
            error.message =
                "the server refused the key: set SGLANG_API_KEY, and secrets = [\"api_key\"] in \
                             the backend's table"
                    .to_owned();
        }
        404 if error.kind == ErrorKind::InvalidRequest => {
            error.message =
                "the server does not know this route: is this an SGLang server, and `base_url` \
                             its root?"
                    .to_owned();
        }
        _ => {}
    }
    error
}

/// The failure that a body tells although its status was good.
pub fn in_body(body: &[u8]) -> Option<Error> {
    let value: Value = serde_json::from_slice(body).ok()?;
    read(&value).map(error)
}

/// The failure that the value of an `error` key tells, under a good status or in a stream.
pub fn told(value: &Value) -> Error {
    match of_error(value) {
        Some(told) => error(told),
        None => {
            Error::unexpected("an error without words").with_excerpt(value.to_string().as_bytes())
        }
    }
}

/// The failure that an aborted generation is, whatever was generated before. An abort without a status is somebody's
/// wish and says nothing against the request.
pub fn aborted(finish: &Finish<'_>) -> Error {
    let words = finish.message.as_deref().unwrap_or("no reason given");
    let kind = kind_by_words(words)
        .or_else(|| finish.status_code.and_then(kind_by_status))
        .unwrap_or(ErrorKind::Overloaded);
    Error::new(kind, format!("the server aborted the request: {words}"))
}

fn error(told: Told) -> Error {
    let kind = kind_by_words(&told.message)
        .or_else(|| told.code.and_then(kind_by_status))
        .unwrap_or(if told.is_final { ErrorKind::InvalidRequest } else { ErrorKind::Other });
    Error::new(kind, told.message)
}

/// An error's words out of any of its shapes; none if the value is no error.
fn read(value: &Value) -> Option<Told> {
    let object = value.as_object()?;
    if let Some(told) = object.get("error").and_then(of_error) {
        return Some(told);
    }
    let flat = object
        .get("message")
        .and_then(Value::as_str)
        .or_else(|| object.get("detail").and_then(Value::as_str));
    if let Some(message) = flat {
        return Some(Told { code: code(object), message: message.to_owned(), is_final: false });
    }
    // The framework's own list of what does not fit its types.
    let detail = object.get("detail").filter(|detail| detail.is_array())?;
    Some(Told { message: detail.to_string(), code: None, is_final: true })
}

fn of_error(value: &Value) -> Option<Told> {
    match value {
        Value::String(message) => Some(Told { message: message.clone(), ..Told::default() }),
        Value::Object(object) => Some(Told {
            message: object.get("message")?.as_str()?.to_owned(),
            code: code(object),
            is_final: object.get("retryable").and_then(Value::as_bool) == Some(false),
        }),
        _ => None,
    }
}

/// The status in `code`, a number or digits.
fn code(object: &Map<String, Value>) -> Option<u16> {
    let code = object.get("code")?;
    match code {
        Value::String(digits) => digits.parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    }
}

/// Kinds that the server tells in words, under several statuses.
fn kind_by_words(text: &str) -> Option<ErrorKind> {
    let any = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    // The scheduler's words, where the tokenizer's check let the prompt pass (managers/utils.py).
    if is_too_long(text) || text.contains("exceeds the maximum allowed length") {
        return Some(ErrorKind::ContextLength);
    }
    if any(&["queue is full", "timeout reached", "by a higher priority request"]) {
        return Some(ErrorKind::Overloaded);
    }
    if text.contains("nput logprobs") && text.contains("not supported") {
        return Some(ErrorKind::Unsupported);
    }
    text.contains("loading").then_some(ErrorKind::Loading)
}

const fn kind_by_status(status: u16) -> Option<ErrorKind> {
    match status {
        401 | 403 => Some(ErrorKind::Unauthorized),
        408 | 504 => Some(ErrorKind::Timeout),
        429 => Some(ErrorKind::RateLimited),
        400..=499 => Some(ErrorKind::InvalidRequest),
        500..=599 => Some(ErrorKind::Overloaded),
        _ => None,
    }
}

/// Statuses that a proxy, or a web framework whose server failed, answers with a page of its own, and that mean the same
/// without it.
const fn says_enough(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 413 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shape_that_is_no_error_is_none() {
        for value in [
            json!({ "text": "a", "meta_info": {} }),
            json!({ "error": null }),
            json!({ "error": 5 }),
            json!({ "error": { "message": 5 } }),
            json!([]),
            json!("error"),
            json!({ "detail": 7 }),
        ] {
            assert_eq!(read(&value), None, "{value}");
        }
    }

    #[test]
    fn the_servers_words_and_its_wait_are_kept() {
        let body = br#"{"object":"error","message":"The request queue is full.","code":503}"#;
        let error = of(&Reply::new(503, &[("retry-after", "2")], body));
        assert_eq!(error.message, "The request queue is full.");
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Overloaded, Some(2000)));
        assert!(of(&Reply::new(401, &[], b"")).message.contains("SGLANG_API_KEY"));
        assert!(of(&Reply::new(404, &[], b"{}")).message.contains("base_url"));
    }
}
