//! Plugins: found, inspected without running their code, loaded, and driven through their sessions.

pub mod action;
pub mod compiler;
pub mod conformance;
pub mod discover;
pub mod host_table;
pub mod inspect;
pub mod instance;
pub mod line;
pub mod load;
pub mod lock;
pub mod pool;
pub mod script;
pub mod session;
mod waiting;
pub mod wake;
pub mod worker;
