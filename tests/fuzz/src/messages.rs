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
    same(Event::read(head), message::read::<Event<'_>>(head));
    same(Action::read(head), message::read::<Action<'_>>(head));
    if let Ok(head) = message::read::<RequestHead<'_>>(head) {
        drop(Request::resolve(head, body));
    }
    if let Ok(head) = message::read::<AnswerHead<'_>>(head) {
        drop(Answer::resolve(head, body));
    }
}

/// The usual spelling, read directly, says what any spelling does.
fn same<T: std::fmt::Debug, E: std::fmt::Display>(read: Result<T, E>, by_serde: Result<T, E>) {
    let said = |read: Result<T, E>| {
        read.map(|read| format!("{read:?}")).map_err(|error| error.to_string())
    };
    assert_eq!(said(read), said(by_serde));
}
