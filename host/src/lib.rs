//! Library of the `host` binary.

pub mod score;
pub mod stats;
pub mod task;
