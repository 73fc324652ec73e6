//! What is asked of a run that goes on, and what it answers: a line of JSON each.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::event::{BackendPulse, Slow};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// How does it stand?
    Status,
    /// Begin nothing more for now; what is in flight goes on.
    Pause,
    /// Go on.
    Resume,
    /// Have so much in flight.
    Set(Pace),
    /// End, as Ctrl-C does: what is finished is kept.
    Cancel,
}

/// How much may be in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Requests at a replica; at least 1.
    pub concurrency: u32,
    /// At this backend alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How it stands, after what was asked for is done.
    Status(Box<RunStatus>),
    /// Nothing was done.
    Refused {
        /// Why.
        reason: String,
    },
}

/// How a run stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunStatus {
    /// Id of the run.
    pub run: String,
    /// `running`, `paused` or `stopping`.
    pub state: String,
    /// Since this process began or resumed it.
    pub seconds: f64,
    /// What is finished of each task at each backend.
    pub units: Vec<UnitStatus>,
    /// What is in flight at each backend.
    pub backends: Vec<BackendPulse>,
    /// The sample that has been asked for the longest time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest: Option<Slow>,
}

/// How far a task at a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitStatus {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// Finished samples, those of earlier processes included, repeats counted.
    pub finished: u64,
    /// Of those that this process finished, the ones without a score.
    pub unscored: u64,
    /// All, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Set(Pace { concurrency, backend: None }) => {
                write!(f, "set concurrency={concurrency}")
            }
            Self::Set(Pace { concurrency, backend: Some(backend) }) => {
                write!(f, "set {backend}.concurrency={concurrency}")
            }
            Self::Cancel => f.write_str("cancel"),
        }
    }
}
