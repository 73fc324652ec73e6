//! What came of a session.

#![allow(clippy::panic, reason = "a test helper fails by panicking")]

use std::{collections::BTreeMap, time::Duration};

use super::{Pushed, Sent};
use crate::{
    completion::{Answer, Completion},
    error::Error,
    message::{Action, Held, Likelihood, Limits},
};

/// What came of a session that was played to its end: what was asked, and what was answered.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{ErrorKind, Generate, Prompt, Request, json};
/// use plugin_api::testkit::{Scripted, Stage};
///
/// let stage = Stage::<Echo>::open(json!({ "base_url": "http://test" }));
/// let hello = || Request::Generate(Generate::new(Prompt::Text("Hello")));
/// let played = stage.ask(hello(), Scripted::json(&json!({ "text": "Hello" })));
/// assert_eq!(played.completion().choices[0].text, "Hello");
/// assert_eq!((played.paths(), played.streamed()), (vec!["/echo"], "")); // it asked once, and passed no text on before
/// assert!(played.result().is_ok());
///
/// let played = stage.ask(hello(), Scripted::new(429, "").header("retry-after", "2"));
/// let error = played.error();
/// assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(2000)));
/// ```
///
/// What is no completion is taken by its kind:
///
/// ```
/// use plugin_api::{Answer, Health, testkit::Played};
///
/// fn is_ready(played: &Played) -> bool {
///     matches!(played.answer(), Answer::Health(Health { ready: true, .. }))
/// }
///
/// fn likeliest(played: &Played) -> Option<f64> {
///     played.likelihoods().iter().filter_map(|one| one.logprob).max_by(f64::total_cmp)
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The answers by item. One is missing only where the session was ended early.
    pub answers: BTreeMap<u32, Result<Answer, Error>>,
    /// The requests in order.
    pub requests: Vec<Sent>,
    /// The text that was passed on as it came, by item.
    pub deltas: BTreeMap<u32, String>,
    /// What was told of the server's limits, in order.
    pub limits: Vec<Limits>,
    /// Each wait that was asked for, in order.
    pub waits: Vec<Duration>,
    /// Calls and waits that were cancelled, in order.
    pub cancelled: Vec<u64>,
    /// Outside resources that are noted and not freed: those that the request brought, and those of the session.
    pub held: Vec<Held>,
    /// Events given, `start` included.
    pub steps: u64,
    /// Time on the clock of the test.
    pub elapsed: Duration,
    /// Whether the deadline ended it.
    pub timed_out: bool,
}

impl Played {
    /// The answer to the only item.
    ///
    /// # Panics
    /// It failed, or there are several.
    #[track_caller]
    pub fn answer(&self) -> &Answer {
        match self.result() {
            Ok(answer) => answer,
            Err(error) => panic!("expected an answer, found a failure: {error}"),
        }
    }

    /// What became of the only item.
    ///
    /// # Errors
    /// The item failed.
    ///
    /// # Panics
    /// There are several items, or it was ended early.
    #[track_caller]
    pub fn result(&self) -> Result<&Answer, &Error> {
        let mut all = self.answers.values();
        match (all.next(), all.next()) {
            (Some(result), None) => result.as_ref(),
            _ => panic!("expected one answer, found {:?}", self.answers),
        }
    }

    /// The failure of the only item.
    ///
    /// # Panics
    /// It was answered, or there are several.
    #[track_caller]
    pub fn error(&self) -> &Error {
        match self.result() {
            Err(error) => error,
            Ok(answer) => panic!("expected a failure, found {answer:?}"),
        }
    }

    /// The completion of the only item.
    ///
    /// # Panics
    /// It failed, or there are several, or it is of another kind.
    #[track_caller]
    pub fn completion(&self) -> &Completion {
        match self.answer() {
            Answer::Completion(completion) => completion,
            other => panic!("expected a completion, found {other:?}"),
        }
    }

    /// The likelihoods of the only item.
    ///
    /// # Panics
    /// It failed, or there are several, or it is of another kind.
    #[track_caller]
    pub fn likelihoods(&self) -> &[Likelihood] {
        match self.answer() {
            Answer::Likelihoods(likelihoods) => likelihoods,
            other => panic!("expected likelihoods, found {other:?}"),
        }
    }

