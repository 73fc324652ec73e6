//! One metric of one task on both sides, over the samples that both have scored.

use schemars::JsonSchema;
use serde::Serialize;

use super::attempts::{Attempts, Sample, pairs};
use crate::{
    score::metric::{Aggregation, Metric},
    stats::{
        exact::{ExactError, ExactSum},
        interval::Interval,
        mcnemar::mcnemar,
        normal::two_sided_p,
        paired::{self, Paired},
        power::minimal_detectable_effect,
        wilson::wilson,
    },
};

/// Below this a p-value, adjusted for how many there are, shows a difference.
const ALPHA: f64 = 0.05;

/// A metric on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which metric.
    pub metric: Metric,
    /// Samples that both sides have scored; all figures are over them alone.
    pub samples: u64,
    /// The baseline's value.
    pub baseline: SideValue,
    /// The candidate's value.
    pub candidate: SideValue,
    /// Candidate minus baseline, with its errors.
    pub difference: Paired,
    /// How the p-value was computed.
    pub test: Test,
    /// The chance of a difference at least this large if there were none; none if it cannot be told.
    pub p_value: Option<f64>,
    /// The same after Holm, over all rows of a comparison.
    pub adjusted_p_value: Option<f64>,
    /// The smallest true difference that would be seen in 80 of 100 such comparisons, if Holm's step leaves it the
    /// hardest bound; none if no sample differs.
    pub minimal_detectable_effect: Option<f64>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Samples that are right on one side and wrong on the other, in the order of the data set. Empty for a metric that
    /// does not say right or wrong.
    pub flips: Vec<Flip>,
}

/// A metric's value on one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SideValue {
    /// The mean over the samples that both sides have scored.
    pub value: f64,
    /// Wilson's interval at 95 %, where each sample is right or wrong and they are in no clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// How a p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// McNemar's, exact: each sample is right or wrong, and they are in no clusters.
    McnemarExact,
    /// Mean difference over its standard error, by clusters where there are any, against the normal distribution.
    PairedZ,
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The candidate is better.
    Better,
    /// The candidate is worse.
    Worse,
    /// None is shown: there may be one, and it may be smaller than could be seen.
    NoDifferenceShown,
    /// Every sample has the same score on both sides.
    SameScores,
    /// There are too few samples, or clusters of them, to tell.
    TooFewSamples,
}

/// A sample that is right on one side and wrong on the other. Of repeats, more than half decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flip {
    /// Position of the record in the baseline's data set.
    pub index: u32,
    /// The baseline's line: of repeats, the first that ended as most did.
    pub baseline_line: u32,
    /// The candidate's line.
    pub candidate_line: u32,
    /// Whether the candidate has it right.
    pub gained: bool,
}

impl Row {
    /// Flipped samples that the candidate has right.
    #[must_use]
    pub fn gained(&self) -> u64 {
        self.flips.iter().filter(|flip| flip.gained).count() as u64
    }

    /// Flipped samples that the candidate has wrong.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.flips.len() as u64 - self.gained()
    }

    /// Takes the p-value as adjusted for so many tests, and decides.
    pub(super) fn decide(&mut self, adjusted_p_value: Option<f64>, tests: usize) {
        self.adjusted_p_value = adjusted_p_value;
        let stderr = self.difference.stderr.filter(|stderr| *stderr > 0.0);
        self.minimal_detectable_effect =
            stderr.map(|stderr| minimal_detectable_effect(stderr, tests));
        let is_higher = self.difference.mean > 0.0;
        self.verdict = match adjusted_p_value {
            _ if self.verdict == Verdict::SameScores => Verdict::SameScores,
            _ if self.difference.stderr.is_none() => Verdict::TooFewSamples,
            None => Verdict::TooFewSamples,
            Some(p) if p >= ALPHA => Verdict::NoDifferenceShown,
            Some(_) if is_higher == is_better_higher(self.metric) => Verdict::Better,
            Some(_) => Verdict::Worse,
        };
    }
}

fn is_better_higher(metric: Metric) -> bool {
    match metric.aggregation() {
        Aggregation::Mean { wrong, right } => right > wrong,
        Aggregation::PerUnit { .. } => false,
    }
}

