//! Drives an author's future as a state machine: event in, actions out.

use std::{
    future::Future,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    abi::{self, HostRef},
    backend::{Answers, Backend},
    completion::Answer,
    error::{Error, ErrorKind, Result},
    io::Io,
    message::{Action, Event, Start},
    panics::{self, Panic},
    request::{Generate, Loglikelihood, Request},
    shared::{Outgoing, Shared},
    turn::Turn,
    wake::SessionWake,
};

/// How a step went; the status that crosses the boundary.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{Session, Stepped, json, testkit::open};
///
/// let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let (mut session, mut actions) = (Session::new(echo.into(), None, 1), Vec::new());
/// assert_eq!(session.step(b"no JSON", b"", &mut actions), Stepped::Failed);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// As it should.
    Ok,
    /// The event made no sense; a `fail` was pushed.
    Failed,
    /// The author's code panicked; a `fail` was pushed and only `end` may follow.
    Panicked,
}

/// A future in a box, as a session keeps it; fails if the session never came to the author's code.
type BoxFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One session of a backend.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{Session, json, testkit::open};
///
/// let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let (mut session, mut actions) = (Session::new(echo.into(), None, 1), Vec::new());
/// let start = br#"{"start":{"requests":[{"generate":{"prompt":{"text":[0,5]}}}]}}"#;
/// session.step(start, b"Hello", &mut actions);
/// let (head, body) = &actions[0];
/// assert!(head.starts_with(br#"{"http":{"call":"1","method":"POST","#));
/// let body: serde_json::Value = serde_json::from_slice(body).unwrap();
/// assert_eq!(body["text"], "Hello");
/// # Ok::<(), String>(())
/// ```
pub struct Session<B> {
    backend: Arc<B>,
    shared: Arc<Shared>,
    wake: Arc<SessionWake>,
    future: Option<BoxFuture>,
    stage: Stage,
    parked: bool,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next event must be `start`.
    New,
    Started,
    /// The author's code panicked, and its future must not be polled again.
    Panicked,
}

impl<B: Backend> Session<B> {
    /// A session under the host's `token`.
    pub fn new(backend: Arc<B>, host: Option<HostRef>, token: u64) -> Self {
        let wake = SessionWake::new(token, host);
        let shared = Shared::new(host, token, wake.waker());
        Self { backend, shared, wake, future: None, stage: Stage::New, parked: false }
    }

    /// Takes one event and gives the actions that follow from it, JSON head and body each.
    pub fn step(&mut self, head: &[u8], body: &[u8], out: &mut Vec<Outgoing>) -> Stepped {
        let _turn = Turn::of(&self.shared);
        let stepped = match catch_unwind(AssertUnwindSafe(|| self.turn(head, body))) {
            Ok(Ok(())) => Stepped::Ok,
            Ok(Err(error)) => {
                self.shared.push(&Action::Fail(error.to_fail(None)), Vec::new());
                Stepped::Failed
            }
            Err(panic) => {
                let error = Error::new(ErrorKind::Panic, panics::describe(&*panic));
                panics::forget(panic);
                self.stage = Stage::Panicked;
                self.shared.push(&Action::Fail(error.to_fail(None)), Vec::new());
                Stepped::Panicked
            }
        };
        self.shared.drain(out);
        stepped
    }

    fn turn(&mut self, head: &[u8], body: &[u8]) -> Result<()> {
        match self.stage {
            Stage::New => {
                // The first event must be `start`; the future reads it, once, where its requests can borrow.
                self.stage = Stage::Started;
                let io = Io::new(Arc::clone(&self.shared), 0);
                let message = Message::copy(head, body);
                self.future = Some(Box::pin(serve(Arc::clone(&self.backend), io, message)));
                return self.poll();
            }
            Stage::Started => {}
            Stage::Panicked => {
                return Err(Error::new(ErrorKind::Protocol, "a step of a session that panicked"));
            }
        }
        self.wake.begin();
        let event = Event::read(head).map_err(|error| unreadable(&error))?;
        match event {
            Event::Start(_) => {
                return Err(Error::new(ErrorKind::Protocol, "a second start event in one session"));
            }
            Event::Reply(reply) => self.shared.on_reply(&reply, body),
            Event::Chunk(call) => self.shared.on_chunk(call, body),
            Event::End(call) | Event::Elapsed(call) | Event::Stored(call) => {
                self.shared.on_complete(call)
            }
            Event::TransportError(error) => self.shared.on_transport_error(error),
            Event::Woken {} => self.parked = false,
            Event::Resumed {} => {}
        }
        self.poll()
    }

