//! What Anthropic's refusals mean: `{"type":"error","error":{"type","message"},"request_id"}`, as a body or as an
//! event of a stream (wire.md 4.3, 7.1).
//!
//! Pure. It classifies; whether to try again is the host's decision.

use plugin_api::{Error, ErrorKind, Reply, message::Str};
use serde::Deserialize;
use wire::phrases::{is_markup, is_too_long};

/// The error object, as a body or as an event.
#[derive(Debug, Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Named<'a>,
    #[serde(borrow, default)]
    request_id: Option<Str<'a>>,
}

/// What went wrong.
#[derive(Debug, Deserialize)]
pub(super) struct Named<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Str<'a>,
    #[serde(borrow, default)]
    message: Str<'a>,
}

/// The failure that a reply without success tells.
pub fn failure(reply: &Reply) -> Error {
    let mut error = reply.error();
    error.request_id = reply.header("request-id").map(str::to_owned).or(error.request_id);
    if reply.status == 402 {
        error.kind = ErrorKind::Unauthorized;
        error.message = "the account has no credit".to_owned();
    }
    if let Ok(refusal) = serde_json::from_slice::<Refusal<'_>>(reply.body()) {
        error.kind = kind(&refusal.error).unwrap_or(error.kind);
        error.message = message(&refusal.error, error.kind);
        error.request_id = error.request_id.or(refusal.request_id.map(Str::into_owned));
        return error;
    }
    if is_markup(reply.body()) && !says_enough(reply.status) {
        error.kind = ErrorKind::UnexpectedReply;
        error.message =
            "a page came instead of JSON: does this server speak the Messages API?".to_owned();
        return error;
    }
    match reply.status {
        401 => error.message.push_str(KEY),
        404 => {
            error.message =
                "the server does not know this route: does it speak the Messages API?".to_owned();
        }
        _ => {}
    }
    error
}

/// The failure that a body tells although its status was good.
pub(super) fn in_body(body: &[u8]) -> Option<Error> {
    let refusal: Refusal<'_> = serde_json::from_slice(body).ok()?;
    let mut error = named(&refusal.error).with_excerpt(body);
    error.request_id = refusal.request_id.map(Str::into_owned);
    Some(error)
}

/// The failure that an error object tells without a status.
pub(super) fn named(refusal: &Named<'_>) -> Error {
    let kind = kind(refusal).unwrap_or(ErrorKind::Other);
    Error::new(kind, message(refusal, kind))
}

/// The kind of an error object; none if its type is not one that the API documents.
fn kind(refusal: &Named<'_>) -> Option<ErrorKind> {
    let text = refusal.message.to_lowercase();
    Some(match &*refusal.kind {
        "invalid_request_error" if is_too_long(&text) => ErrorKind::ContextLength,
        "invalid_request_error" if text.contains("content filtering policy") => {
            ErrorKind::ContentFilter
        }
        "invalid_request_error" if text.contains("credit balance is too low") => {
            ErrorKind::Unauthorized
        }
        "authentication_error" | "permission_error" | "billing_error" => ErrorKind::Unauthorized,
        "invalid_request_error" | "not_found_error" | "request_too_large" => {
            ErrorKind::InvalidRequest
        }
        "rate_limit_error" => ErrorKind::RateLimited,
        "overloaded_error" | "api_error" => ErrorKind::Overloaded,
        "timeout_error" => ErrorKind::Timeout,
        _ => return None,
    })
}

/// Where a key comes from.
const KEY: &str = " (is ANTHROPIC_API_KEY set, and meant for this server?)";

fn message(refusal: &Named<'_>, kind: ErrorKind) -> String {
    let mut message = if refusal.message.is_empty() {
        format!("the server says only `{}`", &*refusal.kind)
    } else {
        refusal.message.to_string()
    };
    if kind == ErrorKind::Unauthorized && &*refusal.kind == "authentication_error" {
        message.push_str(KEY);
    }
    message
}

/// Statuses that a proxy, or a web framework whose server failed, answers with a page of its own, and that mean the same
/// without it.
const fn says_enough(status: u16) -> bool {
    matches!(status, 401 | 402 | 403 | 408 | 413 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_of_refusal_has_its_kind() {
        use ErrorKind::{
            ContentFilter, ContextLength, InvalidRequest, Overloaded, RateLimited, Timeout,
            Unauthorized, UnexpectedReply,
        };
        let json = |kind: &str, message: &str| {
            json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_1" })
                .to_string()
        };
        for (status, body, kind) in [
            (400, json("invalid_request_error", "max_tokens: Field required"), InvalidRequest),
            (
                400,
                json("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
                ContextLength,
            ),
            (
                400,
                json(
                    "invalid_request_error",
                    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
                ),
                ContextLength,
            ),
            (
                400,
                json("invalid_request_error", "Output blocked by content filtering policy"),
                ContentFilter,
            ),
            (
                400,
                json(
                    "invalid_request_error",
                    "Your credit balance is too low to access the Anthropic API.",
                ),
                Unauthorized,
            ),
            (401, json("authentication_error", "invalid x-api-key"), Unauthorized),
            (402, json("billing_error", "no credit"), Unauthorized),
            (402, String::new(), Unauthorized),
            (403, json("permission_error", "not yours"), Unauthorized),
            (404, json("not_found_error", "model: claude-9"), InvalidRequest),
            (413, json("request_too_large", "Request exceeds the maximum size"), InvalidRequest),
            (429, json("rate_limit_error", "slow down"), RateLimited),
            (500, json("api_error", "Internal server error"), Overloaded),
            (504, json("timeout_error", "timed out"), Timeout),
            (529, json("overloaded_error", "Overloaded"), Overloaded),
            (529, "<html>".into(), Overloaded),
            (529, json("brand_new_error", "?"), Overloaded),
            (418, json("brand_new_error", "?"), InvalidRequest),
            (404, "<html>nginx</html>".into(), UnexpectedReply),
            (500, "<html>nginx</html>".into(), Overloaded),
            (502, "<html>bad gateway</html>".into(), Overloaded),
            (404, "nothing here".into(), InvalidRequest),
        ] {
            let error = failure(&Reply::new(status, &[], body.as_bytes()));
            assert_eq!(error.kind, kind, "{status} {body}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn the_servers_words_its_wait_and_its_name_for_the_request_are_kept() {
        let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"},"request_id":"req_b"}"#;
        let error =
            failure(&Reply::new(429, &[("retry-after", "12"), ("request-id", "req_h")], body));
        assert_eq!(error.message, "slow down");
        assert_eq!(error.retry_after_ms, Some(12_000));
        assert_eq!(error.request_id.as_deref(), Some("req_h"));
        assert_eq!(failure(&Reply::new(429, &[], body)).request_id.as_deref(), Some("req_b"));
        assert!(failure(&Reply::new(401, &[], b"")).message.contains("ANTHROPIC_API_KEY"));
    }
}
