//! What a run may spend, and whether it is spent. Reads no clock and stops nothing.

use std::{fmt, time::Duration};

use crate::config;

/// What was spent so far, beside what may be.
#[derive(Clone, Debug)]
pub struct Budget {
    allowed: config::Budget,
    usd_nanos: u64,
    tokens: u64,
    finished: u64,
    unscored: u64,
}

/// The bound that was reached. As text it names the key of the run file, and both figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spent {
    /// `max_usd`.
    Usd {
        /// Billionths of a US dollar that may be spent.
        allowed_nanos: u64,
        /// And are.
        spent_nanos: u64,
    },
    /// `max_tokens`.
    Tokens {
        /// Tokens that may be used.
        allowed: u64,
        /// And are.
        spent: u64,
    },
    /// `max_wall`.
    Wall {
        /// Longest time.
        allowed: Duration,
    },
    /// `max_error_rate`.
    ErrorRate {
        /// Share of finished samples that may be unscored.
        allowed: f64,
        /// How many are.
        unscored: u64,
        /// Of how many.
        finished: u64,
    },
}

impl Budget {
    /// Nothing is spent.
    pub fn new(allowed: config::Budget) -> Self {
        Self { allowed, usd_nanos: 0, tokens: 0, finished: 0, unscored: 0 }
    }

    /// A sample is finished, and cost so many billionths of a US dollar and so many tokens.
    pub fn add(&mut self, usd_nanos: u64, tokens: u64, scored: bool) {
        self.usd_nanos = self.usd_nanos.saturating_add(usd_nanos);
        self.tokens = self.tokens.saturating_add(tokens);
        self.finished += 1;
        self.unscored += u64::from(!scored);
    }

    /// So much was spent before the run was taken up again. How many samples were unscored then does not count: else it
    /// could not go on once the reason is mended.
    pub fn add_earlier(&mut self, usd_nanos: u64, tokens: u64) {
        self.usd_nanos = self.usd_nanos.saturating_add(usd_nanos);
        self.tokens = self.tokens.saturating_add(tokens);
    }

    /// The first bound that is reached, so long after the run began or was resumed.
    pub fn check(&self, elapsed: Duration) -> Option<Spent> {
        self.usd()
            .or_else(|| self.tokens())
            .or_else(|| self.error_rate())
            .or_else(|| self.wall(elapsed))
    }

    /// How much of `max_wall` is left: a run must end then even if no sample does. None if it has no bound.
    pub fn wall_left(&self, elapsed: Duration) -> Option<Duration> {
        self.allowed.max_wall.map(|allowed| allowed.saturating_sub(elapsed))
    }

    fn usd(&self) -> Option<Spent> {
        let allowed_nanos = (self.allowed.max_usd? * 1e9).round() as u64;
        let spent_nanos = self.usd_nanos;
        // What costs nothing may go on under a budget of nothing.
        (spent_nanos > 0 && spent_nanos >= allowed_nanos)
            .then_some(Spent::Usd { allowed_nanos, spent_nanos })
    }

    fn tokens(&self) -> Option<Spent> {
        let (allowed, spent) = (self.allowed.max_tokens?, self.tokens);
        (spent >= allowed).then_some(Spent::Tokens { allowed, spent })
    }

    fn wall(&self, elapsed: Duration) -> Option<Spent> {
        let allowed = self.allowed.max_wall?;
        (elapsed >= allowed).then_some(Spent::Wall { allowed })
    }

    fn error_rate(&self) -> Option<Spent> {
        let allowed = self.allowed.max_error_rate?;
        let Self { finished, unscored, .. } = *self;
        let enough = finished >= self.allowed.min_samples.max(1);
        (enough && unscored as f64 > allowed * finished as f64).then_some(Spent::ErrorRate {
            allowed,
            unscored,
            finished,
        })
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Usd { allowed_nanos, spent_nanos } => {
                let (spent, allowed) = (Usd(spent_nanos), Usd(allowed_nanos));
                write!(f, "budget.max_usd: {spent} of {allowed} are spent")
            }
            Self::Tokens { allowed, spent } => {
                write!(f, "budget.max_tokens: {spent} of {allowed} tokens are used")
            }
            Self::Wall { allowed } => {
                let allowed = humantime::format_duration(allowed);
                write!(f, "budget.max_wall: the run's time ({allowed}) is over")
            }
            Self::ErrorRate { allowed, unscored, finished } => write!(
                f,
                "budget.max_error_rate: {unscored} of {finished} samples ({:.1} %) are unscored, {:.1} % may be",
                100.0 * unscored as f64 / finished.max(1) as f64,
                100.0 * allowed
            ),
        }
    }
}

