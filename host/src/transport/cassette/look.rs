//! Looks at requests in place of sending them. A mock of this host is asked all the same, so that what a plugin asks
//! because of an answer can be seen, too.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use plugin_api::ErrorKind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::format::{Asked, Content};
use crate::transport::TransportError;

/// The requests that were looked at and not given yet.
#[derive(Debug, Default)]
pub struct Looker(Mutex<Vec<Seen>>);

/// A request as it would be sent, but for secrets: `[redacted:SLOT]` stands in the place of one.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Seen {
    /// The HTTP method.
    pub method: String,
    /// The whole URL; where a mock is, its name stands in place of its address.
    pub url: String,
    /// Headers that the plugin sets, in its order.
    pub headers: Vec<(String, String)>,
    /// The body: what it says as JSON, else as text, else its base64.
    pub body: Value,
    /// Whether a mock was asked.
    pub sent: bool,
}

impl Looker {
    /// What was seen since this was asked last.
    pub fn take(&self) -> Vec<Seen> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn saw(&self, asked: &Asked, sent: bool) {
        let body = match &asked.body {
            Content::Text(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()))
            }
            Content::Base64(text) => Value::from(text.as_str()),
        };
        let seen = Seen {
            method: asked.method.clone(),
            url: format!("{}{}", asked.base_url.as_deref().unwrap_or_default(), asked.url),
            headers: asked.headers.clone(),
            body,
            sent,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    /// What a plugin is told of a request that was not sent.
    pub(super) fn not_sent() -> TransportError {
        TransportError::new(ErrorKind::Other, "the request was shown and not sent")
    }
}
