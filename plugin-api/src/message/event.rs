//! What the host tells a session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Decimal, RequestHead, Str};
use crate::error::ErrorKind;

/// One event, the argument of a step.
///
/// ```
/// use plugin_api::message::{CallRef, Decimal, Event, ReplyHead, Start, TransportError};
///
/// let call = Decimal(1);
/// let table = [
///     (
///         r#"{"start":{"request_id":"7-1","attempt":1,"deadline_ms":60000,"requests":[]}}"#,
///         Event::Start(Start {
///             request_id: "7-1".into(),
///             attempt: 1,
///             deadline_ms: 60_000,
///             requests: Vec::new(),
///         }),
///     ),
///     (
///         r#"{"reply":{"call":"1","status":429,"headers":[["retry-after","2"]]}}"#,
///         Event::Reply(ReplyHead {
///             call,
///             status: 429,
///             headers: vec![("retry-after".into(), "2".into())],
///         }),
///     ),
///     (r#"{"chunk":{"call":"1"}}"#, Event::Chunk(CallRef { call })),
///     (
///         r#"{"transport_error":{"call":"1","kind":"timeout","message":"30 s"}}"#,
///         Event::TransportError(TransportError {
///             call,
///             kind: plugin_api::ErrorKind::Timeout,
///             message: "30 s".into(),
///         }),
///     ),
/// ];
/// for (json, event) in table {
///     assert_eq!(plugin_api::serde_json::to_string(&event)?, json);
/// }
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event<'a> {
    /// The first event of a session; body: all texts, continuations and images of its requests.
    #[serde(borrow)]
    Start(Start<'a>),
    /// A server answered; body: the whole body of the reply, empty if the call is streamed.
    #[serde(borrow)]
    Reply(ReplyHead<'a>),
    /// More of a streamed reply; body: raw decompressed bytes, cut anywhere.
    Chunk(CallRef),
    /// A streamed reply is complete.
    End(CallRef),
    /// No reply, or only a part of one, came.
    #[serde(borrow)]
    TransportError(TransportError<'a>),
    /// A wait is over.
    Elapsed(CallRef),
    /// What `hold` or `free` asked for is on the disk.
    Stored(CallRef),
    /// An outside thread called `wake`.
    Woken {},
    /// The turn that `again` asked for.
    Resumed {},
}

/// Head of [`Event::Start`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start<'a> {
    /// The host's name for the sample and attempt, for logs and idempotency headers.
    #[serde(borrow, default)]
    pub request_id: Str<'a>,
    /// 1 for the first attempt.
    #[serde(default)]
    pub attempt: u32,
    /// Milliseconds until the host ends the session; 0 if it never does.
    #[serde(default)]
    pub deadline_ms: u64,
    /// The items, numbered from 0.
    #[serde(borrow)]
    pub requests: Vec<RequestHead<'a>>,
}

/// Head of [`Event::Reply`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplyHead<'a> {
    /// The call it answers.
    pub call: Decimal,
    /// HTTP status.
    pub status: u16,
    /// The headers that the manifest or the call asked for, names in lower case, in the server's order.
    #[serde(borrow, default)]
    pub headers: Vec<(Str<'a>, Str<'a>)>,
}

/// Names a call.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CallRef {
    /// The number that the plugin gave it.
    pub call: Decimal,
}

/// Head of [`Event::TransportError`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TransportError<'a> {
    /// The call that failed.
    pub call: Decimal,
    /// `transport`, `timeout`, `forbidden_origin`, `unexpected_reply` or `invalid_request`; `other` for a
    /// `hold` or `free` that cannot be stored.
    pub kind: ErrorKind,
    /// What happened.
    #[serde(borrow, default)]
    pub message: Str<'a>,
}

/// The head that `open` gets.
///
/// ```
/// use plugin_api::{json, message::OpenHead};
///
/// let head = OpenHead {
///     config: json!({ "base_url": "https://api.acme.test" }),
///     secrets: vec!["api_key".to_owned()],
///     ..OpenHead::default()
/// };
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenHead {
    /// The `config` of the backend's table in the run file, with the table's own `base_url` and `model` if the schema
    /// has them.
    pub config: Value,
    /// Slots whose secret the host has; never a value.
    pub secrets: Vec<String>,
    /// Values of the environment variables that the manifest names, as far as they are set.
    pub env: BTreeMap<String, String>,
    /// Paths of the assets that the run file names, checked by the host.
    pub assets: BTreeMap<String, String>,
}
