//! The average over several tasks, by sample and by task.

/// What a group needs to know of one of its tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupMember {
    /// The task's value of the metric.
    pub value: f64,
    /// Its standard error, where it has one.
    pub stderr: Option<f64>,
    /// How many samples were scored.
    pub count: u64,
}

/// A metric averaged over tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupAverage {
    /// Σ(mᵢnᵢ)/Σnᵢ: each sample weighs the same (micro average).
    pub by_sample: f64,
    /// The plain mean of the tasks' values: each task weighs the same (macro average).
    pub by_task: f64,
    /// The pooled standard error of `by_sample`:
    /// sqrt( Σ((nᵢ−1)·seᵢ²·nᵢ) / (Σnᵢ − k) / Σnᵢ ). None when a task has none.
    pub stderr_by_sample: Option<f64>,
    /// The standard error of `by_task`, for tasks that are independent: sqrt(Σseᵢ²)/k. None when a task has none.
    pub stderr_by_task: Option<f64>,
    /// Samples in all.
    pub count: u64,
}

/// Averages the tasks of a group, in the order given; none when there is no task or no sample.
///
/// Source of the pooled error: lm-evaluation-harness, `pooled_sample_stderr`.
#[must_use]
pub fn average(members: &[GroupMember]) -> Option<GroupAverage> {
    let count: u64 = members.iter().map(|m| m.count).sum();
    if members.is_empty() || count == 0 {
        return None;
    }
    let tasks = members.len() as f64;
    let samples = count as f64;
    let by_sample = members.iter().map(|m| m.value * m.count as f64).sum::<f64>() / samples;
    let by_task = members.iter().map(|m| m.value).sum::<f64>() / tasks;
    let errors: Option<Vec<f64>> = members.iter().map(|m| m.stderr).collect();
    let stderr_by_sample = errors.as_ref().filter(|_| samples > tasks).map(|errors| {
        let pooled: f64 = members
            .iter()
            .zip(errors)
            .map(|(m, se)| (m.count as f64 - 1.0) * se * se * m.count as f64)
            .sum();
        (pooled / (samples - tasks) / samples).sqrt()
    });
    let stderr_by_task =
        errors.map(|errors| errors.iter().map(|se| se * se).sum::<f64>().sqrt() / tasks);
    Some(GroupAverage { by_sample, by_task, stderr_by_sample, stderr_by_task, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: GroupMember = GroupMember { value: 0.75, stderr: Some(0.25), count: 4 };
    const B: GroupMember =
        GroupMember { value: 0.5, stderr: Some(0.050_251_890_762_960_605), count: 100 };

    #[test]
    fn vector_v2() {
        let group = average(&[A, B]).unwrap();
        assert!((group.by_sample - 0.509_615_384_6).abs() < 1e-10);
        assert_eq!(group.by_task, 0.625);
        assert!((group.stderr_by_sample.unwrap() - 0.049_268_786_0).abs() < 1e-10);
    }

    #[test]
    fn a_task_without_error_leaves_the_group_without() {
        let group = average(&[A, GroupMember { stderr: None, ..B }]).unwrap();
        assert_eq!(group.stderr_by_sample, None);
    }

    #[test]
    fn nothing_has_no_average() {
        assert_eq!(average(&[]), None);
        assert_eq!(average(&[GroupMember { count: 0, ..A }]), None);
    }
}
