//! How many attempts a replica is given at once: additive increase, multiplicative decrease. Knows no clock, no
//! replica and no request; it is told in what order attempts began and what came of them.
//!
//! - **Less**: a refusal (429, 503) lowers the limit by up to 40 %, in proportion to the share of recent attempts
//!   that were refused (as in DCTCP, RFC 8257, section 3.3). So one that refuses everything is down at the floor
//!   within a few round trips. An attempt counts only if it began after the last decrease: those before were sent
//!   under the old limit, so a burst of refusals is one refusal. A server that bears no more has nothing to refuse
//!   right after a decrease; what is refused even then, up to a half, has other reasons than the limit, and
//!   lowers it no further. So refusals at random do not strangle it.
//! - **More**: one for each round of answers, and somewhat more the longer there was no refusal; up to half of
//!   where the trouble began twice as many for each round (slow start, RFC 5681, section 3.1). So sustained refusals
//!   cost some rounds and not hundreds. Only while the limit is really used. Nothing that happened earlier can stop
//!   the growth: an answer always counts.
//! - `auto` begins low, grows in slow start, and minds the latency besides (see [`super::queueing`]).

use std::{ops::Range, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use super::queueing::{Queueing, Verdict};
use crate::config::Concurrency;

/// Where `auto` begins, within its bounds.
const AUTO_START: u32 = 8;
/// Most that one refusal takes from the limit, as a share of it.
const CUT: f64 = 0.4;
/// Most refusals right after a decrease that are put down to other reasons than the limit, as a share.
const CHANCE: f64 = 0.5;
/// Weight of each attempt in that share.
const CHANCE_GAIN: f64 = 1.0 / 32.0;
/// A smaller share than this beyond chance is put down to it as well.
const CLEAR: f64 = 0.1;
/// Every so many refusals lower the limit all the same, to see if that share is still what it was.
const OVERLOOKED: u32 = 4;
/// Growth for each round of answers close to where the server has refused: each step beyond costs a refusal.
const CARE: f64 = 0.2;
/// Rounds of answers without a refusal after which the limit grows by one more a round.
const PATIENCE: f64 = 8.0;

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
    /// What that left.
    left: f64,
    /// Where it was before.
    peak: f64,
    /// The same, if the server has refused there twice in a row, and nothing for a round in between: that is about
    /// what it bears. Refusals at random are rarely so regular.
    brim: f64,
    /// Answers since then, while the limit was used.
    clean: f64,
    refused: Share,
    /// Share of attempts refused in the first round after a decrease.
    chance: f64,
    /// The attempts of the last such round that were sent before the limit had grown back to where it was.
    lowered: Range<u64>,
    lowered_from: u32,
    /// Refusals in a row that did not lower it.
    overlooked: u32,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
    /// The user said so.
    Asked,
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
            left: 0.0,
            peak: 0.0,
            brim: 0.0,
            clean: 0.0,
            refused: Share::default(),
            chance: 0.0,
            lowered: 0..0,
            lowered_from: 0,
            overlooked: 0,
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
        self.note(ended, false);
        let from = self.limit();
        let mut reason = Reason::Answers;
        let is_slow_start = self.limit < self.threshold;
        let verdict = match &mut self.queueing {
            None => Verdict::Grow,
            Some(queueing) => queueing.add(ended, at, took, from, is_slow_start),
        };
        if verdict != Verdict::Grow {
            self.threshold = self.threshold.min(self.limit);
        }
        match verdict {
            Verdict::Grow | Verdict::Creep if self.is_used(ended.used) => {
                self.clean += 1.0;
                self.limit = (self.limit + self.step()).min(self.ceiling);
                if self.limit() >= self.lowered_from {
                    self.lowered.end = self.lowered.end.min(ended.next);
                }
            }
            Verdict::Grow | Verdict::Creep | Verdict::Hold => {}
            Verdict::Become(limit) => {
                self.limit = limit.clamp(self.floor, self.ceiling);
                self.threshold = self.limit;
                self.clean = 0.0;
                reason = Reason::Latency;
            }
        }
        self.moved(from, reason)
    }

    /// An attempt was refused, or not answered in time.
    pub fn refuse(&mut self, ended: Ended, reason: Reason) -> Option<Move> {
        self.note(ended, true);
        if ended.number < self.since {
            return None;
        }
        let from = self.limit();
        // If it has not grown in between it is the same trouble as before.
        if self.limit > self.left {
            self.threshold = (self.limit / 2.0).max(self.floor);
        }
        let again = self.clean >= self.left.floor() && (self.limit - self.peak).abs() < 1.0;
        self.brim = if again { self.limit } else { 0.0 };
        self.peak = self.limit;
        self.cut();
        self.since = ended.next;
        if self.limit() < from {
            self.lowered = self.since..self.since + u64::from(self.limit());
            self.lowered_from = from;
        }
        self.left = self.limit;
        self.clean = 0.0;
        self.moved(from, reason)
    }

    /// Adds to both shares.
    fn note(&mut self, ended: Ended, is_refused: bool) {
        self.refused.add(is_refused);
        if self.lowered.contains(&ended.number) {
            let one = if is_refused { CHANCE_GAIN } else { 0.0 };
            self.chance = (self.chance + one - self.chance * CHANCE_GAIN).min(CHANCE);
        }
    }

    /// Goes down by the share of refusals that chance does not explain.
    fn cut(&mut self) {
        let excess = (self.refused.value() - self.chance).max(0.0) / (1.0 - self.chance);
        self.overlooked += 1;
        if excess < CLEAR && self.overlooked < OVERLOOKED {
            return;
        }
        self.overlooked = 0;
        // At least so far that one less is sent, and for some answers.
        let one_less = f64::from(self.limit()) - 0.2;
        self.limit = (self.limit * (1.0 - CUT * excess)).min(one_less).max(self.floor);
    }

    /// By how much an answer lets it grow.
    fn step(&self) -> f64 {
        let a_round = match self.limit {
            limit if limit < self.threshold => return 1.0,
            limit if (limit - self.brim).abs() < 1.0 => CARE,
            limit => 1.0 + self.clean / limit / PATIENCE,
        };
        (a_round / self.limit).min(1.0)
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
