//! The limiter against simulated servers, on a clock that is only counted.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use proptest::prelude::*;

use super::limiter::{Ended, Limiter, Move, Reason};
use crate::config::Concurrency;

const MILLISECOND: Duration = Duration::from_millis(1);

fn fixed(ceiling: u32) -> Limiter {
    Limiter::new(Concurrency { auto: false, floor: 1, ceiling })
}

fn auto(ceiling: u32) -> Limiter {
    Limiter::new(Concurrency { auto: true, floor: 1, ceiling })
}

/// How an attempt will end: when, its number, in flight when it began, whether it is answered, time it took.
type End = (Duration, u64, u32, bool, Duration);

/// A limiter that always has more to send, and a server.
struct Simulation {
    limiter: Limiter,
    now: Duration,
    next: u64,
    /// The soonest first.
    ends: BinaryHeap<Reverse<End>>,
    answered: u32,
    refused: u32,
}

impl Simulation {
    fn new(limiter: Limiter) -> Self {
        Self {
            limiter,
            now: Duration::ZERO,
            next: 0,
            ends: BinaryHeap::new(),
            answered: 0,
            refused: 0,
        }
    }

    /// Goes on for so long. `server` is told how many are in flight with an attempt that begins, and says if and
    /// after what time it answers. Returns the limit's mean, over its moves and answers.
    fn run(&mut self, time: Duration, server: &mut dyn FnMut(u32) -> (bool, Duration)) -> f64 {
        let end = self.now + time;
        let (mut sum, mut count) = (0.0, 0.0);
        while self.now < end {
            while (self.ends.len() as u32) < self.limiter.limit() {
                let in_flight = self.ends.len() as u32 + 1;
                let (is_answered, took) = server(in_flight);
                self.ends.push(Reverse((self.now + took, self.next, in_flight, is_answered, took)));
                self.next += 1;
            }
            let Reverse((at, number, began_with, is_answered, took)) = self.ends.pop().unwrap();
            let used = began_with.max(self.ends.len() as u32 + 1);
            self.now = at;
            let ended = Ended { number, next: self.next, used };
            if is_answered {
                self.answered += 1;
                self.limiter.answered(ended, at, took);
            } else {
                self.refused += 1;
                self.limiter.refuse(ended, Reason::RateLimited);
            }
            sum += f64::from(self.limiter.limit());
            count += 1.0;
        }
        sum / count
    }
}

/// Refuses at once what exceeds its capacity.
fn bounded(capacity: u32, latency: Duration) -> impl FnMut(u32) -> (bool, Duration) {
    // What was refused is no longer in flight at the server, but still at the limiter for a millisecond; so few
    // that they do not matter.
    move |in_flight| match in_flight <= capacity {
        true => (true, latency),
        false => (false, MILLISECOND),
    }
}

/// Takes everything, and becomes slower the more it has beyond what it can do at once.
fn shared(parallel: u32, latency: Duration) -> impl FnMut(u32) -> (bool, Duration) {
    let mut random = fastrand::Rng::with_seed(7);
    move |in_flight| {
        let slowdown = (f64::from(in_flight) / f64::from(parallel)).max(1.0);
        // Answers are of any length between none and twice the mean.
        (true, latency.mul_f64(slowdown * (0.01 + 2.0 * random.f64())))
    }
}

fn refusing(share: f64, latency: Duration) -> impl FnMut(u32) -> (bool, Duration) {
    let mut random = fastrand::Rng::with_seed(11);
    move |_| match random.f64() < share {
        true => (false, MILLISECOND),
        false => (true, latency),
    }
}

#[test]
fn a_number_is_where_the_limit_begins_and_auto_begins_low() {
    assert_eq!([fixed(32), fixed(1), auto(256), auto(4)].map(|l| l.limit()), [32, 1, 8, 4]);
}

#[test]
fn one_burst_of_refusals_counts_once() {
    let mut limiter = fixed(100);
    let moves: Vec<Move> = (0..100)
        .filter_map(|number| {
            limiter.refuse(Ended { number, next: 100, used: 100 }, Reason::RateLimited)
        })
        .collect();
    assert_eq!(moves, [Move { from: 100, to: 60, reason: Reason::RateLimited }]);
    let again = limiter.refuse(Ended { number: 100, next: 101, used: 1 }, Reason::Overloaded);
    assert_eq!(again, Some(Move { from: 60, to: 36, reason: Reason::Overloaded }));
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    let mut limiter = auto(256);
    for number in 0..1000 {
        let ended = Ended { number, next: number + 1, used: 3 };
        assert_eq!(limiter.answered(ended, MILLISECOND * number as u32, MILLISECOND), None);
    }
}

