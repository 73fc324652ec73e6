//! What a server's failures mean, by the rules of the run file and else by status.
//!
//! Pure. It classifies; whether to try again is the host's decision.

use plugin_api::{Error, ErrorKind, HttpRequest, Reply, Result};
use serde_json::Value;
use wire::phrases::{is_markup, is_too_long};

use crate::{
    condition::{Condition, Statuses},
    config::{Kind, RawErrors},
    extract::{Pointer, wrong},
    headers::header_name,
};

/// How failures are known and read.
#[derive(Debug)]
pub struct Failures {
    marker: Pointer,
    message: Vec<Pointer>,
    retry_after_s: Option<Pointer>,
    retry_after_ms: Option<Pointer>,
    retry_after_header: Option<String>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    statuses: Option<Statuses>,
    condition: Option<Condition>,
    kind: ErrorKind,
}

impl Failures {
    /// Compiles the table `error`.
    ///
    /// # Errors
    /// A pointer, a pattern, a status or a header name is none, or a rule fits everything.
    pub fn compile(raw: &RawErrors) -> Result<Self> {
        let optional = |key: &str, text: &Option<String>| {
            text.as_deref().map(|text| Pointer::parse(key, text)).transpose()
        };
        let marker = Pointer::parse("error.pointer", &raw.pointer)?;
        if raw.pointer.is_empty() {
            return Err(wrong("error.pointer", "the whole reply is no sign of a failure"));
        }
        let message = raw.message.0.iter();
        let header = raw.retry_after_header.as_deref();
        let rules = raw.rule.iter().enumerate().map(|(at, rule)| {
            let key = format!("error.rule.{at}");
            let statuses = rule.status.as_ref();
            let statuses =
                statuses.map(|raw| Statuses::parse(&format!("{key}.status"), raw)).transpose()?;
            let condition = Condition::optional(
                &key,
                rule.pointer.as_deref(),
                rule.equals.as_ref(),
                rule.matches.as_deref(),
            )?;
            if statuses.is_none() && condition.is_none() {
                return Err(wrong(
                    &key,
                    "expected `status`, `pointer` or both: it would fit every reply",
                ));
            }
            Ok(Rule { statuses, condition, kind: kind(rule.kind) })
        });
        Ok(Self {
            marker,
            message: message
                .map(|text| Pointer::parse("error.message", text))
                .collect::<Result<_>>()?,
            retry_after_s: optional("error.retry_after_s", &raw.retry_after_s)?,
            retry_after_ms: optional("error.retry_after_ms", &raw.retry_after_ms)?,
            retry_after_header: header
                .map(|name| header_name("error.retry_after_header", name))
                .transpose()?,
            rules: rules.collect::<Result<_>>()?,
        })
    }

    /// Asks for the reply headers that failures are read from.
    pub fn ask<'a>(&'a self, request: HttpRequest<'a>) -> HttpRequest<'a> {
        match &self.retry_after_header {
            Some(name) => request.reply_header(name),
            None => request,
        }
    }

    /// The failure that a reply without success tells. `with_secret`: whether the request had a key.
    pub fn of(&self, reply: &Reply, with_secret: bool) -> Error {
        let mut error = reply.error();
        let value = serde_json::from_slice::<Value>(reply.body()).ok();
        let said = value.as_ref().and_then(|value| self.said(value));
        if let Some(kind) = self.ruled(reply.status, value.as_ref()) {
            error.kind = kind;
        } else if value.is_none() && is_markup(reply.body()) && !says_enough(reply.status) {
            error.kind = ErrorKind::UnexpectedReply;
            error.message = "a page came instead of JSON: is `base_url` the API's?".to_owned();
        } else if error.kind == ErrorKind::InvalidRequest
            && said.as_deref().is_some_and(is_too_long)
        {
            error.kind = ErrorKind::ContextLength;
        }
        match (said, reply.status) {
            (Some(said), _) => error.message = said,
            (None, 401 | 403) if !with_secret => error.message.push_str(
                ": no header names a secret (or it is optional and not set); see `config.headers`",
            ),
            (None, 404) => error.message.push_str(": are `base_url` and `path` right?"),
            _ => {}
        }
        let asked = value.as_ref().and_then(|value| self.wait_in(value));
        let header = self.retry_after_header.as_deref();
        let header = header.and_then(|name| reply.header(name)).and_then(|text| text.parse().ok());
        error.retry_after_ms = asked
            .or_else(|| header.and_then(|seconds: f64| millis(seconds * 1000.0)))
            .or(error.retry_after_ms);
        error
    }