/// Compares a metric; none if no sample has it on both sides. The verdict follows when all rows are there.
///
/// # Errors
/// A score is out of any range.
pub(super) fn compare(
    metric: Metric,
    baseline: &Attempts,
    candidate: &Attempts,
) -> Result<Option<Row>, ExactError> {
    let mut sums = [ExactSum::default(); 2];
    let (mut differences, mut flips) = (Vec::new(), Vec::new());
    let (mut is_binary, mut has_clusters) = (metric.is_right_or_wrong(), true);
    for (left, right) in pairs(baseline, candidate) {
        let (Some(left), Some(right)) = (left, right) else { continue };
        let (Some(first), Some(other)) = (left.first(), right.first()) else { continue };
        let (Some(a), Some(b)) = (left.mean(metric), right.mean(metric)) else { continue };
        if first.record != other.record {
            continue;
        }
        let [sum_a, sum_b] = &mut sums;
        sum_a.add(a)?;
        sum_b.add(b)?;
        is_binary &= [a, b].iter().all(|value| *value == 0.0 || *value == 1.0);
        let cluster = if first.cluster == 0 { other.cluster } else { first.cluster };
        has_clusters &= cluster != 0;
        differences.push((cluster, b - a));
        if metric.is_right_or_wrong() && (a > 0.5) != (b > 0.5) {
            let line = |sample: &Sample<'_>, is_right: bool| {
                let mut ended =
                    sample.values(metric).filter(|(_, value)| (*value > 0.5) == is_right);
                ended.next().map(|(attempt, _)| attempt.line)
            };
            if let (Some(baseline_line), Some(candidate_line)) =
                (line(&left, a > 0.5), line(&right, b > 0.5))
            {
                let (index, gained) = (first.index, b > 0.5);
                flips.push(Flip { index, baseline_line, candidate_line, gained });
            }
        }
    }
    let is_same = differences.iter().all(|(_, difference)| *difference == 0.0);
    let difference = if has_clusters {
        paired::of_clusters(&mut differences)?
    } else {
        let differences: Vec<f64> = differences.into_iter().map(|(_, value)| value).collect();
        paired::of_samples(&differences)?
    };
    let Some(difference) = difference else { return Ok(None) };
    flips.sort_unstable();
    let samples = difference.count;
    let is_graded = is_binary && difference.clusters.is_none();
    let side = |sum: &ExactSum| {
        let value = sum.value() / samples as f64;
        let interval = if is_graded { wilson(value, samples) } else { None };
        SideValue { value, interval }
    };
    let gained = flips.iter().filter(|flip| flip.gained).count() as u64;
    let (test, p_value) = if is_graded {
        (Test::McnemarExact, Some(mcnemar(gained, flips.len() as u64 - gained)))
    } else {
        (Test::PairedZ, z_test(&difference, is_same))
    };
    Ok(Some(Row {
        metric,
        samples,
        baseline: side(&sums[0]),
        candidate: side(&sums[1]),
        difference,
        test,
        p_value,
        adjusted_p_value: None,
        minimal_detectable_effect: None,
        verdict: if is_same { Verdict::SameScores } else { Verdict::TooFewSamples },
        flips,
    }))
}

