//! Which failures are worth another attempt, and when. The one retry rule of the host.

use std::time::Duration;

use plugin_api::ErrorKind;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Most attempts after the first; 0 is honoured.
    pub max_retries: u32,
    /// Longest time of one attempt.
    pub attempt_timeout: Duration,
    /// Longest time over all attempts of a sample, waits included.
    pub sample_timeout: Duration,
}

/// First step of the back-off.
const BASE: Duration = Duration::from_millis(500);
/// Longest back-off that the host chooses by itself.
const CAP: Duration = Duration::from_secs(30);

/// Whether the same request may succeed later.
pub fn is_retriable(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Loading
            | ErrorKind::Timeout
            | ErrorKind::Transport
            | ErrorKind::Crashed
    )
}

impl RetryPolicy {
    /// How long to wait after attempt number `attempt` (from 1) failed; none if that was the last.
    ///
    /// Full jitter: `random` (0 to 1) of an exponential step. A server's wish is a floor, never shortened.
    /// A wait beyond `left` would only end at the deadline, so it is not begun.
    pub fn wait(
        &self,
        attempt: u32,
        kind: ErrorKind,
        retry_after: Option<Duration>,
        left: Duration,
        random: f64,
    ) -> Option<Duration> {
        if attempt > self.max_retries || !is_retriable(kind) {
            return None;
        }
        let step = BASE.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX)).min(CAP);
        let jitter = step.mul_f64(random.clamp(0.0, 1.0));
        let wait = match retry_after {
            Some(floor) => floor + jitter.min(floor.max(BASE)),
            None => jitter,
        };
        (wait < left).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_retries: 3,
        attempt_timeout: Duration::from_secs(60),
        sample_timeout: Duration::from_secs(600),
    };
    const LONG: Duration = Duration::from_secs(600);

    fn wait(
        attempt: u32,
        kind: ErrorKind,
        after: Option<u64>,
        left: Duration,
        random: f64,
    ) -> Option<u128> {
        let after = after.map(Duration::from_millis);
        POLICY.wait(attempt, kind, after, left, random).map(|wait| wait.as_millis())
    }

    #[test]
    fn the_back_off_doubles_under_full_jitter() {
        let kind = ErrorKind::Overloaded;
        assert_eq!(
            [1, 2, 3].map(|attempt| wait(attempt, kind, None, LONG, 1.0)),
            [500, 1000, 2000].map(Some)
        );
        assert_eq!(wait(3, kind, None, LONG, 0.0), Some(0));
        assert_eq!(wait(3, kind, None, LONG, 0.5), Some(1000));
    }

    #[test]
    fn a_servers_wish_is_never_shortened() {
        for random in [0.0, 0.3, 1.0] {
            assert!(wait(1, ErrorKind::RateLimited, Some(7000), LONG, random) >= Some(7000));
        }
    }

    #[test]
    fn some_failures_and_some_attempts_are_final() {
        assert_eq!(wait(4, ErrorKind::Overloaded, None, LONG, 0.0), None);
        let none = RetryPolicy { max_retries: 0, ..POLICY };
        assert_eq!(none.wait(1, ErrorKind::RateLimited, None, LONG, 0.0), None);
        for kind in ErrorKind::ALL.iter().filter(|kind| !is_retriable(**kind)) {
            assert_eq!(wait(1, *kind, None, LONG, 0.0), None, "{kind}");
        }
    }

    #[test]
    fn a_wait_that_the_deadline_would_cut_is_not_begun() {
        assert_eq!(wait(1, ErrorKind::RateLimited, Some(7000), Duration::from_secs(5), 0.0), None);
    }
}
