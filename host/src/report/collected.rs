//! What `host collect` tells programs.

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::index::{BrokenRun, RunEntry};

/// A line of stdout under `--json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CollectEvent<'a> {
    /// A run.
    Run {
        /// Its entry in the index.
        entry: &'a RunEntry,
    },
    /// What looks like a run and has no results to show.
    Broken {
        /// Its entry in the index.
        entry: &'a BrokenRun,
    },
}
