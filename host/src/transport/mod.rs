//! HTTP for every plugin: the only place where a request leaves the host.

mod cassette;
mod client;
mod exchange;
mod lean;
mod origin;
mod stray;
mod target;

pub use cassette::{Cassette, CassetteError, Looker, Player, Recorder, Seen, Tape};
pub use client::{Access, Settings, Transport, TransportError};
pub use exchange::{Body, Response};
pub use stray::Strays;
pub use target::Targets;

#[cfg(test)]
mod tests;
