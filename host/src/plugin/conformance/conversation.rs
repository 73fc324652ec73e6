//! Holds one session with a plugin, event by event, as the host would, and writes down what the plugin does: what it
//! asks for, what its steps cost, and where it leaves the contract.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use plugin_api::{
    Answer, Error, ErrorKind, Request,
    message::{CallRef, Decimal, Event, ReplyHead, Start, Str, TransportError},
};
use tokio::time::timeout;

use super::{
    replies::{Reply, Whole},
    server::Server,
};
use crate::plugin::{
    action::{HttpCall, Part, Pushed, Value},
    load::Status,
    wake::Registration,
    worker::{client::Worker, session::Session},
};

/// Most steps of a session: a model that computes steps once a token.
const MOST_STEPS: usize = 10_000;
/// Most calls and waits of a session. A plugin that asks more for one answer asks again and again, which is the host's
/// business.
const MOST_CALLS: usize = 40;
/// A streamed reply comes in so many pieces.
const PIECES: usize = 7;
/// Longest time for an outside thread of the plugin to wake its session.
const LONGEST: Duration = Duration::from_secs(60);

/// Who answers requests.
#[derive(Clone, Copy)]
pub(super) enum Answering<'a> {
    /// A server.
    Server(&'a Server),
    /// Always the same reply.
    With(&'a Reply),
}

/// What came of a session.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// One an item.
    pub(super) items: Vec<Option<Result<Answer, Error>>>,
    /// What it asked for.
    pub(super) asked: Vec<Asked>,
    /// CPU time of each step in microseconds, as far as it is told.
    pub(super) steps_us: Vec<Option<u64>>,
    /// Texts that came before the answer.
    pub(super) deltas: usize,
    /// Where it left the contract.
    pub(super) faults: Vec<String>,
    /// Whether the events came to an end before the session did.
    pub(super) is_cut: bool,
}

/// A request as a plugin wants it sent.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, Value)>,
    pub(super) body: Vec<u8>,
}

impl Talk {
    /// Its first failure.
    pub(super) fn error(&self) -> Option<&Error> {
        self.items.iter().flatten().find_map(|item| item.as_ref().err())
    }

    /// Whether every item was answered well.
    pub(super) fn is_answered(&self) -> bool {
        self.items.iter().all(|item| matches!(item, Some(Ok(_))))
    }
}

