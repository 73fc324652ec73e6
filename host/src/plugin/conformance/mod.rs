//! Whether a plugin keeps the contract: what `host plugin check` looks at. Its code runs in a worker alone.

mod conversation;
mod finding;
mod hard;
mod hostile;
mod library;
mod load;
mod manifest;
mod opening;
mod plain;
mod replies;
mod sample;
mod server;
mod suite;

pub use finding::{Finding, Verdict};
pub use library::{Glibc, look_at_library};
pub use manifest::look_at_manifest;
pub use server::Server;
pub use suite::{Subject, examine};
