//! Which requests are hit by which fault.
//!
//! Pure: a fault follows from a request's number, the rates and the seed alone.

use std::time::Duration;

use super::{
    exchange::Trouble,
    retry_after::{RetryAfter, RetryAfterForm},
    settings::{Faults, Rate},
};

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its connection is closed.
    Drop,
    /// It is never answered, and its connection stays open.
    Stall,
    /// It is refused in the vendor's words.
    Fail(Trouble, Option<RetryAfter>),
    /// A gateway answers with a page of its own, under this status.
    Page(u16),
    /// It is answered, but not to the end.
    Cut(Cut),
}

/// How a body ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// How much of it goes out.
    pub(crate) kept: Kept,
    /// What comes then.
    pub(crate) then: Then,
}

/// How much of a body goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The head of the reply alone.
    Nothing,
    /// The first half.
    Half,
}

/// What comes in place of the rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Its end, as if it were complete.
    End,
    /// The end of the connection.
    Break,
    /// Nothing, for as long as the client waits.
    Silence,
}

/// What a request is in [`Faults::mix`]: each kind as often as it stands here. Silence is the rarest, as it costs its
/// client most.
const MIX: [Mixed; 20] = [
    Mixed::RateLimited(RetryAfterForm::Seconds),
    Mixed::RateLimited(RetryAfterForm::Date),
    Mixed::RateLimited(RetryAfterForm::Milliseconds),
    Mixed::RateLimited(RetryAfterForm::Milliseconds),
    Mixed::Page(500),
    Mixed::Page(500),
    Mixed::Failed,
    Mixed::Overloaded,
    Mixed::Overloaded,
    Mixed::Page(503),
    Mixed::Page(503),
    Mixed::Drop,
    Mixed::Drop,
    Mixed::Cut(Kept::Nothing, Then::Break),
    Mixed::Cut(Kept::Half, Then::Break),
    Mixed::Cut(Kept::Half, Then::Break),
    Mixed::Cut(Kept::Half, Then::Break),
    Mixed::Cut(Kept::Half, Then::End),
    Mixed::Cut(Kept::Half, Then::End),
    Mixed::Silence,
];

#[derive(Clone, Copy)]
enum Mixed {
    RateLimited(RetryAfterForm),
    Overloaded,
    Failed,
    Page(u16),
    Drop,
    Cut(Kept, Then),
    Silence,
}

/// What the mix asks to wait, if the settings do not say.
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// Where request `number` lies in a share, from 0 to 1; none if it is not in it. Multiples of the golden ratio are
/// spread evenly, so that each stretch of requests has its share, and never fall into step with a client that sends its
/// requests in pairs.
fn hit(number: u64, rate: Rate, seed: u64) -> Option<f64> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let offset = (seed ^ (seed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let spread = number.wrapping_add(1).wrapping_mul(GOLDEN).wrapping_add(offset);
    // 53 bits are what a float holds exactly.
    let position = (spread >> 11) as f64 / (1_u64 << 53) as f64;
    (position < rate.get()).then(|| position / rate.get())
}

impl Faults {
    /// What happens to a request.
    pub(crate) fn of(&self, number: u64) -> Option<Fault> {
        let hits = |rate, salt| hit(number, rate, self.seed.wrapping_add(salt));
        let even = number.is_multiple_of(2);
        if hits(self.drop_rate, 101).is_some() {
            return Some(Fault::Drop);
        }
        if hits(self.fail_rate, 0).is_some() {
            let trouble = if even { Trouble::Overloaded } else { Trouble::RateLimited };
            return Some(Fault::Fail(trouble, self.wait()));
        }
        if hits(self.stall_rate, 303).is_some() {
            return Some(silence(number));
        }
        if hits(self.truncate_stream_rate, 202).is_some() {
            let then = if even { Then::End } else { Then::Break };
            return Some(Fault::Cut(Cut { kept: Kept::Half, then }));
        }
        hits(self.mix, 404).map(|position| self.mixed(position, number))
    }

    /// What a refusal asks for, if the settings say so.
    pub(crate) fn wait(&self) -> Option<RetryAfter> {
        self.retry_after.map(|wait| RetryAfter { wait, form: self.retry_after_form })
    }

    /// The fault that lies at this position of the mix.
    fn mixed(&self, position: f64, number: u64) -> Fault {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to the length"
        )]
        let index = (position * MIX.len() as f64) as usize;
        match MIX[index.min(MIX.len() - 1)] {
            Mixed::RateLimited(form) => {
                let wait = self.retry_after.unwrap_or(SHORT_WAIT);
                Fault::Fail(Trouble::RateLimited, Some(RetryAfter { wait, form }))
            }
            Mixed::Overloaded => Fault::Fail(Trouble::Overloaded, None),
            Mixed::Failed => {
                let message = "The server had an error, on cue.".to_owned();
                Fault::Fail(Trouble::Upstream { status: 500, message }, None)
            }
            Mixed::Page(status) => Fault::Page(status),
            Mixed::Drop => Fault::Drop,
            Mixed::Cut(kept, then) => Fault::Cut(Cut { kept, then }),
            Mixed::Silence => silence(number),
        }
    }
}

