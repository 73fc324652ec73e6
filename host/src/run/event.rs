//! What happens in a run, as its reporters are told. One type, many consumers; none of them can slow a
//! request down.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    route::change::Change,
    score::parts::Parts,
    store::{record::Status, summary::Summary},
};

/// Something that happened. As JSON it is one line of `events.jsonl`, and of stdout under `--json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first event: the run directory is there and the backends are open.
    Launch {
        /// Format of these lines.
        format: u32,
        /// Id of the run.
        run: String,
        /// The run directory.
        directory: String,
        /// What will be asked, in order.
        units: Vec<UnitPlan>,
        /// Samples that are finished already: the run is taken up again.
        #[serde(skip_serializing_if = "is_zero")]
        done: u64,
    },
    /// A sample is finished and stored.
    Sample {
        /// Which task at which backend.
        unit: UnitName,
        /// Id of the sample.
        id: String,
        /// Which repeat.
        repeat: u32,
        /// `scored`, or why not.
        status: Status,
        /// What it contributes to the metrics.
        #[serde(skip_serializing_if = "Option::is_none")]
        scores: Option<Parts>,
        /// What failed last, for an unscored sample.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Milliseconds from first attempt to end.
        ms: f64,
        /// What it cost, as the backend estimates it, in billionths of a US dollar.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost_usd_nanos: Option<u64>,
    },
    /// An attempt failed and will be repeated.
    Retry {
        /// Which task at which backend.
        unit: UnitName,
        /// Id of the sample.
        id: String,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// The failure's kind.
        kind: String,
        /// What happened.
        message: String,
        /// How long the host waits.
        wait_ms: u64,
    },
    /// A record of the data set was left out.
    Skipped {
        /// Which task at which backend.
        unit: UnitName,
        /// Why, and where.
        reason: String,
    },
    /// All samples of a task have been handed out.
    Read {
        /// Which task at which backend.
        unit: UnitName,
        /// How many samples, repeats counted.
        samples: u64,
    },
    /// How many requests may be in flight at a server, or whether it is asked at all, has changed.
    Limit {
        /// Id of the backend.
        backend: String,
        /// What has changed, and why.
        change: Change,
    },
    /// How it stands, about once a second. It is shown, and written nowhere.
    Pulse {
        /// One entry a backend that is asked.
        backends: Vec<BackendPulse>,
        /// The sample that has been asked for the longest time, if it has been for long.
        #[serde(skip_serializing_if = "Option::is_none")]
        slowest: Option<Slow>,
    },
    /// A request was to go where neither the run file nor the plugin's granted manifest allows it, or a server sent one
    /// there. It was not made. Told once a backend and origin; the samples have their errors.
    ForbiddenOrigin {
        /// Id of the backend.
        backend: String,
        /// Id of its plugin.
        plugin: String,
        /// Scheme, host and port.
        origin: String,
    },
    /// A server that the host had started for a backend ended during the run.
    ServerEnded {
        /// Id of the backend, with a number for one of its replicas.
        backend: String,
        /// How, and the last lines of its log.
        message: String,
    },
    /// Something that the user should know now, and that ends nothing.
    Warning {
        /// Id of the backend, if it is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        backend: Option<String>,
        /// What.
        message: String,
    },
    /// The user has changed how the run goes on (`host ctl`).
    Control {
        /// What was asked for.
        command: String,
    },
    /// The user asked to stop.
    Interrupted,
    /// A budget is spent: nothing more is begun.
    Spent {
        /// Which, and how much of it.
        reason: String,
    },
    /// No sample can succeed at a backend: it is asked nothing more.
    Fatal {
        /// Id of the backend.
        backend: String,
        /// Why.
        reason: String,
    },
    /// The last event. On stdout the command's own last record stands in its place.
    #[schemars(skip)]
    Done {
        /// The exit code.
        exit_code: u8,
        /// What went wrong, if anything did.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The results.
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<Box<Summary>>,
    },
}

/// How it stands at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackendPulse {
    /// Id of the backend.
    pub backend: String,
    /// Requests in flight.
    pub in_flight: u32,
    /// How many may be.
    pub limit: u32,
    /// Its servers that are left alone because they do not answer.
    pub ejected: Vec<String>,
    /// Its servers that are left alone because they ask for it.
    pub resting: Vec<Resting>,
}

/// A server that is left alone because it asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resting {
    /// Its name.
    pub replica: String,
    /// For how many milliseconds more.
    pub for_ms: u64,
}

/// A sample that takes long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slow {
    /// Which task at which backend.
    pub unit: UnitName,
    /// Id of the sample.
    pub id: String,
    /// Which repeat.
    pub repeat: u32,
    /// The attempt that is under way, or failed last, from 1.
    pub attempt: u32,
    /// Milliseconds since its first attempt began.
    pub age_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A task at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct UnitName {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
}

impl std::fmt::Display for UnitName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} @ {}", self.task, self.backend)
    }
}

/// What will be asked of a task at a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnitPlan {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// How many samples, repeats counted, as far as it can be told before they are read; some of them may turn out to
    /// be none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Those that are finished already.
    #[serde(skip_serializing_if = "is_zero")]
    pub done: u64,
}

/// Who is told.
pub trait Reporter: Send {
    /// Takes an event. Must not block on a network.
    fn on(&mut self, event: &Event);
}
