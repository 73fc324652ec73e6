//! A run from plan to results: who asks what, how often, and what is kept of it.

pub mod backend;
pub mod backend_error;
pub mod backlog;
pub mod change;
pub mod dispatch;
pub mod done;
pub mod engine;
pub mod error;
pub mod event;
pub mod executor;
pub mod feed;
pub mod grade;
pub mod introduce;
pub mod mock;
pub mod open;
pub mod past;
pub mod plan;
pub mod recorder;
pub mod release;
pub mod replay;
pub mod request;
pub mod resume;
pub mod retry;
pub mod tally;
pub mod teller;
