//! A run from plan to results: who asks what, how often, and what is kept of it.

pub mod backend;
pub mod backend_error;
pub mod budget;
pub mod dispatch;
pub mod engine;
pub mod error;
pub mod event;
pub mod executor;
pub mod fatal;
pub mod feed;
pub mod grade;
pub mod hedge;
pub mod in_flight;
pub mod introduce;
pub mod limiter;
pub mod mock;
pub mod open;
pub mod plan;
pub mod pulse;
pub mod queueing;
pub mod rate;
pub mod recorder;
pub mod release;
pub mod request;
pub mod retry;
#[cfg(test)]
mod retry_properties;
pub mod source;
pub mod spending;
pub mod tally;
