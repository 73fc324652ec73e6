//! The contract between `host` and its plugins, and the SDK that plugin authors use.
//!
//! An author implements [`Backend`], an ordinary async trait, and writes one [`export_plugin!`]. What
//! crosses the boundary (`CONTRACT.md`: a small C ABI that carries events and actions) is this crate's
//! business and none of the author's: [`Session`] drives the author's future as a state machine.
//!
//! The [guide] begins with a [first plugin](guide::first_plugin); the feature `testkit` brings what its
//! [tests](guide::testing) need.

mod backend;
mod boundary;
pub mod capability;
mod completion;
mod error;
pub mod export;
#[cfg(any(doc, feature = "testkit"))]
pub mod guide;
mod host;
mod http;
mod io;
mod join;
pub mod manifest;
pub mod message;
mod panics;
mod request;
mod session;
mod shared;
mod sse;
mod stream;
#[cfg(any(doc, feature = "testkit"))]
pub mod testkit;
mod turn;
pub mod version;
mod wake;

pub use plugin_abi as abi;
pub use schemars::{self, JsonSchema};
pub use serde::{self, Deserialize, Serialize};
pub use serde_json::{self, json};

pub use backend::{Answers, Backend};
pub use boundary::split_context;
pub use completion::{Answer, Choice, Completion};
pub use error::{Error, ErrorKind, Result};
pub use host::{Host, Level};
pub use http::{HttpRequest, Reply};
pub use io::Io;
pub use join::join_all;
pub use message::{
    Changed, Description, FinishReason, Health, Held, Likelihood, Limits, TokenLogprob, Usage,
};
pub use request::{Generate, Loglikelihood, Message, Part, Prompt, Request, Rolling};
pub use session::{Session, Stepped};
pub use sse::{SseEvent, SseParser};
pub use stream::Stream;

/// Whether libraries built with this SDK carry the layout of the leaf types.
///
/// ```
/// // Without it (`default-features = false`) the user of a plugin must say `allow_unchecked_layout = true`.
/// assert!(plugin_api::LAYOUT_CHECK);
/// ```
pub const LAYOUT_CHECK: bool = cfg!(feature = "layout-check");
