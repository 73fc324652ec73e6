//! HTTP/1.1 to servers of this machine, where there is no TLS and no proxy.
//!
//! A general client spawns a task a connection and passes requests and replies between tasks, often between threads.
//! hyper's connections without one, driven by the task that asks, took a tenth more processor time a sample than this,
//! and 16 KB of buffers each. Here the task that asks also writes and reads, so a reply wakes nobody else; a head that
//! is sent again and again is written once; and a connection that waits holds no buffer. Heads are read by httparse.
//! It knows no plugin.

mod connection;
mod framing;
mod gzip;
mod head;
mod pool;
mod send;

pub(super) use pool::Pool;
pub(super) use send::{Ask, AskHead, Reading, send};
