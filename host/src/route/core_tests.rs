//! What the router decides, on a clock that is only counted.

use std::time::Duration;

use plugin_api::{ErrorKind, message::Limits};
use proptest::prelude::*;

use super::{
    change::{Pause, Rest, Standing, What},
    core::{Core, Grant},
    limiter::Reason,
    router::{Attempt, ReplicaSettings, RouterSettings, Wanted},
};
use crate::config::{Concurrency, Route};

const fn milliseconds(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// So many replicas of the same weight, with a fixed number of attempts each.
fn settings(replicas: usize, each: u32) -> RouterSettings {
    RouterSettings {
        replicas: (0..replicas)
            .map(|index| ReplicaSettings { name: format!("replica-{index}"), weight: 1 })
            .collect(),
        concurrency: Concurrency { auto: false, floor: 1, ceiling: each },
        route: Route::LeastInFlight,
        eject_after: 5,
        rpm: None,
        tpm: None,
    }
}

fn core(settings: &RouterSettings) -> Core {
    Core::new(settings, fastrand::Rng::with_seed(1))
}

fn ended(result: Result<u64, ErrorKind>) -> Attempt<'static> {
    Attempt { result, took: milliseconds(10), retry_after: None, limits: None }
}

const ANY: Wanted = Wanted { prefix: 0, tokens: 0, avoid: None };

/// Takes one place, and ends it so.
fn attempt(core: &mut Core, now: Duration, attempt: &Attempt<'_>) -> Grant {
    let grant = core.take(now, &ANY).unwrap();
    core.finish(now, grant, Some(attempt));
    grant
}

#[test]
fn who_comes_from_a_failure_goes_elsewhere_if_that_is_free() {
    let mut core = core(&settings(2, 3));
    let wanted = Wanted { avoid: Some(0), ..ANY };
    let replicas: Vec<_> =
        (0..6).map(|_| core.take(Duration::ZERO, &wanted).unwrap().replica).collect();
    assert_eq!(replicas, [1, 1, 1, 0, 0, 0]);
    assert_eq!(core.take(Duration::ZERO, &wanted).unwrap_err(), None);
}

#[test]
fn a_server_that_refuses_everything_rests_as_long_as_it_asks() {
    let mut core = core(&settings(1, 8));
    let refused =
        Attempt { retry_after: Some(milliseconds(7000)), ..ended(Err(ErrorKind::RateLimited)) };
    attempt(&mut core, Duration::ZERO, &refused);
    let later = core.take(milliseconds(1), &ANY).unwrap_err();
    assert_eq!(later, Some(milliseconds(7000)));
    let state = &core.snapshot(milliseconds(1))[0];
    assert_eq!((state.state, state.rests_ms), (Standing::Resting, 6999));
    let rest = Rest { kind: ErrorKind::RateLimited, left: milliseconds(6999) };
    assert_eq!(core.rest(milliseconds(1)), Some(rest));
    assert_eq!(core.rest(milliseconds(7000)), None);
    assert!(core.take(milliseconds(7000), &ANY).is_ok());
}

#[test]
fn a_rest_is_that_of_the_replica_that_may_be_asked_first() {
    let mut core = core(&settings(2, 8));
    let refused = |ms, kind| Attempt { retry_after: Some(milliseconds(ms)), ..ended(Err(kind)) };
    attempt(&mut core, Duration::ZERO, &refused(9000, ErrorKind::RateLimited));
    assert_eq!(core.rest(Duration::ZERO), None);
    attempt(&mut core, Duration::ZERO, &refused(5000, ErrorKind::Overloaded));
    let rest = Rest { kind: ErrorKind::Overloaded, left: milliseconds(5000) };
    assert_eq!(core.rest(Duration::ZERO), Some(rest));
}

