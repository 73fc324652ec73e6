//! What a refusal means. The shapes are OpenAI's own error object and what compatible servers make of it: `error` as
//! a string, an error without a wrapper, FastAPI's `detail`, a list of one (wire.md 3.4, 4.1, 7.1).
//!
//! Pure. It classifies; whether to try again is the host's decision. The header `x-should-retry` says what the server
//! wants of that decision, so it moves a failure into a kind that is, or is not, tried again.

use plugin_api::{Error, ErrorKind, Reply};
use serde_json::Value;

use crate::phrases::{is_markup, is_too_long};

/// An error object, read out of whichever shape it came in.
#[derive(Debug, Default)]
struct Refusal<'a> {
    message: String,
    code: &'a str,
    kind: &'a str,
    /// A code that is a number is an HTTP status.
    status: Option<u16>,
}

/// The failure that a reply without success tells.
pub fn of(reply: &Reply) -> Error {
    let mut error = reply.error();
    let body = serde_json::from_slice::<Value>(reply.body()).ok();
    match body.as_ref().and_then(refusal) {
        Some(refusal) => {
            error.kind = kind_of(&refusal, reply.status, error.kind);
            error.message = refusal.message;
        }
        None if is_markup(reply.body()) && !says_enough(reply.status) => {
            error.kind = ErrorKind::UnexpectedReply;
            error.message =
                "a page came instead of JSON: is base_url right, with its path?".to_owned();
        }
        None => match reply.status {
            402 => {
                error.kind = ErrorKind::Unauthorized;
                error.message = "the account has no credit left".to_owned();
            }
            404 => {
                error.message =
                    "the server does not know this route: is base_url right, with its path?"
                        .to_owned();
            }
            409 => error.kind = ErrorKind::Overloaded,
            _ => {}
        },
    }
    match reply.header("x-should-retry").map(str::trim) {
        Some("true") if !is_tried_again(error.kind) => error.kind = ErrorKind::Overloaded,
        Some("false") if is_tried_again(error.kind) => error.kind = ErrorKind::Other,
        _ => {}
    }
    error
}

/// The failure that a body tells although its status was good, or that an event of a stream tells.
pub fn in_body(body: &[u8]) -> Option<Error> {
    let value: Value = serde_json::from_slice(body).ok()?;
    of_value(&value).map(|error| error.with_excerpt(body))
}

/// As [`in_body`], for a value that is read already.
pub fn of_value(value: &Value) -> Option<Error> {
    let refusal = refusal(value)?;
    let status = refusal.status.unwrap_or(0);
    let kind = kind_of(&refusal, status, of_status(status).unwrap_or(ErrorKind::Other));
    let mut error = Error::new(kind, refusal.message);
    error.http_status = refusal.status;
    Some(error)
}

fn refusal(value: &Value) -> Option<Refusal<'_>> {
    let object = match value {
        Value::Array(list) => return list.first().filter(|one| one.is_object()).and_then(refusal),
        Value::Object(object) => object,
        _ => return None,
    };
    match object.get("error") {
        Some(Value::String(text)) => {
            let kind = object.get("error_type").and_then(Value::as_str).unwrap_or_default();
            let code = object.get("code");
            Some(Refusal {
                message: text.clone(),
                code: code.and_then(Value::as_str).unwrap_or_default(),
                kind,
                status: status(code),
            })
        }
        Some(Value::Object(error)) => {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            let inner = error.get("innererror").and_then(|inner| inner.get("code"));
            let filtered = inner.and_then(Value::as_str) == Some("ResponsibleAIPolicyViolation");
            let message = text("message").map_or_else(
                || Value::Object(error.clone()).to_string(),
                |message| match error.get("metadata").and_then(|more| more.get("raw")) {
                    // A gateway's own words, then those of the server behind it.
                    Some(Value::String(raw)) => format!("{message}: {raw}"),
                    _ => message.to_owned(),
                },
            );
            Some(Refusal {
                message,
                code: if filtered { "content_filter" } else { text("code").unwrap_or_default() },
                kind: text("type").or_else(|| text("status")).unwrap_or_default(),
                status: status(error.get("code")),
            })
        }
        Some(Value::Array(list)) if !list.is_empty() => {
            Some(Refusal { message: Value::Array(list.clone()).to_string(), ..Refusal::default() })
        }
        Some(Value::Null) | None => bare(object),
        Some(other) => Some(Refusal { message: other.to_string(), ..Refusal::default() }),
    }
}

