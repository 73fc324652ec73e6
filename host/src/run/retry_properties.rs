//! What the retry rule promises whatever happens: made-up histories of failures, told on a clock that only they move.

use std::time::Duration;

use plugin_api::ErrorKind;
use proptest::prelude::*;

use super::retry::{Failed, Failures, RetryPolicy, is_retriable};

/// A failure to come: its kind, whether it is free, what the server asks for, how much of its deadline it takes, and
/// the chance in its wait.
#[derive(Clone, Debug)]
struct Next {
    kind: ErrorKind,
    is_free: bool,
    retry_after: Option<Duration>,
    took: f64,
    random: f64,
}

/// What a history came to.
#[derive(Debug, Default)]
struct Told {
    attempts: u32,
    /// Attempts that were not free, and failed for another reason than a loading server.
    counted: u32,
    /// When the last attempt ended, from the start.
    at: Duration,
    /// What went by because a server was loading.
    loading: Duration,
    /// How the last attempt failed, if the rule ended it.
    last: Option<ErrorKind>,
}

/// Lets a sample fail until the rule or the history ends, and checks each wait on the way.
fn tell(policy: &RetryPolicy, history: &[Next]) -> Result<Told, TestCaseError> {
    let mut failures = Failures::default();
    let mut told = Told::default();
    for next in history {
        let left = policy.left(&failures, told.at);
        let deadline = policy.attempt_timeout.min(left);
        let took = deadline.mul_f64(next.took);
        told.at += took;
        told.attempts += 1;
        let is_loading = next.kind == ErrorKind::Loading && !policy.loading_timeout.is_zero();
        told.counted += u32::from(!is_loading && !next.is_free);
        let Next { kind, is_free, retry_after, .. } = *next;
        let failed = Failed { kind, retry_after, at: told.at, took, is_free };
        let Some(wait) = policy.next(&mut failures, &failed, next.random) else {
            told.last = Some(next.kind);
            return Ok(told);
        };
        prop_assert!(is_retriable(next.kind), "{} is tried again", next.kind);
        if let Some(floor) = next.retry_after {
            prop_assert!(wait >= floor, "the server asked for {floor:?}, and got {wait:?}");
        }
        if is_loading {
            prop_assert!(wait <= policy.loading_timeout);
            told.loading += took + wait;
        } else {
            let left = policy.left(&failures, told.at);
            prop_assert!(wait < left, "a wait of {wait:?} with {left:?} left");
        }
        told.at += wait;
    }
    Ok(told)
}

fn seconds(range: std::ops::Range<f64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs_f64)
}

fn policy() -> impl Strategy<Value = RetryPolicy> {
    let loading = prop_oneof![Just(Duration::ZERO), seconds(0.0..900.0)];
    (0_u32..20, seconds(0.001..200.0), seconds(0.001..1000.0), loading).prop_map(
        |(max_retries, attempt_timeout, sample_timeout, loading_timeout)| RetryPolicy {
            max_retries,
            attempt_timeout,
            sample_timeout,
            loading_timeout,
        },
    )
}

/// Failures of these kinds.
fn history(kinds: &'static [ErrorKind]) -> impl Strategy<Value = Vec<Next>> {
    let retry_after = prop_oneof![
        3 => Just(None),
        2 => seconds(0.0..60.0).prop_map(Some),
        // A server may ask for anything.
        1 => Just(Some(Duration::MAX)),
    ];
    let next = (prop::sample::select(kinds), prop::bool::ANY, retry_after, 0.0..=1.0, 0.0..=1.0)
        .prop_map(|(kind, is_free, retry_after, took, random)| Next {
            kind,
            is_free,
            retry_after,
            took,
            random,
        });
    prop::collection::vec(next, 1..60)
}

/// Those that the rule tries again.
const PASSING: &[ErrorKind] = &[
    ErrorKind::RateLimited,
    ErrorKind::Overloaded,
    ErrorKind::Timeout,
    ErrorKind::Transport,
    ErrorKind::Crashed,
];

proptest! {
    // A history that breaks a promise becomes a row of a table, not a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_attempts_and_time_are_bounded(
        policy in policy(),
        history in history(ErrorKind::ALL),
    ) {
        let told = tell(&policy, &history)?;
        prop_assert!(told.counted <= policy.max_retries.saturating_add(1), "{told:?}");
        // The sample's time stands still while a server is loading, and only then.
        let bound = policy.sample_timeout + told.loading;
        prop_assert!(told.at <= bound + Duration::from_millis(1), "{told:?} in {bound:?}");
    }

    #[test]
    fn no_retry_means_one_attempt(policy in policy(), history in history(ErrorKind::ALL)) {
        let told = tell(&RetryPolicy { max_retries: 0, ..policy }, &history)?;
        prop_assert_eq!(told.attempts, 1);
        prop_assert!(told.last.is_some());
    }

    #[test]
    fn what_may_pass_is_given_up_only_when_attempts_or_time_are_spent(
        policy in policy(),
        history in history(PASSING),
    ) {
        let told = tell(&policy, &history)?;
        let spent = policy.max_retries == 0 || told.counted > policy.max_retries;
        // The wait that would come next is at most half a minute, or what the server asks for, twice.
        let asked = history[told.attempts as usize - 1].retry_after.unwrap_or_default();
        let most = Duration::from_secs(30).max(asked.saturating_mul(2));
        let next = told.at.saturating_add(most).saturating_add(Duration::from_secs(1));
        let late = next >= policy.sample_timeout;
        prop_assert!(told.last.is_none() || spent || late, "{told:?}");
    }

    #[test]
    fn a_final_failure_is_never_tried_again(policy in policy(), history in history(ErrorKind::ALL)) {
        let told = tell(&policy, &history)?;
        let first_final = history.iter().position(|next| !is_retriable(next.kind));
        if let Some(first) = first_final {
            prop_assert!(told.attempts as usize <= first + 1, "{told:?}");
        }
    }

    #[test]
    fn a_loading_server_is_waited_for_within_its_own_budget(
        policy in policy(),
        history in history(&[ErrorKind::Loading]),
    ) {
        let loading_timeout = policy.loading_timeout.max(Duration::from_millis(1));
        let policy = RetryPolicy { loading_timeout, max_retries: policy.max_retries.max(1), ..policy };
        let told = tell(&policy, &history)?;
        prop_assert_eq!(told.counted, 0);
        // From the first failure to the last wait's end; the attempt that finds it still loading is one more.
        let bound = policy.loading_timeout + policy.attempt_timeout + policy.attempt_timeout;
        prop_assert!(told.at <= bound, "{told:?} in {bound:?}");
    }
}