#[test]
fn a_rest_that_turns_out_to_be_much_longer_is_noted_again() {
    let mut core = core(&settings(1, 8));
    let grants: Vec<_> = (0..4).map(|_| core.take(Duration::ZERO, &ANY).unwrap()).collect();
    for (grant, ms) in grants.into_iter().zip([1_000, 3_600_000, 3_600_500, 3_500_000]) {
        let refused =
            Attempt { retry_after: Some(milliseconds(ms)), ..ended(Err(ErrorKind::RateLimited)) };
        core.finish(Duration::ZERO, grant, Some(&refused));
    }
    let rests = core.take_changes().into_iter().filter_map(|change| match change.what {
        What::Rest { ms, .. } => Some(ms),
        _ => None,
    });
    assert_eq!(rests.collect::<Vec<_>>(), [1_000, 3_600_000]);
}

#[test]
fn one_refusal_among_many_answers_makes_nobody_else_wait() {
    let mut core = core(&settings(1, 8));
    (0..20).for_each(|_| _ = attempt(&mut core, Duration::ZERO, &ended(Ok(1))));
    let refused =
        Attempt { retry_after: Some(milliseconds(7000)), ..ended(Err(ErrorKind::RateLimited)) };
    attempt(&mut core, Duration::ZERO, &refused);
    assert!(core.take(milliseconds(1), &ANY).is_ok());
}

