//! Requests and replies as an author meets them. The host sends the request; this module only describes it.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    abi,
    error::{Error, ErrorKind, Result},
    message::{self, Decimal, HeaderPart, HeaderValue, Http, Str},
};

/// One HTTP request, as the host shall send it.
///
/// ```
/// use std::time::Duration;
/// use plugin_api::{HttpRequest, json};
///
/// let call = HttpRequest::post("https://api.acme.test/complete")
///     .bearer("api_key")
///     .header("x-api-version", "2")
///     .timeout(Duration::from_secs(30))
///     .reply_header("x-region")
///     .json(&json!({ "prompt": "Hello" }))?;
/// assert_eq!(call.body_bytes(), br#"{"prompt":"Hello"}"#);
/// # Ok::<(), plugin_api::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpRequest<'a> {
    method: &'static str,
    url: Cow<'a, str>,
    headers: Vec<(Str<'a>, HeaderValue<'a>)>,
    body: Vec<u8>,
    timeout: Duration,
    reply_headers: Vec<Str<'a>>,
}

impl<'a> HttpRequest<'a> {
    fn new(method: &'static str, url: impl Into<Cow<'a, str>>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::ZERO,
            reply_headers: Vec::new(),
        }
    }

    /// A GET.
    pub fn get(url: impl Into<Cow<'a, str>>) -> Self {
        Self::new("GET", url)
    }

    /// A POST.
    pub fn post(url: impl Into<Cow<'a, str>>) -> Self {
        Self::new("POST", url)
    }

    /// A DELETE.
    pub fn delete(url: impl Into<Cow<'a, str>>) -> Self {
        Self::new("DELETE", url)
    }

    /// Adds a header; the name in lower case.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push((name.into(), HeaderValue::Text(Str(value.into()))));
        self
    }

    /// Adds a header whose value is `prefix` and then the secret of `slot`, which only the host knows.
    ///
    /// ```
    /// use plugin_api::HttpRequest;
    ///
    /// let call = HttpRequest::get("https://api.acme.test/models").secret_header("x-api-key", "", "api_key");
    /// ```
    #[must_use]
    pub fn secret_header(mut self, name: &'a str, prefix: &'a str, slot: &'a str) -> Self {
        let secret = HeaderPart::Secret(slot.into());
        let parts = if prefix.is_empty() {
            vec![secret]
        } else {
            vec![HeaderPart::Text(prefix.into()), secret]
        };
        self.headers.push((name.into(), HeaderValue::Parts(parts)));
        self
    }

    /// Adds `authorization: Bearer <secret of slot>`.
    #[must_use]
    pub fn bearer(self, slot: &'a str) -> Self {
        self.secret_header("authorization", "Bearer ", slot)
    }

    /// Sets the body to `value` as JSON, and the content type with it.
    ///
    /// # Errors
    /// `value` has no JSON form (a map with keys that are not strings, say).
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        self.body = abi::buffer();
        serde_json::to_writer(&mut self.body, value).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, format!("the request has no JSON form: {error}"))
        })?;
        Ok(self.header("content-type", "application/json"))
    }

    /// Sets the body to these bytes.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Bounds this call; the host's own bound holds too.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks for a reply header beside those of the manifest; the name in lower case.
    #[must_use]
    pub fn reply_header(mut self, name: &'a str) -> Self {
        self.reply_headers.push(name.into());
        self
    }

    /// The body, for tests of a backend's encoder.
    pub fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// The URL, for tests of a backend's encoder.
    ///
    /// ```
    /// let call = plugin_api::HttpRequest::get("https://api.acme.test/models");
    /// assert_eq!(call.url(), "https://api.acme.test/models");
    /// ```
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn into_parts(self, call: u64, stream: bool) -> (Http<'a>, Vec<u8>) {
        let head = Http {
            call: Decimal(call),
            method: self.method.into(),
            url: Str(self.url),
            headers: self.headers,
            stream,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            reply_headers: self.reply_headers,
        };
        (head, self.body)
    }
}

/// Status and headers of a reply, and its body unless the call is streamed.
///
/// ```
/// use plugin_api::{ErrorKind, Reply};
///
/// let reply = Reply::new(429, &[("retry-after", "3")], b"slow down");
/// assert!(!reply.is_success());
/// assert_eq!(reply.header("retry-after"), Some("3"));
/// let error = reply.error();
/// assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(3000)));
/// ```
#[derive(Debug, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        abi::recycle(std::mem::take(&mut self.body));
    }
}

/// Headers in one buffer: names and values by turns, each behind its length.
#[derive(Default)]
struct Headers(Vec<u8>);

/// Bytes of a length.
const LENGTH: usize = size_of::<usize>();

