//! Library of the `host` binary.

pub mod secret;
