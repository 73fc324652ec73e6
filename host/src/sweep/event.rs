//! What happens in a sweep, as those are told who watch it.

use schemars::JsonSchema;
use serde::Serialize;

use super::record::CellState;
use crate::run::estimate::UnitEstimate;

/// Format of these lines.
pub const FORMAT: u32 = 1;

/// Something that happened; as JSON one line of stdout under `--json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum SweepEvent {
    /// The first: every run file is written.
    Launch {
        /// Format of these lines.
        format: u32,
        /// Name of the sweep.
        sweep: String,
        /// Its folder.
        directory: String,
        /// The cells, in order.
        cells: Vec<String>,
        /// Whether nothing will be started.
        dry_run: bool,
    },
    /// What a cell would ask, in a dry run.
    CellPlanned {
        /// The cell.
        cell: String,
        /// Its run file.
        file: String,
        /// What would be asked of whom.
        units: Vec<CostedUnit>,
        /// Why it would not run.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The process of a cell was started.
    CellStarted {
        /// The cell.
        cell: String,
        /// Its run file.
        file: String,
    },
    /// A cell is over.
    CellEnded {
        /// The cell.
        cell: String,
        /// How it stands.
        state: CellState,
        /// Exit code of its process; none if it crashed.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<u8>,
        /// The run directory.
        #[serde(skip_serializing_if = "Option::is_none")]
        directory: Option<String>,
        /// Why it is not done.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Finished samples, those of earlier processes included.
        samples: u64,
        /// Milliseconds that its process took.
        ms: u64,
    },
    /// The user asked to stop: no cell is begun any more, and those that run are ended.
    Interrupted,
}

/// What a task asks of a backend, and what that may cost.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CostedUnit {
    /// What is asked.
    pub estimate: UnitEstimate,
    /// US dollars, by what the samples of an earlier run of the cell cost; none if none tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// That run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_from: Option<String>,
}

/// How far a cell is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Finished samples.
    pub done: u64,
    /// Of them without a score.
    pub unscored: u64,
    /// All, once they are known.
    pub total: Option<u64>,
}

/// Who is told.
pub trait Watcher {
    /// Something happened.
    fn on(&mut self, event: &SweepEvent);

    /// A cell has come this far.
    fn progress(&mut self, cell: &str, progress: &Progress);
}
