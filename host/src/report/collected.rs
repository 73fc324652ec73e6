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
    /// The last.
    Done {
        /// The exit code.
        exit_code: u8,
        /// The index.
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<String>,
        /// What failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}