/// Billionths of a US dollar, to the cent, or finer below a dollar.
struct Usd(u64);

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usd = self.0 as f64 / 1e9;
        match self.0 {
            1..1_000_000_000 => write!(f, "${usd:.4}"),
            _ => write!(f, "${usd:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: config::Budget = config::Budget {
        max_usd: None,
        max_tokens: None,
        max_wall: None,
        max_error_rate: None,
        min_samples: 10,
    };

    fn after(allowed: config::Budget, samples: &[(u64, u64, bool)], seconds: u64) -> String {
        let mut budget = Budget::new(allowed);
        samples.iter().for_each(|&(usd, tokens, scored)| budget.add(usd, tokens, scored));
        budget
            .check(Duration::from_secs(seconds))
            .map_or_else(String::new, |spent| spent.to_string())
    }

    #[test]
    fn each_bound_is_reached_exactly_and_says_so() {
        let usd = config::Budget { max_usd: Some(5.0), ..NONE };
        let tokens = config::Budget { max_tokens: Some(100), ..NONE };
        let wall = config::Budget { max_wall: Some(Duration::from_secs(60)), ..NONE };
        let half = 2_500_000_000;
        for (allowed, samples, seconds, expected) in [
            (usd, vec![(half, 0, true), (half - 1, 0, true)], 0, ""),
            (usd, vec![(half, 0, true); 2], 0, "budget.max_usd: $5.00 of $5.00 are spent"),
            (tokens, vec![(0, 99, true)], 0, ""),
            (tokens, vec![(0, 60, true); 2], 0, "budget.max_tokens: 120 of 100 tokens are used"),
            (wall, vec![], 59, ""),
            (wall, vec![], 60, "budget.max_wall: the run's time (1m) is over"),
            (NONE, vec![(u64::MAX, u64::MAX, false); 100], 1 << 40, ""),
        ] {
            assert_eq!(after(allowed, &samples, seconds), expected);
        }
    }

    #[test]
    fn the_error_rate_is_looked_at_only_once_enough_samples_are_finished() {
        let allowed = config::Budget { max_error_rate: Some(0.2), ..NONE };
        let samples =
            |good: usize, bad: usize| [vec![(0, 0, true); good], vec![(0, 0, false); bad]].concat();
        assert_eq!(after(allowed, &samples(0, 9), 0), "");
        assert_eq!(after(allowed, &samples(8, 2), 0), "");
        assert_eq!(
            after(allowed, &samples(7, 3), 0),
            "budget.max_error_rate: 3 of 10 samples (30.0 %) are unscored, 20.0 % may be"
        );
    }

    #[test]
    fn a_budget_of_nothing_lets_what_is_free_go_on() {
        let allowed = config::Budget { max_usd: Some(0.0), ..NONE };
        assert_eq!(after(allowed, &[(0, 7, true); 3], 0), "");
        assert_eq!(
            after(allowed, &[(1, 7, true)], 0),
            "budget.max_usd: $0.0000 of $0.00 are spent"
        );
    }

    #[test]
    fn what_is_left_of_the_time_never_goes_below_nothing() {
        let budget = Budget::new(config::Budget { max_wall: Some(Duration::from_secs(9)), ..NONE });
        for (elapsed, left) in [(0, 9), (4, 5), (9, 0), (20, 0)] {
            let left = Duration::from_secs(left);
            assert_eq!(budget.wall_left(Duration::from_secs(elapsed)), Some(left));
        }
        assert_eq!(Budget::new(NONE).wall_left(Duration::ZERO), None);
    }
}
