//! When a request has taken so long that a second one is worth sending. Reads no clock and sends nothing.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Answers before anything is known of the latency.
const FEWEST: u64 = 100;
/// Answers that are remembered together; of the last such batch the whole is kept.
const BATCH: u64 = 4096;
/// Answers after which the percentile is looked up again.
const REFRESH: u64 = 32;
/// The percentile after which a request is called slow.
const SLOW: f64 = 0.99;
/// Of so many requests one may be sent a second time.
const ONE_OF: u64 = 50;
/// Longest latency that is told apart.
const LONGEST: Duration = Duration::from_secs(3600);

/// The latency of one backend so far, and how often it was hedged.
#[derive(Debug)]
pub struct Hedge {
    /// Microseconds, to two digits; none if the system gave no memory for it, which turns hedging off.
    latencies: Option<[Histogram<u32>; 2]>,
    /// What the batch before and this one say.
    slow: Option<Duration>,
    answers: u64,
    sent: u64,
    hedged: u64,
}

impl Default for Hedge {
    fn default() -> Self {
        Self::new()
    }
}

impl Hedge {
    /// Nothing is known.
    pub fn new() -> Self {
        let most = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        let one = || Histogram::new_with_bounds(1, most, 2).ok();
        let latencies = one().zip(one()).map(|(now, before)| [now, before]);
        Self { latencies, slow: None, answers: 0, sent: 0, hedged: 0 }
    }

    /// A request was sent; hedges are a share of these.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// An answer took so long. Of a request that was hedged, the time is that since its first attempt: with the
    /// winner's time alone every slow request would look like a fast one.
    pub fn answered(&mut self, took: Duration) {
        let Some([now, before]) = &mut self.latencies else { return };
        self.answers += 1;
        now.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        if self.answers >= FEWEST && self.answers.is_multiple_of(REFRESH) {
            let micros = now.value_at_quantile(SLOW);
            let micros = match before.len() {
                0 => micros,
                // A young batch knows little of its slowest hundredth.
                _ if now.len() < FEWEST => before.value_at_quantile(SLOW),
                _ => micros.max(before.value_at_quantile(SLOW)),
            };
            self.slow = Some(Duration::from_micros(micros));
        }
        if now.len() >= BATCH {
            std::mem::swap(now, before);
            now.reset();
        }
    }

    /// After which time without an answer a second attempt is worth sending; none while too little is known.
    pub fn after(&self) -> Option<Duration> {
        self.slow
    }

    /// Whether one more may be hedged now; if so it is counted. At most one request in fifty is, whatever the
    /// latency does: hedges must not be what overloads a slow server.
    pub fn claim(&mut self) -> bool {
        let allowed = self.slow.is_some() && (self.hedged + 1) * ONE_OF <= self.sent;
        self.hedged += u64::from(allowed);
        allowed
    }

    /// What was claimed was not sent: no replica was free.
    pub fn give_back(&mut self) {
        self.hedged = self.hedged.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Latencies of 1 to 100 ms, each as often as the others.
    fn fed(answers: u64) -> Hedge {
        let mut hedge = Hedge::new();
        for answer in 0..answers {
            hedge.sent();
            hedge.answered(milliseconds(1 + answer % 100));
        }
        hedge
    }

    #[test]
    fn nothing_is_called_slow_before_enough_is_known() {
        let mut young = fed(FEWEST - 1);
        assert_eq!((young.after(), young.claim()), (None, false));
        assert!(fed(FEWEST + REFRESH).after().is_some());
    }

    #[test]
    fn slow_is_what_is_slower_than_99_of_100() {
        for answers in [200, 10_000, 100_000] {
            let after = fed(answers).after().unwrap();
            assert!((milliseconds(97)..=milliseconds(101)).contains(&after), "{after:?}");
        }
    }

    #[test]
    fn it_follows_the_latency_when_another_task_begins() {
        let mut hedge = fed(10_000);
        (0..2 * BATCH + FEWEST).for_each(|_| hedge.answered(milliseconds(7)));
        let after = hedge.after().unwrap();
        assert!(after < milliseconds(8), "{after:?}");
    }

    #[test]
    fn never_more_than_one_request_in_fifty_is_hedged() {
        let mut hedge = fed(200);
        let claimed = (0..1000).filter(|_| hedge.claim()).count();
        assert_eq!((claimed, hedge.hedged), (4, 4));
        hedge.give_back();
        assert_eq!((hedge.claim(), hedge.claim()), (true, false));
    }
}
