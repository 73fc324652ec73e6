//! Whether a sample is right, in one word: what people look for in a list of samples.

use crate::{
    score::{metric::Metric, parts::Parts},
    store::record::Status,
};

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Scored, and wrong.
    Wrong,
    /// Scored, and right.
    Right,
    /// Scored, and neither: a perplexity, or a mean over several choices.
    Graded,
    /// Without a score.
    Unscored,
}

/// How many verdicts there are.
pub const VERDICTS: usize = 4;

impl Verdict {
    /// Of a sample's own scores. Right means right by `acc`, or by `exact_match` where there is no `acc`.
    pub fn of(status: &Status, scores: Option<&Parts>) -> Self {
        if let Status::Unscored(_) = status {
            return Self::Unscored;
        }
        let by = |metric| scores.and_then(|scores| scores.get(metric));
        match by(Metric::Acc).or_else(|| by(Metric::ExactMatch)) {
            Some(value) if value >= 1.0 => Self::Right,
            Some(value) if value <= 0.0 => Self::Wrong,
            _ => Self::Graded,
        }
    }

    /// Its number in the page's data.
    pub fn number(self) -> usize {
        match self {
            Self::Wrong => 0,
            Self::Right => 1,
            Self::Graded => 2,
            Self::Unscored => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_is_right_by_the_first_metric_that_can_say() {
        let parts = |entries: &[(&str, f64)]| {
            Parts(entries.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
        };
        let table = [
            (parts(&[("acc", 1.0), ("exact_match", 0.0)]), Verdict::Right),
            (parts(&[("exact_match", 0.0)]), Verdict::Wrong),
            (parts(&[("exact_match", 0.5)]), Verdict::Graded),
            (parts(&[("loglikelihood", -3.0)]), Verdict::Graded),
        ];
        for (scores, expected) in table {
            assert_eq!(Verdict::of(&Status::Scored, Some(&scores)), expected);
        }
        let unscored = Status::Unscored("timeout".to_owned());
        assert_eq!(Verdict::of(&unscored, None), Verdict::Unscored);
    }
}
