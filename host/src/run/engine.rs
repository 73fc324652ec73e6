//! One run from its file to its results: opens, plans, asks, records, sums up.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, watch};

use super::{
    backend::OpenBackend,
    backend_error::BackendError,
    budget::Budget,
    dispatch::{Ended, Shared, dispatch},
    error::{RunError, exit},
    event::{Event, Reporter},
    feed,
    open::{self, Found, Opened, Surroundings},
    plan::{Unit, plan, units},
    pulse::Pulse,
    recorder::{self, Note, RecordError, Recorded, Sinks},
    release::release,
    spending::Spending,
    tally::Tally,
};
use crate::{
    config::{RunConfig, RunFile},
    plugin::discover::Discovery,
    report::events_file::EventsFile,
    score::{aggregate::MetricValue, group},
    secret::Redactor,
    store::{
        RunDir,
        ledger::Ledger,
        manifest::{self, BackendIdentity, DataIdentity, PluginIdentity, RunManifest, file_blake3},
        run_dir::{self, PlannedDir},
        summary::{self, GroupResult, MetricEntry, RunIdentity, State, Summary, TaskResult},
    },
    task::resolve::Task,
};

/// Finished samples that wait for the recorder at most.
const NOTES_AHEAD: usize = 1024;

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
}

/// Runs a run file. `stop` turning true ends it cleanly.
///
/// # Errors
/// What kept it from beginning. Once the run directory is there, it always ends in a [`Finish`].
pub async fn run(
    file: &RunFile,
    discovery: &Discovery,
    around: &Surroundings<'_>,
    reporters: Vec<Box<dyn Reporter>>,
    stop: watch::Sender<bool>,
) -> Result<Finish, RunError> {
    let config = &file.config;
    let tasks = tasks(config)?;
    let data = data_files(&tasks)?;
    let found = open::find(file, discovery, around)?;
    // What cannot work at all is told before anything is opened, or rented.
    plan(&tasks, &found.iter().map(Found::offer).collect::<Vec<_>>())?;
    let now = jiff::Zoned::now();
    let started = now.timestamp().to_string();
    let directory = Arc::new(PlannedDir::new(&config.out, &config.name, now));
    let redactor = open::redactor(&found);
    let ledger = Arc::new(Ledger::new(Arc::clone(&directory), Arc::clone(&redactor)));
    let mut opened = open::open(config, found, &ledger, redactor, around, &stop).await?;
    let finish = match begin(&tasks, &opened, &directory) {
        Ok((units, directory)) => {
            let planned = Planned { units, data, started };
            carry_out(file, &directory, planned, &mut opened, reporters, stop).await
        }
        Err(error) => Err(error),
    };
    // Whether the run went well or not.
    let unfreed = release(&opened.instances, &ledger).await;
    unfreed.iter().for_each(|message| around.printer.error(message));
    let (mut finish, mut reporters) = finish?;
    // What goes on costing must not look like success to a script.
    if !unfreed.is_empty() && finish.exit_code == exit::DONE {
        finish.exit_code = exit::PLUGIN;
    }
    let done = Event::Done {
        exit_code: finish.exit_code,
        error: finish.error.clone().or_else(|| unfreed.into_iter().next()),
        summary: Some(Box::new(finish.summary.clone())),
    };
    for reporter in &mut reporters {
        reporter.on(&done);
    }
    Ok(finish)
}

/// What will be asked, and where the results go.
fn begin(
    tasks: &[(Task, Vec<String>)],
    opened: &Opened,
    directory: &PlannedDir,
) -> Result<(Vec<Arc<Unit>>, RunDir), RunError> {
    let offers: Vec<_> = opened.backends.iter().map(|backend| backend.offer()).collect();
    let units = units(plan(tasks, &offers)?, &opened.backends)?;
    Ok((units, directory.make().map_err(RunError::Directory)?))
}

/// A run that can begin.
struct Planned {
    units: Vec<Arc<Unit>>,
    data: Vec<DataIdentity>,
    /// RFC 3339.
    started: String,
}

