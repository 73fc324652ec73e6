//! What host and worker tell each other: the heads of their frames. Events and actions lie in them as they are.

use plugin_api::{
    ErrorKind,
    manifest::AbiFloor,
    message::{Decimal, Str},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::plugin::load::Status;

/// From the host.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToWorker<'a> {
    /// The first; body: the JSON of the manifest.
    Load(Load),
    /// The second; body: the JSON of an `OpenHead`.
    Open {},
    /// A step of a session; body: that of the event.
    #[serde(borrow)]
    Step(Step<'a>),
    /// A session ends.
    End(SessionRef),
    /// The last: all sessions end, and the backend is closed.
    Close {},
}

/// How the library is loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Load {
    /// Where its bytes were read from, for messages.
    pub(super) path: String,
    /// The ABI in its manifest.
    pub(super) abi: Floor,
    /// Whether it may lack the layout check.
    pub(super) allow_unchecked_layout: bool,
    /// Threads for its steps, if it computes.
    pub(super) threads: Option<usize>,
    /// Files that it may read.
    pub(super) assets: Vec<String>,
    /// Whether each step's CPU time is wanted, and how many threads it leaves.
    #[serde(default)]
    pub(super) measure: bool,
    /// The program to become, in place of a library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) script: Option<Box<Program>>,
}

/// How a script is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Program {
    /// Its file.
    pub(super) path: String,
    pub(super) arguments: Vec<String>,
    /// Where it runs; it may read and run what lies there.
    pub(super) folder: String,
    /// What else it may read and run.
    pub(super) belongings: Vec<String>,
}

/// An [`AbiFloor`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Floor {
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// A step of a session.
#[derive(Debug, Deserialize)]
pub(super) struct Step<'a> {
    /// Its token.
    pub(super) session: Decimal,
    /// Whether it begins with this.
    #[serde(default)]
    pub(super) begin: bool,
    /// The head of the event.
    #[serde(borrow, default)]
    pub(super) event: Option<&'a RawValue>,
    /// In its place: how many bytes at the beginning of the body are the head, which need not be JSON.
    #[serde(default)]
    pub(super) head_bytes: usize,
}

/// A session.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SessionRef {
    /// Its token.
    pub(super) session: Decimal,
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromWorker<'a> {
    /// The library is loaded.
    Loaded(Confined),
    /// The backend is open.
    Opened {},
    /// The backend is closed.
    Closed(Closed),
    /// The library does not load, or the backend does not open.
    #[serde(borrow)]
    Failed(Failed<'a>),
    /// What a session did in a step; body: that of the action.
    #[serde(borrow)]
    Did(Did<'a>),
    /// A session is to be woken.
    Wake(SessionRef),
    /// A line for the log.
    #[serde(borrow)]
    Log(Log<'a>),
}

/// What keeps the worker from doing more than it needs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Confined {
    /// The means, by name.
    pub(super) by: Vec<String>,
}

/// What is left of a backend that was closed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Closed {
    /// Threads that were not there before it was opened, if that is measured.
    pub(super) threads: usize,
}

/// Why a worker has no open backend.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failed<'a> {
    /// Whether the plugin panicked.
    pub(super) panicked: bool,
    /// What happened.
    #[serde(borrow)]
    pub(super) message: Str<'a>,
}

/// A part of a step, or its end, or both.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Did<'a> {
    /// The session's token.
    pub(super) session: Decimal,
    /// The head of the action.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'a RawValue>,
    /// In place of an action, if what was pushed is none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) breach: Option<Str<'a>>,
    /// Why the session did not begin.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Refused<'a>>,
    /// How the step went, with the last of its actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stepped: Option<Stepped>,
    /// With it, if that is measured: microseconds of CPU time of the step's thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us: Option<u64>,
}

/// Why a session did not begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused<'a> {
    pub(super) kind: ErrorKind,
    #[serde(borrow)]
    pub(super) message: Str<'a>,
}

/// A [`Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stepped {
    Ok,
    Failed,
    Panicked,
}

/// A line for the log.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Log<'a> {
    /// 1 error to 5 trace.
    pub(super) level: u32,
    #[serde(borrow)]
    pub(super) text: Str<'a>,
}

impl From<AbiFloor> for Floor {
    fn from(AbiFloor { major, minor }: AbiFloor) -> Self {
        Self { major, minor }
    }
}

impl From<Floor> for AbiFloor {
    fn from(Floor { major, minor }: Floor) -> Self {
        Self { major, minor }
    }
}

impl From<Status> for Stepped {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::Ok,
            Status::Failed => Self::Failed,
            Status::Panicked => Self::Panicked,
        }
    }
}

impl From<Stepped> for Status {
    fn from(stepped: Stepped) -> Self {
        match stepped {
            Stepped::Ok => Self::Ok,
            Stepped::Failed => Self::Failed,
            Stepped::Panicked => Self::Panicked,
        }
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::message;

    use super::*;

    #[test]
    fn events_and_actions_lie_in_heads_as_they_are() {
        let head =
            br#"{"step":{"session":"18446744073709551615","begin":true,"event":{"resumed" : {}}}}"#;
        let Ok(ToWorker::Step(step)) = message::read(head) else { panic!("a step") };
        assert_eq!((step.session, step.begin), (Decimal(u64::MAX), true));
        assert_eq!(step.event.map(RawValue::get), Some(r#"{"resumed" : {}}"#));
        let head = br#"{"did":{"session":"3","action":{"park":{}},"stepped":"ok"}}"#;
        let Ok(FromWorker::Did(did)) = message::read(head) else { panic!("what it did") };
        assert_eq!(did.action.map(RawValue::get), Some(r#"{"park":{}}"#));
        assert_eq!((did.session, did.stepped), (Decimal(3), Some(Stepped::Ok)));
    }

    #[test]
    fn what_is_no_message_is_not_read_as_one() {
        for head in [&b"{}"[..], b"", br#"{"did":{}}"#, br#"{"dance":{}}"#, b"\xff"] {
            assert!(message::read::<FromWorker<'_>>(head).is_err());
        }
    }
}