/// Holds a session to its end, or until it has had so many events.
pub(super) async fn talk(
    worker: &Worker,
    requests: &[Request<'_>],
    answering: Answering<'_>,
    most_events: Option<usize>,
) -> Talk {
    let registration = Registration::enter();
    hold(worker, &registration, requests, answering, most_events).await
}

/// The same under a token that the caller has.
pub(super) async fn talk_under(
    worker: &Worker,
    registration: Registration,
    requests: &[Request<'_>],
    answering: Answering<'_>,
) -> Talk {
    hold(worker, &registration, requests, answering, None).await
}

async fn hold(
    worker: &Worker,
    registration: &Registration,
    requests: &[Request<'_>],
    answering: Answering<'_>,
    most_events: Option<usize>,
) -> Talk {
    let mut talk = Talk { items: requests.iter().map(|_| None).collect(), ..Talk::default() };
    let session = match worker.begin(registration.token()).await {
        Ok(session) => session,
        Err(error) => {
            talk.faults.push(format!("it begins no session: {error}"));
            return talk;
        }
    };
    let mut holding = Holding {
        session,
        talk,
        known: BTreeSet::new(),
        open: BTreeSet::new(),
        due: VecDeque::new(),
        parked: false,
        again: false,
    };
    let mut body = Vec::new();
    let heads = requests.iter().map(|request| request.put(&mut body)).collect();
    let start =
        Start { request_id: "host".into(), attempt: 1, deadline_ms: 60_000, requests: heads };
    let most = most_events.unwrap_or(MOST_STEPS);
    let mut goes_on = most > 0 && holding.step(&Event::Start(start), &body, answering).await;
    while goes_on && !holding.is_over() {
        if holding.talk.steps_us.len() >= most {
            holding.talk.is_cut = true;
            if most_events.is_none() {
                holding.fault(format!("it comes to no end in {MOST_STEPS} steps"));
            }
            break;
        }
        goes_on = holding.next(registration, answering).await;
    }
    holding.talk.is_cut |= most == 0;
    holding.talk
}

struct Holding {
    session: Session,
    talk: Talk,
    /// Every number that a call or wait had.
    known: BTreeSet<u64>,
    /// Those that are not answered to their end.
    open: BTreeSet<u64>,
    due: VecDeque<Due>,
    parked: bool,
    again: bool,
}

/// An event that is to come.
enum Due {
    Reply(u64, Whole),
    Head(u64, Whole),
    Chunk(u64, Vec<u8>),
    End(u64),
    Broken(u64, ErrorKind, String),
    Elapsed(u64),
    Stored(u64),
}

impl Due {
    fn call(&self) -> u64 {
        match self {
            Self::Reply(call, _)
            | Self::Head(call, _)
            | Self::Chunk(call, _)
            | Self::End(call)
            | Self::Broken(call, ..)
            | Self::Elapsed(call)
            | Self::Stored(call) => *call,
        }
    }

    /// Whether nothing more comes of the call.
    fn is_last(&self) -> bool {
        !matches!(self, Self::Head(..) | Self::Chunk(..))
    }
}

impl Holding {
    fn fault(&mut self, fault: String) {
        self.talk.faults.push(fault);
    }

    fn is_over(&self) -> bool {
        self.talk.items.iter().all(Option::is_some)
    }

    /// Gives what is due next. Whether the session can go on.
    async fn next(&mut self, registration: &Registration, answering: Answering<'_>) -> bool {
        while let Some(due) = self.due.pop_front() {
            // What comes of a call that was cancelled is dropped.
            if !self.open.contains(&due.call()) {
                continue;
            }
            if due.is_last() {
                self.open.remove(&due.call());
            }
            return self.give(due, answering).await;
        }
        if std::mem::take(&mut self.again) {
            return self.step(&Event::Resumed {}, &[], answering).await;
        }
        if std::mem::take(&mut self.parked) {
            if timeout(LONGEST, registration.woken()).await.is_err() {
                let limit = humantime::format_duration(LONGEST);
                self.fault(format!("it parks, and is not woken within {limit}"));
                return false;
            }
            return self.step(&Event::Woken {}, &[], answering).await;
        }
        self.fault("a session waits for nothing and has not answered".to_owned());
        false
    }

    async fn give(&mut self, due: Due, answering: Answering<'_>) -> bool {
        match due {
            Due::Reply(call, whole) => {
                let headers = pairs(&whole.headers);
                let head = ReplyHead { call: Decimal(call), status: whole.status, headers };
                self.step(&Event::Reply(head), &whole.body, answering).await
            }
            Due::Head(call, whole) => {
                let headers = pairs(&whole.headers);
                let head = ReplyHead { call: Decimal(call), status: whole.status, headers };
                self.step(&Event::Reply(head), &[], answering).await
            }
            Due::Chunk(call, bytes) => {
                self.step(&Event::Chunk(call_ref(call)), &bytes, answering).await
            }
            Due::End(call) => self.step(&Event::End(call_ref(call)), &[], answering).await,
            Due::Broken(call, kind, message) => {
                let head = TransportError { call: Decimal(call), kind, message: message.into() };
                self.step(&Event::TransportError(head), &[], answering).await
            }
            Due::Elapsed(call) => self.step(&Event::Elapsed(call_ref(call)), &[], answering).await,
            Due::Stored(call) => self.step(&Event::Stored(call_ref(call)), &[], answering).await,
        }
    }

    /// One step, and what follows from it. Whether the session can go on.
    async fn step(&mut self, event: &Event<'_>, body: &[u8], answering: Answering<'_>) -> bool {
        let head = match serde_json::to_vec(event) {
            Ok(head) => head,
            Err(error) => {
                self.fault(error.to_string());
                return false;
            }
        };
        let mut pushed = Vec::new();
        let stepped = self.session.step(&head, body, &mut pushed).await;
        self.talk.steps_us.push(self.session.cpu_us());
        for action in pushed {
            self.act(action, answering).await;
        }
        match stepped {
            Ok(Status::Ok) => self.talk.faults.is_empty(),
            Ok(Status::Failed) => {
                self.fail_rest(&Error::new(ErrorKind::Other, "a step failed without a reason"));
                false
            }
            Ok(Status::Panicked) => {
                let panics = self.talk.error().map(|error| error.message.clone());
                self.fault(format!("it panics: {}", panics.unwrap_or_default()));
                false
            }
            Err(error) => {
                self.fault(error.message);
                false
            }
        }
    }

    async fn act(&mut self, action: Pushed, answering: Answering<'_>) {
        match action {
            Pushed::Http(http) => {
                let call = http.call;
                if self.open(call) {
                    self.asked(http, answering).await;
                }
            }
            Pushed::Wait { call, .. } => {
                if self.open(call) {
                    self.due.push_back(Due::Elapsed(call));
                }
            }
            Pushed::Hold { call, .. } | Pushed::Free { call, .. } => {
                if self.open(call) {
                    self.due.push_back(Due::Stored(call));
                }
            }
            Pushed::Cancel(call) => drop(self.open.remove(&call)),
            Pushed::Delta => self.talk.deltas += 1,
            Pushed::Limits(_) => {}
            Pushed::Park => self.parked = true,
            Pushed::Again => self.again = true,
            Pushed::Done(item, answer) => self.answer(item, Ok(answer)),
            Pushed::Fail(Some(item), error) => self.answer(item, Err(error)),
            Pushed::Fail(None, error) => self.fail_rest(&error),
            Pushed::Breach(breach) => self.fault(breach),
        }
    }

    /// Takes the number of a call down. Whether it may be used.
    fn open(&mut self, call: u64) -> bool {
        if !self.known.insert(call) {
            self.fault(format!("the call number {call} is used twice in a session"));
            return false;
        }
        if self.known.len() > MOST_CALLS {
            self.fault(format!(
                "more than {MOST_CALLS} calls for one answer; a plugin does not ask again, the host does"
            ));
            return false;
        }
        self.open.insert(call)
    }

    async fn asked(&mut self, mut http: HttpCall, answering: Answering<'_>) {
        let call = http.call;
        self.talk.asked.push(Asked {
            method: http.method.clone(),
            url: http.url.clone(),
            headers: http
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), copied(value)))
                .collect(),
            body: http.body.as_slice().to_vec(),
        });
        let stream = http.stream;
        let reply = match answering {
            Answering::With(reply) => reply.clone(),
            Answering::Server(server) => {
                // It is read to its end here, and told in pieces.
                Arc::make_mut(&mut http.head).stream = false;
                server.ask(http).await
            }
        };
        match (reply, stream) {
            (Reply::Whole(whole), false) => self.due.push_back(Due::Reply(call, whole)),
            (Reply::Whole(whole), true) => {
                let body = whole.body.clone();
                self.due.push_back(Due::Head(call, whole));
                self.pieces(call, &body);
                self.due.push_back(Due::End(call));
            }
            (Reply::Half(_), false) => self.broken(call),
            (Reply::Half(whole), true) => {
                let half = whole.body.slice(..whole.body.len() / 2);
                self.due.push_back(Due::Head(call, whole));
                self.pieces(call, &half);
                self.broken(call);
            }
            (Reply::Broken { kind, message }, _) => {
                self.due.push_back(Due::Broken(call, kind, message));
            }
        }
    }

    fn broken(&mut self, call: u64) {
        let message = "the connection was closed before the reply was complete".to_owned();
        self.due.push_back(Due::Broken(call, ErrorKind::Transport, message));
    }

    /// Cuts a body anywhere, within characters, too.
    fn pieces(&mut self, call: u64, body: &[u8]) {
        let size = body.len().div_ceil(PIECES).max(1);
        self.due.extend(body.chunks(size).map(|piece| Due::Chunk(call, piece.to_vec())));
    }

    fn answer(&mut self, item: u32, result: Result<Answer, Error>) {
        match self.talk.items.get_mut(item as usize) {
            Some(slot @ None) => *slot = Some(result),
            Some(Some(_)) => self.fault(format!("the item {item} was answered twice")),
            None => self.fault(format!("the item {item} does not exist")),
        }
    }

    fn fail_rest(&mut self, error: &Error) {
        for slot in self.talk.items.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(Err(error.clone()));
        }
    }
}

fn call_ref(call: u64) -> CallRef {
    CallRef { call: Decimal(call) }
}

fn pairs(headers: &[(String, String)]) -> Vec<(Str<'_>, Str<'_>)> {
    headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

fn copied(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(text.clone()),
        Value::Parts(parts) => Value::Parts(
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => Part::Text(text.clone()),
                    Part::Secret(slot) => Part::Secret(slot.clone()),
                })
                .collect(),
        ),
    }
}
