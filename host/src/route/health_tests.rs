//! Health on a clock that is only counted.

use std::time::Duration;

use plugin_api::ErrorKind;

use super::health::{Admission, Health, Sign, Turn, sign};

const fn milliseconds(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Numbers attempts; each begins when the one before has ended.
struct Replica {
    health: Health,
    next: u64,
}

impl Replica {
    fn new(eject_after: u32) -> Self {
        Self { health: Health::new(eject_after), next: 0 }
    }

    fn ejected() -> Self {
        let mut replica = Self::new(1);
        replica.ends(Duration::ZERO, Sign::Failure);
        assert!(!replica.health.is_well());
        replica
    }

    fn ends(&mut self, at: Duration, sign: Sign) -> Option<Turn> {
        if !self.health.is_well() {
            self.health.probe(at, self.next);
        }
        self.next += 1;
        self.health.ended(at, self.next - 1, self.next, sign)
    }
}

#[test]
fn only_failures_in_a_row_eject() {
    let mut replica = Replica::new(3);
    let life = Sign::Life;
    let turns = [Sign::Failure, Sign::Failure, life, Sign::Failure, Sign::None, Sign::Failure]
        .map(|sign| replica.ends(Duration::ZERO, sign));
    assert_eq!(turns, [None; 6]);
    let last = replica.ends(Duration::ZERO, Sign::Failure);
    assert_eq!(last, Some(Turn::Ejected { failures: 3 }));
}

#[test]
fn a_burst_of_refusals_is_one_and_a_burst_of_failures_is_not() {
    for (sign, is_well) in [(Sign::Refusal, true), (Sign::Failure, false)] {
        let mut health = Health::new(5);
        (0..32).for_each(|number| _ = health.ended(Duration::ZERO, number, 32, sign));
        assert_eq!(health.is_well(), is_well);
    }
}

#[test]
fn only_a_failure_of_the_server_is_one() {
    use ErrorKind::{
        Cancelled, ContextLength, Crashed, InvalidRequest, Loading, Other, Overloaded, Panic,
        Protocol, RateLimited, Timeout, Transport, Unauthorized, UnexpectedReply, Unsupported,
    };
    for (kinds, expected) in [
        (&[Transport, Timeout, Loading, UnexpectedReply][..], Sign::Failure),
        (&[Overloaded], Sign::Refusal),
        (&[RateLimited, Unauthorized, InvalidRequest, ContextLength], Sign::Life),
        (&[Cancelled, Panic, Protocol, Crashed, Unsupported, Other], Sign::None),
    ] {
        for &kind in kinds {
            assert_eq!(sign(Some(kind), false), expected, "{kind}");
        }
    }
    assert_eq!(sign(None, true), Sign::Life);
    // With nobody else to ask, a sample that fails for good would only fail later.
    assert_eq!(sign(Some(UnexpectedReply), true), Sign::Life);
}

#[test]
fn the_back_off_doubles_to_its_cap_and_is_short_where_no_other_is_well() {
    for (alone, expected) in [
        (false, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]),
        (true, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000, 5000]),
    ] {
        let mut replica = Replica::ejected();
        let mut now = Duration::ZERO;
        for back_off in expected.map(milliseconds) {
            let due = now + back_off;
            assert_eq!(replica.health.admits(now, alone), Admission::Later(Some(due)));
            assert_eq!(replica.health.admits(due, alone), Admission::Probe);
            now = due;
            assert_eq!(replica.ends(now, Sign::Failure), Some(Turn::StillIll));
        }
    }
}

#[test]
fn one_probe_is_out_while_another_replica_is_well() {
    let mut replica = Replica::ejected();
    replica.health.probe(milliseconds(250), 1);
    for ms in [250, 1000, 100_000] {
        assert_eq!(replica.health.admits(milliseconds(ms), false), Admission::Later(None));
    }
    // It was cancelled: nothing was learnt, another may be sent.
    replica.health.ended(milliseconds(300), 1, 2, Sign::None);
    assert_eq!(replica.health.admits(milliseconds(300), false), Admission::Probe);
}

#[test]
fn where_none_is_well_probes_that_do_not_fail_let_others_follow() {
    let mut replica = Replica::ejected();
    let mut sent = 0;
    let mut counts = Vec::new();
    for ms in [250, 499, 500, 750, 1000, 1250] {
        while replica.health.admits(milliseconds(ms), true) == Admission::Probe && sent < 100 {
            sent += 1;
            replica.health.probe(milliseconds(ms), sent);
        }
        counts.push(sent);
    }
    assert_eq!(counts, [1, 1, 2, 4, 8, 16]);
    // The first failure ends it, and the others that fail with it do not count again.
    let failed = (1..=16)
        .filter_map(|number| replica.health.ended(milliseconds(1300), number, 17, Sign::Failure))
        .count();
    assert_eq!(failed, 1);
    let due = milliseconds(1300 + 500);
    assert_eq!(replica.health.admits(milliseconds(1300), true), Admission::Later(Some(due)));
}

#[test]
fn any_answer_brings_it_back_and_says_how_long_it_was_away() {
    let mut replica = Replica::ejected();
    let after = milliseconds(700);
    assert_eq!(replica.ends(after, Sign::Life), Some(Turn::Recovered { after }));
    assert_eq!(replica.health.admits(after, false), Admission::Yes);
}

#[test]
fn one_that_fails_again_soon_is_left_alone_for_longer() {
    let mut replica = Replica::ejected();
    replica.ends(milliseconds(250), Sign::Life);
    replica.ends(milliseconds(260), Sign::Failure);
    assert_eq!(replica.health.back_off(false), milliseconds(500));
    (0..16).for_each(|_| _ = replica.ends(milliseconds(800), Sign::Life));
    replica.ends(milliseconds(900), Sign::Failure);
    assert_eq!(replica.health.back_off(false), milliseconds(250));
}

#[test]
fn what_was_sent_before_the_ejection_does_not_lengthen_it() {
    let mut health = Health::new(1);
    health.ended(Duration::ZERO, 0, 32, Sign::Failure);
    for number in 1..32 {
        assert_eq!(health.ended(milliseconds(1), number, 32, Sign::Failure), None);
    }
    assert_eq!(health.back_off(false), milliseconds(250));
}
