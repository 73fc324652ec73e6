//! Rates on a clock that is only counted.

use std::time::Duration;

use plugin_api::message::Limits;
use proptest::prelude::*;

use super::rate::{Gcra, InFlight, Learnt, Pace};

const MINUTE: Duration = Duration::from_secs(60);

/// Most units that any window of a minute has.
fn most_in_a_minute(taken: &[(Duration, u64)]) -> u64 {
    let mut first = 0;
    let mut sum = 0;
    let mut most = 0;
    for &(at, units) in taken {
        sum += units;
        while taken[first].0 + MINUTE <= at {
            sum -= taken[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

/// Takes units as early as it may after each gap.
fn greedy(rate: &mut Gcra, wishes: impl Iterator<Item = (u64, u64)>) -> Vec<(Duration, u64)> {
    let mut now = Duration::ZERO;
    wishes
        .map(|(gap_us, units)| {
            now = (now + Duration::from_micros(gap_us)).max(rate.ready_at(units));
            rate.take(now, units);
            (now, units)
        })
        .collect()
}

proptest! {
    #[test]
    fn no_minute_has_more_requests_than_allowed_and_a_burst(
        per_minute in 1_u64..5000,
        gaps in prop::collection::vec(prop_oneof![3 => Just(0), 1 => 0_u64..5_000_000], 1..800),
    ) {
        let mut rate = Gcra::per_minute(per_minute);
        let taken = greedy(&mut rate, gaps.into_iter().map(|gap| (gap, 1)));
        prop_assert!(most_in_a_minute(&taken) <= per_minute + rate.burst());
    }

    #[test]
    fn no_minute_has_more_tokens_than_allowed_and_a_burst_and_one_request(
        per_minute in 60_u64..1_000_000,
        wishes in prop::collection::vec((0_u64..2_000_000, 0_u64..20_000), 1..500),
    ) {
        let mut rate = Gcra::per_minute(per_minute);
        let largest = wishes.iter().map(|(_, units)| *units).max().unwrap_or(0);
        let taken = greedy(&mut rate, wishes.into_iter());
        prop_assert!(most_in_a_minute(&taken) <= per_minute + rate.burst() + largest);
    }

    #[test]
    fn what_was_estimated_wrongly_is_settled_at_the_end(
        per_minute in 60_u64..1_000_000,
        used in prop::collection::vec(1_u64..5000, 1..300),
        estimate in 0_u64..5000,
    ) {
        // One after the other, each corrected before the next is asked for.
        let mut rate = Gcra::per_minute(per_minute);
        let mut now = Duration::ZERO;
        let taken: Vec<_> = used.iter().map(|&used| {
            now = now.max(rate.ready_at(estimate));
            rate.take(now, estimate);
            rate.correct(now, estimate, used);
            (now, used)
        }).collect();
        prop_assert!(most_in_a_minute(&taken) <= per_minute + rate.burst() + 5000);
    }
}

#[test]
fn what_is_allowed_is_used_in_full() {
    for per_minute in [1, 7, 60, 599, 6000] {
        let mut rate = Gcra::per_minute(per_minute);
        let taken = greedy(&mut rate, (0..10 * per_minute).map(|_| (0, 1)));
        let (last, _) = taken.last().copied().unwrap();
        assert!(last <= MINUTE * 10, "{per_minute}: {last:?}");
    }
}

#[test]
fn few_requests_a_minute_are_spread_evenly() {
    let mut rate = Gcra::per_minute(6);
    let times: Vec<_> =
        greedy(&mut rate, [(0, 1); 4].into_iter()).iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 10, 20, 30]);
}

#[test]
fn a_request_larger_than_a_burst_waits_until_nothing_is_owed_and_is_paid_for_in_full() {
    let mut rate = Gcra::per_minute(60);
    assert_eq!(rate.ready_at(30), Duration::ZERO);
    rate.take(Duration::ZERO, 30);
    assert_eq!(rate.ready_at(1), Duration::from_secs(30));
    assert_eq!(rate.ready_at(1000), Duration::from_secs(30));
}

#[test]
fn a_request_is_sent_when_both_rates_allow_it() {
    let mut pace = Pace::new(Some(60), Some(600));
    pace.take(Duration::ZERO, 100);
    assert_eq!(pace.ready_at(10), Duration::from_secs(10));
    pace.correct(Duration::ZERO, 100, 10);
    assert_eq!(pace.ready_at(10), Duration::from_secs(1));
    pace.give_back(10);
    assert_eq!(pace.ready_at(10), Duration::ZERO);
    assert_eq!(Pace::new(None, None).ready_at(u64::MAX), Duration::ZERO);
}

fn said(requests: Option<u64>, tokens: Option<u64>, reset: Option<u64>) -> Limits {
    Limits { requests_remaining: requests, tokens_remaining: tokens, reset_ms: reset }
}

#[test]
fn nothing_is_sent_until_the_reset_once_what_is_left_is_used_or_in_flight() {
    let others = |requests, tokens| InFlight { requests, tokens };
    for (limits, others, ready_s) in [
        (said(Some(0), None, Some(5000)), others(0, 0), 5),
        (said(Some(3), None, Some(5000)), others(3, 0), 5),
        (said(Some(3), None, Some(5000)), others(2, 0), 0),
        (said(None, Some(99), Some(5000)), others(0, 0), 5),
        (said(None, Some(199), Some(5000)), others(1, 100), 5),
        (said(Some(9), Some(900), Some(5000)), others(1, 100), 0),
        (said(Some(0), None, None), others(0, 0), 1),
        (said(Some(0), None, Some(86_400_000)), others(0, 0), 60),
        (said(None, None, Some(5000)), others(0, 0), 0),
    ] {
        let mut learnt = Learnt::default();
        learnt.note(Duration::ZERO, 7, &limits, others);
        assert_eq!(learnt.ready_at(100), Duration::from_secs(ready_s), "{limits:?}");
    }
}

#[test]
fn what_is_left_is_counted_down_and_forgotten_after_the_reset() {
    let mut learnt = Learnt::default();
    let limits = said(Some(2), None, Some(5000));
    assert_eq!(learnt.note(Duration::ZERO, 1, &limits, InFlight::default()), None);
    let second = Duration::from_secs(1);
    learnt.take(second, 0);
    assert_eq!(learnt.ready_at(0), Duration::ZERO);
    learnt.take(second, 0);
    assert_eq!(learnt.ready_at(0), second * 5);
    learnt.take(second * 5, 0);
    assert_eq!(learnt.ready_at(0), Duration::ZERO);
}

#[test]
fn a_reply_that_was_overtaken_cannot_say_that_more_is_left() {
    let none = InFlight::default();
    let mut learnt = Learnt::default();
    assert!(learnt.note(Duration::ZERO, 9, &said(Some(0), None, Some(5000)), none).is_some());
    learnt.note(Duration::ZERO, 8, &said(Some(4), None, Some(9000)), none);
    assert_eq!(learnt.ready_at(0), Duration::from_secs(5));
    learnt.note(Duration::ZERO, 10, &said(Some(4), None, Some(9000)), none);
    assert_eq!(learnt.ready_at(0), Duration::ZERO);
}
