//! One run from its file to its results: opens, plans, asks, records, sums up.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    backend::OpenBackend,
    budget::Budget,
    control::{self, Controlled},
    dispatch::{Ended, Shared, dispatch},
    done::Done,
    error::{RunError, exit},
    event::{Event, Reporter, UnitPlan},
    feed,
    finish::{Finish, HowAsked, finish},
    found::{self, Found},
    launch::Servers,
    open::{self, Opened},
    past::{Begun, Past, recount},
    plan::{Unit, plan, units},
    pulse::Pulse,
    recorder::{self, Note, Recorded, Sinks},
    release::{self, release},
    resume::Resume,
    spending::Spending,
    standing::{Tracker, Tracking},
    surroundings::Surroundings,
    tally::Tally,
};
use crate::{
    config::{Kept, RunConfig, RunFile, TaskConfig},
    plugin::discover::Discovery,
    report::events_file::EventsFile,
    secret::Redactor,
    store::{
        RunDir,
        manifest::{self, BackendIdentity, DataIdentity, PluginIdentity, RunManifest, file_digest},
        run_dir,
        storage::LockedFile,
    },
    task::{raw::DataFormat, resolve::Task},
};

/// Finished samples that wait for the recorder at most.
const NOTES_AHEAD: usize = 128;

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
    let began = Instant::now();
    let config = &file.config;
    let tasks = tasks(config)?;
    let (data, records) = data_files(&tasks)?;
    let found = found::find(file, discovery, around)?;
    // What cannot work at all is told before anything is opened, or rented.
    plan(&tasks, &found.iter().map(Found::offer).collect::<Vec<_>>())?;
    let redactor = found::redactor(&found);
    let mut past = Past::none(config);
    if let Some(how) = resume {
        let (earlier, pairs) = Past::of(how, file, &data, &tasks, &found, &redactor, around)?;
        past = earlier;
        if let Some(tallies) = past.complete(&pairs, &redactor)? {
            around.printer.note("nothing is missing: every sample of this run is finished");
            return sum_up_again(file, &past, tallies, reporters, &redactor);
        }
        if let Some(reason) = past.spent(config.run.budget) {
            let directory = how.directory.clone();
            return Err(RunError::Spent { reason, directory });
        }
    }
    let ledger = Arc::new(past.ledger(Arc::clone(&redactor))?);
    let servers = Servers::new(Arc::clone(&past.directory), Arc::clone(&redactor));
    let opened = open::open(config, found, &ledger, &servers, redactor, around, &stop).await;
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            servers.end(around.printer).await;
            return Err(error);
        }
    };
    // Nobody else may take the run up before this returns: until then it is not over.
    let mut lock = None;
    let finish = match begin(&tasks, &opened, &past) {
        Ok((units, directory, journal)) => {
            let kept = file.keep(|plugin| discovery.config_schema(plugin));
            let journal = lock.insert(journal);
            let planned = Planned { began, units, directory, journal, data, records, kept, past };
            carry_out(file, planned, &mut opened, &servers, reporters, stop.clone()).await
        }
        Err(error) => Err(error),
    };
    // Whether the run went well or not.
    let release::Outcome { unfreed, died } = release(&opened.instances, &ledger).await;
    unfreed.iter().for_each(|message| around.printer.error(message));
    let unclosed = release::close(&opened.instances, &stop, around.printer).await;
    let remarks: Vec<_> = died.into_iter().chain(unclosed).collect();
    servers.end(around.printer).await;
    let (mut finish, mut reporters) = match finish {
        Ok(finish) => finish,
        Err(error) => {
            // The reporters are gone with it.
            remarks.iter().for_each(|remark| around.printer.warn(&remark.to_string()));
            return Err(error);
        }
    };
    // What goes on costing must not look like success to a script.
    if !unfreed.is_empty() && finish.exit_code == exit::DONE {
        finish.exit_code = exit::PLUGIN;
    }
    finish.unfreed = unfreed.into_iter().next();
    let done = Event::Done {
        exit_code: finish.exit_code,
        error: finish.error.clone().or_else(|| finish.unfreed.clone()),
        summary: Some(Box::new(finish.summary.clone())),
    };
    for reporter in &mut reporters {
        remarks.iter().for_each(|remark| reporter.on(&remark.event()));
        reporter.on(&done);
    }
    Ok(finish)
}

