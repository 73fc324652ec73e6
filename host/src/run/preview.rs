//! What would be asked about one sample: its prompt as it is rendered, and the requests that a plugin makes of it, which
//! are shown and not sent.

use std::{sync::Arc, time::Duration};

use plugin_api::{Error, ErrorKind};
use tokio::time::timeout;

use super::{
    backend::OpenBackend,
    engine::tasks,
    error::RunError,
    event::UnitName,
    found::{self, Found},
    open,
    plan::plan,
    request::requests,
    surroundings::Surroundings,
};
use crate::{
    config::RunFile,
    plugin::{
        discover::Discovery,
        session::{Job, drive},
    },
    store::{ledger::Ledger, run_dir::PlannedDir},
    task::{
        resolve::Task,
        sample::Sample,
        stream::{self, Next, Prepared, SampleError},
    },
    transport::{Cassette, Looker, Seen},
};

/// A plugin has this long to say what it would send.
const LONGEST: Duration = Duration::from_secs(30);

/// Which sample.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its id, or the position of its record from 0.
    pub sample: &'a str,
    /// Of this task alone.
    pub task: Option<&'a str>,
    /// At this backend alone.
    pub backend: Option<&'a str>,
}

/// A sample at a backend.
#[derive(Debug)]
pub struct Preview {
    /// Which task at which backend.
    pub unit: UnitName,
    /// The sample, rendered.
    pub prepared: Prepared,
    /// Whether it is asked in its generative form, because the backend has no log-likelihood.
    pub is_fallback: bool,
    /// Whether the plugin computes by itself, so that nothing is sent.
    pub is_computed: bool,
    /// What would be sent, in order.
    pub requests: Vec<Seen>,
    /// Why there may be more: what is asked next depends on an answer.
    pub stopped: Option<Error>,
}

/// Why a sample cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The run would not begin.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A task's samples cannot be read.
    #[error("task `{task}`: {source}")]
    Samples {
        /// The task.
        task: String,
        /// Why.
        source: SampleError,
    },
    /// It is in none of the tasks.
    #[error(
        "no sample `{sample}` in {}: expected the id of a sample, or the position of its record, from 0",
        tasks.join(", ")
    )]
    Absent {
        /// As it was asked for.
        sample: String,
        /// The tasks that were looked through.
        tasks: Vec<String>,
    },
    /// Nothing of the run file is meant.
    #[error("the run file has no task `{task}` at a backend `{backend}`")]
    Nothing {
        /// As it was asked for.
        task: String,
        /// As it was asked for.
        backend: String,
    },
}

