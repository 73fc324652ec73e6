//! HTTP for every plugin: the only place where a request leaves the host.

mod client;
mod exchange;

pub use client::{Access, Settings, Transport, TransportError};
pub use exchange::{Body, Response};