/// What will be asked, and where the results go: the run's directory, and in it the journal, locked.
fn begin(
    tasks: &[(Task, Vec<String>)],
    opened: &Opened,
    past: &Past,
) -> Result<(Vec<Arc<Unit>>, RunDir, LockedFile), RunError> {
    let offers: Vec<_> = opened.backends.iter().map(|backend| backend.offer()).collect();
    let units = units(plan(tasks, &offers)?, &opened.backends)?;
    let directory = past.directory.make().map_err(RunError::Directory)?;
    let journal = past.journal(&directory)?;
    Ok((units, directory, journal))
}

/// A run that can begin.
struct Planned<'a> {
    began: Instant,
    units: Vec<Arc<Unit>>,
    directory: RunDir,
    journal: &'a LockedFile,
    data: Vec<DataIdentity>,
    records: Records,
    kept: Kept,
    past: Past,
}

/// Asks everything and leaves the results in the directory.
async fn carry_out(
    file: &RunFile,
    planned: Planned<'_>,
    opened: &mut Opened,
    servers: &Servers,
    mut reporters: Vec<Box<dyn Reporter>>,
    stop: watch::Sender<bool>,
) -> Result<(Finish, Vec<Box<dyn Reporter>>), RunError> {
    let Planned { began, units, directory, journal, data, records, kept, past } = planned;
    let directory = &directory;
    let started = past.started.clone();
    let plugins = std::mem::take(&mut opened.plugins);
    let (recording, plugins_lock) = (opened.recording.take(), opened.lock.take());
    let manifest = manifest(file, directory, &started, plugins, &opened.backends, data);
    let manifest = RunManifest { run_file: Some(kept), recording, plugins_lock, ..manifest };
    let begun = past.begin(directory, &units, manifest, &opened.redactor)?;
    let samples_done = begun.samples_done();
    let Begun { events, tallies, done, others, again, used } = begun;
    reporters.push(Box::new(EventsFile::new(events, Arc::clone(&opened.redactor))));
    let tracker = Arc::new(Tracker::default());
    reporters.push(Box::new(Tracking(Arc::clone(&tracker))));
    let plans = units.iter().zip(&done).map(|(unit, done)| UnitPlan {
        task: unit.name.task.clone(),
        backend: unit.name.backend.clone(),
        samples: samples_of(&unit.task, &records),
        done: done.count(),
    });
    let launch = Event::Launch {
        format: 1,
        run: directory.id().to_owned(),
        directory: directory.path().display().to_string(),
        units: plans.collect(),
        done: samples_done,
    };

    let (notes, taken) = mpsc::channel(NOTES_AHEAD);
    let sinks = Sinks {
        journal: Box::new(journal.try_clone()?),
        reporters,
        store: file.config.run.store,
        sync: file.config.run.sync,
        redactor: Arc::clone(&opened.redactor),
    };
    let mut budget = Budget::new(file.config.run.budget);
    budget.add_earlier(&used);
    let spending = Spending::new(budget, began);
    let recorder = recorder::start(tallies, sinks, taken, stop.clone())
        .map_err(|error| RunError::Internal(format!("no thread for the recorder: {error}")))?;
    let _ = notes.send(Note::Event(launch)).await;
    let watching = servers.watch(&notes);
    let shared =
        Shared { notes: notes.clone(), board: Arc::default(), spending: Arc::new(spending) };
    let controlled = Controlled {
        run: directory.id().to_owned(),
        began,
        backends: opened.backends.clone(),
        tracker,
        board: Arc::clone(&shared.board),
        stop: stop.clone(),
        notes: notes.downgrade(),
    };
    let control = control::listen(directory.path(), controlled);
    if let Err(error) = &control {
        let message = format!("`host ctl` cannot reach this run: {error}");
        let _ = notes.send(Note::Event(Event::Warning { backend: None, message })).await;
    }
    let ended = ask_everything(&units, &done, &opened.backends, shared, &stop).await;
    drop((watching, control, notes));
    let mut recorded = tokio::task::spawn_blocking(move || recorder.join())
        .await
        .map_err(|error| RunError::Internal(format!("a part of the host failed: {error}")))??;
    let is_whole = |asked: &HowAsked| asked.ended.iter().all(|one| matches!(one, Ended::Complete));
    if again && !ended.as_ref().is_ok_and(is_whole) {
        let counted = std::mem::take(&mut recorded.tallies);
        recorded.tallies = recount(file, directory, journal, &units, counted)?;
    }
    recorded.tallies.extend(others);
    if let Some(cache) = opened.cache.take() {
        cache.finish().await;
    }
    let unopened = std::mem::take(&mut opened.unopened);
    let reporters = std::mem::take(&mut recorded.reporters);
    let finish = finish(file, directory, started, recorded, ended, unopened, &opened.redactor)?;
    Ok((finish, reporters))
}

