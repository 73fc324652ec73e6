//! Drives one session of a plugin to its end: gives events, does what the actions ask.
//!
//! The plugin's code runs only inside a step. Between steps this module owns everything that the session
//! waits for: its calls, its timers, its wakes. Dropping the future of [`drive`] cancels all of them and
//! ends the session.

use std::{future::poll_fn, mem, sync::Arc, task::Poll, time::Duration};

use futures_util::future::BoxFuture;
use plugin_api::{
    Answer, Error, ErrorKind, Request,
    abi::{buffer, recycle},
    message::{CallRef, Decimal, Event, Limits, ReplyHead, Start, Str},
};

use super::{
    action::{HttpCall, Pushed, protocol},
    instance::{Instance, Notes, Session},
    load::Status,
    waiting::Waiting,
    wake::Registration,
};
use crate::{
    stage,
    transport::{self, Body, Response},
};

/// What a session is given.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The host's name for the sample and attempt.
    pub request_id: &'a str,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Time until the caller drops the session; zero if it never does.
    pub deadline: Duration,
    /// The items.
    pub requests: &'a [Request<'a>],
}

/// What a session gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One result an item, in their order.
    pub items: Vec<Result<Answer, Error>>,
    /// How long the last server that answered asked to wait.
    pub retry_after: Option<Duration>,
    /// From the start event to the first text of a stream.
    pub first_delta: Option<Duration>,
    /// What the server last said of its limits.
    pub limits: Option<Limits>,
    /// The longest that a reply which was there waited for those of other sessions: no server's time.
    pub held_up: Duration,
}

/// Something that a session waits for has happened.
enum Happened {
    /// The head of a reply that is streamed.
    Reply(u64, Result<Response, transport::TransportError>),
    /// A whole reply, how long the server asked to wait, and how long the reply waited for others.
    Whole(u64, Result<Whole, transport::TransportError>, Option<Duration>, Duration),
    Chunk(u64, Result<Option<bytes::Bytes>, transport::TransportError>, Body),
    Elapsed(u64),
    Stored(u64, Result<(), String>),
}

/// A reply that was read to its end.
struct Whole {
    status: u16,
    headers: Vec<(String, String)>,
    body: bytes::Bytes,
}

/// Runs a session until every item is answered.
pub async fn drive(instance: &Arc<Instance>, job: Job<'_>) -> Outcome {
    let mut drive = Drive::new(instance, job.requests.len());
    drive.run(job).await;
    drive.outcome()
}

struct Drive<'i> {
    instance: &'i Arc<Instance>,
    registration: Registration,
    /// None while a step runs on another thread, or once the session is over.
    session: Option<Session>,
    waiting: Waiting<'i, Happened>,
    parked: bool,
    again: bool,
    broken: bool,
    pushed: Vec<Pushed>,
    items: Vec<Option<Result<Answer, Error>>>,
    retry_after: Option<Duration>,
    started: tokio::time::Instant,
    first_delta: Option<Duration>,
    limits: Option<Limits>,
    held_up: Duration,
}

impl<'i> Drive<'i> {
    fn new(instance: &'i Arc<Instance>, items: usize) -> Self {
        Self {
            instance,
            registration: Registration::enter(),
            session: None,
            waiting: Waiting::default(),
            parked: false,
            again: false,
            broken: false,
            pushed: Vec::new(),
            items: (0..items).map(|_| None).collect(),
            retry_after: None,
            started: tokio::time::Instant::now(),
            first_delta: None,
            limits: None,
            held_up: Duration::ZERO,
        }
    }

    async fn run(&mut self, job: Job<'_>) {
        match self.instance.begin(self.registration.token()).await {
            Ok(session) => self.session = Some(session),
            Err(error) => return self.fail_rest(&error),
        }
        let mut body = buffer();
        let requests = job.requests.iter().map(|request| request.put(&mut body)).collect();
        let start = Start {
            request_id: job.request_id.into(),
            attempt: job.attempt,
            deadline_ms: u64::try_from(job.deadline.as_millis()).unwrap_or(u64::MAX),
            requests,
        };
        self.step(&Event::Start(start), &body).await;
        recycle(body);
        while !self.finished() {
            if self.again {
                self.turn_for_others().await;
            } else if self.waiting.is_idle() && !self.parked {
                self.fail_rest(&protocol("the session waits for nothing and has not answered"));
            } else {
                self.next().await;
            }
        }
    }

    /// Lets others run, then steps: with what has happened meanwhile, or just so.
    async fn turn_for_others(&mut self) {
        self.again = false;
        tokio::task::yield_now().await;
        let happened = poll_fn(|context| Poll::Ready(self.waiting.poll_next(context))).await;
        match happened {
            Poll::Ready(happened) => {
                // The turn that was asked for is still due.
                self.again = true;
                self.happened(happened).await;
            }
            Poll::Pending => self.step(&Event::Resumed {}, &[]).await,
        }
    }

