//! A session driven event by event, for what only a test that does so can see.

use std::{fmt, sync::Arc, time::Duration};

use super::table::Ticket;
use crate::{
    backend::Backend,
    error::Error,
    io::Io,
    message::{Action, Decimal, Event, ReplyHead, Start, Str},
    panics,
    request::Request,
    session::{Session, Stepped},
};

/// One session, driven by hand. [`super::Stage`] does the same by itself.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::testkit::{Driver, completion, open, requests};
/// use plugin_api::{Generate, Prompt, Request, json};
///
/// let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let mut driver = Driver::new(echo.into());
/// let pushed = driver.start(&[Request::Generate(Generate::new(Prompt::Text("Hello")))]);
/// let sent = &requests(&pushed)[0];
/// assert_eq!(sent.url, "http://test/echo");
/// let pushed = driver.reply(sent.call, 200, br#"{"text":"Hello"}"#);
/// assert_eq!(completion(&pushed).choices[0].text, "Hello");
/// driver.end()?;
/// # Ok::<(), String>(())
/// ```
///
/// `reply_json` is short for the same; `event` gives what else may come, at the wrong time, say:
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use plugin_api::testkit::{Driver, completion, open, requests};
/// # use plugin_api::{Generate, Prompt, Request, json};
/// use plugin_api::message::{CallRef, Decimal, Event};
///
/// # let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let mut driver = Driver::new(echo.into());
/// let pushed = driver.start(&[Request::Generate(Generate::new(Prompt::Text("Hello")))]);
/// let call = requests(&pushed)[0].call;
/// assert!(driver.event(&Event::Elapsed(CallRef { call: Decimal(77) }), b"").is_empty());
/// let pushed = driver.reply_json(call, &json!({ "text": "Hello" }));
/// assert_eq!(completion(&pushed).choices[0].text, "Hello");
/// # Ok::<(), String>(())
/// ```
pub struct Driver<B> {
    session: Session<B>,
    pub(super) ticket: Ticket,
    deadline: Duration,
}

/// One action that a step pushed.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use plugin_api::{Request, json, message::Action, testkit::{Driver, open}};
/// # let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let pushed = Driver::new(echo.into()).start(&[Request::Health]);
/// assert!(matches!(pushed[0].action(), Action::Fail(_)));
/// assert!(pushed[0].head().contains("unsupported"));
/// # Ok::<(), String>(())
/// ```
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
    /// The head is not an action: a fault of the SDK, or of [`push_raw`]'s caller.
    #[allow(clippy::expect_used, reason = "a test helper fails by panicking")]
    pub fn action(&self) -> Action<'_> {
        self.read().expect("the SDK pushes actions")
    }

    pub(super) fn read(&self) -> Option<Action<'_>> {
        serde_json::from_slice(&self.head).ok()
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
        let ticket = Ticket::new();
        let session = Session::new(backend, Ticket::host(), ticket.token());
        Self { session, ticket, deadline: Duration::from_secs(60) }
    }

    pub(super) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Gives the start event for these items.
    pub fn start(&mut self, requests: &[Request<'_>]) -> Vec<Pushed> {
        self.begin(requests).1
    }

    pub(super) fn begin(&mut self, requests: &[Request<'_>]) -> (Stepped, Vec<Pushed>) {
        let mut body = Vec::new();
        let requests = requests.iter().map(|request| request.put(&mut body)).collect();
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        let start = Start { request_id: "test".into(), attempt: 1, deadline_ms, requests };
        self.step(&Event::Start(start), &body)
    }

    /// Gives one event.
    pub fn event(&mut self, event: &Event<'_>, body: &[u8]) -> Vec<Pushed> {
        self.step(event, body).1
    }

    /// Gives a whole reply to a call.
    pub fn reply(&mut self, call: u64, status: u16, body: &[u8]) -> Vec<Pushed> {
        let head = ReplyHead { call: Decimal(call), status, headers: Vec::new() };
        self.event(&Event::Reply(head), body)
    }

    /// Gives a whole reply of status 200 to a call.
    pub fn reply_json(&mut self, call: u64, body: &serde_json::Value) -> Vec<Pushed> {
        self.reply(call, 200, body.to_string().as_bytes())
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

    /// Ends the session, as the host does when it is answered, or when its answer is no longer wanted.
    ///
    /// # Errors
    /// A destructor of the backend's panicked; with what it said. The host never learns of it: the SDK forgets it.
    pub fn end(self) -> Result<(), String> {
        self.close().map(drop)
    }

    /// As [`Driver::end`]; tells on what wakes the session has.
    pub(super) fn close(self) -> Result<Ticket, String> {
        let Self { mut session, ticket, .. } = self;
        ticket.end();
        if let Some(panic) = session.end() {
            let text = panics::describe(&*panic);
            panics::forget(panic);
            return Err(text);
        }
        Ok(ticket)
    }
}

/// Pushes an action as it stands, sensible or not: for plugins that misbehave so that a host can be tested.
///
/// ```
/// use plugin_api::{Io, testkit::push_raw};
///
/// fn dance(io: &Io) {
///     push_raw(io, r#"{"dance":{}}"#, "");
/// }
/// ```
pub fn push_raw(io: &Io, head: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) {
    io.push_raw(head.into(), body.into());
}

/// The failure that an action carries, if it is one.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use plugin_api::{ErrorKind, Request, json, testkit::{Driver, failure, open}};
/// # let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let pushed = Driver::new(echo.into()).start(&[Request::Health]);
/// assert_eq!(failure(&pushed[0]).unwrap().kind, ErrorKind::Unsupported);
/// # Ok::<(), String>(())
/// ```
pub fn failure(pushed: &Pushed) -> Option<Error> {
    match pushed.action() {
        Action::Fail(fail) => Some(fail.into()),
        _ => None,
    }
}
