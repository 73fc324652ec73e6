//! The metrics of a group of tasks: each averaged by sample and by task.

use serde::{Deserialize, Serialize};

use super::aggregate::MetricValue;
use super::metric::Metric;
use crate::stats::group::{GroupMember, average};

/// A metric over the tasks of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupValue {
    /// Which metric.
    pub metric: Metric,
    /// The average where each sample weighs the same.
    pub by_sample: f64,
    /// Pooled standard error of `by_sample`; none when a task has none.
    pub stderr_by_sample: Option<f64>,
    /// The average where each task weighs the same.
    pub by_task: f64,
    /// Standard error of `by_task`; none when a task has none.
    pub stderr_by_task: Option<f64>,
    /// Samples in all.
    pub samples: u64,
    /// How many tasks were averaged.
    pub tasks: usize,
}

/// Averages each metric that all tasks of a group have, in the order of the first task. `tasks` holds
/// the values of each task; a task without any makes the group have none, since an average over the
/// others would look like one over all.
#[must_use]
pub fn group(tasks: &[&[MetricValue]]) -> Vec<GroupValue> {
    let Some((first, _)) = tasks.split_first() else {
        return Vec::new();
    };
    first.iter().filter_map(|value| over_tasks(value.metric, tasks)).collect()
}

fn over_tasks(metric: Metric, tasks: &[&[MetricValue]]) -> Option<GroupValue> {
    let member = |values: &&[MetricValue]| {
        let found = values.iter().find(|value| value.metric == metric)?;
        Some(GroupMember { value: found.value, stderr: found.stderr, count: found.samples })
    };
    let members: Vec<GroupMember> = tasks.iter().map(member).collect::<Option<_>>()?;
    let average = average(&members)?;
    Some(GroupValue {
        metric,
        by_sample: average.by_sample,
        stderr_by_sample: average.stderr_by_sample,
        by_task: average.by_task,
        stderr_by_task: average.stderr_by_task,
        samples: average.count,
        tasks: members.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(metric: Metric, value: f64, stderr: f64, samples: u64) -> MetricValue {
        let (if_unscored_wrong, if_unscored_right) = (None, None);
        MetricValue {
            metric,
            value,
            stderr: Some(stderr),
            clusters: None,
            samples,
            if_unscored_wrong,
            if_unscored_right,
        }
    }

    #[test]
    fn vector_v2_by_metric() {
        let a = [value(Metric::Acc, 0.75, 0.25, 4), value(Metric::AccNorm, 0.5, 0.1, 4)];
        let b = [value(Metric::Acc, 0.5, 0.050_251_890_762_960_6, 100)];
        let found = group(&[&a, &b]);
        assert_eq!(found.len(), 1, "only `acc` is shared");
        assert_eq!((found[0].by_task, found[0].samples, found[0].tasks), (0.625, 104, 2));
        assert!((found[0].by_sample - 0.509_615_384_6).abs() < 1e-10);
    }

    #[test]
    fn a_task_without_results_leaves_none() {
        let a = [value(Metric::Acc, 0.75, 0.25, 4)];
        assert!(group(&[&a, &[]]).is_empty() && group(&[]).is_empty());
    }
}
