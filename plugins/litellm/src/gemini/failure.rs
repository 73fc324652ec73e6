//! What Gemini's refusals mean: `{"error":{"code","message","status","details"}}`, as a body, as the only item of an
//! array, or as an event of a stream (wire.md 4.4, 7.1; google.rpc.Code, google.rpc.RetryInfo).
//!
//! Pure. It classifies; whether to try again is the host's decision.

use plugin_api::{Error, ErrorKind, Reply, message::Str};
use serde::Deserialize;
use wire::phrases::{is_markup, is_too_long};

#[derive(Debug, Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Status<'a>,
}

/// `google.rpc.Status`, as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status<'a> {
    code: Option<u16>,
    #[serde(borrow)]
    message: Str<'a>,
    /// The name of the code.
    #[serde(borrow)]
    status: Str<'a>,
    #[serde(borrow)]
    details: Vec<Detail<'a>>,
}

/// Any detail; which fields it has depends on its type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail<'a> {
    /// `RetryInfo`: seconds with an `s` behind them.
    #[serde(rename = "retryDelay", borrow)]
    retry_delay: Option<Str<'a>>,
    /// `ErrorInfo`.
    #[serde(borrow)]
    reason: Option<Str<'a>>,
}

/// The failure that a reply without success tells.
pub fn failure(reply: &Reply) -> Error {
    let mut error = reply.error();
    if let Some(status) = read(reply.body()) {
        error.kind = kind(&status).unwrap_or(error.kind);
        error.retry_after_ms = error.retry_after_ms.or_else(|| retry_after_ms(&status));
        error.message = message(&status, error.kind);
        return error;
    }
    if is_markup(reply.body()) && !says_enough(reply.status) {
        error.kind = ErrorKind::UnexpectedReply;
        error.message =
            "a page came instead of JSON: does this server speak the Gemini API?".to_owned();
        return error;
    }
    if reply.status == 404 {
        error.message =
            "the server does not know this route: does it speak the Gemini API?".to_owned();
    }
    error
}

/// The failure that a body tells although its status was good.
pub(super) fn in_body(body: &[u8]) -> Option<Error> {
    Some(named(&read(body)?).with_excerpt(body))
}

/// The failure that an error object tells without a status line.
pub(super) fn named(status: &Status<'_>) -> Error {
    let by_code = status.code.map(|code| Reply::new(code, &[], b"").error().kind);
    let kind = kind(status).or(by_code).unwrap_or(ErrorKind::Other);
    let mut error = Error::new(kind, message(status, kind));
    error.retry_after_ms = retry_after_ms(status);
    error
}

fn read(body: &[u8]) -> Option<Status<'_>> {
    // The array first: serde takes one for an object's fields in their order.
    if let Ok(refusals) = serde_json::from_slice::<Vec<Refusal<'_>>>(body) {
        return refusals.into_iter().next().map(|refusal| refusal.error);
    }
    serde_json::from_slice::<Refusal<'_>>(body).ok().map(|refusal| refusal.error)
}

/// The kind by the name of the code; none if it is not one of google.rpc.Code.
fn kind(status: &Status<'_>) -> Option<ErrorKind> {
    let text = status.message.to_lowercase();
    let of_the_key = text.contains("api key not valid")
        || text.contains("api key expired")
        || text.contains("api key not found")
        || status.details.iter().any(|detail| {
            detail.reason.as_deref().is_some_and(|reason| reason.starts_with("API_KEY_"))
        });
    Some(match &*status.status {
        _ if of_the_key => ErrorKind::Unauthorized,
        "INVALID_ARGUMENT" if is_too_long(&text) => ErrorKind::ContextLength,
        "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "OUT_OF_RANGE"
        | "NOT_FOUND"
        | "ALREADY_EXISTS"
        | "UNIMPLEMENTED" => ErrorKind::InvalidRequest,
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => ErrorKind::Unauthorized,
        "RESOURCE_EXHAUSTED" => ErrorKind::RateLimited,
        "UNAVAILABLE" | "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "ABORTED" | "CANCELLED" => {
            ErrorKind::Overloaded
        }
        "DEADLINE_EXCEEDED" => ErrorKind::Timeout,
        _ => return None,
    })
}

