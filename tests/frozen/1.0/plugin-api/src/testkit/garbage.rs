//! Holds a backend to what it must do with replies that no server should give.

#![allow(clippy::panic, reason = "a test helper fails by panicking")]

use super::{
    Played, Scripted, Sent, Server, Stage,
    broken::{self, Case, Nature},
    judge, play,
};
use crate::{backend::Backend, request::Request};

/// Exchanges of one conversation whose replies are broken in turn, at most.
const EXCHANGES: usize = 8;

/// How much [`garbage`] tried.
///
/// ```
/// use plugin_api::testkit::Garbage;
/// let tried = Garbage { exchanges: 1, cases: 600, failed: 590, answered: 10 };
/// assert_eq!(tried.failed + tried.answered, tried.cases);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Exchanges of the conversation whose replies were broken, one after the other.
    pub exchanges: usize,
    /// Sessions played.
    pub cases: usize,
    /// Those in which an item failed, as most should.
    pub failed: usize,
    /// Those that were answered all the same.
    pub answered: usize,
}

/// Plays a conversation that goes well, and then again and again with one reply of it broken: cut at each byte, no
/// UTF-8, other types, missing fields, a page, nothing, far too much, the wrong kind of stream, every class of status,
/// no reply at all. Each session has a backend and a server of its own. Requests that the server does not expect then
/// get a 404.
///
/// Each item must come to a proper end: an answer that is the good one's, or made of what the broken reply still says;
/// or a failure that is not `panic`, `protocol`, `crashed` or `cancelled`, and that lets the host try again after a 429
/// or 5xx and not after a 401.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{Generate, Prompt, Request, json};
/// use plugin_api::testkit::{Scripted, Stage, garbage};
///
/// let tried = garbage(
///     || Stage::<Echo>::open(json!({ "base_url": "http://test" })),
///     &[Request::Generate(Generate::new(Prompt::Text("Hello")))],
///     || Scripted::json(&json!({ "text": "Hello" })),
/// );
/// assert!(tried.cases > 200);
/// ```
///
/// # Panics
/// A panic, a session without end, or an answer out of nothing; with what was wrong with the reply.
#[track_caller]
pub fn garbage<B: Backend, S: Server>(
    stage: impl Fn() -> Stage<B>,
    requests: &[Request<'_>],
    server: impl Fn() -> S,
) -> Garbage {
    match every_reply(&stage, requests, &server) {
        Ok(tried) => tried,
        Err(text) => panic!("{text}"),
    }
}

fn every_reply<B: Backend, S: Server>(
    stage: &impl Fn() -> Stage<B>,
    requests: &[Request<'_>],
    server: &impl Fn() -> S,
) -> Result<Garbage, String> {
    let mut listening = Listening { server: server(), heard: Vec::new() };
    let (good, _) = play::whole(&stage(), requests, &mut listening, None)
        .map_err(|fault| format!("before any reply is broken: {fault}"))?;
    for (item, answer) in &good.answers {
        if let Err(error) = answer {
            return Err(format!("before any reply is broken, item {item} fails: {error}"));
        }
    }
    let mut tried = Garbage::default();
    for (nth, (sent, reply)) in listening.heard.iter().enumerate().take(EXCHANGES) {
        tried.exchanges += 1;
        for case in broken::cases(reply, sent.stream) {
            tried.cases += 1;
            let failed = one(&stage(), requests, server(), nth, &case, &good).map_err(|text| {
                format!("the reply to {sent} (request {}): {}: {text}", nth + 1, case.name)
            })?;
            if failed {
                tried.failed += 1;
            } else {
                tried.answered += 1;
            }
        }
    }
    Ok(tried)
}

/// Whether an item failed.
fn one<B: Backend, S: Server>(
    stage: &Stage<B>,
    requests: &[Request<'_>],
    server: S,
    nth: usize,
    case: &Case,
    good: &Played,
) -> Result<bool, String> {
    let mut replacing = Replacing { server, nth, reply: &case.reply, stream: false };
    let (played, _) =
        play::whole(stage, requests, &mut replacing, None).map_err(|fault| fault.to_string())?;
    if played.timed_out {
        return Err("it goes on until the deadline".to_owned());
    }
    // Who then asked otherwise has an answer of other replies, which are good ones.
    let nature = if played.paths() == good.paths() { case.nature } else { Nature::Mutated };
    let omits = stage.omits_empty && nature == Nature::Mutated;
    let nature = if omits { Nature::Emptied } else { nature };
    for (item, found) in &played.answers {
        let Some(Ok(good)) = good.answers.get(item) else {
            continue;
        };
        if let Some(reason) = judge::wrong(nature, replacing.stream, good, found) {
            return Err(format!("{reason}: item {item} ended as {found:?}"));
        }
    }
    Ok(played.answers.values().any(Result::is_err))
}

/// Keeps what a server is asked and answers.
struct Listening<S> {
    server: S,
    heard: Vec<(Sent, Scripted)>,
}

impl<S: Server> Server for Listening<S> {
    fn answer(&mut self, sent: &Sent) -> Option<Scripted> {
        let reply = self.server.answer(sent)?;
        self.heard.push((sent.clone(), reply.clone()));
        Some(reply)
    }

    fn expected(&self) -> String {
        self.server.expected()
    }
}

/// Puts a broken reply in the place of one.
struct Replacing<'a, S> {
    server: S,
    nth: usize,
    reply: &'a Scripted,
    /// Whether the request that got the broken reply was a streamed one.
    stream: bool,
}

impl<S: Server> Server for Replacing<'_, S> {
    fn answer(&mut self, sent: &Sent) -> Option<Scripted> {
        let good = self.server.answer(sent).unwrap_or_else(|| Scripted::new(404, ""));
        if self.nth == 0 {
            self.nth = usize::MAX;
            self.stream = sent.stream;
            return Some(self.reply.clone());
        }
        self.nth -= 1;
        Some(good)
    }
}
