//! Events that no host sends, or should not: a plugin neither panics nor dies of them, and goes on afterwards.

use std::fmt::Write as _;

use super::finding::Finding;
use crate::plugin::{
    action::Pushed,
    load::Status,
    wake::Registration,
    worker::{client::Worker, session::Session},
};

/// Heads, bodies, and what they are.
fn events() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    fn text(
        what: &'static str,
        head: &str,
        body: &'static [u8],
    ) -> (&'static str, Vec<u8>, &'static [u8]) {
        (what, head.as_bytes().to_vec(), body)
    }
    let mut deep = String::from(r#"{"start":{"requests":"#);
    let _ = write!(deep, "{}{}", "[".repeat(10_000), "]".repeat(10_000));
    deep.push_str("}}");
    vec![
        text("no head", "", b""),
        text("half a head", "{\"start\":", b""),
        ("a head that is no text", vec![0xff, 0xfe, b'{', 0], b""),
        text("`null`", "null", b""),
        text("`[]`", "[]", b""),
        text("an unknown event", "{\"dance\":{}}", b""),
        text("a start without requests", "{\"start\":{}}", b""),
        text("a start with nothing to do", r#"{"start":{"requests":[]}}"#, b""),
        text("an unknown request", r#"{"start":{"requests":[{"dance":{}}]}}"#, b""),
        text(
            "a prompt outside the body",
            r#"{"start":{"requests":[{"generate":{"prompt":{"text":[0,99]}}}]}}"#,
            b"short",
        ),
        text(
            "a prompt whose end is beyond all numbers",
            r#"{"start":{"requests":[{"generate":{"prompt":{"text":[18446744073709551615,2]}}}]}}"#,
            b"short",
        ),
        text(
            "a prompt that is not UTF-8",
            r#"{"start":{"requests":[{"generate":{"prompt":{"text":[0,3]}}}]}}"#,
            b"\xff\xfe\xfd",
        ),
        text("brackets in brackets", &deep, b""),
        text("a reply before the start", r#"{"reply":{"call":"1","status":200}}"#, b"{}"),
        text("an end before the start", r#"{"end":{"call":"7"}}"#, b""),
        text("a wake before the start", r#"{"woken":{}}"#, b""),
        text("a call number that is none", r#"{"elapsed":{"call":"one"}}"#, b""),
    ]
}

/// Gives each to a session of its own, and a second time after it.
pub(super) async fn malformed_events(worker: &Worker) -> Finding {
    let events = events();
    let mut faults = Vec::new();
    for (what, head, body) in &events {
        let registration = Registration::enter();
        let mut session = match worker.begin(registration.token()).await {
            Ok(session) => session,
            Err(error) => {
                faults.push(format!("after {what}: {error}"));
                break;
            }
        };
        for time in ["", " a second time"] {
            match give(&mut session, head, body).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    faults.push(format!("{what}{time}: {fault}"));
                    break;
                }
            }
        }
    }
    Finding::of("malformed events", &faults, format!("{} of them do no harm", events.len()))
}

/// Whether the session goes on.
async fn give(session: &mut Session, head: &[u8], body: &[u8]) -> Result<bool, String> {
    let mut pushed = Vec::new();
    match session.step_raw(head, body, &mut pushed).await {
        Ok(Status::Panicked) => Err("it panics".to_owned()),
        Ok(Status::Failed) => Ok(false),
        Ok(Status::Ok) => {
            Ok(!pushed.iter().any(|one| matches!(one, Pushed::Done(..) | Pushed::Fail(..))))
        }
        Err(error) => Err(error.message),
    }
}