/// An error without a wrapper. Only what says that it is one counts: an answer may have a `message` too.
fn bare(object: &serde_json::Map<String, Value>) -> Option<Refusal<'_>> {
    if object.contains_key("choices") {
        return None;
    }
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let message = match (object.get("detail"), text("message")) {
        (Some(Value::String(detail)), _) => detail.clone(),
        (Some(detail @ (Value::Array(_) | Value::Object(_))), _) => detail.to_string(),
        (_, Some(message)) => message.to_owned(),
        _ => return None,
    };
    Some(Refusal {
        message,
        code: text("code").unwrap_or_default(),
        kind: text("type").unwrap_or_default(),
        status: status(object.get("code")),
    })
}

/// A code that is an HTTP status, as a number or as a text.
fn status(code: Option<&Value>) -> Option<u16> {
    let code = match code? {
        Value::String(text) => text.parse().ok()?,
        number => u16::try_from(number.as_u64()?).ok()?,
    };
    (400..600).contains(&code).then_some(code)
}

fn kind_of(refusal: &Refusal<'_>, status: u16, otherwise: ErrorKind) -> ErrorKind {
    let text = refusal.message.to_lowercase();
    let is = |name: &str| {
        refusal.code.eq_ignore_ascii_case(name) || refusal.kind.eq_ignore_ascii_case(name)
    };
    // What the server cannot do at all for the moment is not the request's fault, whatever it says besides.
    let client = matches!(status, 0 | 400 | 413 | 422);
    if is("context_length_exceeded") || (client && is_too_long(&text)) {
        return ErrorKind::ContextLength;
    }
    if is("content_filter") || is("content_policy_violation") || is("moderation_blocked") {
        return ErrorKind::ContentFilter;
    }
    if is("insufficient_quota")
        || is("exceeded_current_quota_error")
        || is("billing_not_active")
        || is("billing_hard_limit_reached")
        || status == 402
        || (status == 429 && text.contains("exceeded your current quota"))
    {
        // It comes as 429, but no wait helps.
        return ErrorKind::Unauthorized;
    }
    if is("invalid_api_key")
        || is("authentication_error")
        || is("invalid_authentication_error")
        || is("permission_error")
    {
        return ErrorKind::Unauthorized;
    }
    if is("rate_limit_exceeded")
        || is("rate_limit_error")
        || is("rate_limit_reached_error")
        || is("too_many_requests")
    {
        return ErrorKind::RateLimited;
    }
    if status == 503 && text.contains("loading") {
        return ErrorKind::Loading;
    }
    if matches!(status, 409 | 529)
        || is("overloaded_error")
        || is("engine_overloaded_error")
        || (status == 0 && text.contains("overloaded"))
        || is("server_error")
        || is("internal_server_error")
        || is("InternalServerError")
        || is("ServiceUnavailableError")
        || text.contains("the request queue is full")
    {
        return ErrorKind::Overloaded;
    }
    if is("model_not_found")
        || (status == 0
            && (is("invalid_request_error") || is("BadRequestError") || is("NotFoundError")))
    {
        return ErrorKind::InvalidRequest;
    }
    otherwise
}

/// The kind of a status that stands inside a body.
fn of_status(status: u16) -> Option<ErrorKind> {
    (status > 0).then(|| Reply::new(status, &[], b"").error().kind)
}

fn is_tried_again(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Loading
            | ErrorKind::Timeout
            | ErrorKind::Transport
    )
}