    /// The text that was passed on of the first item.
    pub fn streamed(&self) -> &str {
        self.deltas.get(&0).map_or("", String::as_str)
    }

    /// The path of each request in order, as [`Sent::path`] gives it.
    pub fn paths(&self) -> Vec<&str> {
        self.requests.iter().map(Sent::path).collect()
    }
}

/// The requests among actions that [`super::Driver`] gave.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use plugin_api::{Generate, Prompt, Request, json, testkit::{Driver, open, requests}};
/// # let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let hello = Request::Generate(Generate::new(Prompt::Text("Hello")));
/// let pushed = Driver::new(echo.into()).start(&[hello]);
/// assert_eq!(requests(&pushed)[0].path(), "/echo");
/// # Ok::<(), String>(())
/// ```
pub fn requests(pushed: &[Pushed]) -> Vec<Sent> {
    let sent = pushed.iter().filter_map(|pushed| match pushed.action() {
        Action::Http(http) => Some(Sent::new(&http, &pushed.body)),
        _ => None,
    });
    sent.collect()
}

/// The answers among actions that [`super::Driver`] gave, in the order in which they came. A failure of the whole
/// session counts as item 0.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use plugin_api::{Request, json, testkit::{Driver, answers, open}};
/// # let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let pushed = Driver::new(echo.into()).start(&[Request::Health]);
/// assert!(matches!(answers(&pushed).as_slice(), [(0, Err(_))])); // it has no `health`
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
/// An answer points outside its body.
pub fn answers(pushed: &[Pushed]) -> Vec<(u32, Result<Answer, Error>)> {
    let answers = pushed.iter().filter_map(|pushed| match pushed.action() {
        Action::Done(done) => match Answer::resolve(done.answer, &pushed.body) {
            Ok(answer) => Some((done.item, Ok(answer))),
            Err(error) => panic!("{pushed:?}: {error}"),
        },
        Action::Fail(fail) => Some((fail.item.unwrap_or(0), Err(fail.into()))),
        _ => None,
    });
    answers.collect()
}

/// The answer that the last of these actions is.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// # use plugin_api::{ErrorKind, Request, json, testkit::{Driver, answer, open}};
/// # let echo: Echo = open(json!({ "base_url": "http://test" }))?;
/// let pushed = Driver::new(echo.into()).start(&[Request::Health]);
/// assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::Unsupported);
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// The item failed.
///
/// # Panics
/// The last action is no answer.
#[track_caller]
pub fn answer(pushed: &[Pushed]) -> Result<Answer, Error> {
    let last = pushed.last().map(std::slice::from_ref).unwrap_or_default();
    match answers(last).pop() {
        Some((_, answer)) => answer,
        None => panic!("expected an answer at the end of {pushed:?}"),
    }
}

/// The completion that the last of these actions is.
///
/// # Panics
/// It is none.
#[track_caller]
pub fn completion(pushed: &[Pushed]) -> Completion {
    match answer(pushed) {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("expected a completion, found {other:?}"),
    }
}

/// The likelihoods that the last of these actions is.
///
/// ```
/// use plugin_api::testkit::{Pushed, likelihoods};
///
/// fn sum(pushed: &[Pushed]) -> f64 {
///     likelihoods(pushed).iter().filter_map(|one| one.logprob).sum()
/// }
/// ```
///
/// # Panics
/// It is none.
#[track_caller]
pub fn likelihoods(pushed: &[Pushed]) -> Vec<Likelihood> {
    match answer(pushed) {
        Ok(Answer::Likelihoods(likelihoods)) => likelihoods,
        other => panic!("expected likelihoods, found {other:?}"),
    }
}

/// The text that these actions pass on, of whichever item.
///
/// ```
/// use plugin_api::testkit::{Pushed, deltas};
///
/// fn assert_streamed(pushed: &[Pushed], text: &str) {
///     assert_eq!(deltas(pushed), text);
/// }
/// ```
pub fn deltas(pushed: &[Pushed]) -> String {
    let deltas = pushed.iter().filter(|pushed| matches!(pushed.action(), Action::Delta(_)));
    deltas.map(|pushed| String::from_utf8_lossy(&pushed.body)).collect()
}
