//! A run as one JSON object for programs: what ran and what came out, with the intervals that the summary does not hold.

use schemars::JsonSchema;
use serde::Serialize;

use super::{interval::Interval, view::View};
use crate::store::{
    manifest::{BackendIdentity, DataIdentity, PluginIdentity, RecordingIdentity, Resumption},
    summary::{GroupResult, MetricEntry, TaskResult},
};

/// Format of the object.
pub const FORMAT: u32 = 1;

/// A line of `host report --json`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ReportRecord<'a> {
    /// The report itself, if `--format json` was asked for and no file was named.
    Report(Report<'a>),
}

/// One or two runs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report<'a> {
    /// Its format.
    pub format: u32,
    /// In the order in which they were named.
    pub runs: Vec<RunReport<'a>>,
}

/// A run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunReport<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How it ended: `complete`, `interrupted`, `budget spent`, `failed`, `not finished`.
    pub state: &'static str,
    /// RFC 3339.
    pub started: &'a str,
    /// RFC 3339; none if it is not finished.
    pub finished: Option<&'a str>,
    /// Version of the host that ran it.
    pub host_version: &'a str,
    /// Digest of the run file as meant.
    pub config_blake3: &'a str,
    /// The plugins used.
    pub plugins: &'a [PluginIdentity],
    /// What the backends say of themselves.
    pub backends: &'a [BackendIdentity],
    /// The data files.
    pub data: &'a [DataIdentity],
    /// The recording that answered, if no server was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<&'a RecordingIdentity>,
    /// Each time that it was taken up again.
    #[serde(skip_serializing_if = "<[Resumption]>::is_empty")]
    pub resumed: &'a [Resumption],
    /// One entry a task and backend.
    pub results: Vec<ResultReport<'a>>,
    /// Averages over tasks.
    #[serde(skip_serializing_if = "<[GroupResult]>::is_empty")]
    pub groups: &'a [GroupResult],
}

/// A task at a backend.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ResultReport<'a> {
    /// As it stands in `summary.json`.
    pub result: &'a TaskResult,
    /// Its metrics with their intervals, in the order in which they are shown.
    pub metrics: Vec<MetricReport<'a>>,
}

/// A metric.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MetricReport<'a> {
    /// Its name.
    pub name: &'static str,
    /// Value, standard error, bounds.
    pub entry: &'a MetricEntry,
    /// The interval of 95 %; none where there is no standard error.
    pub interval: Option<IntervalReport>,
}

/// An interval of 95 %.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct IntervalReport {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// `wilson` or `normal`.
    pub method: &'static str,
}

impl From<Interval> for IntervalReport {
    fn from(Interval { low, high, method }: Interval) -> Self {
        Self { low, high, method: method.name() }
    }
}

/// The object of these runs.
pub fn report(views: &[View]) -> Report<'_> {
    Report { format: FORMAT, runs: views.iter().map(run).collect() }
}

fn run(view: &View) -> RunReport<'_> {
    let manifest = &view.run.manifest;
    let result = |result| ResultReport {
        result,
        metrics: view
            .metrics(result)
            .into_iter()
            .map(|shown| MetricReport {
                name: shown.name,
                entry: shown.entry,
                interval: shown.interval.map(IntervalReport::from),
            })
            .collect(),
    };
    RunReport {
        id: &manifest.id,
        name: &manifest.name,
        state: view.state_name(),
        started: &manifest.started,
        finished: view.finished.as_deref(),
        host_version: &manifest.host_version,
        config_blake3: &manifest.config_blake3,
        plugins: &manifest.plugins,
        backends: &manifest.backends,
        data: &manifest.data,
        recording: manifest.recording.as_ref(),
        resumed: &manifest.resumed,
        results: view.results.iter().map(result).collect(),
        groups: &view.groups,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::view::tests::view;

    #[test]
    fn the_object_holds_the_result_as_stored_and_its_interval() {
        let views = [view("one")];
        let value = serde_json::to_value(report(&views)).unwrap();
        let run = &value["runs"][0];
        assert_eq!((&run["id"], &run["state"]), (&"one".into(), &"complete".into()));
        let result = &run["results"][0];
        assert_eq!(result["result"]["metrics"]["acc"]["value"], 0.8);
        assert_eq!(result["metrics"][0]["interval"]["method"], "wilson");
        assert_eq!(result["metrics"][1]["name"], "brier_score");
    }
}