/// Shows a sample at each task and backend that has it.
///
/// # Errors
/// The run file cannot be used, or there is no such sample.
pub async fn preview(
    file: &RunFile,
    discovery: &Discovery,
    around: Surroundings<'_>,
    wanted: Wanted<'_>,
) -> Result<Vec<Preview>, PreviewError> {
    let looker = Arc::new(Looker::default());
    let around = Surroundings { cassette: Some(Cassette::Look(Arc::clone(&looker))), ..around };
    let tasks = tasks(&file.config)?;
    let found = found::find(file, discovery, &around).map_err(RunError::from)?;
    let pairs = plan(&tasks, &found.iter().map(Found::offer).collect::<Vec<_>>());
    let mut pairs = pairs.map_err(RunError::from)?;
    pairs.retain(|pair| {
        wanted.task.is_none_or(|task| pair.task.id.0 == task)
            && wanted.backend.is_none_or(|backend| pair.backend == backend)
    });
    if pairs.is_empty() {
        let any = |name: Option<&str>| name.unwrap_or("*").to_owned();
        return Err(PreviewError::Nothing { task: any(wanted.task), backend: any(wanted.backend) });
    }
    let redactor = found::redactor(&found);
    // Nothing is held, so that it is never made.
    let directory = PlannedDir::new(&file.config.out, &file.config.name, jiff::Zoned::now());
    let ledger = Arc::new(Ledger::new(Arc::new(directory), Arc::clone(&redactor)));
    // Loading a model would show nothing that is sent.
    let computing: Vec<String> =
        found.iter().filter(|one| one.computes()).map(|one| one.id().to_owned()).collect();
    let asked = |one: &Found<'_>| pairs.iter().any(|pair| pair.backend == one.id());
    let found = found.into_iter().filter(|one| !one.computes() && asked(one)).collect();
    let opened = open::unasked(&file.config, found, &ledger, &redactor, &around).await;
    let opened = opened.map_err(RunError::from)?;
    let mut previews = Vec::new();
    for pair in &pairs {
        let Some(prepared) = find(&pair.task, wanted.sample)? else { continue };
        let unit = UnitName { task: pair.task.id.0.clone(), backend: pair.backend.clone() };
        let mut preview = Preview {
            unit,
            prepared,
            is_fallback: pair.task.is_fallback,
            is_computed: computing.contains(&pair.backend),
            requests: Vec::new(),
            stopped: None,
        };
        let backend = opened.iter().find(|backend| backend.id == pair.backend);
        if let Some(backend) = backend {
            look(backend, &pair.task, &looker, &mut preview).await;
            let is_unable = |error: &Error| error.kind == ErrorKind::Unsupported;
            // Which form a backend takes is known for certain only when it is open.
            if preview.stopped.as_ref().is_some_and(is_unable)
                && let Some(Ok(other)) = pair.task.fallback()
                && let Some(prepared) = find(&other, wanted.sample)?
            {
                preview = Preview { prepared, is_fallback: true, ..preview };
                look(backend, &other, &looker, &mut preview).await;
            }
        }
        previews.push(preview);
    }
    if previews.is_empty() {
        let mut tasks: Vec<String> = pairs.iter().map(|pair| pair.task.id.0.clone()).collect();
        tasks.dedup();
        return Err(PreviewError::Absent { sample: wanted.sample.to_owned(), tasks });
    }
    Ok(previews)
}

/// Lets the plugin make its requests of a sample.
async fn look(backend: &OpenBackend, task: &Task, looker: &Looker, preview: &mut Preview) {
    let Some(replica) = backend.replicas.first() else { return };
    let rendered = &preview.prepared.rendered;
    let requests = requests(rendered, task.generation.as_ref(), 0, backend.stream);
    let job = Job { request_id: "host", attempt: 1, deadline: LONGEST, requests: &requests };
    preview.stopped = match timeout(LONGEST, drive(&replica.instance, job)).await {
        Ok(outcome) => outcome.items.into_iter().find_map(Result::err),
        Err(_) => Some(Error::new(ErrorKind::Timeout, "the plugin does not come to an end")),
    };
    preview.requests = looker.take();
}

/// The sample of this id, else the one at this position.
fn find(task: &Task, sample: &str) -> Result<Option<Prepared>, PreviewError> {
    let id = sample.to_owned();
    let by_id = first(task, move |sample| sample.id.0 == id)?;
    match (by_id, sample.parse::<u64>()) {
        (None, Ok(index)) => first(task, move |sample| sample.index == index),
        (by_id, _) => Ok(by_id),
    }
}

/// Reads a task's samples as far as this one: examples are drawn in order.
fn first(
    task: &Task,
    is_it: impl Fn(&Sample) -> bool + Send + 'static,
) -> Result<Option<Prepared>, PreviewError> {
    let failed = |source| PreviewError::Samples { task: task.id.0.clone(), source };
    let samples = task
        .samples()
        .map_err(failed)?
        .choose(move |sample| if is_it(sample) { stream::Wanted::Yes } else { stream::Wanted::No });
    for next in samples {
        match next {
            Ok(Next::Ready(prepared)) => return Ok(Some(*prepared)),
            Ok(Next::PassedOver | Next::Skipped { .. }) => {}
            // That none was ready is what is told here by another name.
            Err(SampleError::NoneUsable { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(None)
}
