//! The outside of every command: what it prints, where, and in what form, wherever it is started.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cases;
mod machine;
mod places;
mod readme;
mod screen;
mod snapshots;
mod terminal;
