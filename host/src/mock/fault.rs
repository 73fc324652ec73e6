//! Which requests are hit by which fault.
//!
//! Pure: a fault follows from a request's number, the rates and the seed alone.

use super::{
    exchange::Trouble,
    settings::{Faults, Rate},
};

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its connection is closed.
    Drop,
    /// It is refused.
    Fail(Trouble),
}

/// How a body ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As if it were complete.
    Cleanly,
    /// With the connection.
    Breaking,
}

/// Whether request `number` is in the share. Multiples of the golden ratio are spread evenly, so that each stretch of
/// requests has its share, and never fall into step with a client that sends its requests in pairs.
fn hits(number: u64, rate: Rate, seed: u64) -> bool {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let offset = (seed ^ (seed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let spread = number.wrapping_add(1).wrapping_mul(GOLDEN).wrapping_add(offset);
    // 53 bits are what a float holds exactly.
    let position = (spread >> 11) as f64 / (1_u64 << 53) as f64;
    position < rate.get()
}

impl Faults {
    /// What happens to a request before it is looked at.
    pub(crate) fn before(&self, number: u64) -> Option<Fault> {
        if hits(number, self.drop_rate, self.seed.wrapping_add(101)) {
            return Some(Fault::Drop);
        }
        hits(number, self.fail_rate, self.seed).then(|| {
            Fault::Fail(if number.is_multiple_of(2) {
                Trouble::Overloaded
            } else {
                Trouble::RateLimited
            })
        })
    }

    /// How its answer ends, if before its time.
    pub(crate) fn cut(&self, number: u64) -> Option<Cut> {
        hits(number, self.truncate_stream_rate, self.seed.wrapping_add(202))
            .then_some(if number.is_multiple_of(2) { Cut::Cleanly } else { Cut::Breaking })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rate: &str, seed: u64) -> Faults {
        Faults { fail_rate: rate.parse().unwrap(), seed, ..Faults::default() }
    }

    #[test]
    fn each_stretch_of_requests_has_its_share() {
        for (rate, expected) in [("0", 0), ("0.1", 100), ("0.5", 500), ("1", 1000)] {
            for seed in [0, 1, 7] {
                let faults = faults(rate, seed);
                let hit = (5000..6000).filter(|n| faults.before(*n).is_some()).count();
                assert!(hit.abs_diff(expected) <= 3, "{rate}, seed {seed}: {hit}");
            }
        }
    }

    #[test]
    fn every_second_request_is_not_always_the_one_that_fails() {
        let faults = faults("0.5", 0);
        let of =
            |first: u64| (first..200).step_by(2).filter(|n| faults.before(*n).is_some()).count();
        assert!((40..60).contains(&of(0)) && (40..60).contains(&of(1)), "{} {}", of(0), of(1));
    }

    #[test]
    fn the_seed_moves_the_faults() {
        let hit =
            |seed| (0..40).map(|n| faults("0.3", seed).before(n).is_some()).collect::<Vec<_>>();
        assert_ne!(hit(1), hit(2));
        assert_eq!(hit(1), hit(1));
    }

    #[test]
    fn both_refusals_and_both_endings_happen() {
        let faults = Faults {
            fail_rate: "0.5".parse().unwrap(),
            truncate_stream_rate: "0.5".parse().unwrap(),
            ..Faults::default()
        };
        for trouble in [Trouble::Overloaded, Trouble::RateLimited] {
            assert!((0..20).any(|n| faults.before(n) == Some(Fault::Fail(trouble.clone()))));
        }
        for cut in [Cut::Cleanly, Cut::Breaking] {
            assert!((0..20).any(|n| faults.cut(n) == Some(cut)));
        }
    }
}
