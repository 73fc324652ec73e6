//! How many attempts a replica is given at once: additive increase, multiplicative decrease. Knows no clock, no
//! replica and no request; it is told in what order attempts began and what came of them.
//!
//! - **Less**: a refusal (429, 503) lowers the limit by up to 40 %, in proportion to the share of recent attempts
//!   that were refused (as in DCTCP, RFC 8257, section 3.3). So a server that refuses one request in ten at random
//!   is not strangled, and one that refuses everything is down at the floor within a few round trips. An attempt
//!   counts only if it began after the last decrease: those before were sent under the old limit, so a burst of
//!   refusals is one refusal.
//! - **More**: one for each round of answers, but twice as many for each round up to half of what the limit was
//!   when the trouble began (slow start, RFC 5681, section 3.1), so that sustained refusals cost a few rounds and
//!   not hundreds. Only while the limit is really used. Nothing that happened earlier can stop the growth: a
//!   success always counts.
//! - `auto` begins low, grows in slow start, and minds the latency besides (see [`super::queueing`]).

use std::time::Duration;

use serde::Serialize;

use super::queueing::{Queueing, Verdict};
use crate::config::Concurrency;

/// Where `auto` begins, within its bounds.
const AUTO_START: u32 = 8;
/// Most that one refusal takes from the limit, as a share of it.
const CUT: f64 = 0.4;
/// What is left of the limit when answers wait for each other.
const EASE: f64 = 0.8;

/// Bound on the attempts in flight at one replica.
#[derive(Clone, Debug)]
pub struct Limiter {
    floor: f64,
    ceiling: f64,
    limit: f64,
    /// Below it the limit doubles with each round of answers.
    threshold: f64,
    /// The first attempt that began after the last decrease.
    since: u64,
    /// Answers since then.
    clean: u32,
    refused: Share,
    /// Only if what the server bears is looked for.
    queueing: Option<Queueing>,
}

/// An attempt that has ended, as a limiter sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its number; attempts are numbered in the order in which they begin.
    pub number: u64,
    /// The number that the next attempt to begin will have.
    pub next: u64,
    /// Most attempts known to have been in flight with it, itself included.
    pub used: u32,
}

/// A change of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Before.
    pub from: u32,
    /// After.
    pub to: u32,
    /// Why.
    pub reason: Reason,
}

/// Why a limit moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Answers came.
    Answers,
    /// The server asks for fewer requests.
    RateLimited,
    /// It has too much to do.
    Overloaded,
    /// It did not answer in time.
    Timeout,
    /// More at once only makes each answer slower.
    Latency,
}

impl Limiter {
    /// At its beginning.
    pub fn new(concurrency: Concurrency) -> Self {
        let Concurrency { auto, floor, ceiling } = concurrency;
        let floor = floor.max(1);
        let ceiling = ceiling.max(floor);
        let start = if auto { AUTO_START.clamp(floor, ceiling) } else { ceiling };
        Self {
            floor: f64::from(floor),
            ceiling: f64::from(ceiling),
            limit: f64::from(start),
            threshold: f64::from(ceiling),
            since: 0,
            clean: u32::MAX,
            refused: Share::default(),
            queueing: auto.then(Queueing::default),
        }
    }

    /// Most attempts in flight; at least 1.
    pub fn limit(&self) -> u32 {
        // Within 1 and the ceiling, which is one.
        self.limit as u32
    }

    /// Whether it can go no lower.
    pub fn is_lowest(&self) -> bool {
        self.limit() <= self.floor as u32
    }

    /// Share of the last few attempts that were refused, 0 to 1.
    pub fn refused(&self) -> f64 {
        self.refused.value()
    }

    /// An attempt was answered `at` this time, after it `took` that long.
    pub fn answered(&mut self, ended: Ended, at: Duration, took: Duration) -> Option<Move> {
        self.refused.add(false);
        self.clean = self.clean.saturating_add(1);
        let from = self.limit();
        let mut reason = Reason::Answers;
        let exploring = self.limit < self.threshold;
        let verdict = match &mut self.queueing {
            None => Verdict::Grow,
            Some(queueing) => queueing.add(ended, at, took, from, exploring),
        };
        match verdict {
            Verdict::Grow if self.is_used(ended.used) => {
                let step = if exploring { 1.0 } else { 1.0 / self.limit };
                self.limit = (self.limit + step).min(self.ceiling);
            }
            Verdict::Grow => {}
            Verdict::Hold => self.threshold = self.threshold.min(self.limit),
            Verdict::Ease => {
                self.limit = (self.limit * EASE).max(self.floor);
                self.threshold = self.threshold.min(self.limit);
                reason = Reason::Latency;
            }
        }
        self.moved(from, reason)
    }

    /// An attempt was refused, or not answered in time.
    pub fn refuse(&mut self, ended: Ended, reason: Reason) -> Option<Move> {
        self.refused.add(true);
        if ended.number < self.since {
            return None;
        }
        let from = self.limit();
        // Without a whole round of answers in between it is the same trouble as before.
        if self.clean >= from {
            self.threshold = (self.limit / 2.0).max(self.floor);
        }
        self.limit = (self.limit * (1.0 - CUT * self.refused.value())).max(self.floor);
        self.since = ended.next;
        self.clean = 0;
        self.moved(from, reason)
    }

    /// Whether so many in flight show that more would be sent if they might.
    fn is_used(&self, used: u32) -> bool {
        f64::from(used) + 1.0 >= 0.8 * self.limit
    }

    fn moved(&self, from: u32, reason: Reason) -> Option<Move> {
        let to = self.limit();
        (from != to).then_some(Move { from, to, reason })
    }
}

/// Running share of what is true, over about the last eight; the first ones count in full.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    sum: f64,
    weight: f64,
}

impl Share {
    const GAIN: f64 = 1.0 / 8.0;

    fn add(&mut self, is_true: bool) {
        let one = if is_true { Self::GAIN } else { 0.0 };
        self.sum += one - self.sum * Self::GAIN;
        self.weight += Self::GAIN - self.weight * Self::GAIN;
    }

    fn value(self) -> f64 {
        if self.weight > 0.0 { (self.sum / self.weight).min(1.0) } else { 0.0 }
    }
}