/// Where all samples differ by the same there is no spread that the difference could be held against: then their signs
/// alone are counted, as if each were a sample won or lost.
fn z_test(difference: &Paired, is_same: bool) -> Option<f64> {
    match difference.stderr {
        _ if is_same => Some(1.0),
        Some(stderr) if stderr > 0.0 => Some(two_sided_p(difference.mean / stderr)),
        Some(_) => {
            let units = difference.clusters.unwrap_or(difference.count);
            Some(mcnemar(units, 0))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempts::tests::{Line, unit};
    use super::*;

    fn row(metric: Metric, a: &[Line], b: &[Line]) -> Row {
        let mut row = compare(metric, &unit(metric, a), &unit(metric, b)).unwrap().unwrap();
        row.decide(row.p_value, 1);
        row
    }

    /// Samples of these scores, one attempt each.
    fn scores(values: &[f64]) -> Vec<Line> {
        const IDS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        IDS.iter().zip(values).map(|(id, value)| (*id, 0, 1, Some(*value), None)).collect()
    }

    #[test]
    fn only_what_both_have_scored_of_equal_records_is_compared() {
        let a = [
            ("0", 0, 1, Some(1.0), None),
            ("1", 0, 1, Some(0.0), None),
            ("2", 0, 1, Some(0.0), None),
            ("3", 0, 1, None, None),
            ("4", 0, 1, Some(1.0), None),
        ];
        let b = [
            ("4", 0, 9, Some(0.0), None),
            ("3", 0, 1, Some(1.0), None),
            ("1", 0, 1, Some(1.0), None),
            ("0", 0, 1, Some(0.0), None),
            ("5", 0, 1, Some(1.0), None),
        ];
        let row = row(Metric::Acc, &a, &b);
        assert_eq!((row.samples, row.baseline.value, row.candidate.value), (2, 0.5, 0.5));
        assert_eq!((row.difference.mean, row.gained(), row.lost()), (0.0, 1, 1));
        let flips: Vec<_> = row
            .flips
            .iter()
            .map(|f| (f.index, f.baseline_line, f.candidate_line, f.gained))
            .collect();
        assert_eq!(flips, [(0, 0, 3, false), (1, 1, 2, true)]);
    }

    #[test]
    fn the_test_suits_the_scores_and_the_verdict_the_direction() {
        type Case = (Metric, Vec<f64>, Vec<f64>, Test, Verdict);
        let table: [Case; 6] = [
            (Metric::Acc, vec![0.0; 8], vec![1.0; 8], Test::McnemarExact, Verdict::Better),
            (Metric::Acc, vec![1.0; 8], vec![0.0; 8], Test::McnemarExact, Verdict::Worse),
            (
                Metric::Acc,
                vec![1.0; 3],
                vec![0.0; 3],
                Test::McnemarExact,
                Verdict::NoDifferenceShown,
            ),
            (Metric::Acc, vec![1.0; 3], vec![1.0; 3], Test::McnemarExact, Verdict::SameScores),
            (Metric::Acc, vec![1.0], vec![0.0], Test::McnemarExact, Verdict::TooFewSamples),
            (
                Metric::BrierScore,
                vec![0.5, 0.6, 0.5, 0.6],
                vec![0.1, 0.1, 0.2, 0.2],
                Test::PairedZ,
                Verdict::Better,
            ),
        ];
        for (metric, a, b, test, verdict) in table {
            let found = row(metric, &scores(&a), &scores(&b));
            assert_eq!((found.test, found.verdict), (test, verdict), "{metric} {a:?} {b:?}");
            assert_eq!(found.flips.is_empty(), metric == Metric::BrierScore || a == b);
        }
    }

    #[test]
    fn repeats_are_averaged_and_the_greater_part_decides_a_flip() {
        let a: Vec<Line> =
            (0..4).map(|repeat| ("7", repeat, 1, Some(f64::from(repeat % 2)), None)).collect();
        let b: Vec<Line> =
            (0..4).map(|repeat| ("7", repeat, 1, Some(f64::from(repeat.min(1))), None)).collect();
        let row = row(Metric::ExactMatch, &a, &b);
        assert_eq!((row.samples, row.baseline.value, row.candidate.value), (1, 0.5, 0.75));
        assert_eq!(row.test, Test::PairedZ);
        let [flip] = row.flips.try_into().unwrap();
        assert_eq!((flip.baseline_line, flip.candidate_line, flip.gained), (0, 1, true));
    }

    #[test]
    fn clusters_are_taken_where_every_sample_is_in_one() {
        let in_clusters = |values: [f64; 4], last: Option<&'static str>| -> Vec<Line> {
            let clusters = [Some("a"), Some("a"), Some("b"), last];
            let all = scores(&values).into_iter().zip(clusters);
            all.map(|((id, repeat, record, value, _), c)| (id, repeat, record, value, c)).collect()
        };
        let (a, b) = ([0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]);
        let found = row(Metric::Acc, &in_clusters(a, Some("b")), &in_clusters(b, Some("b")));
        // Off by 1 and -1: sqrt(2)/4.
        assert_eq!(found.difference.clusters, Some(2));
        assert!((found.difference.stderr.unwrap() - 2.0_f64.sqrt() / 4.0).abs() < 1e-15);
        assert_eq!((found.test, found.baseline.interval), (Test::PairedZ, None));
        let found = row(Metric::Acc, &in_clusters(a, None), &in_clusters(b, None));
        assert_eq!((found.difference.clusters, found.test), (None, Test::McnemarExact));
    }
}
