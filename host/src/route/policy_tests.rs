//! Policies over replicas that are only numbers.

use super::policy::{Load, Policy};
use crate::config::Route;

/// A replica as wide as its position is high, with nothing in flight.
fn replicas(weights: &[u32]) -> Vec<Load> {
    let load = |(index, &weight): (usize, &u32)| Load {
        weight,
        in_flight: 0,
        identity: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(index as u64 + 1),
        free: true,
    };
    weights.iter().enumerate().map(load).collect()
}

fn policy(route: Route, replicas: usize) -> Policy {
    Policy::new(route, replicas, fastrand::Rng::with_seed(3))
}

/// How often each is picked, if everything that is picked stays in flight.
fn filled(route: Route, loads: &mut [Load], picks: u64) -> Vec<u32> {
    let mut policy = policy(route, loads.len());
    for prefix in 0..picks {
        let picked = policy.pick(loads, prefix).unwrap();
        loads[picked].in_flight += 1;
    }
    loads.iter().map(|load| load.in_flight).collect()
}

const ROUTES: [Route; 3] = [Route::LeastInFlight, Route::RoundRobin, Route::Prefix];

#[test]
fn only_a_free_replica_is_picked_and_any_one_that_alone_is_free() {
    for route in ROUTES {
        let mut loads = replicas(&[1, 5, 2]);
        let mut policy = policy(route, 3);
        for only in 0..3 {
            loads.iter_mut().enumerate().for_each(|(index, load)| load.free = index == only);
            assert!((0..20).all(|prefix| policy.pick(&loads, prefix) == Some(only)));
        }
        loads.iter_mut().for_each(|load| load.free = false);
        assert_eq!(policy.pick(&loads, 0), None);
    }
}

#[test]
fn each_is_given_its_weight() {
    for route in ROUTES {
        let given = filled(route, &mut replicas(&[1, 2, 5]), 800);
        for (given, share) in given.into_iter().zip([100, 200, 500]) {
            let off = given.abs_diff(share);
            assert!(off * 4 <= share, "{route:?}: {given} in place of {share}");
        }
    }
}

#[test]
fn idle_replicas_are_drawn_by_weight_too() {
    let mut policy = policy(Route::LeastInFlight, 2);
    let loads = replicas(&[1, 3]);
    let first = (0..4000).filter(|_| policy.pick(&loads, 0) == Some(0)).count();
    assert!((900..1100).contains(&first), "{first}");
}

#[test]
fn round_robin_spreads_each_ones_turns() {
    let mut policy = policy(Route::RoundRobin, 3);
    let loads = replicas(&[5, 1, 1]);
    let picks: Vec<_> = (0..7).map(|_| policy.pick(&loads, 0).unwrap()).collect();
    assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn of_two_the_one_with_less_in_flight_is_asked() {
    let mut loads = replicas(&[1, 1]);
    loads[0].in_flight = 7;
    loads[1].in_flight = 6;
    let mut policy = policy(Route::LeastInFlight, 2);
    assert!((0..100).all(|_| policy.pick(&loads, 0) == Some(1)));
}

#[test]
fn a_prefix_stays_with_its_replica_and_only_a_lost_ones_move() {
    let loads = replicas(&[1, 1, 1, 1]);
    let mut policy = policy(Route::Prefix, 4);
    let homes: Vec<_> = (0..4000).map(|prefix| policy.pick(&loads, prefix).unwrap()).collect();
    let mut without = loads.clone();
    without[2].free = false;
    let mut moved = 0;
    for (prefix, &home) in homes.iter().enumerate() {
        let now = policy.pick(&without, prefix as u64).unwrap();
        assert!(home == 2 || now == home, "a prefix moved although its replica is there");
        moved += usize::from(now != home);
    }
    assert!((900..1100).contains(&moved), "{moved}");
}

#[test]
fn prefixes_prefer_replicas_by_weight() {
    let loads = replicas(&[1, 3]);
    let mut policy = policy(Route::Prefix, 2);
    let first = (0..4000).filter(|&prefix| policy.pick(&loads, prefix) == Some(0)).count();
    assert!((900..1100).contains(&first), "{first}");
}

#[test]
fn one_popular_prefix_overflows_to_the_others() {
    let mut loads = replicas(&[1, 1, 1]);
    let mut policy = policy(Route::Prefix, 3);
    for _ in 0..90 {
        let picked = policy.pick(&loads, 42).unwrap();
        loads[picked].in_flight += 1;
    }
    let mut spread: Vec<_> = loads.iter().map(|load| load.in_flight).collect();
    spread.sort_unstable();
    assert!(spread[2] <= 38 && spread[0] >= 10, "{spread:?}");
    // While little is in flight it stays where it was.
    let mut calm = replicas(&[1, 1, 1]);
    let home = policy.pick(&calm, 42).unwrap();
    calm[home].in_flight = 3;
    assert_eq!(policy.pick(&calm, 42), Some(home));
}
