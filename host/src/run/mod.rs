//! A run from plan to results: who asks what, how often, and what is kept of it.

pub mod backend;
pub mod backend_error;
pub mod backlog;
pub mod budget;
pub mod cached;
pub mod change;
pub mod dispatch;
pub mod done;
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
pub mod launch;
pub mod limiter;
pub mod mock;
pub mod open;
pub mod past;
pub mod plan;
pub mod pulse;
pub mod queueing;
pub mod rate;
pub mod ready;
pub mod recorder;
pub mod release;
pub mod replay;
pub mod request;
pub mod resume;
pub mod retry;
#[cfg(test)]
mod retry_properties;
pub mod source;
pub mod spending;
pub mod tally;
pub mod teller;

#[cfg(test)]
mod limiter_tests;
#[cfg(test)]
mod rate_tests;
