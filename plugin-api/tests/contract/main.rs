//! What `CONTRACT.md` promises, one theme a file, through the test kit and through the real tables.

mod alloc;
mod batches;
mod calls;
mod ending;
mod malformed;
mod minihost;
mod panics;
mod random;
mod streams;
mod subject;
mod wakes;
