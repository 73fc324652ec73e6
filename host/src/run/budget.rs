//! What a run may spend, and whether it is spent. Reads no clock and stops nothing.

use std::{fmt, time::Duration};

use crate::{config, store::record::Tokens};

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

/// What a finished sample used of a budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Billionths of a US dollar.
    pub usd_nanos: u64,
    /// Tokens, of prompts and generated.
    pub tokens: u64,
    /// Whether it has a score.
    pub scored: bool,
}

impl Used {
    /// An answer from the cache costs nothing.
    pub fn of(usage: &Tokens, cached: bool, scored: bool) -> Self {
        if cached {
            return Self { scored, ..Self::default() };
        }
        let tokens = usage.prompt.saturating_add(usage.completion);
        Self { usd_nanos: usage.cost_usd_nanos.unwrap_or(0), tokens, scored }
    }
}

impl std::ops::AddAssign<&Self> for Used {
    fn add_assign(&mut self, other: &Self) {
        self.usd_nanos = self.usd_nanos.saturating_add(other.usd_nanos);
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

impl Budget {
    /// Nothing is spent.
    pub fn new(allowed: config::Budget) -> Self {
        Self { allowed, usd_nanos: 0, tokens: 0, finished: 0, unscored: 0 }
    }

    /// What may be spent.
    pub fn allowed(&self) -> config::Budget {
        self.allowed
    }

    /// A sample is finished.
    pub fn add(&mut self, used: &Used) {
        self.add_earlier(used);
        self.finished += 1;
        self.unscored += u64::from(!used.scored);
    }

    /// So much was spent before the run was taken up again. How many samples were unscored then does not count: else it
    /// could not go on once the reason is mended.
    pub fn add_earlier(&mut self, used: &Used) {
        self.usd_nanos = self.usd_nanos.saturating_add(used.usd_nanos);
        self.tokens = self.tokens.saturating_add(used.tokens);
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

/// Notices a backend whose answers do not tell what a budget is about: then it never ends the run.
#[derive(Debug)]
pub struct Blind {
    /// Bounds that nothing is known of yet.
    usd: bool,
    tokens: bool,
    answers: u32,
}

/// Answers after which it is said that none of them told.
const UNTOLD: u32 = 10;

impl Blind {
    /// No answer has come yet.
    pub fn new(allowed: config::Budget) -> Self {
        let (usd, tokens) = (allowed.max_usd.is_some(), allowed.max_tokens.is_some());
        Self { usd, tokens, answers: 0 }
    }

    /// An answer came. Returns, once, what is to be said.
    pub fn answered(&mut self, usage: &Tokens) -> Option<&'static str> {
        self.usd &= usage.cost_usd_nanos.is_none();
        self.tokens &= usage.prompt == 0 && usage.completion == 0;
        if !self.usd && !self.tokens {
            return None;
        }
        self.answers = self.answers.saturating_add(1);
        (self.answers == UNTOLD).then_some(match (self.usd, self.tokens) {
            (true, true) => {
                "its answers tell neither tokens nor costs, so budget.max_usd and budget.max_tokens do not bound it"
            }
            (true, false) => {
                "no price is known of its model, so budget.max_usd does not bound it; budget.max_tokens would"
            }
            (false, _) => "its answers tell no tokens, so budget.max_tokens does not bound it",
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
    use proptest::prelude::*;

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
        for &(usd_nanos, tokens, scored) in samples {
            budget.add(&Used { usd_nanos, tokens, scored });
        }
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

    #[test]
    fn a_backend_that_does_not_tell_what_the_budget_is_about_is_named_once() {
        let both = config::Budget { max_usd: Some(1.0), max_tokens: Some(9), ..NONE };
        let tokens = config::Budget { max_tokens: Some(9), ..NONE };
        let nothing = Tokens::default();
        let counted = Tokens { prompt: 1, ..nothing };
        let priced = Tokens { cost_usd_nanos: Some(0), ..counted };
        for (allowed, usage, expected) in [
            (both, nothing, Some("its answers tell neither")),
            (both, counted, Some("no price is known")),
            (both, priced, None),
            (tokens, nothing, Some("its answers tell no tokens")),
            (tokens, counted, None),
            (NONE, nothing, None),
        ] {
            let mut blind = Blind::new(allowed);
            let told: Vec<_> = (0..100).filter_map(|_| blind.answered(&usage)).collect();
            assert_eq!(told.len(), usize::from(expected.is_some()), "{told:?}");
            assert!(
                told.iter().all(|told| expected.is_some_and(|text| told.starts_with(text))),
                "{told:?}"
            );
        }
    }

    proptest! {
        /// A bound is reached by the sum, whatever the order, and stays reached.
        #[test]
        fn a_bound_is_reached_by_exactly_what_it_allows(
            samples in prop::collection::vec((0_u64..50, 0_u64..50, any::<bool>()), 1..100),
            max_usd in prop::option::of(0_u64..2000),
            max_tokens in prop::option::of(0_u64..2000),
            earlier in (0_u64..50, 0_u64..50),
        ) {
            let max = max_usd.map(|nanos| nanos as f64 / 1e9);
            let mut budget = Budget::new(config::Budget { max_usd: max, max_tokens, ..NONE });
            let (usd_nanos, tokens) = earlier;
            budget.add_earlier(&Used { usd_nanos, tokens, scored: false });
            let (mut usd, mut sum) = earlier;
            for (usd_nanos, tokens, scored) in samples {
                budget.add(&Used { usd_nanos, tokens, scored });
                (usd, sum) = (usd + usd_nanos, sum + tokens);
                let is_reached = max_usd.is_some_and(|max| usd > 0 && usd >= max)
                    || max_tokens.is_some_and(|max| sum >= max);
                prop_assert_eq!(budget.check(Duration::ZERO).is_some(), is_reached);
            }
        }

        /// Too few samples never end a run, and beyond them only more unscored ones than are allowed.
        #[test]
        fn the_error_rate_ends_a_run_only_beyond_its_share(
            samples in prop::collection::vec(any::<bool>(), 1..200),
            rate in 0.0_f64..=1.0,
            min_samples in 1_u64..100,
        ) {
            let allowed = config::Budget { max_error_rate: Some(rate), min_samples, ..NONE };
            let mut budget = Budget::new(allowed);
            let (mut finished, mut unscored) = (0_u64, 0_u64);
            for scored in samples {
                budget.add(&Used { scored, ..Used::default() });
                finished += 1;
                unscored += u64::from(!scored);
                let is_over = finished >= min_samples && unscored as f64 / finished as f64 > rate;
                let spent = budget.check(Duration::ZERO).is_some();
                // At the very bound the division may round either way.
                let at_bound = (unscored as f64 - rate * finished as f64).abs() < 1e-9;
                prop_assert!(spent == is_over || at_bound);
            }
        }
    }
}
