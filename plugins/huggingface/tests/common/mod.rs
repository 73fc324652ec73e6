//! A host in small: drives a session to its end against a server that is a function, and keeps what was done in order.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part, and a test fails by panicking"
)]

use std::{collections::VecDeque, sync::Arc};

use huggingface::HuggingFace;
use plugin_api::{
    Answer, Completion, Error, ErrorKind, Generate, Prompt, Request,
    message::{
        Action, CallRef, Decimal, Event, HeaderPart, HeaderValue, OpenHead, ReplyHead,
        TransportError,
    },
    testkit::{Driver, Pushed, failure, open_with},
};
use serde_json::Value;

/// A request that the plugin sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) url: String,
    /// Values as text; a secret is `{slot}`.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection breaks.
    Break,
    /// The process is killed before it learns the answer.
    Kill,
}

pub(crate) fn json(status: u16, body: &Value) -> Does {
    Does::Reply(status, Vec::new(), body.to_string().into_bytes())
}

pub(crate) fn text(status: u16, body: &str) -> Does {
    Does::Reply(status, Vec::new(), body.as_bytes().to_vec())
}

/// How a session went.
#[derive(Debug)]
pub(crate) struct Run {
    /// None if the process was killed.
    pub(crate) result: Option<Result<Answer, Error>>,
    pub(crate) sent: Vec<Sent>,
    /// `METHOD path`, `wait MS`, `hold NAME`, `free NAME`, in order.
    pub(crate) log: Vec<String>,
    pub(crate) deltas: String,
    /// What the host has noted and not freed, the notes of before included.
    pub(crate) held: Vec<plugin_api::Held>,
}

impl Run {
    pub(crate) fn error(self) -> Error {
        match self.result {
            Some(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn completion(self) -> Completion {
        match self.result {
            Some(Ok(Answer::Completion(completion))) => completion,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn answer(self) -> Answer {
        match self.result {
            Some(Ok(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn open(config: &Value, token: bool) -> Arc<HuggingFace> {
    Arc::new(try_open(config, token).unwrap())
}

pub(crate) fn try_open(config: &Value, token: bool) -> Result<HuggingFace, String> {
    let secrets = if token { vec!["hf_token".to_owned()] } else { Vec::new() };
    open_with(OpenHead { config: config.clone(), secrets, ..OpenHead::default() })
}

pub(crate) fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate {
        max_tokens: Some(8),
        temperature: Some(0.0),
        stop: vec!["\n\n".into()],
        ..Generate::new(prompt)
    }
}

/// Drives one session.
pub(crate) fn run(
    plugin: &Arc<HuggingFace>,
    request: Request<'_>,
    server: &mut dyn FnMut(&Sent) -> Does,
) -> Run {
    let mut run = Run {
        result: None,
        sent: Vec::new(),
        log: Vec::new(),
        deltas: String::new(),
        held: match &request {
            Request::Prepare(held) | Request::Release(held) => held.clone(),
            _ => Vec::new(),
        },
    };
    let mut driver = Driver::new(Arc::clone(plugin));
    let mut queue: VecDeque<Pushed> = driver.start(&[request]).into();
    while let Some(pushed) = queue.pop_front() {
        match pushed.action() {
            Action::Http(http) => {
                let sent = Sent {
                    method: http.method.to_string(),
                    url: http.url.to_string(),
                    headers: http.headers.iter().map(|(n, v)| (n.to_string(), shown(v))).collect(),
                    body: serde_json::from_slice(&pushed.body).unwrap_or(Value::Null),
                };
                let path = sent.url.splitn(4, '/').nth(3).unwrap_or_default();
                run.log.push(format!("{} /{path}", sent.method));
                let does = server(&sent);
                run.sent.push(sent);
                match does {
                    Does::Kill => return run,
                    Does::Break => {
                        let event = Event::TransportError(TransportError {
                            call: http.call,
                            kind: ErrorKind::Transport,
                            message: "reset".into(),
                        });
                        queue.extend(driver.event(&event, b""));
                    }
                    Does::Reply(status, headers, body) => {
                        queue.extend(reply(
                            &mut driver,
                            http.call,
                            http.stream,
                            status,
                            &headers,
                            &body,
                        ));
                    }
                }
            }
            Action::Wait(wait) => {
                // A bound on what a drained stream is given, not a wait for a server.
                if wait.ms != 100 {
                    run.log.push(format!("wait {}", wait.ms));
                }
                queue.extend(driver.event(&Event::Elapsed(CallRef { call: wait.call }), b""));
            }
            Action::Hold(hold) => {
                run.log.push(format!("hold {}", &*hold.name));
                let note = serde_json::from_slice(&pushed.body).unwrap();
                run.held.retain(|held| held.name != *hold.name);
                run.held.push(plugin_api::Held { name: hold.name.to_string(), note });
                queue.extend(driver.event(&Event::Stored(CallRef { call: hold.call }), b""));
            }
            Action::Free(free) => {
                run.log.push(format!("free {}", &*free.name));
                run.held.retain(|held| held.name != *free.name);
                queue.extend(driver.event(&Event::Stored(CallRef { call: free.call }), b""));
            }
            Action::Delta(_) => run.deltas.push_str(std::str::from_utf8(&pushed.body).unwrap()),
            Action::Done(done) => {
                run.result = Some(Ok(Answer::resolve(done.answer, &pushed.body).unwrap()))
            }
            Action::Fail(_) => run.result = Some(Err(failure(&pushed).unwrap())),
            Action::Limits(_) | Action::Cancel(_) | Action::Park {} | Action::Again {} => {}
        }
    }
    run
}

fn reply(
    driver: &mut Driver<HuggingFace>,
    call: Decimal,
    stream: bool,
    status: u16,
    headers: &[(&'static str, String)],
    body: &[u8],
) -> Vec<Pushed> {
    let headers = headers.iter().map(|(n, v)| ((*n).into(), v.as_str().into())).collect();
    let head = Event::Reply(ReplyHead { call, status, headers });
    if !stream {
        return driver.event(&head, body);
    }
    let mut pushed = driver.event(&head, b"");
    // Cut where it hurts: in the middle of everything.
    for piece in body.chunks(7) {
        pushed.extend(driver.event(&Event::Chunk(CallRef { call }), piece));
    }
    pushed.extend(driver.event(&Event::End(CallRef { call }), b""));
    pushed
}

fn shown(value: &HeaderValue<'_>) -> String {
    match value {
        HeaderValue::Text(text) => text.to_string(),
        HeaderValue::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                HeaderPart::Text(text) => text.to_string(),
                HeaderPart::Secret(slot) => format!("{{{}}}", &**slot),
            })
            .collect(),
    }
}
