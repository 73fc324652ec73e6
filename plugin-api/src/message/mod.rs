//! The messages that cross the boundary: JSON heads over raw bodies.
//!
//! Heads borrow from the text they were read from. Large content never lies in a head: a [`Span`]
//! points into the message's body. Each enum is externally tagged (`{"reply":{…}}`), unknown fields are
//! ignored and missing ones have defaults, which is how messages grow without a new ABI.

mod action;
mod answer;
mod event;
mod request;
mod text;

pub use action::{Action, Cancel, Delta, Done, Fail, HeaderPart, HeaderValue, Http, Limits, Wait};
pub use answer::{
    AnswerHead, Changed, ChoiceHead, CompletionHead, Description, FinishReason, Health, Likelihood,
    TokenLogprob, Usage,
};
pub use event::{CallRef, Event, OpenHead, ReplyHead, Start, TransportError};
pub use request::{
    EmbedHead, GenerateHead, LoglikelihoodHead, MessageHead, PartHead, PromptHead, RenderHead,
    RequestHead, RollingHead, TokenizeHead,
};
pub use text::{BadSpan, Decimal, Span, Str};
