//! How a backend fails. A plugin says what kind of failure it saw; the host alone decides what is retried.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message::{BadSpan, Fail, Str};

/// A backend's result.
///
/// ```
/// fn positive(n: i64) -> plugin_api::Result<i64> {
///     if n > 0 { Ok(n) } else { Err(plugin_api::Error::unexpected("expected a number above 0")) }
/// }
/// ```
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What kind of failure. An unknown name reads as [`ErrorKind::Other`].
        ///
        /// ```
        /// use plugin_api::ErrorKind;
        ///
        /// assert_eq!(ErrorKind::from("rate_limited"), ErrorKind::RateLimited);
        /// assert_eq!(ErrorKind::Loading.as_str(), "loading");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorKind { $($(#[$doc])* $variant,)* }

        impl ErrorKind {
            /// Every kind, in the order of `CONTRACT.md`.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl From<&str> for ErrorKind {
            fn from(name: &str) -> Self {
                match name { $($name => Self::$variant,)* _ => Self::Other }
            }
        }
    };
}

kinds! {
    /// The server asks for fewer requests.
    RateLimited = "rate_limited",
    /// The server has too much to do, or broke down over it.
    Overloaded = "overloaded",
    /// The model is being loaded.
    Loading = "loading",
    /// No answer in time.
    Timeout = "timeout",
    /// No connection, or it broke.
    Transport = "transport",
    /// The key is missing or wrong, or may not do this.
    Unauthorized = "unauthorized",
    /// The request would have gone where neither run file nor manifest lets it.
    ForbiddenOrigin = "forbidden_origin",
    /// The server will never accept this request.
    InvalidRequest = "invalid_request",
    /// Prompt and answer do not fit the model's context.
    ContextLength = "context_length",
    /// The vendor refused to let this through.
    ContentFilter = "content_filter",
    /// The backend cannot do this.
    Unsupported = "unsupported",
    /// A reply of unknown shape.
    UnexpectedReply = "unexpected_reply",
    /// The host no longer wanted the answer.
    Cancelled = "cancelled",
    /// The plugin panicked.
    Panic = "panic",
    /// The plugin's process died.
    Crashed = "crashed",
    /// The plugin broke the contract.
    Protocol = "protocol",
    /// None of these.
    Other = "other",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Str::deserialize(deserializer).map(|name| Self::from(&*name))
    }
}

/// A failure of one item, or of a whole session.
///
/// ```
/// use plugin_api::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::ContextLength, "9 tokens do not fit into 8")
///     .with_excerpt(b"{\"error\":\"too long\"}");
/// assert_eq!(
///     error.to_string(),
///     "context_length: 9 tokens do not fit into 8; the server said: {\"error\":\"too long\"}"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// What happened, for a person.
    pub message: String,
    /// The status that the server answered with.
    pub http_status: Option<u16>,
    /// How long the server asked to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The server's name for the request.
    pub request_id: Option<String>,
    /// The beginning of what the server said.
    pub excerpt: Option<String>,
}

impl Error {
    /// A failure with a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            http_status: None,
            retry_after_ms: None,
            request_id: None,
            excerpt: None,
        }
    }

    /// The backend cannot do `what`.
    pub fn unsupported(what: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("this backend does not support {what}"))
    }

    /// A reply whose shape is not the one that the vendor documents.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::UnexpectedReply, message)
    }

    /// Adds the beginning of what the server said.
    #[must_use]
    pub fn with_excerpt(mut self, body: &[u8]) -> Self {
        self.excerpt = Some(excerpt(body));
        self
    }

    /// As it travels.
    pub(crate) fn to_fail(&self, item: Option<u32>) -> Fail<'_> {
        Fail {
            item,
            kind: self.kind,
            message: self.message.as_str().into(),
            http_status: self.http_status,
            retry_after_ms: self.retry_after_ms,
            request_id: self.request_id.as_deref().map(Str::from),
            excerpt: self.excerpt.as_deref().map(Str::from),
        }
    }
}

impl From<Fail<'_>> for Error {
    fn from(fail: Fail<'_>) -> Self {
        Self {
            kind: fail.kind,
            message: fail.message.into_owned(),
            http_status: fail.http_status,
            retry_after_ms: fail.retry_after_ms,
            request_id: fail.request_id.map(Str::into_owned),
            excerpt: fail.excerpt.map(Str::into_owned),
        }
    }
}

impl From<BadSpan> for Error {
    fn from(error: BadSpan) -> Self {
        Self::new(ErrorKind::Protocol, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        if let Some(status) = self.http_status {
            write!(f, " (HTTP {status})")?;
        }
        if let Some(excerpt) = self.excerpt.as_deref().filter(|excerpt| !excerpt.is_empty()) {
            write!(f, "; the server said: {excerpt}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Longest excerpt, in bytes of the reply.
const EXCERPT_BYTES: usize = 500;

/// The beginning of a body as one printable line.
fn excerpt(body: &[u8]) -> String {
    let cut = &body[..body.len().min(EXCERPT_BYTES)];
    String::from_utf8_lossy(cut)
        .trim_end_matches('\u{fffd}')
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire_and_unknown_ones_read_as_other() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from(kind.as_str()), *kind);
        }
        assert_eq!(ErrorKind::from("tired"), ErrorKind::Other);
    }

    #[test]
    fn an_excerpt_is_one_printable_line_of_bounded_length() {
        assert_eq!(excerpt(b"a\r\n\tb\x07"), "a   b");
        assert!(excerpt(&"é".repeat(1000).into_bytes()).len() <= EXCERPT_BYTES);
    }
}