    /// Waits for whatever comes first.
    async fn next(&mut self) {
        let happened = if let Some(Session::Worker(session)) = &self.session {
            tokio::select! {
                biased;
                () = self.registration.woken(), if self.parked => None,
                happened = self.waiting.next() => Some(happened),
                error = session.dies() => return self.fail_rest(&error),
            }
        } else if self.parked {
            tokio::select! {
                biased;
                () = self.registration.woken() => None,
                happened = self.waiting.next() => Some(happened),
            }
        } else {
            Some(self.waiting.next().await)
        };
        match happened {
            None => {
                self.parked = false;
                self.step(&Event::Woken {}, &[]).await;
            }
            Some(happened) => self.happened(happened).await,
        }
    }

    async fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Elapsed(call) => {
                if self.waiting.close(call) {
                    self.step(&Event::Elapsed(call_ref(call)), &[]).await;
                }
            }
            Happened::Stored(call, Ok(())) => {
                if self.waiting.close(call) {
                    self.step(&Event::Stored(call_ref(call)), &[]).await;
                }
            }
            Happened::Stored(call, Err(message)) => {
                self.failed(call, ErrorKind::Other, &message).await;
            }
            Happened::Reply(call, Ok(response)) => {
                self.asked_to_wait(response.retry_after);
                let Response { status, headers, body, .. } = response;
                self.reply(call, status, &headers, &[]).await;
                if self.waiting.is_open(call) {
                    self.read_chunk(call, body);
                }
            }
            Happened::Whole(call, whole, retry_after, held_up) => {
                self.held_up = self.held_up.max(held_up);
                self.asked_to_wait(retry_after);
                match whole {
                    Ok(Whole { status, headers, body }) => {
                        if self.waiting.close(call) {
                            self.reply(call, status, &headers, &body).await;
                        }
                    }
                    Err(error) => self.broke(call, &error).await,
                }
            }
            Happened::Reply(call, Err(error)) | Happened::Chunk(call, Err(error), _) => {
                self.broke(call, &error).await;
            }
            Happened::Chunk(call, Ok(Some(bytes)), body) => {
                // Read on only once the plugin has taken this: that is the back-pressure.
                self.step(&Event::Chunk(call_ref(call)), &bytes).await;
                if self.waiting.is_open(call) {
                    self.read_chunk(call, body);
                }
            }
            Happened::Chunk(call, Ok(None), _) => {
                if self.waiting.close(call) {
                    self.step(&Event::End(call_ref(call)), &[]).await;
                }
            }
        }
    }

    fn asked_to_wait(&mut self, retry_after: Option<Duration>) {
        self.retry_after = retry_after.or(self.retry_after);
    }

    async fn reply(&mut self, call: u64, status: u16, headers: &[(String, String)], body: &[u8]) {
        let headers =
            headers.iter().map(|(name, value)| (Str::from(&**name), Str::from(&**value))).collect();
        self.step(&Event::Reply(ReplyHead { call: Decimal(call), status, headers }), body).await;
    }

    async fn broke(&mut self, call: u64, error: &transport::TransportError) {
        self.failed(call, error.kind, &error.message).await;
    }

    async fn failed(&mut self, call: u64, kind: ErrorKind, message: &str) {
        if self.waiting.close(call) {
            let event = plugin_api::message::TransportError {
                call: Decimal(call),
                kind,
                message: Str::from(message),
            };
            self.step(&Event::TransportError(event), &[]).await;
        }
    }

    /// One step, and what follows from it.
    async fn step(&mut self, event: &Event<'_>, body: &[u8]) {
        let Some(session) = self.session.take() else { return };
        let mut head = buffer();
        if let Err(error) = event.write(&mut head) {
            return self.fail_rest(&protocol(format!("the event has no JSON form: {error}")));
        }
        let mut pushed = mem::take(&mut self.pushed);
        let (status, session) = match (session, self.instance.pool()) {
            (Session::Here(mut session), None) => {
                let status = session.step(&head, body, &mut pushed);
                recycle(head);
                (status, Session::Here(session))
            }
            (Session::Worker(mut session), _) => {
                let status = session.step(&head, body, &mut pushed).await;
                recycle(head);
                match status {
                    Ok(status) => (status, Session::Worker(session)),
                    Err(error) => return self.fail_rest(&error),
                }
            }
            (Session::Here(mut session), Some(pool)) => {
                let body = body.to_vec();
                let stepped = pool
                    .run(move || {
                        let status = session.step(&head, &body, &mut pushed);
                        (session, pushed, status)
                    })
                    .await;
                let Some((session, now_pushed, status)) = stepped else {
                    return self
                        .fail_rest(&Error::new(ErrorKind::Other, "the plugin's threads are gone"));
                };
                pushed = now_pushed;
                (status, Session::Here(session))
            }
        };
        self.session = Some(session);
        for action in pushed.drain(..) {
            // What follows a breach of the contract is not worth reading, and the first one is the reason.
            if self.broken {
                break;
            }
            self.act(action);
        }
        self.pushed = pushed;
        match status {
            Status::Ok => {}
            Status::Failed => self.fail_rest(&Error::new(
                ErrorKind::Other,
                "the plugin's step failed without a reason",
            )),
            Status::Panicked => {
                self.fail_rest(&Error::new(ErrorKind::Panic, "the plugin panicked"))
            }
        }
    }

    fn act(&mut self, action: Pushed) {
        match action {
            Pushed::Http(call) => self.call(call),
            Pushed::Wait { call, ms } => {
                let wait = async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Happened::Elapsed(call)
                };
                self.open_call(call, Box::pin(wait));
            }
            Pushed::Hold { call, name, note } => {
                self.note(call, move |notes| notes.hold(&name, note));
            }
            Pushed::Free { call, name } => self.note(call, move |notes| notes.free(&name)),
            Pushed::Cancel(call) => {
                self.waiting.close(call);
            }
            Pushed::Delta => {
                let started = self.started;
                self.first_delta.get_or_insert_with(|| started.elapsed());
            }
            Pushed::Limits(limits) => self.limits = Some(limits),
            Pushed::Park => self.parked = true,
            Pushed::Again => self.again = true,
            Pushed::Done(item, answer) => self.answer(item, Ok(answer)),
            Pushed::Fail(Some(item), error) => self.answer(item, Err(error)),
            Pushed::Fail(None, error) => self.fail_rest(&error),
            Pushed::Breach(message) => self.breach(message),
        }
    }

    fn call(&mut self, http: HttpCall) {
        let (instance, call) = (self.instance, http.call);
        if http.stream {
            let send = async move { Happened::Reply(call, instance.send(http).await) };
            return self.open_call(call, Box::pin(send));
        }
        let send = async move {
            let Response { status, headers, body, retry_after } = match instance.send(http).await {
                Ok(response) => response,
                Err(error) => return Happened::Whole(call, Err(error), None, Duration::ZERO),
            };
            let whole = body.whole().await.map(|body| Whole { status, headers, body });
            // What follows is the plugin's reading of the reply.
            let came = tokio::time::Instant::now();
            stage::begin().await;
            Happened::Whole(call, whole, retry_after, came.elapsed())
        };
        self.open_call(call, Box::pin(send));
    }

    /// Writes something down on a thread of its own, since disks block, and tells the plugin when it is done.
    fn note(
        &mut self,
        call: u64,
        write: impl FnOnce(&dyn Notes) -> Result<(), String> + Send + 'static,
    ) {
        let notes = Arc::clone(self.instance.notes());
        let stored = async move {
            let stored = tokio::task::spawn_blocking(move || write(&*notes)).await;
            Happened::Stored(call, stored.unwrap_or_else(|error| Err(error.to_string())))
        };
        self.open_call(call, Box::pin(stored));
    }

    fn open_call(&mut self, call: u64, future: BoxFuture<'i, Happened>) {
        if !self.waiting.open(call, future) {
            self.breach(format!("the call number {call} is still in use"));
        }
    }

    fn read_chunk(&mut self, call: u64, mut body: Body) {
        let read = async move {
            let chunk = body.chunk().await;
            Happened::Chunk(call, chunk, body)
        };
        self.waiting.go_on(call, Box::pin(read));
    }

    fn answer(&mut self, item: u32, result: Result<Answer, Error>) {
        match self.items.get_mut(item as usize) {
            Some(slot @ None) => *slot = Some(result),
            Some(Some(_)) => self.breach(format!("the item {item} was answered twice")),
            None => self.breach(format!("the item {item} does not exist")),
        }
    }

    /// A breach of the contract casts doubt on the whole session, whatever it answered before.
    fn breach(&mut self, message: String) {
        let error = protocol(message);
        for slot in &mut self.items {
            *slot = Some(Err(error.clone()));
        }
        self.broken = true;
        self.session = None;
    }

    fn fail_rest(&mut self, error: &Error) {
        for slot in self.items.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(Err(error.clone()));
        }
    }

    fn finished(&self) -> bool {
        self.items.iter().all(Option::is_some)
    }

    fn outcome(self) -> Outcome {
        let lost = || Err(protocol("the session ended without an answer"));
        Outcome {
            items: self.items.into_iter().map(|item| item.unwrap_or_else(lost)).collect(),
            retry_after: self.retry_after,
            first_delta: self.first_delta,
            limits: self.limits,
            held_up: self.held_up,
        }
    }
}

fn call_ref(call: u64) -> CallRef {
    CallRef { call: Decimal(call) }
}
