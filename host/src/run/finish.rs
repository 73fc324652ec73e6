//! How a run ends: what was recorded summed up, the summary written, the exit code decided.

use std::path::{Path, PathBuf};

use super::{
    backend_error::BackendError,
    dispatch::Ended,
    error::{RunError, exit},
    recorder::{RecordError, Recorded},
    tally::Tally,
};
use crate::{
    config::{RunConfig, RunFile},
    score::{aggregate::MetricValue, group},
    secret::Redactor,
    stats::exact::ExactError,
    store::{
        RunDir, run_dir,
        summary::{self, GroupResult, MetricEntry, RunIdentity, State, Summary, TaskResult},
    },
};

/// A run that left a directory.
#[derive(Debug)]
pub struct Finish {
    /// The directory.
    pub directory: PathBuf,
    /// What is in it.
    pub summary: Summary,
    /// The exit code.
    pub exit_code: u8,
    /// Why it ended too early, if it did.
    pub error: Option<String>,
    /// What its backends hold still and could not give back, which the user was told.
    pub unfreed: Option<String>,
}

/// How the asking ended.
#[derive(Default)]
pub(super) struct HowAsked {
    /// Each backend's work.
    pub(super) ended: Vec<Ended>,
    /// The budget that is spent.
    pub(super) spent: Option<String>,
}

/// Sums up what was recorded, writes the summary and decides the exit code.
pub(super) fn finish(
    file: &RunFile,
    directory: &RunDir,
    started: String,
    mut recorded: Recorded,
    ended: Result<HowAsked, RunError>,
    unopened: Vec<BackendError>,
    redactor: &Redactor,
) -> Result<Finish, RunError> {
    let (state, error) = how_it_ended(recorded.error.take(), ended, unopened, directory.path());
    let internal = |error: &dyn std::fmt::Display| RunError::Internal(error.to_string());
    let results: Vec<TaskResult> = recorded
        .tallies
        .iter()
        .map(Tally::result)
        .collect::<Result<_, _>>()
        .map_err(|error| internal(&error))?;
    let groups = groups(&file.config, &recorded.tallies).map_err(|error| internal(&error))?;
    let unscored: u64 = results.iter().map(|result| result.samples.unscored).sum();
    let total: u64 = results.iter().map(|result| result.samples.total).sum();
    let unwritten = |why: &dyn std::fmt::Display| {
        let directory = directory.path().to_owned();
        RunError::Unwritten { why: why.to_string(), done: total, directory }
    };
    let error = match error {
        Some(RunError::Record(why @ RecordError::Write { .. })) => Some(unwritten(&why)),
        error => error,
    };
    let exit_code = match (&error, state) {
        (Some(error), _) => error.exit_code(),
        (None, State::Interrupted) => exit::STOPPED,
        (None, _) if !file.config.run.max_unscored.allows(unscored, total) => exit::UNSCORED,
        (None, _) => exit::DONE,
    };
    let summary = Summary {
        format: summary::FORMAT,
        run: RunIdentity {
            id: directory.id().to_owned(),
            name: file.config.name.clone(),
            started,
            finished: jiff::Timestamp::now().to_string(),
            state,
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            config_blake3: file.config_blake3.clone(),
        },
        results,
        groups,
    };
    if let Err(why) = directory.write_json(run_dir::SUMMARY, &summary, redactor) {
        // Where the journal could not be written either, that is what stopped the run.
        return Err(match error {
            Some(error @ (RunError::Unwritten { .. } | RunError::Record(_))) => error,
            _ => unwritten(&why),
        });
    }
    let error = error.map(|error| error.to_string());
    Ok(Finish { directory: directory.path().to_owned(), summary, exit_code, error, unfreed: None })
}

fn how_it_ended(
    unrecorded: Option<RecordError>,
    asked: Result<HowAsked, RunError>,
    unopened: Vec<BackendError>,
    directory: &Path,
) -> (State, Option<RunError>) {
    if let Some(error) = unrecorded {
        return (State::Failed, Some(error.into()));
    }
    let HowAsked { ended, spent } = match asked {
        Ok(asked) => asked,
        Err(error) => return (State::Failed, Some(error)),
    };
    let stopped = ended.iter().any(|one| matches!(one, Ended::Stopped | Ended::Spent));
    let failed = ended.into_iter().find_map(|one| match one {
        Ended::Failed(error) => Some(RunError::from(error)),
        Ended::Lost(message) => Some(RunError::Internal(message)),
        Ended::Fatal(reason) => Some(RunError::Fatal(reason)),
        Ended::Broken(reason) => Some(RunError::Broken(reason)),
        Ended::Complete | Ended::Stopped | Ended::Spent => None,
    });
    match (failed, spent) {
        (Some(error), _) => (State::Failed, Some(error)),
        (None, Some(reason)) if stopped => {
            let directory = directory.to_owned();
            (State::Spent, Some(RunError::Spent { reason, directory }))
        }
        (None, _) if stopped => (State::Interrupted, None),
        (None, _) => match unopened.into_iter().next() {
            Some(error) => (State::Failed, Some(error.into())),
            None => (State::Complete, None),
        },
    }
}

pub(super) fn groups(
    config: &RunConfig,
    tallies: &[Tally],
) -> Result<Vec<GroupResult>, ExactError> {
    let mut results = Vec::new();
    for wanted in &config.groups {
        for backend in &config.backends {
            let members: Vec<&Tally> = wanted
                .tasks
                .iter()
                .filter_map(|task| {
                    tallies.iter().find(|tally| {
                        tally.name().task == *task && tally.name().backend == backend.id
                    })
                })
                .collect();
            if members.len() != wanted.tasks.len() {
                continue;
            }
            let values: Vec<Vec<MetricValue>> =
                members.iter().map(|tally| tally.metrics()).collect::<Result<_, _>>()?;
            let values: Vec<&[MetricValue]> = values.iter().map(Vec::as_slice).collect();
            for value in group::group(&values) {
                let metric = value.metric.name();
                if wanted.metric.as_deref().is_some_and(|only| only != metric) {
                    continue;
                }
                let entry = |value, stderr| MetricEntry {
                    value,
                    stderr,
                    stderr_clusters: None,
                    if_unscored_wrong: None,
                    if_unscored_right: None,
                };
                results.push(GroupResult {
                    group: wanted.id.clone(),
                    backend: backend.id.clone(),
                    metric: metric.to_owned(),
                    tasks: wanted.tasks.clone(),
                    by_sample: entry(value.by_sample, value.stderr_by_sample),
                    by_task: entry(value.by_task, value.stderr_by_task),
                });
            }
        }
    }
    Ok(results)
}
