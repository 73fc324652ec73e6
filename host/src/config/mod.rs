//! Run files: from what was typed to what is meant. Nothing here opens a socket, loads a plugin or
//! reads a data set.

mod backend;
mod catalog;
mod check;
mod difference;
mod env;
mod error;
mod load;
mod named;
pub(crate) mod node;
mod overrides;
mod profile;
mod publish;
mod raw;
mod reopen;
mod resolve;
mod resolved;
mod schema;
mod shown;
mod suggest;
mod task;
mod typed;

pub use backend::CheckedBackend;
pub use catalog::{Catalog, CatalogError, DataState, Definition};
pub use difference::{KeyDifference, differences};
pub use env::Variables;
pub use error::{ConfigError, Place, Problem};
pub use load::{Overrides, RunFile, load, load_named};
pub use named::Named;
pub use publish::{published_schema, task_schema};
pub use raw::{Isolation, Route, Store};
pub use reopen::{Kept, reopen, reopen_changed, reopen_run};
pub(crate) use resolved::MOCK;
pub use resolved::{
    BackendConfig, BaseUrl, Budget, Concurrency, Engine, GroupConfig, MOST_IN_FLIGHT, MaxUnscored,
    ReplicaConfig, RunConfig, SyncPolicy, TaskConfig, decisive_of,
};
pub(crate) use schema::close;
pub(crate) use shown::toml_text;
pub use shown::{Setting, as_toml, toml_value};
pub use suggest::nearest;
