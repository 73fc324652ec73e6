//! A comparison for programs: one JSON record a line, the first `launch`.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    compare::{Side, UnitComparison},
    counts::SampleCounts,
    difference::Difference,
    flip::FlipText,
    row::{Row, SideValue, Test, Verdict},
};
use crate::stats::interval::Interval;

/// Format of these lines.
pub const FORMAT: u32 = 1;

/// A line of `host compare --json`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CompareRecord {
    /// The first line: what is compared.
    Launch {
        /// Format of these lines.
        format: u32,
        /// The run directories, the baseline's first.
        directories: Vec<String>,
    },
    /// Something that the reader should know.
    Remark {
        /// What.
        text: String,
    },
    /// Something that differs beside the answers.
    Difference {
        /// The baseline.
        baseline: Side,
        /// The candidate.
        candidate: Side,
        /// What differs.
        difference: Difference,
    },
    /// A metric on both sides.
    Comparison(Box<ComparisonRecord>),
    /// A sample that is right on one side and wrong on the other.
    Flip {
        /// Id of the task.
        task: String,
        /// Name of the metric.
        metric: String,
        /// The baseline.
        baseline: Side,
        /// The candidate.
        candidate: Side,
        /// Whether the candidate has it right.
        gained: bool,
        /// The sample, and what either side answered.
        answers: FlipText,
    },
}

/// A metric of a task on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ComparisonRecord {
    /// Id of the task.
    pub task: String,
    /// Name of the metric.
    pub metric: String,
    /// The baseline.
    pub baseline: ValueRecord,
    /// The candidate.
    pub candidate: ValueRecord,
    /// Samples that both sides have scored, which all figures are over.
    pub samples: u64,
    /// How the task's samples stand to each other.
    pub counts: SampleCounts,
    /// Candidate minus baseline.
    pub difference: f64,
    /// Its standard error, by clusters where there are any; none of fewer than two samples or clusters.
    pub stderr: Option<f64>,
    /// Clusters that the samples are in, if their task says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<u64>,
    /// Paired bootstrap at 95 %.
    pub interval: Option<Interval>,
    /// Replicates that it is of.
    pub replicates: u32,
    /// How the p-value was computed.
    pub test: Test,
    /// Two-sided.
    pub p_value: Option<f64>,
    /// After Holm, over all lines `comparison`.
    pub adjusted_p_value: Option<f64>,
    /// The smallest true difference that would be seen in 80 of 100 such comparisons.
    pub minimal_detectable_effect: Option<f64>,
    /// Samples that the candidate has right and the baseline wrong.
    pub gained: u64,
    /// The other way round.
    pub lost: u64,
    /// What it comes to.
    pub verdict: Verdict,
}

/// A value and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ValueRecord {
    /// Whose.
    pub side: Side,
    /// The value.
    pub score: SideValue,
}

impl ComparisonRecord {
    /// The record of a row.
    #[must_use]
    pub fn new(unit: &UnitComparison, row: &Row) -> Self {
        let value = |side: &Side, score| ValueRecord { side: side.clone(), score };
        Self {
            task: unit.task.clone(),
            metric: row.metric.name().to_owned(),
            baseline: value(&unit.baseline, row.baseline),
            candidate: value(&unit.candidate, row.candidate),
            samples: row.samples,
            counts: unit.samples,
            difference: row.difference.mean,
            stderr: row.difference.stderr,
            clusters: row.difference.clusters,
            interval: row.difference.interval,
            replicates: row.difference.replicates,
            test: row.test,
            p_value: row.p_value,
            adjusted_p_value: row.adjusted_p_value,
            minimal_detectable_effect: row.minimal_detectable_effect,
            gained: row.gained(),
            lost: row.lost(),
            verdict: row.verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_schema() {
        let schema = serde_json::to_value(schemars::schema_for!(CompareRecord)).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let side = serde_json::json!({"number": 0, "directory": "a", "run": "r", "backend": "b"});
        let lines = [
            CompareRecord::Launch { format: FORMAT, directories: vec!["a".to_owned()] },
            CompareRecord::Remark { text: "x".to_owned() },
        ];
        for line in lines {
            let line = serde_json::to_value(line).unwrap();
            assert!(validator.is_valid(&line), "{line}");
        }
        let flip = serde_json::json!({
            "event": "flip", "task": "t", "metric": "acc", "baseline": side, "candidate": side,
            "gained": true,
            "answers": {"sample": "1", "target": "x", "baseline": "y", "candidate": "x"},
        });
        assert!(validator.is_valid(&flip));
        let mut without = flip;
        without.as_object_mut().unwrap().remove("gained");
        assert!(!validator.is_valid(&without));
    }
}
