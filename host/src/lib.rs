//! Library of the `host` binary.

pub mod asset;
pub mod canonical;
pub mod cli;
pub mod config;
pub mod launch;
pub mod mock;
pub mod plugin;
pub mod printer;
pub mod report;
pub mod route;
pub mod run;
pub mod scaffold;
pub mod score;
pub mod secret;
pub mod stage;
pub mod stats;
pub mod store;
pub mod sweep;
pub mod task;
pub mod transport;
