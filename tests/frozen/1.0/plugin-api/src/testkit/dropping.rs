//! Ends a session after each of its steps.

#![allow(clippy::panic, reason = "a test helper fails by panicking")]

use super::{Fault, Server, Stage, play};
use crate::{backend::Backend, request::Request};

/// Plays one conversation again and again and ends it after 0, 1, 2, … events, as a host does whose user has had
/// enough; each time with a backend and a server of their own. After each end the same backend is asked once more,
/// and must answer as if nothing had been. Returns how many ends were tried.
///
/// ```
/// # mod echo { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/echo.rs")); }
/// # use echo::Echo;
/// use plugin_api::{Generate, Prompt, Request, json};
/// use plugin_api::testkit::{Scripted, Stage, drop_at_every_step};
///
/// let tried = drop_at_every_step(
///     || Stage::<Echo>::open(json!({ "base_url": "http://test" })),
///     &[Request::Generate(Generate::new(Prompt::Text("Hello")))],
///     || Scripted::json(&json!({ "text": "Hello" })),
/// );
/// assert_eq!(tried, 3); // before `start`, after it, and after the reply
/// ```
///
/// # Panics
/// A step, an end or a destructor panicked, an item was answered twice, a wake came after the end, or the next
/// session was not the same.
#[track_caller]
pub fn drop_at_every_step<B: Backend, S: Server>(
    stage: impl Fn() -> Stage<B>,
    requests: &[Request<'_>],
    server: impl Fn() -> S,
) -> u64 {
    match every_step(&stage, requests, &server) {
        Ok(tried) => tried,
        Err(text) => panic!("{text}"),
    }
}

fn every_step<B: Backend, S: Server>(
    stage: &impl Fn() -> Stage<B>,
    requests: &[Request<'_>],
    server: &impl Fn() -> S,
) -> Result<u64, String> {
    let whole = |stage: &Stage<B>| play::whole(stage, requests, &mut server(), None);
    let (first, _) = whole(&stage()).map_err(|fault| fault.to_string())?;
    let expected = format!("{:?}", first.answers);
    for end in 0..=first.steps {
        let stage = stage();
        let told = |fault: Fault| format!("ended after {end} events: {fault}");
        let (played, ticket) =
            play::whole(&stage, requests, &mut server(), Some(end)).map_err(told)?;
        let (again, _) =
            whole(&stage).map_err(|fault| format!("after an end at {end} events: {fault}"))?;
        let found = format!("{:?}", again.answers);
        if found != expected {
            return Err(format!(
                "after a session that was ended after {end} events, the next one has other answers: {found}, not \
                 {expected}"
            ));
        }
        if ticket.late() > 0 {
            return Err(told(Fault::LateWake { step: played.steps }));
        }
    }
    Ok(first.steps + 1)
}
