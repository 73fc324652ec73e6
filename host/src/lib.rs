//! Library of the `host` binary.

pub mod asset;
pub mod config;
pub mod plugin;
pub mod printer;
pub mod secret;
