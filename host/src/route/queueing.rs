//! Whether a server's answers wait for each other: when more at once makes each slower and gains little. Only
//! `concurrency = "auto"` asks.
//!
//! How long an answer takes depends on its length first of all, so nothing is concluded from a single one: whole
//! windows are compared, and a window counts only latencies of attempts that began in it. A slow median alone means
//! little too, since a server that batches answers each more slowly and all of them sooner. So what decides is
//! answers a second. From a limit that is known to be worth it, half as many again are tried; if answers are slow
//! then and not clearly more come, it goes back and stays for a while. And while they are slow, half as many again
//! *fewer* are tried in turn: if about as many come, that is where it stays. Each way a wrong turn that noise or a
//! new task with longer answers made is found out and taken back, so the limit cannot freeze.

use std::time::Duration;

use super::limiter::Ended;

/// Up to this multiple of the best median, nothing waits.
const SLOW: f64 = 1.5;
/// This many times as many in flight must bring ...
const MORE: f64 = 1.5;
/// ... this many times as many answers a second.
const WORTH: f64 = 1.2;
/// Windows without trying anything, after something was tried.
const SETTLED: u32 = 12;
/// What the best median gains with each window, so that an outlier or a task with short answers does not rule for
/// ever.
const AGING: f64 = 1.01;
/// Latencies kept of a window, and fewest that it has.
const KEPT: usize = 128;
/// The same in slow start.
const FEW: u32 = 16;

/// What a limit should do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Verdict {
    /// Grow as answers come.
    #[default]
    Grow,
    /// Grow by one for each round of answers.
    Creep,
    /// Stay.
    Hold,
    /// Go there at once.
    Become(f64),
}

/// The present window, and what came before.
#[derive(Clone, Debug)]
pub struct Queueing {
    /// Number of the first attempt of the window.
    from: u64,
    /// When it began, and the limit then; none before the first.
    opened: Option<(Duration, u32)>,
    /// Answers that came in it.
    answers: u32,
    /// Those of them that were asked in it, and the last of their latencies in microseconds.
    counted: u32,
    latencies: [u32; KEPT],
    /// Whether it still sees what was in flight before the limit was changed.
    is_transient: bool,
    /// Least median, in microseconds.
    best: Option<f64>,
    /// A limit that is worth it, and the answers a second there.
    known: Option<(f64, f64)>,
    /// Windows before something is tried again.
    settled: u32,
    /// Whether fewer are being tried.
    tries_fewer: bool,
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
            is_transient: false,
            best: None,
            known: None,
            settled: 0,
            tries_fewer: false,
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
        is_slow_start: bool,
    ) -> Verdict {
        let (opened, began_with) = *self.opened.get_or_insert((at.saturating_sub(took), limit));
        self.answers += 1;
        if ended.number >= self.from {
            let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.latencies[self.counted as usize % KEPT] = took;
            self.counted += 1;
        }
        let enough = if is_slow_start { FEW.max(limit / 2) } else { limit.max(KEPT as u32) };
        if self.counted < enough {
            return self.verdict;
        }
        if !std::mem::take(&mut self.is_transient) {
            let rate = f64::from(self.answers) / at.saturating_sub(opened).as_secs_f64().max(1e-6);
            self.verdict = self.judge(self.median(), rate, f64::from(began_with.min(limit)));
        }
        self.from = ended.next;
        self.opened = Some((at, limit));
        self.answers = 0;
        self.counted = 0;
        if let Verdict::Become(_) = self.verdict {
            // That is done once; until its effect is known the limit stays.
            self.is_transient = true;
            return std::mem::replace(&mut self.verdict, Verdict::Hold);
        }
        self.verdict
    }

    fn judge(&mut self, median: f64, rate: f64, limit: f64) -> Verdict {
        let best = self.best.map_or(median, |best| (best * AGING).min(f64::midpoint(best, median)));
        self.best = Some(best);
        let is_slow = median > SLOW * best;
        let Some((known, before)) = self.known else {
            self.known = Some((limit, rate));
            return Verdict::Grow;
        };
        if std::mem::take(&mut self.tries_fewer) {
            self.settled = SETTLED;
            if rate < before / WORTH {
                return Verdict::Become(known);
            }
            self.known = Some((limit, rate));
            return Verdict::Hold;
        }
        if limit >= MORE * known {
            if is_slow && rate < WORTH * before {
                self.settled = SETTLED;
                return Verdict::Become(known);
            }
            self.known = Some((limit, rate));
            return if is_slow { Verdict::Creep } else { Verdict::Grow };
        }
        if limit <= known {
            // Refusals may have brought it here: what is known is what is now.
            self.known =
                Some((limit, if limit < known { rate } else { f64::midpoint(before, rate) }));
        }
        match self.settled {
            0 if is_slow => Verdict::Creep,
            0 => Verdict::Grow,
            1 if is_slow => {
                self.settled = 0;
                self.tries_fewer = true;
                Verdict::Become(limit / MORE)
            }
            _ => {
                self.settled -= 1;
                Verdict::Hold
            }
        }
    }

    fn median(&self) -> f64 {
        let mut latencies = self.latencies;
        let count = (self.counted as usize).min(KEPT);
        let (_, median, _) = latencies[..count].select_nth_unstable(count / 2);
        f64::from(*median)
    }
}