    /// The failure that a reply or an event under a status of success tells, if it does.
    pub fn within(&self, status: u16, value: &Value) -> Option<Error> {
        let ruled = self.ruled(status, Some(value));
        let marked = self.marker.find(value).is_some_and(says_something);
        if ruled.is_none() && !marked {
            return None;
        }
        let said = self.said(value).unwrap_or_else(|| "the reply tells of a failure".to_owned());
        let kind = ruled.unwrap_or_else(|| {
            if is_too_long(&said) { ErrorKind::ContextLength } else { ErrorKind::Other }
        });
        let mut error = Error::new(kind, said).with_excerpt(value.to_string().as_bytes());
        error.retry_after_ms = self.wait_in(value);
        Some(error)
    }

    fn ruled(&self, status: u16, value: Option<&Value>) -> Option<ErrorKind> {
        let fits = |rule: &&Rule| {
            rule.statuses.as_ref().is_none_or(|statuses| statuses.contains(status))
                && rule
                    .condition
                    .as_ref()
                    .is_none_or(|condition| value.is_some_and(|value| condition.holds(value)))
        };
        self.rules.iter().find(fits).map(|rule| rule.kind)
    }

    fn said(&self, value: &Value) -> Option<String> {
        let texts = self.message.iter().filter_map(|pointer| pointer.find(value)?.as_str());
        texts.map(str::trim).find(|text| !text.is_empty()).map(str::to_owned)
    }

    fn wait_in(&self, value: &Value) -> Option<u64> {
        let number = |pointer: &Option<Pointer>| match pointer.as_ref()?.find(value)? {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        number(&self.retry_after_ms)
            .or_else(|| number(&self.retry_after_s).map(|seconds| seconds * 1000.0))
            .and_then(millis)
    }
}

/// A time as the host takes it; none if it is no time.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; negatives are out"
)]
fn millis(ms: f64) -> Option<u64> {
    (ms.is_finite() && ms >= 0.0).then(|| ms.round() as u64)
}

/// Whether what stands at the place of errors is one: some servers always have the key.
fn says_something(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("")
}

/// Statuses that a proxy, or a web framework whose server failed, answers with a page of its own, and that mean the same
/// without it.
const fn says_enough(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 413 | 429 | 500..=599)
}

