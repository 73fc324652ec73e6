//! One run from its file to its results: opens, plans, asks, records, sums up.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, watch};

use super::{
    backend::OpenBackend,
    backend_error::BackendError,
    dispatch::{Ended, dispatch},
    done::Done,
    error::{RunError, exit},
    event::{Event, Reporter},
    feed,
    open::{self, Found, Opened, Surroundings},
    past::{Begun, Past, recount},
    plan::{Unit, plan, units},
    recorder::{self, Note, RecordError, Recorded, Sinks},
    release::release,
    resume::Resume,
    tally::Tally,
};
use crate::{
    config::{Kept, RunConfig, RunFile},
    plugin::discover::Discovery,
    report::events_file::EventsFile,
    score::{aggregate::MetricValue, group},
    secret::Redactor,
    store::{
        RunDir,
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

/// Runs a run file, or goes on with a run of it. `stop` turning true ends it cleanly.
///
/// # Errors
/// What kept it from beginning. Once the run directory is there, it always ends in a [`Finish`].
pub async fn run(
    file: &RunFile,
    resume: Option<&Resume>,
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
    let redactor = open::redactor(&found);
    let mut past = Past::none(config);
    if let Some(how) = resume {
        let (earlier, pairs) =
            Past::of(how, file, &data, &tasks, &found, &redactor, around.printer)?;
        past = earlier;
        if let Some(tallies) = past.complete(&pairs, &redactor)? {
            around.printer.note("nothing is missing: every sample of this run is finished");
            return sum_up_again(file, past, tallies, reporters, &redactor);
        }
    }
    let ledger = Arc::new(past.ledger(Arc::clone(&redactor))?);
    let mut opened = open::open(config, found, &ledger, redactor, around, &stop).await?;
    let finish = match begin(&tasks, &opened, &past.directory) {
        Ok((units, directory)) => {
            let kept = file.keep(|plugin| discovery.config_schema(plugin));
            let planned = Planned { units, data, kept, past };
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
    let units = units(plan(tasks, &offers)?, &opened.backends);
    Ok((units, directory.make().map_err(RunError::Directory)?))
}

/// A run that can begin.
struct Planned {
    units: Vec<Arc<Unit>>,
    data: Vec<DataIdentity>,
    kept: Kept,
    past: Past,
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
    let Planned { units, data, kept, past } = planned;
    let started = past.started.clone();
    let plugins = std::mem::take(&mut opened.plugins);
    let manifest = manifest(file, directory, &started, plugins, &opened.backends, data);
    let manifest = RunManifest { run_file: Some(kept), ..manifest };
    let begun = past.begin(directory, &units, manifest, &opened.redactor)?;
    let samples_done = begun.samples_done();
    let Begun { journal, events, tallies, done, others, again } = begun;
    reporters.push(Box::new(EventsFile::new(events, Arc::clone(&opened.redactor))));
    let launch = Event::Launch {
        format: 1,
        run: directory.id().to_owned(),
        directory: directory.path().display().to_string(),
        units: units.iter().map(|unit| unit.name.clone()).collect(),
        done: samples_done,
    };

    let (notes, taken) = mpsc::channel(NOTES_AHEAD);
    let sinks = Sinks {
        journal: Box::new(journal),
        reporters,
        store: file.config.run.store,
        sync: file.config.run.sync,
        redactor: Arc::clone(&opened.redactor),
    };
    let recorder = recorder::start(tallies, sinks, taken, stop.clone())
        .map_err(|error| RunError::Internal(format!("no thread for the recorder: {error}")))?;
    let _ = notes.send(Note::Event(launch)).await;
    let ended = ask_everything(&units, &done, &opened.backends, notes, &stop).await;
    let mut recorded = tokio::task::spawn_blocking(move || recorder.join())
        .await
        .map_err(|error| RunError::Internal(format!("a part of the host failed: {error}")))??;
    let is_whole = |ended: &Vec<Ended>| ended.iter().all(|one| matches!(one, Ended::Complete));
    if again && !ended.as_ref().is_ok_and(is_whole) {
        let counted = std::mem::take(&mut recorded.tallies);
        recorded.tallies = recount(file, directory, &units, counted)?;
    }
    recorded.tallies.extend(others);
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
        run_file: None,
        resumed: Vec::new(),
    }
}

/// Keeps every backend busy until all is asked, the user stops, or samples end too early.
async fn ask_everything(
    units: &[Arc<Unit>],
    done: &[Arc<Done>],
    backends: &[Arc<OpenBackend>],
    notes: mpsc::Sender<Note>,
    stop: &watch::Sender<bool>,
) -> Result<Vec<Ended>, RunError> {
    let mut running = tokio::task::JoinSet::new();
    for backend in backends {
        let all = units.iter().cloned().zip(done.iter().cloned());
        let own: Vec<_> = all.filter(|(unit, _)| unit.backend.id == backend.id).collect();
        if own.is_empty() {
            continue;
        }
        let work = feed::start(own, backend.concurrency, notes.clone())
            .map_err(|error| RunError::Internal(format!("no thread to read samples: {error}")))?;
        running.spawn(dispatch(work, backend.concurrency, notes.clone(), stop.subscribe()));
    }
    let mut ended = Vec::new();
    while let Some(next) = running.join_next().await {
        let next = next
            .map_err(|error| RunError::Internal(format!("a part of the host failed: {error}")))?;
        if matches!(next, Ended::Failed(_) | Ended::Broken(_)) {
            // The user must mend the data first, so the other backends need not go on.
            stop.send_replace(true);
        }
        ended.push(next);
    }
    if *stop.borrow() && !ended.iter().any(|one| matches!(one, Ended::Failed(_) | Ended::Broken(_)))
    {
        let _ = notes.send(Note::Event(Event::Interrupted)).await;
    }
    Ok(ended)
}

/// Sums up a run of which nothing is missing: no backend is opened for that.
fn sum_up_again(
    file: &RunFile,
    past: Past,
    tallies: Vec<Tally>,
    mut reporters: Vec<Box<dyn Reporter>>,
    redactor: &Arc<Redactor>,
) -> Result<Finish, RunError> {
    let directory = past.directory.make()?;
    let events = directory.more_lines(run_dir::EVENTS)?;
    reporters.push(Box::new(EventsFile::new(events, Arc::clone(redactor))));
    let launch = Event::Launch {
        format: 1,
        run: directory.id().to_owned(),
        directory: directory.path().display().to_string(),
        units: tallies.iter().map(|tally| tally.name().clone()).collect(),
        done: tallies.iter().map(Tally::finished).sum(),
    };
    let started = past.started.clone();
    let recorded = Recorded { tallies, reporters: Vec::new(), error: None };
    let finish = finish(file, &directory, started, recorded, Ok(Vec::new()), Vec::new(), redactor)?;
    let done = Event::Done {
        exit_code: finish.exit_code,
        error: None,
        summary: Some(Box::new(finish.summary.clone())),
    };
    for event in [launch, done] {
        reporters.iter_mut().for_each(|reporter| reporter.on(&event));
    }
    Ok(finish)
}

/// Sums up what was recorded, writes the summary and decides the exit code.
fn finish(
    file: &RunFile,
    directory: &RunDir,
    started: String,
    mut recorded: Recorded,
    ended: Result<Vec<Ended>, RunError>,
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
    ended: Result<Vec<Ended>, RunError>,
    unopened: Vec<BackendError>,
) -> (State, Option<RunError>) {
    if let Some(error) = unrecorded {
        return (State::Failed, Some(error.into()));
    }
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return (State::Failed, Some(error)),
    };
    let stopped = ended.iter().any(|one| matches!(one, Ended::Stopped));
    let failed = ended.into_iter().find_map(|one| match one {
        Ended::Failed(error) => Some(RunError::from(error)),
        Ended::Broken(message) => Some(RunError::Internal(message)),
        Ended::Complete | Ended::Stopped => None,
    });
    match failed {
        Some(error) => (State::Failed, Some(error)),
        None if stopped => (State::Interrupted, None),
        None => match unopened.into_iter().next() {
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
