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
    /// Of a sample's own scores, by the metric that its task is judged by.
    pub fn of(metric: Option<Metric>, status: &Status, scores: Option<&Parts>) -> Self {
        if let Status::Unscored(_) = status {
            return Self::Unscored;
        }
        match metric.and_then(|metric| scores?.get(metric)) {
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
    fn right_is_right_by_the_metric_that_the_task_is_judged_by() {
        let parts = |entries: &[(&str, f64)]| {
            Parts(entries.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
        };
        let table = [
            (Some(Metric::Acc), parts(&[("acc", 1.0), ("acc_norm", 0.0)]), Verdict::Right),
            (Some(Metric::AccNorm), parts(&[("acc", 1.0), ("acc_norm", 0.0)]), Verdict::Wrong),
            (Some(Metric::ExactMatch), parts(&[("exact_match", 0.5)]), Verdict::Graded),
            (None, parts(&[("loglikelihood", -3.0)]), Verdict::Graded),
        ];
        for (metric, scores, expected) in table {
            assert_eq!(Verdict::of(metric, &Status::Scored, Some(&scores)), expected);
        }
        let unscored = Status::Unscored("timeout".to_owned());
        assert_eq!(Verdict::of(Some(Metric::Acc), &unscored, None), Verdict::Unscored);
    }
}