#[test]
fn it_settles_near_the_capacity_of_the_server() {
    for (limiter, capacity) in [(fixed(256), 40), (auto(256), 40), (fixed(64), 5), (auto(256), 200)]
    {
        let mut simulation = Simulation::new(limiter);
        let server = &mut bounded(capacity, MILLISECOND * 200);
        simulation.run(Duration::from_secs(60), server);
        let (answered, refused) = (simulation.answered, simulation.refused);
        let mean = simulation.run(Duration::from_secs(60), server) / f64::from(capacity);
        assert!((0.7..1.2).contains(&mean), "{mean} of {capacity}");
        let (answered, refused) = (simulation.answered - answered, simulation.refused - refused);
        let possible = 60.0 * 5.0 * f64::from(capacity);
        assert!(f64::from(answered) > 0.8 * possible, "{answered} answers of {possible}");
        assert!(refused * 10 < answered, "{refused} refusals with {answered} answers");
    }
}

#[test]
fn auto_reaches_the_ceiling_of_a_server_that_bears_it() {
    let mut simulation = Simulation::new(auto(256));
    simulation.run(Duration::from_secs(10), &mut refusing(0.0, MILLISECOND * 500));
    assert_eq!(simulation.limiter.limit(), 256);
}

#[test]
fn auto_does_not_pile_up_answers_that_wait_for_each_other() {
    for (parallel, latency) in [(20, MILLISECOND * 300), (4, MILLISECOND * 50), (60, MILLISECOND)] {
        let mut simulation = Simulation::new(auto(256));
        let server = &mut shared(parallel, latency);
        simulation.run(latency * 400, server);
        let mean = simulation.run(latency * 400, server) / f64::from(parallel);
        assert!((0.9..3.2).contains(&mean), "{mean} times the {parallel} that it does at once");
    }
}

#[test]
fn longer_answers_do_not_look_like_a_queue() {
    let mut simulation = Simulation::new(auto(64));
    let short = Duration::from_millis(200);
    simulation.run(Duration::from_secs(60), &mut shared(1000, short));
    assert_eq!(simulation.limiter.limit(), 64);
    // Another task begins, with answers of ten times the length.
    let mean = simulation.run(Duration::from_secs(600), &mut shared(1000, short * 10));
    assert!(mean > 50.0, "{mean}");
}

#[test]
fn it_recovers_after_sustained_refusals() {
    for mut limiter in [fixed(64), auto(64)] {
        // However long it has been refused, and whatever it had learnt before.
        for number in 0..5000 {
            limiter.answered(
                Ended { number, next: number + 64, used: 64 },
                MILLISECOND * number as u32,
                MILLISECOND * 64,
            );
        }
        let mut simulation = Simulation::new(limiter);
        simulation.next = 6000;
        simulation.run(Duration::from_secs(60), &mut refusing(1.0, MILLISECOND));
        assert_eq!(simulation.limiter.limit(), 1, "at the floor it still asks");
        let rounds = 100 * MILLISECOND;
        simulation.run(rounds * 50, &mut refusing(0.0, rounds));
        assert!(simulation.limiter.limit() > 40, "{}", simulation.limiter.limit());
        simulation.run(rounds * 30, &mut refusing(0.0, rounds));
        assert_eq!(simulation.limiter.limit(), 64);
    }
}

#[test]
fn refusals_at_random_do_not_strangle_it() {
    for (share, at_least) in [(0.02, 24.0), (0.1, 20.0), (0.3, 10.0)] {
        let mut simulation = Simulation::new(fixed(32));
        let mean =
            simulation.run(Duration::from_secs(300), &mut refusing(share, MILLISECOND * 100));
        assert!(mean > at_least, "{mean} at {share}");
    }
}

proptest! {
    #[test]
    fn it_never_leaves_its_bounds(
        floor in 1_u32..20,
        above in 0_u32..300,
        auto: bool,
        steps in prop::collection::vec((0_u8..4, 0_u64..300, 1_u32..400, 0_u64..10_000), 1..400),
    ) {
        let concurrency = Concurrency { auto, floor, ceiling: floor + above };
        let mut limiter = Limiter::new(concurrency);
        let mut now = Duration::ZERO;
        for (next, (what, behind, used, took)) in (300_u64..).zip(steps) {
            now += Duration::from_micros(took);
            let ended = Ended { number: next - behind, next: next + 1, used };
            let before = limiter.limit();
            let moved = match what {
                0 => limiter.refuse(ended, Reason::RateLimited),
                1 => limiter.refuse(ended, Reason::Timeout),
                _ => limiter.answered(ended, now, Duration::from_micros(took)),
            };
            let after = limiter.limit();
            prop_assert!((floor..=floor + above).contains(&after), "{after}");
            prop_assert_eq!(moved.map(|m| (m.from, m.to)), (before != after).then_some((before, after)));
            prop_assert!(what > 1 || after <= before, "a refusal raised the limit");
        }
    }
}