/// Asks everything and leaves the results in the directory.
async fn carry_out(
    file: &RunFile,
    directory: &RunDir,
    planned: Planned,
    opened: &mut Opened,
    mut reporters: Vec<Box<dyn Reporter>>,
    stop: watch::Sender<bool>,
) -> Result<(Finish, Vec<Box<dyn Reporter>>), RunError> {
    let Planned { units, data, started } = planned;
    let plugins = std::mem::take(&mut opened.plugins);
    let manifest = manifest(file, directory, &started, plugins, &opened.backends, data);
    directory.write_json(run_dir::MANIFEST, &manifest, &opened.redactor)?;
    let journal = directory.lines(run_dir::JOURNAL)?;
    let events = directory.lines(run_dir::EVENTS)?;
    reporters.push(Box::new(EventsFile::new(events, Arc::clone(&opened.redactor))));
    let launch = Event::Launch {
        format: 1,
        run: directory.id().to_owned(),
        directory: directory.path().display().to_string(),
        units: units.iter().map(|unit| unit.name.clone()).collect(),
    };

    let (notes, taken) = mpsc::channel(NOTES_AHEAD);
    let sinks = Sinks {
        journal,
        reporters,
        store: file.config.run.store,
        redactor: Arc::clone(&opened.redactor),
    };
    let recorder = recorder::start(&units, sinks, taken, stop.clone())
        .map_err(|error| RunError::Internal(format!("no thread for the recorder: {error}")))?;
    let _ = notes.send(Note::Event(launch)).await;
    let budget = Budget::new(file.config.run.budget);
    let ended = ask_everything(&units, &opened.backends, budget, notes, &stop).await;
    let mut recorded = tokio::task::spawn_blocking(move || recorder.join())
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| {
            RunError::Internal("the recorder failed; what the journal holds is kept".to_owned())
        })?;
    let unopened = std::mem::take(&mut opened.unopened);
    let reporters = std::mem::take(&mut recorded.reporters);
    let finish = finish(file, directory, started, recorded, ended, unopened, &opened.redactor)?;
    Ok((finish, reporters))
}

/// The tasks as meant, and the backends that each is for.
fn tasks(config: &RunConfig) -> Result<Vec<(Task, Vec<String>)>, RunError> {
    config
        .tasks
        .iter()
        .map(|task| {
            let mut resolved = Task::resolve(task.task.clone(), &task.base_dir)?;
            resolved.limit = match (resolved.limit, task.max_samples) {
                (Some(own), Some(cap)) => Some(own.min(cap)),
                (own, cap) => own.or(cap),
            };
            Ok((resolved, task.backends.clone()))
        })
        .collect()
}

/// The data files with their digests.
fn data_files(tasks: &[(Task, Vec<String>)]) -> Result<Vec<DataIdentity>, RunError> {
    let mut files = Vec::new();
    for (task, _) in tasks {
        for path in task.files() {
            let blake3 = file_blake3(path)
                .map_err(|source| RunError::Data { path: path.to_owned(), source })?;
            files.push(DataIdentity {
                task: task.id.0.clone(),
                path: path.display().to_string(),
                blake3,
            });
        }
    }
    Ok(files)
}

fn manifest(
    file: &RunFile,
    directory: &RunDir,
    started: &str,
    plugins: Vec<PluginIdentity>,
    backends: &[Arc<OpenBackend>],
    data: Vec<DataIdentity>,
) -> RunManifest {
    RunManifest {
        format: manifest::FORMAT,
        id: directory.id().to_owned(),
        name: file.config.name.clone(),
        started: started.to_owned(),
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        config_blake3: file.config_blake3.clone(),
        config: serde_json::to_value(&file.config).unwrap_or_default(),
        plugins,
        backends: backends
            .iter()
            .map(|backend| BackendIdentity {
                id: backend.id.clone(),
                plugin: backend.manifest.plugin.id.clone(),
                mock: backend.is_mock(),
                assets: backend.assets.clone(),
                description: backend.description.clone(),
            })
            .collect(),
        data,
    }
}