impl Headers {
    fn collect<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::new();
        for (name, value) in headers {
            if bytes.capacity() == 0 {
                bytes = abi::buffer();
            }
            for text in [name, value] {
                bytes.extend_from_slice(&text.len().to_ne_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Self(bytes)
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<LENGTH>()?;
            let (text, after) = after.split_at_checked(usize::from_ne_bytes(*length))?;
            rest = after;
            Some(text)
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut texts = self.texts();
        loop {
            let (known, value) = (texts.next()?, texts.next()?);
            if known == name.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.texts().map(|text| std::str::from_utf8(text).unwrap_or_default());
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        abi::recycle(std::mem::take(&mut self.0));
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Reply {
    /// A reply, for tests of a backend's decoder.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self::collect(status, headers.iter().copied(), body)
    }

    pub(crate) fn collect<'a>(
        status: u16,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Self {
        let mut owned = abi::buffer();
        owned.extend_from_slice(body);
        Self { status, headers: Headers::collect(headers), body: owned }
    }

    /// The first header of this name (in lower case), if it came and was asked for.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the body as JSON, borrowing from it.
    ///
    /// # Errors
    /// `unexpected_reply` with what was wrong and the beginning of the body.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        message::read(&self.body).map_err(|error| {
            let mut error =
                Error::unexpected(format!("the reply is not the expected JSON: {error}"))
                    .with_excerpt(&self.body);
            error.http_status = Some(self.status);
            error
        })
    }

    /// The failure that the status alone tells, with the beginning of the body: a base to refine.
    pub fn error(&self) -> Error {
        let (kind, message) = match self.status {
            401 | 403 => (ErrorKind::Unauthorized, "the server refused the key"),
            408 | 504 => (ErrorKind::Timeout, "the server ran out of time"),
            413 => (ErrorKind::InvalidRequest, "the request is too large for the server"),
            429 => (ErrorKind::RateLimited, "the server asks for fewer requests"),
            400..=499 => (ErrorKind::InvalidRequest, "the server does not accept the request"),
            500..=599 => (ErrorKind::Overloaded, "the server failed"),
            _ => (ErrorKind::UnexpectedReply, "the status is neither success nor a known failure"),
        };
        let mut error = Error::new(kind, message).with_excerpt(&self.body);
        error.http_status = Some(self.status);
        error.retry_after_ms = self.retry_after_ms();
        error.request_id = self.header("x-request-id").map(str::to_owned);
        error
    }

    /// How long the server asks to wait: `retry-after-ms`, else `retry-after` in seconds. (A date in
    /// `retry-after` is resolved by the host, which owns the clock.)
    fn retry_after_ms(&self) -> Option<u64> {
        let number = |name: &str| {
            self.header(name)?.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; negatives are out"
        )]
        let millis = |ms: f64| ms.round() as u64;
        number("retry-after-ms")
            .map(millis)
            .or_else(|| number("retry-after").map(|s| millis(s * 1000.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_among_others_and_its_first_value_counts() {
        let headers =
            [("a", "b"), ("b", ""), ("c", "d\0e"), ("d", "1"), ("d", "2"), ("long", "é\u{1}")];
        let reply = Reply::new(200, &headers, b"");
        for (name, value) in [
            ("a", Some("b")),
            ("b", Some("")),
            ("c", Some("d\0e")),
            ("d", Some("1")),
            ("e", None),
            ("long", Some("é\u{1}")),
            ("", None),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
        assert_eq!(reply.headers.iter().collect::<Vec<_>>(), headers);
        assert_eq!(Reply::new(200, &[], b"").header("a"), None);
    }

    #[test]
    fn a_status_tells_the_kind_of_failure() {
        for (status, kind) in [
            (401, ErrorKind::Unauthorized),
            (404, ErrorKind::InvalidRequest),
            (429, ErrorKind::RateLimited),
            (500, ErrorKind::Overloaded),
            (504, ErrorKind::Timeout),
            (304, ErrorKind::UnexpectedReply),
        ] {
            assert_eq!(Reply::new(status, &[], b"").error().kind, kind, "{status}");
        }
    }

    #[test]
    fn milliseconds_win_over_seconds() {
        let wait = |headers: &[(&str, &str)]| Reply::new(429, headers, b"").error().retry_after_ms;
        assert_eq!(wait(&[("retry-after", "7")]), Some(7000));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "250")]), Some(250));
        assert_eq!(wait(&[("retry-after", "-1")]), None);
    }

    #[test]
    fn html_where_json_was_due_is_an_unexpected_reply_with_an_excerpt() {
        let error = Reply::new(200, &[], b"<html>hi").json::<serde_json::Value>().unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnexpectedReply);
        assert_eq!(error.excerpt.as_deref(), Some("<html>hi"));
    }
}