/// The tasks as meant, and the backends that each is for.
pub(super) fn tasks(config: &RunConfig) -> Result<Vec<(Task, Vec<String>)>, RunError> {
    config.tasks.iter().map(|typed| Ok((task(typed)?, typed.backends.clone()))).collect()
}

/// A task as meant.
pub(super) fn task(typed: &TaskConfig) -> Result<Task, RunError> {
    let mut resolved = Task::resolve(typed.task.clone(), &typed.base_dir)?;
    resolved.limit = match (resolved.limit, typed.max_samples) {
        (Some(own), Some(cap)) => Some(own.min(cap)),
        (own, cap) => own.or(cap),
    };
    Ok(resolved)
}

/// How many lines the data files have, by their paths.
type Records = HashMap<PathBuf, u64>;

/// How many samples a task has, repeats counted, as far as its file's lines tell.
fn samples_of(task: &Task, records: &Records) -> Option<u64> {
    let lines = records.get(&task.data.path).filter(|_| task.data.format == DataFormat::Jsonl)?;
    let records = task.limit.map_or(*lines, |limit| limit.min(*lines));
    Some(records.saturating_mul(task.repeats.get().into()))
}

/// The data files with their digests, and how many lines they have.
fn data_files(tasks: &[(Task, Vec<String>)]) -> Result<(Vec<DataIdentity>, Records), RunError> {
    let (mut files, mut records) = (Vec::new(), Records::new());
    for (task, _) in tasks {
        for path in task.files() {
            let (blake3, lines) = file_digest(path)
                .map_err(|source| RunError::Data { path: path.to_owned(), source })?;
            records.insert(path.to_owned(), lines);
            files.push(DataIdentity {
                task: task.id.0.clone(),
                path: path.display().to_string(),
                blake3,
            });
        }
    }
    Ok((files, records))
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
        plugins_lock: None,
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
        recording: None,
        run_file: None,
        resumed: Vec::new(),
    }
}

/// Keeps every backend busy until all is asked, the user stops, a budget is spent, or samples end too early.
async fn ask_everything(
    units: &[Arc<Unit>],
    done: &[Arc<Done>],
    backends: &[Arc<OpenBackend>],
    shared: Shared,
    stop: &watch::Sender<bool>,
) -> Result<HowAsked, RunError> {
    let notes = shared.notes.clone();
    let mut running = tokio::task::JoinSet::new();
    for backend in backends {
        let all = units.iter().cloned().zip(done.iter().cloned());
        let own: Vec<_> = all.filter(|(unit, _)| unit.backend.id == backend.id).collect();
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
            Ended::Failed(_) | Ended::Lost(_) => drop(stop.send_replace(true)),
            Ended::Fatal(reason) | Ended::Broken(reason) => {
                let fatal = Event::Fatal { backend, reason: reason.clone() };
                let _ = notes.send(Note::Event(fatal)).await;
            }
            Ended::Complete | Ended::Stopped | Ended::Spent => {}
        }
        ended.push(next);
    }
    watching.changes().await;
    let spent = shared.spending.why().map(str::to_owned);
    let broken = |one: &Ended| matches!(one, Ended::Failed(_) | Ended::Lost(_));
    let is_cut_off = |one: &Ended| matches!(one, Ended::Spent | Ended::Stopped);
    if let Some(reason) = spent.as_ref().filter(|_| ended.iter().any(is_cut_off)) {
        let _ = notes.send(Note::Event(Event::Spent { reason: reason.clone() })).await;
    } else if *stop.borrow() && !ended.iter().any(broken) {
        let _ = notes.send(Note::Event(Event::Interrupted)).await;
    }
    Ok(HowAsked { ended, spent })
}

/// The plan of a unit that is complete.
fn finished(tally: &Tally) -> UnitPlan {
    UnitPlan {
        task: tally.name().task.clone(),
        backend: tally.name().backend.clone(),
        samples: Some(tally.finished()),
        done: tally.finished(),
    }
}

/// Sums up a run of which nothing is missing: no backend is opened for that.
fn sum_up_again(
    file: &RunFile,
    past: &Past,
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
        units: tallies.iter().map(finished).collect(),
        done: tallies.iter().map(Tally::finished).sum(),
    };
    let started = past.started.clone();
    let recorded = Recorded { tallies, reporters: Vec::new(), error: None };
    let finish =
        finish(file, &directory, started, recorded, Ok(HowAsked::default()), Vec::new(), redactor)?;
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
