//! HTTP/1.1 to servers of this machine, where there is no TLS and no proxy: hyper's connections, kept and driven by
//! whoever has a request on them.
//!
//! A general client spawns a task a connection and passes requests and replies between tasks, often between threads.
//! Here the task that asks also drives its connection, so a reply wakes nobody else. It knows no plugin and no secret.

mod connection;
mod gzip;
mod pool;
mod relay;
mod send;

pub(super) use pool::Pool;
pub(super) use send::{Ask, Reading, complete, send, uri};