fn retry_after_ms(status: &Status<'_>) -> Option<u64> {
    let delay = status.details.iter().find_map(|detail| detail.retry_delay.as_deref())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; negatives are out"
    )]
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1000.0).round() as u64)
}

fn message(status: &Status<'_>, kind: ErrorKind) -> String {
    let mut message = if status.message.is_empty() {
        format!("the server says only `{}`", &*status.status)
    } else {
        status.message.to_string()
    };
    if kind == ErrorKind::Unauthorized {
        message.push_str(" (is GOOGLE_API_KEY or GEMINI_API_KEY set, and meant for this server?)");
    }
    message
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
    fn every_code_has_its_kind() {
        use ErrorKind::{
            ContextLength, InvalidRequest, Overloaded, RateLimited, Timeout, Unauthorized,
            UnexpectedReply,
        };
        let json = |code: u16, status: &str, message: &str| {
            json!({ "error": { "code": code, "message": message, "status": status } }).to_string()
        };
        for (status, body, kind) in [
            (400, json(400, "INVALID_ARGUMENT", "Unknown name \"foo\""), InvalidRequest),
            (
                400,
                json(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
                Unauthorized,
            ),
            (
                400,
                json(
                    400,
                    "INVALID_ARGUMENT",
                    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                ),
                ContextLength,
            ),
            (
                400,
                json(400, "FAILED_PRECONDITION", "User location is not supported"),
                InvalidRequest,
            ),
            (401, json(401, "UNAUTHENTICATED", "no"), Unauthorized),
            (403, json(403, "PERMISSION_DENIED", "no"), Unauthorized),
            (404, json(404, "NOT_FOUND", "models/x is not found"), InvalidRequest),
            (409, json(409, "ABORTED", "again"), Overloaded),
            (429, json(429, "RESOURCE_EXHAUSTED", "Quota exceeded"), RateLimited),
            (500, json(500, "INTERNAL", "An internal error has occurred"), Overloaded),
            (503, json(503, "UNAVAILABLE", "The model is overloaded"), Overloaded),
            (504, json(504, "DEADLINE_EXCEEDED", "too slow"), Timeout),
            (503, json(503, "BRAND_NEW", "?"), Overloaded),
            (503, format!("[{}]", json(503, "UNAVAILABLE", "overloaded")), Overloaded),
            (404, "<html>".into(), UnexpectedReply),
            (500, "<html>".into(), Overloaded),
            (502, "<html>".into(), Overloaded),
            (404, String::new(), InvalidRequest),
        ] {
            let error = failure(&Reply::new(status, &[], body.as_bytes()));
            assert_eq!(error.kind, kind, "{status} {body}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn a_wait_in_the_details_is_obeyed_and_a_bad_key_known_by_its_reason() {
        let of = |details: serde_json::Value| {
            let body = json!({ "error": { "code": 400, "message": "m", "status": "INVALID_ARGUMENT",
                                          "details": details } });
            failure(&Reply::new(400, &[], body.to_string().as_bytes()))
        };
        let delay = |delay: &str| {
            of(json!([{ "@type": "type.googleapis.com/google.rpc.Help", "links": [] },
                      { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay }]))
            .retry_after_ms
        };
        assert_eq!(delay("17s"), Some(17_000));
        assert_eq!(delay("0.5s"), Some(500));
        assert_eq!(delay("soon"), None);
        assert_eq!(delay("-1s"), None);
        let error = of(json!([{ "reason": "API_KEY_INVALID" }]));
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        assert!(error.message.contains("GEMINI_API_KEY"));
    }
}
