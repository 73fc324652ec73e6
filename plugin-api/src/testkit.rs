//! What an author tests with: a session driven event by event, and the freshness of the schema.

use std::{fmt, fs, path::Path, sync::Arc};

use serde_json::Value;

use crate::{
    backend::Backend,
    error::Error,
    host::Host,
    io::Io,
    message::{Action, Event, OpenHead, ReplyHead, Start, Str},
    request::Request,
    session::{Session, Stepped},
};

/// Opens a backend as the host would, with this configuration and nothing granted.
///
/// # Errors
/// The configuration is not of the backend's type, or the backend refuses it.
pub fn open<B: Backend>(config: Value) -> Result<B, String> {
    let head = OpenHead { config, ..OpenHead::default() };
    open_with(head)
}

/// Opens a backend as the host would, with these grants.
///
/// # Errors
/// As for [`open`].
pub fn open_with<B: Backend>(mut head: OpenHead) -> Result<B, String> {
    let config =
        serde_path_to_error::deserialize(head.config.take()).map_err(|error| error.to_string())?;
    B::open(config, Host::new(None, head)).map_err(|error| error.message)
}

/// One session, driven by hand.
pub struct Driver<B> {
    session: Session<B>,
}

/// One action that a step pushed.
#[derive(Clone, PartialEq, Eq)]
pub struct Pushed {
    head: Vec<u8>,
    /// The action's body.
    pub body: Vec<u8>,
}

impl Pushed {
    /// The action's head.
    ///
    /// # Panics
    /// The head is not an action: a fault of the SDK.
    #[allow(clippy::expect_used, reason = "a test helper fails by panicking")]
    pub fn action(&self) -> Action<'_> {
        serde_json::from_slice(&self.head).expect("the SDK pushes actions")
    }

    /// The head as text.
    pub fn head(&self) -> Str<'_> {
        Str(String::from_utf8_lossy(&self.head))
    }
}

impl fmt::Debug for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} + {:?}", &*self.head(), String::from_utf8_lossy(&self.body))
    }
}

impl<B: Backend> Driver<B> {
    /// A session of `backend`.
    pub fn new(backend: Arc<B>) -> Self {
        Self { session: Session::new(backend, None, 1) }
    }

    /// Gives the start event for these items.
    pub fn start(&mut self, requests: &[Request<'_>]) -> Vec<Pushed> {
        let mut body = Vec::new();
        let requests = requests.iter().map(|request| request.put(&mut body)).collect();
        let start = Start { request_id: "test".into(), attempt: 1, deadline_ms: 60_000, requests };
        self.event(&Event::Start(start), &body)
    }

    /// Gives one event.
    pub fn event(&mut self, event: &Event<'_>, body: &[u8]) -> Vec<Pushed> {
        self.step(event, body).1
    }

    /// Gives a whole reply to a call.
    pub fn reply(&mut self, call: u64, status: u16, body: &[u8]) -> Vec<Pushed> {
        let head = ReplyHead { call: crate::message::Decimal(call), status, headers: Vec::new() };
        self.event(&Event::Reply(head), body)
    }

    /// Gives one event and says how the step went.
    ///
    /// # Panics
    /// The event has no JSON form, which none lacks.
    #[allow(clippy::expect_used, reason = "a test helper fails by panicking")]
    pub fn step(&mut self, event: &Event<'_>, body: &[u8]) -> (Stepped, Vec<Pushed>) {
        let head = serde_json::to_vec(event).expect("events have a JSON form");
        let mut out = Vec::new();
        let stepped = self.session.step(&head, body, &mut out);
        (stepped, out.into_iter().map(|(head, body)| Pushed { head, body }).collect())
    }
}

/// Compares `config.schema.json` in the crate's folder with the schema of the backend's configuration, and
/// writes it anew if the environment variable `UPDATE_SCHEMA` is set. Call it from a test with
/// `env!("CARGO_MANIFEST_DIR")`.
///
/// # Errors
/// The file is missing or stale; the message says how to renew it.
pub fn check_schema<B: Backend>(crate_folder: &str) -> Result<(), String> {
    let path = Path::new(crate_folder).join("config.schema.json");
    let schema = schemars::schema_for!(B::Config);
    let fresh = sorted(schema.to_value());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        return fs::write(&path, format!("{fresh:#}\n"))
            .map_err(|error| format!("{}: {error}", path.display()));
    }
    let found = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    if found.map(sorted).as_ref() == Some(&fresh) {
        return Ok(());
    }
    Err(format!(
        "{} is not the schema of the configuration: run UPDATE_SCHEMA=1 cargo test",
        path.display()
    ))
}

/// Pushes an action as it stands, sensible or not: for plugins that misbehave so that a host can be tested.
pub fn push_raw(io: &Io, head: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) {
    io.push_raw(head.into(), body.into());
}

/// The value with its keys in order, whether or not another crate makes `serde_json` keep them as they came.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.into_iter().map(|(key, item)| (key, sorted(item))).collect()
        }
        scalar => scalar,
    }
}

/// The failure that an action carries, if it is one.
pub fn failure(pushed: &Pushed) -> Option<Error> {
    match pushed.action() {
        Action::Fail(fail) => Some(fail.into()),
        _ => None,
    }
}
