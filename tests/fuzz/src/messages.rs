//! Heads of messages and what they say of their bodies. An input is a head, a NUL, and the body.

use plugin_api::{
    Answer, Request,
    manifest::Manifest,
    message::{self, Action, AnswerHead, Event, RequestHead},
};

/// Every kind of head, with spans that point anywhere.
pub(crate) fn read(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (head, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    drop(message::read::<Manifest>(head));
    drop(message::read::<Event<'_>>(head));
    drop(message::read::<Action<'_>>(head));
    if let Ok(head) = message::read::<RequestHead<'_>>(head) {
        drop(Request::resolve(head, body));
    }
    if let Ok(head) = message::read::<AnswerHead<'_>>(head) {
        drop(Answer::resolve(head, body));
    }
}
