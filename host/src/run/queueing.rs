//! Whether a server's answers wait for each other: when more at once makes each slower and gains nothing. Only
//! `concurrency = "auto"` asks.
//!
//! How long an answer takes depends on its length first of all, so nothing is concluded from a single one. What
//! is compared are medians over windows; a window counts only attempts that began in it. Two things must come
//! together before the limit is eased: the median is more than twice the best seen, and no more answers come a
//! second than at best. And if, after easing, answers are as slow as before, it was not the number in flight that
//! made them slow (a task with longer answers has begun, say): then that is what is normal from here on.

use std::time::Duration;

use super::limiter::Ended;

/// Above this multiple of the best median the limit does not grow, unless more answers come.
const SLOW: f64 = 1.5;
/// Above this multiple it is eased.
const SLOWER: f64 = 2.0;
/// More answers a second, as a multiple of the most seen.
const MORE: f64 = 1.05;
/// What the best values lose with each window, so that an outlier does not rule for ever.
const AGING: f64 = 0.01;
/// After easing, the median must be below this multiple of what it was.
const RELIEF: f64 = 0.9;
/// Latencies kept of a window.
const KEPT: usize = 64;
/// Fewest latencies of a window in slow start.
const FEW: u32 = 8;

/// What a limit should do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Grow as answers come.
    #[default]
    Grow,
    /// Stay.
    Hold,
    /// Go down, once.
    Ease,
}

/// The present window, and what came before.
#[derive(Clone, Debug)]
pub struct Queueing {
    /// Number of the first attempt of the window.
    from: u64,
    /// When it began; none before the first.
    opened: Option<Duration>,
    /// Answers that came in it.
    answers: u32,
    /// Those of them that were asked in it, and the last of their latencies in microseconds.
    counted: u32,
    latencies: [u32; KEPT],
    /// Least median so far, in microseconds.
    best: f64,
    /// Most answers a second so far.
    most: f64,
    /// The median because of which the limit was eased.
    eased: Option<f64>,
    verdict: Verdict,
}

impl Default for Queueing {
    fn default() -> Self {
        Self {
            from: 0,
            opened: None,
            answers: 0,
            counted: 0,
            latencies: [0; KEPT],
            best: f64::INFINITY,
            most: 0.0,
            eased: None,
            verdict: Verdict::Grow,
        }
    }
}

impl Queueing {
    /// An answer came `at` this time and `took` so long, under this limit. In slow start windows are shorter.
    pub(super) fn add(
        &mut self,
        ended: Ended,
        at: Duration,
        took: Duration,
        limit: u32,
        slow_start: bool,
    ) -> Verdict {
        let opened = *self.opened.get_or_insert(at.saturating_sub(took));
        self.answers += 1;
        if ended.number >= self.from {
            let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.latencies[self.counted as usize % KEPT] = took;
            self.counted += 1;
        }
        let enough = if slow_start { FEW.max(limit / 2) } else { limit.max(KEPT as u32) };
        if self.counted < enough {
            return self.verdict;
        }
        let rate = f64::from(self.answers) / at.saturating_sub(opened).as_secs_f64().max(1e-6);
        let verdict = self.judge(self.median(), rate);
        // Easing is done once; until its effect is known the limit stays.
        self.verdict = if verdict == Verdict::Ease { Verdict::Hold } else { verdict };
        self.from = ended.next;
        self.opened = Some(at);
        self.answers = 0;
        self.counted = 0;
        verdict
    }

    fn judge(&mut self, median: f64, rate: f64) -> Verdict {
        if self.eased.take().is_some_and(|before| median > RELIEF * before) {
            self.best = median;
            self.most = rate;
            return Verdict::Grow;
        }
        let gains = rate > MORE * self.most;
        self.best = median.min(self.best * (1.0 + AGING));
        self.most = rate.max(self.most * (1.0 - AGING));
        let ratio = median / self.best.max(1.0);
        if gains || ratio <= SLOW {
            Verdict::Grow
        } else if ratio <= SLOWER {
            Verdict::Hold
        } else {
            self.eased = Some(median);
            Verdict::Ease
        }
    }

    fn median(&self) -> f64 {
        let mut latencies = self.latencies;
        let count = (self.counted as usize).min(KEPT);
        let (_, median, _) = latencies[..count].select_nth_unstable(count / 2);
        f64::from(*median)
    }
}