#[test]
fn a_strange_wish_for_rest_is_cut_if_there_are_other_replicas() {
    for (replicas, seconds) in [(1, 9000), (2, 60)] {
        let mut core = core(&settings(replicas, 1));
        let refused = Attempt {
            retry_after: Some(Duration::from_secs(9000)),
            ..ended(Err(ErrorKind::RateLimited))
        };
        (0..replicas).for_each(|_| _ = attempt(&mut core, Duration::ZERO, &refused));
        let later = core.take(milliseconds(1), &ANY).unwrap_err();
        assert_eq!(later, Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn sustained_refusals_are_asked_ever_more_slowly_but_always_again() {
    let mut core = core(&settings(1, 1));
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..9 {
        attempt(&mut core, now, &ended(Err(ErrorKind::RateLimited)));
        let until = core.take(now, &ANY).unwrap_err().unwrap();
        waits.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    attempt(&mut core, now, &ended(Ok(1)));
    assert!(core.take(now, &ANY).is_ok(), "an answer ends it");
}

#[test]
fn what_a_server_says_is_left_is_obeyed() {
    let mut core = core(&settings(1, 8));
    let limits =
        Limits { requests_remaining: Some(1), tokens_remaining: None, reset_ms: Some(9000) };
    attempt(&mut core, Duration::ZERO, &Attempt { limits: Some(&limits), ..ended(Ok(5)) });
    assert!(core.take(milliseconds(1), &ANY).is_ok());
    assert_eq!(core.take(milliseconds(1), &ANY).unwrap_err(), Some(milliseconds(9000)));
    assert!(core.take(milliseconds(9000), &ANY).is_ok());
}

#[test]
fn rates_hold_over_all_replicas_and_an_attempt_that_was_not_sent_is_not_counted() {
    let mut core = core(&RouterSettings { rpm: Some(60), ..settings(3, 8) });
    let first = core.take(Duration::ZERO, &ANY).unwrap();
    assert_eq!(core.take(Duration::ZERO, &ANY).unwrap_err(), Some(milliseconds(1000)));
    core.undo(Duration::ZERO, first);
    assert!(core.take(Duration::ZERO, &ANY).is_ok());
}

#[test]
fn a_dead_replica_gets_only_probes_and_comes_back() {
    let mut core = core(&settings(2, 4));
    let mut now = Duration::ZERO;
    let mut asked = [0; 2];
    // Replica 1 is dead for a minute.
    while now < Duration::from_secs(120) {
        let grant = core.take(now, &ANY).unwrap();
        let is_dead = grant.replica == 1 && now < Duration::from_secs(60);
        asked[grant.replica] += 1;
        let result = if is_dead { Err(ErrorKind::Transport) } else { Ok(1) };
        core.finish(now, grant, Some(&ended(result)));
        if now < Duration::from_secs(60) {
            assert!(asked[1] <= 5 + 9, "{} attempts by {now:?}", asked[1]);
        }
        now += milliseconds(20);
    }
    assert!(asked[1] > 1000, "{asked:?}");
    let whats: Vec<_> = core.take_changes().into_iter().map(|change| change.what).collect();
    assert_eq!(whats[0], What::Ejected { failures: 5, probe_in_ms: 250 });
    assert_eq!(whats[1..3], [What::Probe {}, What::ProbeFailed { probe_in_ms: 500 }]);
    assert!(matches!(whats.last(), Some(What::Recovered { after_ms: 60_000.. })), "{whats:?}");
}

#[test]
fn a_lone_server_that_was_away_is_asked_soon_and_by_few() {
    let mut core = core(&settings(1, 32));
    let mut now = Duration::ZERO;
    let mut asked = 0;
    // It refuses connections for 20 s; whatever may be sent is sent.
    let back = loop {
        match core.take(now, &ANY) {
            Ok(grant) if now < Duration::from_secs(20) => {
                asked += 1;
                core.finish(now, grant, Some(&ended(Err(ErrorKind::Transport))));
            }
            Ok(grant) => {
                core.finish(now, grant, Some(&ended(Ok(1))));
                break now;
            }
            Err(until) => now = until.unwrap(),
        }
    };
    assert!(asked <= 14, "{asked}");
    assert!(back <= Duration::from_secs(25), "{back:?}");
    // From then on everything is sent at once again.
    assert!((0..32).all(|_| core.take(back, &ANY).is_ok()));
}

#[test]
fn what_is_waited_for_a_rate_is_known_and_counted_once() {
    let rpm = RouterSettings { rpm: Some(60), ..settings(1, 4) };
    let mut core = core(&rpm);
    assert!(core.take(Duration::ZERO, &ANY).is_ok());
    for at in [0, 200] {
        assert_eq!(core.take(milliseconds(at), &ANY).unwrap_err(), Some(milliseconds(1000)));
    }
    assert_eq!(
        [0, 400, 1000, 9000].map(|at| core.paced(milliseconds(at)).as_millis()),
        [0, 400, 1000, 1000]
    );
    // What waits for a place, and not for a rate, is no such time.
    let mut core = self::core(&settings(1, 1));
    assert!(core.take(Duration::ZERO, &ANY).is_ok());
    assert!(core.take(Duration::ZERO, &ANY).is_err());
    assert_eq!(core.paced(milliseconds(500)), Duration::ZERO);
}

#[test]
fn a_history_of_limits_says_why_and_joins_small_steps() {
    let mut core = core(&settings(1, 10));
    let now = milliseconds(3);
    attempt(&mut core, now, &ended(Err(ErrorKind::Overloaded)));
    let grants: Vec<_> = (0..6).map(|_| core.take(now, &ANY).unwrap()).collect();
    for _ in 0..20 {
        let grant = grants[0];
        core.finish(now, grant, Some(&ended(Ok(1))));
        core.take(now, &ANY).unwrap();
    }
    let changes = core.take_changes();
    let limit = |from, to, reason| What::Limit { from, to, reason };
    assert_eq!(changes[0].what, limit(10, 6, Reason::Overloaded));
    assert!(matches!(changes[1].what, What::Limit { from: 6, to: 7.., reason: Reason::Answers }));
    assert_eq!(changes.len(), 2);
    assert_eq!(
        serde_json::to_string(&changes[0]).unwrap(),
        r#"{"at_ms":3,"replica":"replica-0","change":{"limit":{"from":10,"to":6,"reason":"overloaded"}}}"#
    );
    assert!(core.take_changes().is_empty());
}

#[test]
fn changes_that_nobody_fetches_are_bounded_and_say_so() {
    let mut core = core(&settings(1, 1));
    let mut now = Duration::ZERO;
    for _ in 0..2000 {
        attempt(&mut core, now, &ended(Err(ErrorKind::RateLimited)));
        now = core.take(now, &ANY).unwrap_err().unwrap();
    }
    let changes = core.take_changes();
    assert!(changes.len() <= 1025);
    assert!(matches!(changes[0].what, What::Missing { changes: 976 }), "{:?}", changes[0]);
    assert!(matches!(changes[1].what, What::Rest { reason: Pause::RateLimited, .. }));
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Take { tokens: u64, prefix: u64, avoid: Option<usize> },
    End { which: usize, how: u8, retry_after_ms: Option<u64> },
    Wait { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u64..200, 0_u64..20, prop::option::of(0_usize..4))
            .prop_map(|(tokens, prefix, avoid)| Step::Take { tokens, prefix, avoid }),
        3 => (0_usize..64, 0_u8..12, prop::option::weighted(0.1, 0_u64..5000))
            .prop_map(|(which, how, retry_after_ms)| Step::End { which, how, retry_after_ms }),
        2 => (0_u64..400).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn limits_hold_in_any_history_and_time_alone_gives_a_place_when_nothing_is_in_flight(
        steps in steps(),
        replicas in 1_usize..4,
        each in 1_u32..6,
        route in prop::sample::select(vec![Route::LeastInFlight, Route::RoundRobin, Route::Prefix]),
        rpm in prop::option::of(60_u32..3000),
    ) {
        let settings = RouterSettings { route, rpm, eject_after: 2, ..settings(replicas, each) };
        let mut core = core(&settings);
        let mut now = Duration::ZERO;
        let mut open: Vec<Grant> = Vec::new();
        let mut sent = Vec::new();
        for step in steps {
            match step {
                Step::Wait { ms } => now += milliseconds(ms),
                Step::Take { tokens, prefix, avoid } => {
                    let before = core.snapshot(now);
                    let taken = core.take(now, &Wanted { prefix, tokens, avoid });
                    match taken {
                        Ok(grant) => {
                            let replica = &before[grant.replica];
                            prop_assert!(replica.in_flight < replica.limit);
                            prop_assert!(replica.limit <= each);
                            prop_assert!(replica.state != Standing::Resting);
                            prop_assert_eq!(
                                grant.is_probe,
                                matches!(replica.state, Standing::Ejected | Standing::Probing)
                            );
                            open.push(grant);
                            sent.push(now);
                        }
                        Err(until) => prop_assert!(until.is_none_or(|until| until > now)),
                    }
                }
                Step::End { .. } if open.is_empty() => {}
                Step::End { which, how, retry_after_ms } => {
                    let grant = open.swap_remove(which % open.len());
                    let result = match how {
                        0 => Err(ErrorKind::RateLimited),
                        1 => Err(ErrorKind::Overloaded),
                        2 => Err(ErrorKind::Transport),
                        3 => Err(ErrorKind::Timeout),
                        4 => Err(ErrorKind::InvalidRequest),
                        _ => Ok(u64::from(how)),
                    };
                    let retry_after = retry_after_ms.map(milliseconds);
                    let attempt = Attempt { retry_after, ..ended(result) };
                    core.finish(now, grant, (how != 5).then_some(&attempt));
                }
            }
            let in_flight: u32 = core.snapshot(now).iter().map(|one| one.in_flight).sum();
            prop_assert_eq!(in_flight as usize, open.len());
        }
        if let Some(rpm) = rpm {
            let burst = (rpm / 60).max(1);
            let windows = sent.iter().enumerate().map(|(first, &from)| {
                sent[first..].iter().take_while(|&&at| at < from + Duration::from_secs(60)).count()
            });
            prop_assert!(windows.max().unwrap_or(0) <= (rpm + burst) as usize);
        }
        for grant in open.drain(..) {
            core.finish(now, grant, None);
        }
        // Whatever has happened: with nothing in flight there is always a time to wait for, and it comes.
        let mut waits = 0;
        while let Err(until) = core.take(now, &ANY) {
            let until = until.unwrap();
            prop_assert!(until > now && until < now + Duration::from_secs(70));
            now = until;
            waits += 1;
            prop_assert!(waits < 10);
        }
    }
}
