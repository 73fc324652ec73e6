//! A run as reports show it: what its directory says, put into one form whether it is finished or not.

use std::path::Path;

use super::{
    error::ReportError,
    interval::{Interval, interval},
    recount::{recount, repeats},
};
use crate::{
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
            None => (recount(&run.manifest, &run.samples()?)?, Vec::new(), None, None),
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