/// Silence before the head of the reply, after it, or in the middle of the body.
fn silence(number: u64) -> Fault {
    match number % 3 {
        0 => Fault::Stall,
        1 => Fault::Cut(Cut { kept: Kept::Nothing, then: Then::Silence }),
        _ => Fault::Cut(Cut { kept: Kept::Half, then: Then::Silence }),
    }
}

impl Fault {
    /// As it is counted.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Drop => "dropped",
            Self::Stall => "stalled",
            Self::Fail(Trouble::RateLimited, _) => "rate_limited",
            Self::Fail(Trouble::Overloaded, _) => "overloaded",
            Self::Fail(..) => "failed",
            Self::Page(_) => "page",
            Self::Cut(cut) => cut.name(),
        }
    }
}

impl Cut {
    /// As it is counted.
    pub(crate) const fn name(self) -> &'static str {
        match (self.kept, self.then) {
            (_, Then::Silence) => "stalled",
            (Kept::Nothing, _) => "dropped_after_head",
            (Kept::Half, _) => "truncated",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn faults(rate: &str, seed: u64) -> Faults {
        Faults { fail_rate: rate.parse().unwrap(), seed, ..Faults::default() }
    }

    fn mix(rate: &str) -> Faults {
        Faults { mix: rate.parse().unwrap(), ..Faults::default() }
    }

    /// How often each fault happens.
    fn count(faults: &Faults, numbers: std::ops::Range<u64>) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for fault in numbers.filter_map(|number| faults.of(number)) {
            *counts.entry(fault.name()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn each_stretch_of_requests_has_its_share() {
        for (rate, expected) in [("0", 0), ("0.1", 100), ("0.5", 500), ("1", 1000)] {
            for seed in [0, 1, 7] {
                let faults = faults(rate, seed);
                let hit = (5000..6000).filter(|n| faults.of(*n).is_some()).count();
                assert!(hit.abs_diff(expected) <= 3, "{rate}, seed {seed}: {hit}");
            }
        }
    }

    #[test]
    fn every_second_request_is_not_always_the_one_that_fails() {
        let faults = faults("0.5", 0);
        let of = |first: u64| (first..200).step_by(2).filter(|n| faults.of(*n).is_some()).count();
        assert!((40..60).contains(&of(0)) && (40..60).contains(&of(1)), "{} {}", of(0), of(1));
    }

    #[test]
    fn the_seed_moves_the_faults() {
        let hit = |seed| (0..40).map(|n| faults("0.3", seed).of(n).is_some()).collect::<Vec<_>>();
        assert_ne!(hit(1), hit(2));
        assert_eq!(hit(1), hit(1));
    }

    #[test]
    fn each_rate_has_all_of_its_faults() {
        let half = || "0.5".parse().unwrap();
        let faults = Faults { fail_rate: half(), ..Faults::default() };
        for trouble in [Trouble::Overloaded, Trouble::RateLimited] {
            let expected = Some(Fault::Fail(trouble, None));
            assert!((0..20).any(|n| faults.of(n) == expected), "{expected:?}");
        }
        let cut = |kept, then| Some(Fault::Cut(Cut { kept, then }));
        let faults = Faults { truncate_stream_rate: half(), ..Faults::default() };
        for expected in [cut(Kept::Half, Then::End), cut(Kept::Half, Then::Break)] {
            assert!((0..20).any(|n| faults.of(n) == expected), "{expected:?}");
        }
        let faults = Faults { stall_rate: half(), ..Faults::default() };
        let silent = [Kept::Nothing, Kept::Half].map(|kept| cut(kept, Then::Silence));
        for expected in silent.into_iter().chain([Some(Fault::Stall)]) {
            assert!((0..20).any(|n| faults.of(n) == expected), "{expected:?}");
        }
    }

    #[test]
    fn the_mix_has_everything_in_its_shares() {
        let counts = count(&mix("0.3"), 0..10_000);
        let shares = MIX.len() as f64 / 0.3 / 10_000.0;
        let found: Vec<(&str, f64)> =
            counts.iter().map(|(name, count)| (*name, (*count as f64 * shares).round())).collect();
        let expected = [
            ("dropped", 2.0),
            ("dropped_after_head", 1.0),
            ("failed", 1.0),
            ("overloaded", 2.0),
            ("page", 4.0),
            ("rate_limited", 4.0),
            ("stalled", 1.0),
            ("truncated", 5.0),
        ];
        assert_eq!(found, expected);
        assert!(counts.values().sum::<usize>().abs_diff(3000) < 10, "{counts:?}");
    }

    #[test]
    fn the_mix_asks_to_wait_in_every_form_and_for_as_long_as_it_is_told() {
        for (told, expected) in [(None, SHORT_WAIT), (Some(Duration::ZERO), Duration::ZERO)] {
            let faults = Faults { retry_after: told, ..mix("1") };
            for form in RetryAfterForm::ALL {
                let wait = Some(RetryAfter { wait: expected, form });
                let expected = Some(Fault::Fail(Trouble::RateLimited, wait));
                assert!((0..100).any(|n| faults.of(n) == expected), "{expected:?}");
            }
        }
    }
}
