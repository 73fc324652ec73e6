//! A run as reports show it: what its directory says, put into one form whether it is finished or not.

use std::path::Path;

use super::{
    comparison::compare::Only,
    error::ReportError,
    interval::{Interval, interval},
    task_config::repeats,
};
use crate::{
    run::from_journal::from_journal,
    score::metric::Metric,
    store::{
        stored_run::{StoredRun, StoredSamples},
        summary::{GroupResult, MetricEntry, State, TaskResult},
    },
};

/// A run.
#[derive(Debug)]
pub struct View {
    /// Its directory and what ran.
    pub run: StoredRun,
    /// One entry a task and backend: from the summary, or of a run that has none what its journal holds so far.
    pub results: Vec<TaskResult>,
    /// Averages over tasks.
    pub groups: Vec<GroupResult>,
    /// How it ended; none if it is not finished.
    pub state: Option<State>,
    /// When it ended, RFC 3339.
    pub finished: Option<String>,
}

/// A metric of a task at a backend.
#[derive(Clone, Debug)]
pub struct MetricView<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its value, error and bounds.
    pub entry: &'a MetricEntry,
    /// The interval of 95 %, if one is known.
    pub interval: Option<Interval>,
}

impl View {
    /// Opens a run. Its journal is read only if it has no summary.
    ///
    /// # Errors
    /// It is no run, or cannot be read.
    pub fn open(directory: &Path) -> Result<Self, ReportError> {
        let mut run = StoredRun::open(directory)?;
        let (results, groups, state, finished) = match run.summary.take() {
            Some(summary) => {
                let finished = Some(summary.run.finished);
                (summary.results, summary.groups, Some(summary.run.state), finished)
            }
            None => {
                let (results, groups) = from_journal(&run)?;
                (results, groups, None, None)
            }
        };
        Ok(Self { run, results, groups, state, finished })
    }

    /// The finished samples.
    ///
    /// # Errors
    /// The journal is damaged.
    pub fn samples(&self) -> Result<StoredSamples, ReportError> {
        Ok(self.run.samples()?)
    }

    /// The metrics of a result, in the order in which they are shown.
    pub fn metrics<'a>(&self, result: &'a TaskResult) -> Vec<MetricView<'a>> {
        let repeats = u64::from(repeats(&self.run.manifest, &result.task).get());
        // Only where nothing is repeated can it be told apart from what lies between.
        let samples = if repeats == 1 { result.samples.scored } else { 0 };
        let view = |metric: Metric| {
            let entry = result.metrics.get(metric.name())?;
            let interval = interval(metric.name(), entry, samples);
            Some(MetricView { name: metric.name(), entry, interval })
        };
        Metric::ALL.into_iter().filter_map(view).collect()
    }

    /// Leaves these tasks and backends only. An average over tasks stays if all of them do.
    pub fn keep(&mut self, only: &Only) {
        let has = |list: &[String], id: &String| list.is_empty() || list.contains(id);
        let has_task = |task: &String| has(&only.tasks, task);
        self.results.retain(|one| has_task(&one.task) && has(&only.backends, &one.backend));
        self.groups
            .retain(|one| one.tasks.iter().all(has_task) && has(&only.backends, &one.backend));
    }

    /// The metric that says whether a sample of a result is right: the first reported one that can say so, as the
    /// comparison of runs has it.
    pub fn judged_by(result: &TaskResult) -> Option<Metric> {
        let says = |metric: &Metric| {
            metric.is_right_or_wrong() && result.metrics.contains_key(metric.name())
        };
        Metric::ALL.into_iter().find(says)
    }

    /// Which result a task at a backend is.
    pub fn unit(&self, task: &str, backend: &str) -> Option<usize> {
        self.results.iter().position(|result| result.task == task && result.backend == backend)
    }

    /// Whether only digests of texts are stored.
    pub fn is_hashed(&self) -> bool {
        self.run.manifest.config["run"]["store"] == "hash"
    }

    /// How it ended, in a word.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            Some(State::Complete) => "complete",
            Some(State::Interrupted) => "interrupted",
            Some(State::Spent) => "budget spent",
            Some(State::Failed) => "failed",
            None => "not finished",
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::summary::Latency;

    /// A complete run of ten scored and two unscored samples.
    pub(in crate::report) fn view(id: &str) -> View {
        let manifest = serde_json::from_value(json!({
            "format": 1, "id": id, "name": id, "started": "2026-01-02T03:04:05Z", "host_version": "0.1.0",
            "config_blake3": "00", "plugins": [], "backends": [], "data": [],
            "config": { "run": { "store": "full" }, "tasks": [{ "id": "t|1", "task": { "repeats": 1 } }] },
        }))
        .unwrap();
        let result: TaskResult = serde_json::from_value(json!({
            "task": "t|1", "backend": "b", "model": null,
            "samples": { "total": 12, "scored": 10, "unscored": 2 }, "unscored_reasons": { "timeout": 2 },
            "metrics": {
                "acc": { "value": 0.8, "stderr": 0.133_333_333_333_333_33,
                         "if_unscored_wrong": 0.6, "if_unscored_right": 0.9 },
                "brier_score": { "value": 0.5, "stderr": 0.1 },
            },
            "tokens": { "prompt": 3, "completion": 4 },
            "latency_ms": Latency { p50: 5.0, p90: 6.0, p99: 7.0 },
            "samples_per_second": 1.5, "retries": 0,
        }))
        .unwrap();
        View {
            run: StoredRun { directory: "runs".into(), manifest, summary: None },
            results: vec![result],
            groups: Vec::new(),
            state: Some(State::Complete),
            finished: Some("2026-01-02T03:05:05Z".to_owned()),
        }
    }

    #[test]
    fn metrics_come_in_their_order_with_intervals_only_where_repeats_allow() {
        let mut view = view("r");
        let names = |view: &View| -> Vec<(&'static str, &'static str)> {
            let metrics = view.metrics(&view.results[0]);
            metrics.iter().map(|one| (one.name, one.interval.unwrap().method.name())).collect()
        };
        assert_eq!(names(&view), [("acc", "wilson"), ("brier_score", "normal")]);
        view.run.manifest.config["tasks"][0]["task"]["repeats"] = 2.into();
        assert_eq!(names(&view), [("acc", "normal"), ("brier_score", "normal")]);
        assert_eq!(view.unit("t|1", "b"), Some(0));
        assert_eq!(view.unit("t|1", "c"), None);
    }
}
