//! Which failures are worth another attempt, and when. The one retry rule of the host.

use std::time::Duration;

use plugin_api::{Error, ErrorKind};

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Most attempts after the first; 0 is honoured.
    pub max_retries: u32,
    /// Longest time of one attempt.
    pub attempt_timeout: Duration,
    /// Longest time over all attempts of a sample, waits included, but for what a loading server takes.
    pub sample_timeout: Duration,
    /// Longest time that a loading server is waited for, from a sample's first failure of that kind; zero
    /// makes it a failure like any other.
    pub loading_timeout: Duration,
}

/// What has failed of a sample so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    /// Those of the request at hand that count as attempts.
    counted: u32,
    /// Those because the server was loading.
    loading: u32,
    /// When the first of these came, from the sample's start.
    loading_since: Option<Duration>,
    /// What these took, with the waits after them, and what was waited for a rate.
    excused: Duration,
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// How.
    pub kind: ErrorKind,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// When, from the sample's start.
    pub at: Duration,
    /// How long the attempt took.
    pub took: Duration,
    /// Whether it says something of the server and nothing of the sample, and so uses up no retry.
    pub is_free: bool,
}

/// First step of the back-off.
const BASE: Duration = Duration::from_millis(500);
/// Longest back-off that the host chooses by itself.
const CAP: Duration = Duration::from_secs(30);
/// The same for a server that is loading: it is idle, and asking it costs nothing.
const LOADING_CAP: Duration = Duration::from_secs(15);

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

/// Whether this is how a server fails that is down, whatever it is asked. One that answers with a 500, breaks a
/// generation off, or takes too long, may do so because of the request.
pub fn is_of_the_server(error: &Error) -> bool {
    match error.kind {
        ErrorKind::Transport | ErrorKind::Loading => true,
        ErrorKind::Overloaded => error.http_status.is_some_and(|status| status > 500),
        _ => false,
    }
}

impl Failures {
    /// Another request of the same sample begins: it has retries of its own.
    pub fn next_request(&mut self) {
        self.counted = 0;
    }

    /// So much of the sample's time went by through no fault of it or its servers.
    pub fn excuse(&mut self, time: Duration) {
        self.excused += time;
    }
}

impl RetryPolicy {
    /// How much of a sample's time is left `at` this time from its start.
    pub fn left(&self, failures: &Failures, at: Duration) -> Duration {
        self.sample_timeout.saturating_sub(at.saturating_sub(failures.excused))
    }

    /// How long to wait after this failure, which is added to `failures`; none if it was the last.
    ///
    /// A server that is loading will be ready once it has loaded, so this counts neither as an attempt nor
    /// against the sample's time; it has a budget of its own.
    pub fn next(&self, failures: &mut Failures, failed: &Failed, random: f64) -> Option<Duration> {
        if !is_retriable(failed.kind) || self.max_retries == 0 {
            return None;
        }
        if failed.kind == ErrorKind::Loading && !self.loading_timeout.is_zero() {
            return self.wait_for_loading(failures, failed, random);
        }
        // The sample's time bounds those that are free.
        if !failed.is_free {
            failures.counted += 1;
        }
        if failures.counted > self.max_retries {
            return None;
        }
        let wait = wait(failures.counted, CAP, failed.retry_after, random);
        // A wait beyond what is left would only end at the deadline.
        (wait < self.left(failures, failed.at)).then_some(wait)
    }

    fn wait_for_loading(
        &self,
        failures: &mut Failures,
        failed: &Failed,
        random: f64,
    ) -> Option<Duration> {
        let since = *failures.loading_since.get_or_insert(failed.at);
        let left = self.loading_timeout.saturating_sub(failed.at.saturating_sub(since));
        failures.loading += 1;
        failures.excused += failed.took;
        let mut wait = wait(failures.loading, LOADING_CAP, failed.retry_after, random);
        if failed.retry_after.is_none() {
            // The last look is at the end of the budget.
            wait = wait.min(left);
        }
        if left.is_zero() || wait > left {
            return None;
        }
        failures.excused += wait;
        Some(wait)
    }
}