    fn poll(&mut self) -> Result<()> {
        let Some(future) = &mut self.future else {
            return Ok(());
        };
        self.wake.begin();
        if let Poll::Ready(result) =
            future.as_mut().poll(&mut Context::from_waker(self.shared.waker()))
        {
            self.future = None;
            self.wake.end();
            return result;
        }
        // Whoever holds the waker beside this session (here and in `shared`) will wake it from outside.
        // It is asked before `end`, so that a wake that comes in between finds us parked.
        const OWN: usize = 2;
        if !self.parked && Arc::strong_count(&self.wake) > OWN {
            self.parked = true;
            self.shared.push(&Action::Park {}, Vec::new());
        }
        if self.wake.end() {
            self.shared.push(&Action::Again {}, Vec::new());
        }
        Ok(())
    }
}

impl<B> Session<B> {
    /// Drops the author's future. His destructors may panic; the rest of the session must go all the same.
    pub(crate) fn end(&mut self) -> Option<Panic> {
        let _turn = Turn::of(&self.shared);
        let future = self.future.take()?;
        catch_unwind(AssertUnwindSafe(|| drop(future))).err()
    }
}

impl<B> Drop for Session<B> {
    fn drop(&mut self) {
        if let Some(panic) = self.end() {
            panics::forget(panic);
        }
    }
}

/// A start event that outlives its step: the requests borrow from it for as long as the session runs.
struct Message {
    bytes: Vec<u8>,
    head: usize,
}

impl Message {
    fn copy(head: &[u8], body: &[u8]) -> Self {
        let mut bytes = abi::buffer();
        bytes.reserve(head.len() + body.len());
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(body);
        Self { bytes, head: head.len() }
    }

    fn start(&self) -> Result<(Start<'_>, &[u8])> {
        let (head, body) = self.bytes.split_at(self.head);
        match Event::read(head).map_err(|error| unreadable(&error))? {
            Event::Start(start) => Ok((start, body)),
            _ => Err(Error::new(ErrorKind::Protocol, "the first event of a session is not start")),
        }
    }
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, format!("the host's event cannot be read: {error}"))
}

impl Drop for Message {
    fn drop(&mut self) {
        abi::recycle(std::mem::take(&mut self.bytes));
    }
}

/// Fails if the start event cannot be read, or makes no sense.
async fn serve<B: Backend>(backend: Arc<B>, io: Io, message: Message) -> Result<()> {
    let (start, body) = message.start()?;
    io.started(&start);
    let mut requests = start.requests.into_iter().map(|head| Ok(Request::resolve(head, body)?));
    match (requests.next().transpose()?, requests.len()) {
        (None, _) => Err(Error::new(ErrorKind::Protocol, "a start event without a request")),
        (Some(request), 0) => {
            serve_one(&*backend, &io, request).await;
            Ok(())
        }
        (Some(first), _) => {
            let requests = iter::once(Ok(first)).chain(requests).collect::<Result<_>>()?;
            serve_batch(&*backend, &io, requests).await
        }
    }
}

async fn serve_one<B: Backend>(backend: &B, io: &Io, request: Request<'_>) {
    let result = match request {
        Request::Generate(request) => backend.generate(&request, io).await.map(Answer::Completion),
        Request::Loglikelihood(request) => {
            backend.loglikelihood(&request, io).await.map(Answer::Likelihoods)
        }
        Request::Rolling(request) => backend
            .loglikelihood_rolling(&request, io)
            .await
            .map(|one| Answer::Likelihoods(vec![one])),
        Request::Health => backend.health(io).await.map(Answer::Health),
        Request::Prepare(held) => backend.prepare(&held, io).await.map(|()| Answer::Nothing),
        Request::Release(held) => backend.release(&held, io).await.map(|()| Answer::Nothing),
        Request::Describe => backend.describe(io).await.map(Answer::Description),
        Request::Tokenize(text) => backend.tokenize(text, io).await.map(Answer::Tokens),
        Request::Render(messages) => backend.render(&messages, io).await.map(Answer::Rendered),
        Request::Embed(texts) => backend.embed(&texts, io).await.map(Answer::Vectors),
    };
    io.answer(0, result);
}

/// A batch is of one kind: all generations, or all scorings.
async fn serve_batch<B: Backend>(backend: &B, io: &Io, requests: Vec<Request<'_>>) -> Result<()> {
    let mut generate: Vec<Generate<'_>> = Vec::new();
    let mut score: Vec<Loglikelihood<'_>> = Vec::new();
    let items = requests.len();
    for request in requests {
        match request {
            Request::Generate(request) => generate.push(request),
            Request::Loglikelihood(request) => score.push(request),
            _ => {}
        }
    }
    if generate.len() == items {
        let answers = Answers::new(io, Answer::Completion);
        backend.generate_batch(&generate, io, &answers).await;
    } else if score.len() == items {
        let answers = Answers::new(io, Answer::Likelihoods);
        backend.loglikelihood_batch(&score, io, &answers).await;
    } else {
        return Err(Error::new(ErrorKind::Protocol, "a batch of unlike requests"));
    }
    Ok(())
}
