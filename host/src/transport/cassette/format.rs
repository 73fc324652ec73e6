//! The file of a recording, format 1: JSON lines, of which the first is `recording`. Pure.
//!
//! ```text
//! {"recording":{"format":1,"host_version":"0.1.0"}}
//! {"backend":{"id":"tgi","slots":["api_key"]}}
//! {"exchange":{"seq":0,"backend":"tgi","request":{...},"reply":{...}}}
//! ```
//!
//! Exchanges stand in the order in which they ended; `seq` is the order in which they were asked.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use plugin_api::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::secret::Redactor;

/// Format of the file.
pub(super) const FORMAT: u32 = 1;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first.
    Recording(Header),
    /// A backend was opened.
    Backend(BackendLine),
    /// A request, and what came of it.
    Exchange(Box<Exchange>),
}

/// What the file is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) host_version: String,
}

/// A backend that was opened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BackendLine {
    pub(super) id: String,
    /// Its slots that had a secret; never what it was.
    #[serde(default)]
    pub(super) slots: Vec<String>,
}

/// A request, and what came of it: a reply, an error, or a reply that broke off by an error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exchange {
    pub(super) seq: u64,
    pub(super) backend: String,
    pub(super) request: Asked,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Replied>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Broken>,
}

/// A request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) method: String,
    /// The backend's `base_url`, as the run file has it. Which one is asked may differ when it is replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base_url: Option<String>,
    /// What stands after it; the whole URL if there is no `base_url`.
    pub(super) url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Content::is_empty")]
    pub(super) body: Content,
}

/// A reply.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replied {
    pub(super) status: u16,
    /// Those that manifest or call asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Content::is_empty")]
    pub(super) body: Content,
    /// Bytes of each piece in which a stream came, if it came in more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) chunks: Vec<usize>,
}

/// Why there is no reply, or only a part of one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Broken {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    /// As it stands.
    Text(String),
    /// Of bytes that are no text.
    Base64(String),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Content {
    /// A body without secrets.
    pub(super) fn of(bytes: &[u8], redactor: &Redactor) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(redactor.redact_json(text).into_owned()),
            Err(_) => {
                let text = String::from_utf8_lossy(bytes);
                match redactor.redact(&text) {
                    std::borrow::Cow::Borrowed(_) => Self::Base64(STANDARD.encode(bytes)),
                    // Better a text that is not quite what came than a secret.
                    std::borrow::Cow::Owned(clean) => Self::Text(clean),
                }
            }
        }
    }

    /// The bytes; none if it is not base64 after all.
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).ok(),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) | Self::Base64(text) => text.as_bytes(),
        }
    }

    fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl Asked {
    /// What tells one request of a backend from another. Headers do not: they hold keys, and names of programs.
    pub(super) fn digest(&self, backend: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for part in [backend, &self.method, &self.url] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(self.body.as_bytes());
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_body_comes_back_byte_by_byte_unless_a_secret_is_in_it() {
        let redactor = Redactor::new([("key", &Secret::new("sk-12345".into()))]);
        for body in [&b""[..], b"{\"a\": 1.50}", "ü".as_bytes(), b"\xff\x00\x80"] {
            assert_eq!(Content::of(body, &redactor).bytes().unwrap(), body);
        }
        for body in [&b"{\"a\": \"sk-12345\"}"[..], b"data: sk-12345\n\n", b"\xff sk-12345"] {
            let kept = Content::of(body, &redactor).bytes().unwrap();
            let text = String::from_utf8(kept).unwrap();
            assert!(text.contains("[redacted:key]") && !text.contains("12345"), "{text}");
        }
    }
}