/// Keeps every backend busy until all is asked, the user stops, a budget is spent, or samples end too early.
async fn ask_everything(
    units: &[Arc<Unit>],
    backends: &[Arc<OpenBackend>],
    budget: Budget,
    notes: mpsc::Sender<Note>,
    stop: &watch::Sender<bool>,
) -> Result<HowAsked, RunError> {
    let shared = Shared {
        notes: notes.clone(),
        board: Arc::default(),
        spending: Arc::new(Spending::new(budget)),
    };
    let mut running = tokio::task::JoinSet::new();
    for backend in backends {
        let own: Vec<_> =
            units.iter().filter(|unit| unit.backend.id == backend.id).cloned().collect();
        if own.is_empty() {
            continue;
        }
        let work = feed::start(own, backend.router.ceiling(), notes.clone())
            .map_err(|error| RunError::Internal(format!("no thread to read samples: {error}")))?;
        let (shared, stop) = (shared.clone(), stop.subscribe());
        let dispatched = dispatch(Arc::clone(backend), work, shared, stop);
        let id = backend.id.clone();
        running.spawn(async move { (id, dispatched.await) });
    }
    let mut watching = Pulse::new(backends, &shared, stop);
    let mut ended = Vec::new();
    loop {
        let next = tokio::select! {
            next = running.join_next() => next,
            () = watching.beat() => {
                watching.look().await;
                continue;
            }
        };
        let Some(next) = next else { break };
        let (backend, next) = next
            .map_err(|error| RunError::Internal(format!("a part of the host failed: {error}")))?;
        match &next {
            // The user must mend the data first, so the other backends need not go on.
            Ended::Failed(_) | Ended::Broken(_) => drop(stop.send_replace(true)),
            Ended::Fatal(reason) => {
                let fatal = Event::Fatal { backend, reason: reason.clone() };
                let _ = notes.send(Note::Event(fatal)).await;
            }
            Ended::Complete | Ended::Stopped | Ended::Spent => {}
        }
        ended.push(next);
    }
    watching.changes().await;
    let spent = shared.spending.why().map(str::to_owned);
    let broken = |one: &Ended| matches!(one, Ended::Failed(_) | Ended::Broken(_));
    if let Some(reason) = &spent {
        let _ = notes.send(Note::Event(Event::Spent { reason: reason.clone() })).await;
    } else if *stop.borrow() && !ended.iter().any(broken) {
        let _ = notes.send(Note::Event(Event::Interrupted)).await;
    }
    Ok(HowAsked { ended, spent })
}

/// How the asking ended.
struct HowAsked {
    /// Each backend's work.
    ended: Vec<Ended>,
    /// The budget that is spent.
    spent: Option<String>,
}

/// Sums up what was recorded, writes the summary and decides the exit code.
fn finish(
    file: &RunFile,
    directory: &RunDir,
    started: String,
    mut recorded: Recorded,
    ended: Result<HowAsked, RunError>,
    unopened: Vec<BackendError>,
    redactor: &Redactor,
) -> Result<Finish, RunError> {
    let (state, error) = how_it_ended(recorded.error.take(), ended, unopened);
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
    directory.write_json(run_dir::SUMMARY, &summary, redactor)?;
    let error = error.map(|error| error.to_string());
    Ok(Finish { directory: directory.path().to_owned(), summary, exit_code, error })
}

fn how_it_ended(
    unrecorded: Option<RecordError>,
    asked: Result<HowAsked, RunError>,
    unopened: Vec<BackendError>,
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
        Ended::Broken(message) => Some(RunError::Internal(message)),
        Ended::Fatal(reason) => Some(RunError::Fatal(reason)),
        Ended::Complete | Ended::Stopped | Ended::Spent => None,
    });
    match (failed, spent) {
        (Some(error), _) => (State::Failed, Some(error)),
        (None, Some(reason)) if stopped => (State::Spent, Some(RunError::Spent(reason))),
        (None, _) if stopped => (State::Interrupted, None),
        (None, _) => match unopened.into_iter().next() {
            Some(error) => (State::Failed, Some(error.into())),
            None => (State::Complete, None),
        },
    }
}

fn groups(
    config: &RunConfig,
    tallies: &[Tally],
) -> Result<Vec<GroupResult>, crate::stats::exact::ExactError> {
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
