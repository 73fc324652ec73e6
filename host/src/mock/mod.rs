//! A server that speaks every vendor's wire format, with faults on cue: `host mock`.
//!
//! It knows the vendors, which nothing else of the host does. Only `cli` may use it, and it shares no codec with the
//! plugins: a mistake that both made would not be seen.

mod body;
mod exchange;
mod fault;
mod flavor;
mod flavors;
mod garble;
mod model;
mod pace;
mod retry_after;
mod server;
mod settings;
mod stats;
mod strict;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
mod upstream;

pub use flavor::{Flavor, UnknownFlavor};
pub use garble::Reply;
pub use retry_after::{RetryAfterForm, UnknownForm};
pub use server::{Server, StartError};
pub use settings::{Capacity, Faults, Rate, RateError, Settings, Upstream};
