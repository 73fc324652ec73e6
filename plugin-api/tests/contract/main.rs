//! What `CONTRACT.md` promises, one theme a file, through the test kit and through the real tables.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking, and a backend under test panics on purpose"
)]

mod alloc;
mod batches;
mod calls;
mod ending;
mod header;
mod library;
mod loaded;
mod malformed;
mod minihost;
mod panics;
mod random;
mod streams;
mod subject;
mod wakes;
