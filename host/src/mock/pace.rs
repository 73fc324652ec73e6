//! How many requests a simulated server takes in a time: a bucket that fills steadily, as the vendors' do.
//!
//! Pure: the time is an argument, counted from the mock's start. It is written apart from the host's own limiter on
//! purpose, so that a mistake in one shows against the other.

use std::time::Duration;

/// What is left of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Requests a minute.
    pub(crate) limit: u32,
    /// Requests that would be taken at once.
    pub(crate) remaining: u32,
    /// Until the bucket is full again.
    pub(crate) reset: Duration,
}

/// What a level may lack of a whole request because times are rounded to nanoseconds.
const ROUNDING: f64 = 1e-6;

/// A bucket of requests.
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: u32,
    burst: u32,
    /// Requests in it at `filled`.
    level: f64,
    filled: Duration,
}

impl Bucket {
    /// A full bucket: `limit` requests a minute, `burst` of them at once; each at least one.
    pub(crate) fn new(limit: u32, burst: u32) -> Self {
        let (limit, burst) = (limit.max(1), burst.max(1));
        Self { limit, burst, level: f64::from(burst), filled: Duration::ZERO }
    }

    /// Takes a request, if there is one.
    ///
    /// # Errors
    /// How long until there is one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<Allowance, (Duration, Allowance)> {
        let since = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.level = (self.level + since * self.a_second()).min(f64::from(self.burst));
        if self.level >= 1.0 - ROUNDING {
            self.level = (self.level - 1.0).max(0.0);
            return Ok(self.allowance());
        }
        let wait = Duration::from_secs_f64((1.0 - self.level) / self.a_second());
        Err((wait, self.allowance()))
    }

    fn a_second(&self) -> f64 {
        f64::from(self.limit) / 60.0
    }

    fn allowance(&self) -> Allowance {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to the burst"
        )]
        let remaining = (self.level + ROUNDING) as u32;
        let reset = (f64::from(self.burst) - self.level) / self.a_second();
        Allowance { limit: self.limit, remaining, reset: Duration::from_secs_f64(reset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_at_a_time() {
        let mut bucket = Bucket::new(600, 3);
        let left: Vec<u32> = (0..3).map(|_| bucket.take(ms(0)).unwrap().remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        let (wait, allowance) = bucket.take(ms(0)).unwrap_err();
        assert_eq!((wait.as_millis(), allowance.remaining), (100, 0));
        assert_eq!((allowance.limit, allowance.reset.as_millis()), (600, 300));
        assert!(bucket.take(ms(99)).is_err());
        assert!(bucket.take(ms(100)).is_ok());
        assert!(bucket.take(ms(100)).is_err());
    }

    #[test]
    fn over_a_long_time_no_more_is_taken_than_the_rate() {
        let mut bucket = Bucket::new(600, 10);
        let taken = (0..60_000).filter(|at| bucket.take(ms(*at)).is_ok()).count();
        assert!((609..=610).contains(&taken), "{taken}");
    }

    #[test]
    fn a_wait_that_is_obeyed_is_rewarded() {
        let mut bucket = Bucket::new(7, 1);
        let mut now = ms(0);
        for _ in 0..100 {
            if let Err((wait, _)) = bucket.take(now) {
                now += wait;
                assert!(bucket.take(now).is_ok(), "{now:?}");
            }
        }
    }
}
