//! What a router tells of itself: how its replicas stand, and what has changed.

use std::{collections::VecDeque, time::Duration};

use plugin_api::ErrorKind;
use schemars::JsonSchema;
use serde::Serialize;

use super::limiter::Reason;

/// A rest that is longer than this is one that a user wants to hear of.
pub const LONG_REST: Duration = Duration::from_secs(30);

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaState {
    /// Its name.
    pub name: String,
    /// Most attempts in flight now.
    pub limit: u32,
    /// Attempts in flight.
    pub in_flight: u32,
    /// Whether it is asked.
    pub state: Standing,
    /// While it rests: for how many milliseconds more.
    pub rests_ms: u64,
}

/// Every replica asks to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// What the one that may be asked first said to that.
    pub kind: ErrorKind,
    /// Until then.
    pub left: Duration,
}

/// How long an attempt waits for replicas that all ask to be left alone.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// In general.
    pub refused: Duration,
    /// While the model is being loaded.
    pub loading: Duration,
}

impl Patience {
    /// It waits for as long as it takes.
    pub const ENDLESS: Self = Self { refused: Duration::MAX, loading: Duration::MAX };

    /// Whether such a rest is too long.
    pub fn ends_at(&self, rest: &Rest) -> bool {
        let most = match rest.kind {
            ErrorKind::Loading => self.loading,
            _ => self.refused,
        };
        rest.left > most
    }
}

/// Whether a replica is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Yes.
    Well,
    /// Not until the time that its server named, or until a limit of its starts anew.
    Resting,
    /// Not until it is probed: it failed too often in a row.
    Ejected,
    /// A probe is out.
    Probing,
}

/// Something about a replica has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// Milliseconds since the router began.
    pub at_ms: u64,
    /// Name of the replica.
    pub replica: String,
    /// What.
    #[serde(rename = "change")]
    pub what: What,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The limit of attempts in flight has moved.
    Limit {
        /// Before.
        from: u32,
        /// After.
        to: u32,
        /// Why.
        reason: Reason,
    },
    /// Nothing is sent for a while.
    Rest {
        /// How long.
        ms: u64,
        /// Why.
        reason: Pause,
    },
    /// It is left alone, and will be probed.
    Ejected {
        /// Failures in a row.
        failures: u32,
        /// Until the first probe.
        probe_in_ms: u64,
    },
    /// A probe is sent.
    Probe {},
    /// A probe failed.
    ProbeFailed {
        /// Until the next probe.
        probe_in_ms: u64,
    },
    /// It is asked again.
    Recovered {
        /// Since it was ejected.
        after_ms: u64,
    },
    /// Changes were not fetched in time; so many are missing before the next one.
    Missing {
        /// How many.
        changes: u64,
    },
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// The server said when to come again.
    RetryAfter,
    /// It refuses even the fewest requests.
    RateLimited,
    /// It said that its limits are used up.
    Limits,
}

/// Changes kept until someone asks.
const KEPT: usize = 1024;

/// What has changed since someone last asked.
#[derive(Debug, Default)]
pub(super) struct Changes {
    kept: VecDeque<(Duration, usize, What)>,
    missing: u64,
}

impl Changes {
    pub(super) fn add(&mut self, at: Duration, replica: usize, what: What) {
        // A limit that grows does so in many small steps: they are one.
        let grows = |from, to, reason| from < to && reason == Reason::Answers;
        if let What::Limit { to, from, reason } = what
            && grows(from, to, reason)
            && let Some((_, last, What::Limit { from, to: grown, reason })) = self.kept.back_mut()
            && *last == replica
            && grows(*from, *grown, *reason)
        {
            *grown = to;
            return;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.missing += 1;
        }
        self.kept.push_back((at, replica, what));
    }

    /// All of them, oldest first, and none the next time.
    pub(super) fn take<'n>(&mut self, name: impl Fn(usize) -> &'n str) -> Vec<Change> {
        let change = |at, replica, what| Change {
            at_ms: milliseconds(at),
            replica: name(replica).to_owned(),
            what,
        };
        let missing = std::mem::take(&mut self.missing);
        let first = self.kept.front().filter(|_| missing > 0);
        let gap =
            first.map(|&(at, replica, _)| change(at, replica, What::Missing { changes: missing }));
        let changes: Vec<Change> = gap
            .into_iter()
            .chain(self.kept.iter().map(|&(at, replica, what)| change(at, replica, what)))
            .collect();
        self.kept.clear();
        changes
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