/// Full jitter: `random` (0 to 1) of an exponential step. A server's wish is a floor, never shortened.
fn wait(failure: u32, cap: Duration, retry_after: Option<Duration>, random: f64) -> Duration {
    let doublings = failure.saturating_sub(1);
    let step = BASE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(cap);
    let jitter = step.mul_f64(random.clamp(0.0, 1.0));
    match retry_after {
        Some(floor) => floor.saturating_add(jitter.min(floor.max(BASE))),
        None => jitter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_retries: 3,
        attempt_timeout: Duration::from_secs(60),
        sample_timeout: Duration::from_secs(600),
        loading_timeout: Duration::from_secs(100),
    };

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failed(kind: ErrorKind, retry_after: Option<u64>, at: u64) -> Failed {
        let retry_after = retry_after.map(Duration::from_secs);
        Failed { kind, retry_after, at: seconds(at), took: seconds(1), is_free: false }
    }

    /// The wait after `count` failures of this kind in a row, all at the sample's start.
    fn after(count: u32, kind: ErrorKind, retry_after: Option<u64>, random: f64) -> Option<u128> {
        let mut failures = Failures::default();
        let waits =
            (0..count).map(|_| POLICY.next(&mut failures, &failed(kind, retry_after, 0), random));
        waits.last().flatten().map(|wait| wait.as_millis())
    }

    #[test]
    fn the_back_off_doubles_under_full_jitter() {
        let kind = ErrorKind::Overloaded;
        assert_eq!(
            [1, 2, 3].map(|count| after(count, kind, None, 1.0)),
            [500, 1000, 2000].map(Some)
        );
        assert_eq!(after(3, kind, None, 0.0), Some(0));
        assert_eq!(after(3, kind, None, 0.5), Some(1000));
    }

    #[test]
    fn a_servers_wish_is_never_shortened() {
        for random in [0.0, 0.3, 1.0] {
            for kind in [ErrorKind::RateLimited, ErrorKind::Loading] {
                assert!(after(1, kind, Some(7), random) >= Some(7000), "{kind}");
            }
        }
    }

    #[test]
    fn some_failures_and_some_attempts_are_final() {
        assert_eq!(after(4, ErrorKind::Overloaded, None, 0.0), None);
        let none = RetryPolicy { max_retries: 0, ..POLICY };
        for kind in [ErrorKind::RateLimited, ErrorKind::Loading] {
            let once = failed(kind, None, 0);
            assert_eq!(none.next(&mut Failures::default(), &once, 0.0), None, "{kind}");
        }
        for kind in ErrorKind::ALL.iter().filter(|kind| !is_retriable(**kind)) {
            assert_eq!(after(1, *kind, None, 0.0), None, "{kind}");
        }
    }

    #[test]
    fn a_wait_that_the_deadline_would_cut_is_not_begun() {
        let late = failed(ErrorKind::RateLimited, Some(7), 595);
        assert_eq!(POLICY.next(&mut Failures::default(), &late, 0.0), None);
    }

    #[test]
    fn only_a_server_that_answers_nobody_fails_whatever_it_is_asked() {
        let table = [
            (ErrorKind::Transport, None, true),
            (ErrorKind::Loading, Some(503), true),
            (ErrorKind::Overloaded, Some(503), true),
            (ErrorKind::Overloaded, Some(502), true),
            (ErrorKind::Overloaded, None, false),
            (ErrorKind::Overloaded, Some(200), false),
            (ErrorKind::Overloaded, Some(500), false),
            (ErrorKind::Timeout, None, false),
            (ErrorKind::Crashed, None, false),
        ];
        for (kind, http_status, expected) in table {
            let error = Error { http_status, ..Error::new(kind, "") };
            assert_eq!(is_of_the_server(&error), expected, "{kind} {http_status:?}");
        }
    }

    #[test]
    fn every_request_of_a_sample_has_retries_of_its_own() {
        let mut failures = Failures::default();
        let one = RetryPolicy { max_retries: 1, ..POLICY };
        let overloaded = failed(ErrorKind::Overloaded, None, 0);
        assert!(one.next(&mut failures, &overloaded, 0.0).is_some());
        assert!(one.next(&mut failures, &overloaded, 0.0).is_none());
        failures.next_request();
        assert!(one.next(&mut failures, &overloaded, 0.0).is_some());
    }

    /// Each row: what a loading server asks for and when it is asked, and how long the host waits then.
    #[test]
    fn a_loading_server_is_waited_for_until_its_budget_is_spent() {
        /// What the server asks for in seconds, when it fails in seconds, and the wait in milliseconds.
        type Step = (Option<u64>, u64, Option<u64>);
        let table: &[(&str, &[Step])] = &[
            (
                "doubling to a cap",
                &[
                    (None, 40, Some(500)),
                    (None, 41, Some(1000)),
                    (None, 42, Some(2000)),
                    (None, 43, Some(4000)),
                    (None, 44, Some(8000)),
                    (None, 50, Some(15_000)),
                    (None, 70, Some(15_000)),
                ],
            ),
            (
                "a last look at the end",
                &[(None, 0, Some(500)), (None, 99, Some(1000)), (None, 100, None)],
            ),
            (
                "its own wish",
                &[(Some(20), 0, Some(20_500)), (Some(20), 60, Some(21_000)), (Some(20), 95, None)],
            ),
            ("more than there is", &[(Some(101), 0, None)]),
        ];
        for (name, steps) in table {
            let mut failures = Failures::default();
            for (retry_after, at, expected) in *steps {
                let loading = failed(ErrorKind::Loading, *retry_after, *at);
                let wait = POLICY.next(&mut failures, &loading, 1.0);
                assert_eq!(wait, expected.map(Duration::from_millis), "{name} at {at}");
            }
        }
    }

    #[test]
    fn loading_costs_neither_attempts_nor_the_samples_time() {
        let mut failures = Failures::default();
        let one = RetryPolicy { max_retries: 1, ..POLICY };
        for at in [0, 30, 60] {
            assert!(
                one.next(&mut failures, &failed(ErrorKind::Loading, Some(20), at), 0.0).is_some()
            );
        }
        // Three attempts of a second, and three waits of twenty.
        assert_eq!(one.left(&failures, seconds(90)), seconds(600 - 90 + 63));
        let mut failures = Failures::default();
        assert!(POLICY.next(&mut failures, &failed(ErrorKind::Loading, None, 0), 0.0).is_some());
        for _ in 0..3 {
            assert!(
                POLICY.next(&mut failures, &failed(ErrorKind::Timeout, None, 5), 0.0).is_some()
            );
        }
        assert!(POLICY.next(&mut failures, &failed(ErrorKind::Timeout, None, 5), 0.0).is_none());
    }

    #[test]
    fn without_a_budget_loading_is_a_failure_like_any_other() {
        let none = RetryPolicy { loading_timeout: Duration::ZERO, max_retries: 1, ..POLICY };
        let mut failures = Failures::default();
        let loading = failed(ErrorKind::Loading, None, 0);
        assert_eq!(none.next(&mut failures, &loading, 1.0), Some(Duration::from_millis(500)));
        assert_eq!(none.next(&mut failures, &loading, 1.0), None);
    }
}
