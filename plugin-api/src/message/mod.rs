//! The messages that cross the boundary: JSON heads over raw bodies.
//!
//! Heads borrow from the text they were read from. Large content never lies in a head: a [`Span`]
//! points into the message's body. Each enum is externally tagged (`{"reply":{…}}`), unknown fields are
//! ignored and missing ones have defaults, which is how messages grow without a new ABI.
//!
//! ```
//! use plugin_api::message::{Action, CallRef, Decimal, Event, Span, Wait};
//!
//! let event = Event::read(br#"{"elapsed":{"call":"7","mood":"calm"}}"#)?;
//! assert!(matches!(event, Event::Elapsed(CallRef { call: Decimal(7) })));
//!
//! let mut head = Vec::new();
//! Action::Wait(Wait { call: Decimal(8), ms: 250 }).write(&mut head)?;
//! assert_eq!(head, br#"{"wait":{"call":"8","ms":250}}"#);
//!
//! let body = b"Hello, you";
//! assert_eq!(Span(7, 3).text(body), Ok("you"));
//! # Ok::<(), plugin_api::serde_json::Error>(())
//! ```

mod action;
mod answer;
mod event;
mod request;
mod text;
mod usual;

pub use action::{
    Action, Cancel, Delta, Done, Fail, HeaderPart, HeaderValue, Hold, Http, Limits, Wait,
};
pub use answer::{
    AnswerHead, Changed, ChoiceHead, CompletionHead, Description, FinishReason, Health, Likelihood,
    TokenLogprob, Usage,
};
pub use event::{CallRef, Event, OpenHead, ReplyHead, Start, TransportError};
pub use request::{
    EmbedHead, GenerateHead, Held, HeldHead, LoglikelihoodHead, MessageHead, PartHead, PromptHead,
    RenderHead, RequestHead, RollingHead, TokenizeHead,
};
pub use text::{BadSpan, Decimal, Span, Str};

/// Reads a head. It is checked to be UTF-8 once, as a whole, which costs less than string by string.
///
/// # Errors
/// The head is not UTF-8, not JSON, or not a `T`.
pub fn read<'a, T: serde::Deserialize<'a>>(head: &'a [u8]) -> serde_json::Result<T> {
    let head = std::str::from_utf8(head).map_err(serde::de::Error::custom)?;
    serde_json::from_str(head)
}
