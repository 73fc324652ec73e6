//! The wire of OpenAI's chat completions and completions, which most vendors and engines speak (wire.md 4.1):
//! bodies, replies, streams, failures and rate limits.
//!
//! Pure, and no vendor is named here: what differs between servers is a value ([`Dialect`], [`Parameters`],
//! [`Reading`]) that the plugin chooses.

pub mod failure;
pub mod limits;
pub mod parameters;
mod raw;
pub mod reply;
pub mod request;
pub mod stream;
pub mod think;
mod tokens;

pub use parameters::Parameters;
pub use reply::{Reading, completion};
pub use request::{Chat, Completion, Dialect, Input, Prefill};
pub use stream::Collector;