/// Statuses that a proxy, or a web framework whose server failed, answers with a page of its own, and that mean the same
/// without it.
const fn says_enough(status: u16) -> bool {
    matches!(status, 401..=403 | 408 | 413 | 429 | 500..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_refusal_has_its_kind() {
        use ErrorKind::{
            ContentFilter, ContextLength, InvalidRequest, Loading, Overloaded, RateLimited,
            Timeout, Unauthorized, UnexpectedReply,
        };
        for (status, body, kind) in [
            // wire.md 4.1.
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                ContextLength,
            ),
            (
                400,
                r#"{"error":{"message":"Unsupported parameter: 'max_tokens'","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
                InvalidRequest,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                Unauthorized,
            ),
            (
                404,
                r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                InvalidRequest,
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached for requests","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
                RateLimited,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                Unauthorized,
            ),
            // Moonshot.
            (
                429,
                r#"{"error":{"message":"Your account is suspended, please check your plan and billing details","type":"exceeded_current_quota_error"}}"#,
                Unauthorized,
            ),
            (
                500,
                r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#,
                Overloaded,
            ),
            (409, r#"{"error":{"message":"conflict","type":"x"}}"#, Overloaded),
            (402, "", Unauthorized),
            // wire.md 4.2.
            (
                400,
                r#"{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400}}"#,
                ContentFilter,
            ),
            (
                400,
                r#"{"error":{"message":"filtered","code":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                ContentFilter,
            ),
            (
                401,
                r#"{"statusCode":401,"message":"Unauthorized. Access token is missing"}"#,
                Unauthorized,
            ),
            // vLLM.
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 2048 tokens. However, you requested 3000","type":"BadRequestError","param":"input_tokens","code":400}}"#,
                ContextLength,
            ),
            (
                404,
                r#"{"error":{"message":"The model `y` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
                InvalidRequest,
            ),
            // wire.md 3.4.
            (
                400,
                r#"{"object":"error","message":"The input (9000 tokens) is longer than the model's context length (8192 tokens).","type":"BadRequest","param":null,"code":400}"#,
                ContextLength,
            ),
            (
                503,
                r#"{"object":"error","message":"The request queue is full.","type":"503","param":null,"code":503}"#,
                Overloaded,
            ),
            (401, r#"{"error":"Unauthorized"}"#, Unauthorized),
            // llama.cpp.
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                Loading,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":5,"n_ctx":4}}"#,
                ContextLength,
            ),
            // FastAPI.
            (
                422,
                r#"{"detail":[{"loc":["body","model"],"msg":"field required","type":"value_error"}]}"#,
                InvalidRequest,
            ),
            (404, r#"{"detail":"Not Found"}"#, InvalidRequest),
            // A list of one.
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#,
                InvalidRequest,
            ),
            // No JSON.
            (404, "", InvalidRequest),
            (400, "<html>nginx</html>", UnexpectedReply),
            (500, "<!doctype html>", Overloaded),
            (502, "<html>bad gateway</html>", Overloaded),
            (504, "<html>gateway time-out</html>", Timeout),
            (529, "", Overloaded),
            (503, "upstream connect error", Overloaded),
            // A server that is full is not a prompt that is too long.
            (503, r#"{"error":{"message":"prompt is too long for the moment"}}"#, Overloaded),
        ] {
            let error = of(&Reply::new(status, &[], body.as_bytes()));
            assert_eq!(error.kind, kind, "{status} {body}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn the_server_may_say_itself_whether_to_try_again() {
        let kind = |status: u16, wish: &str| {
            of(&Reply::new(status, &[("x-should-retry", wish)], b"{\"error\":\"x\"}")).kind
        };
        assert_eq!(kind(400, "true"), ErrorKind::Overloaded);
        assert_eq!(kind(429, "true"), ErrorKind::RateLimited);
        assert_eq!(kind(503, "false"), ErrorKind::Other);
        assert_eq!(kind(400, "false"), ErrorKind::InvalidRequest);
    }

    #[test]
    fn an_error_under_a_good_status_has_its_own_kind() {
        for (body, kind) in [
            (r#"{"error":{"message":"slow down","code":429}}"#, ErrorKind::RateLimited),
            (r#"{"error":{"message":"busy","code":"server_error"}}"#, ErrorKind::Overloaded),
            (
                r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#,
                ErrorKind::InvalidRequest,
            ),
            (
                r#"{"error":{"message":"prompt is too long: 9 tokens > 8 maximum","code":400}}"#,
                ErrorKind::ContextLength,
            ),
            (r#"{"error":"Provider returned error"}"#, ErrorKind::Other),
            (
                r#"{"error":{"code":"404","message":"Resource not found"}}"#,
                ErrorKind::InvalidRequest,
            ),
            (
                r#"{"code":"The service is currently unavailable","error":"The server is currently overloaded."}"#,
                ErrorKind::Overloaded,
            ),
            (
                r#"{"error":{"message":"please try again later","type":"engine_overloaded_error"}}"#,
                ErrorKind::Overloaded,
            ),
            (
                r#"{"error":{"message":"top up","type":"exceeded_current_quota_error"}}"#,
                ErrorKind::Unauthorized,
            ),
            (r#"{"object":"error","message":"no","code":503}"#, ErrorKind::Overloaded),
        ] {
            assert_eq!(in_body(body.as_bytes()).unwrap().kind, kind, "{body}");
        }
        for none in [r#"{"choices":[],"message":"hello"}"#, r#"{"error":null}"#, "[]", "1", "x"] {
            assert!(in_body(none.as_bytes()).is_none(), "{none}");
        }
    }

    #[test]
    fn the_servers_words_and_its_wait_are_kept() {
        let body = br#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"busy upstream"}}}"#;
        let error = of(&Reply::new(429, &[("retry-after", "2"), ("x-request-id", "r1")], body));
        assert_eq!(error.message, "Provider returned error: busy upstream");
        assert_eq!((error.retry_after_ms, error.request_id.as_deref()), (Some(2000), Some("r1")));
    }
}