const fn kind(raw: Kind) -> ErrorKind {
    match raw {
        Kind::RateLimited => ErrorKind::RateLimited,
        Kind::Overloaded => ErrorKind::Overloaded,
        Kind::Loading => ErrorKind::Loading,
        Kind::Timeout => ErrorKind::Timeout,
        Kind::Transport => ErrorKind::Transport,
        Kind::Unauthorized => ErrorKind::Unauthorized,
        Kind::InvalidRequest => ErrorKind::InvalidRequest,
        Kind::ContextLength => ErrorKind::ContextLength,
        Kind::ContentFilter => ErrorKind::ContentFilter,
        Kind::Unsupported => ErrorKind::Unsupported,
        Kind::UnexpectedReply => ErrorKind::UnexpectedReply,
        Kind::Other => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failures(table: Value) -> Failures {
        Failures::compile(&serde_json::from_value(table).unwrap()).unwrap()
    }

    #[test]
    fn without_rules_the_status_decides_and_the_words_refine() {
        use ErrorKind::{
            ContextLength, InvalidRequest, Overloaded, RateLimited, Timeout, Unauthorized,
            UnexpectedReply,
        };
        let failures = failures(json!({}));
        let openai = |message: &str| json!({ "error": { "message": message } }).to_string();
        for (status, body, kind, says) in [
            (400, openai("no such parameter"), InvalidRequest, "no such parameter"),
            (
                400,
                openai("This model's maximum context length is 10 tokens"),
                ContextLength,
                "maximum context",
            ),
            (401, String::new(), Unauthorized, "no header names a secret"),
            (
                404,
                json!({ "error": "model 'm' not found" }).to_string(),
                InvalidRequest,
                "model 'm'",
            ),
            (404, String::new(), InvalidRequest, "`base_url` and `path`"),
            (404, "<html>".to_owned(), UnexpectedReply, "a page came"),
            (408, String::new(), Timeout, "out of time"),
            (429, "<html>".to_owned(), RateLimited, "fewer requests"),
            (500, json!({ "message": "broken" }).to_string(), Overloaded, "broken"),
            (503, "busy".to_owned(), Overloaded, "failed"),
            (302, String::new(), UnexpectedReply, "neither"),
        ] {
            let error = failures.of(&Reply::new(status, &[], body.as_bytes()), false);
            assert_eq!(error.kind, kind, "{status} {body}");
            assert!(error.message.contains(says), "{status} {body}: {error}");
            assert_eq!(error.http_status, Some(status));
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let failures = failures(json!({ "rule": [
            { "status": 429, "pointer": "/error/code", "equals": "insufficient_quota", "kind": "unauthorized" },
            { "status": [503, 529], "kind": "loading" },
            { "status": "4xx", "pointer": "/error/message", "matches": "(?i)safety", "kind": "content_filter" },
            { "pointer": "/busy", "kind": "overloaded" },
        ] }));
        for (status, body, kind) in [
            (429, json!({ "error": { "code": "insufficient_quota" } }), ErrorKind::Unauthorized),
            (429, json!({ "error": { "code": "rate" } }), ErrorKind::RateLimited),
            (503, json!({}), ErrorKind::Loading),
            (529, json!(null), ErrorKind::Loading),
            (400, json!({ "error": { "message": "Safety!" } }), ErrorKind::ContentFilter),
            (400, json!({ "busy": 1 }), ErrorKind::Overloaded),
        ] {
            let error = failures.of(&Reply::new(status, &[], body.to_string().as_bytes()), true);
            assert_eq!(error.kind, kind, "{status} {body}");
        }
        // A rule without a status makes a failure of a success.
        assert_eq!(
            failures.within(200, &json!({ "busy": 1 })).unwrap().kind,
            ErrorKind::Overloaded
        );
        assert!(failures.within(200, &json!({ "busy": null, "text": "a" })).is_none());
        let quota = json!({ "error": { "code": "insufficient_quota" } });
        assert_eq!(failures.within(200, &quota).unwrap().kind, ErrorKind::Other);
    }

    #[test]
    fn an_error_under_success_is_told_from_its_mere_place() {
        let failures = failures(json!({}));
        for nothing in [
            json!({}),
            json!({ "error": null }),
            json!({ "error": "" }),
            json!({ "error": false }),
            json!([1]),
        ] {
            assert!(failures.within(200, &nothing).is_none(), "{nothing}");
        }
        let error = failures.within(200, &json!({ "error": { "message": "prompt is too long" } }));
        assert_eq!(error.unwrap().kind, ErrorKind::ContextLength);
        let error = failures.within(200, &json!({ "error": { "code": 1 } })).unwrap();
        assert_eq!(error.message, "the reply tells of a failure");
        assert_eq!(error.excerpt.as_deref(), Some(r#"{"error":{"code":1}}"#));
    }

    #[test]
    fn the_time_to_wait_is_read_from_body_or_header() {
        let failures = failures(json!({
            "retry_after_s": "/wait", "retry_after_ms": "/wait_ms", "retry_after_header": "X-Wait"
        }));
        let wait = |headers: &[(&str, &str)], body: Value| {
            failures.of(&Reply::new(429, headers, body.to_string().as_bytes()), true).retry_after_ms
        };
        assert_eq!(wait(&[], json!({ "wait": 1.5 })), Some(1500));
        assert_eq!(wait(&[], json!({ "wait": "2", "wait_ms": 30 })), Some(30));
        assert_eq!(wait(&[("x-wait", "3")], json!({ "wait": -1 })), Some(3000));
        assert_eq!(wait(&[("retry-after", "4")], json!({ "wait": "soon" })), Some(4000));
        assert_eq!(wait(&[("x-wait", "x")], json!(null)), None);
    }

    #[test]
    fn a_rule_that_fits_everything_is_refused() {
        let compile = |table: Value| Failures::compile(&serde_json::from_value(table).unwrap());
        for (table, key) in [
            (json!({ "rule": [{ "kind": "other" }] }), "error.rule.0: "),
            (json!({ "rule": [{ "equals": 1, "kind": "other" }] }), "error.rule.0: "),
            (json!({ "rule": [{ "status": 1, "kind": "other" }] }), "error.rule.0.status: "),
            (json!({ "rule": [{ "pointer": "a", "kind": "other" }] }), "error.rule.0.pointer: "),
            (json!({ "pointer": "" }), "error.pointer: "),
            (json!({ "message": "x" }), "error.message: "),
            (json!({ "retry_after_header": "a b" }), "error.retry_after_header: "),
        ] {
            let error = compile(table).unwrap_err();
            assert!(error.message.starts_with(key), "{error}");
        }
    }
}
