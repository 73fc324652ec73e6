//! The results of a run from its journal alone: of one that goes on or was killed, and the ground on which a run is
//! scored anew. Each task at each backend is counted as the run itself counts it.

use std::{collections::HashMap, path::PathBuf};

use super::{
    event::UnitName,
    finish::groups,
    tally::{Subject, Tally},
};
use crate::{
    config::{ConfigError, RunFile, reopen_changed},
    stats::exact::ExactError,
    store::{
        outcome::{ResponseOutcome, SampleOutcome},
        record::{Question, SampleRecord},
        run_dir,
        stored_run::{ReadError, StoredRun, StoredSamples},
        summary::{GroupResult, TaskResult},
    },
    task::{error::TaskError, render::Form, resolve::Task},
};

/// Why the samples of a run cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The run file does not make sense, or a change of it cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A task does not make sense any more.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The manifest does not hold the run file.
    #[error("{}: the run keeps no run file; it was written by a host that did not", .0.display())]
    NoRunFile(PathBuf),
    /// A score cannot be counted.
    #[error("a score cannot be counted: {0}")]
    Count(#[from] ExactError),
}

/// What the samples that are finished come to, by the scores that they have, and the averages over tasks. Tasks at
/// backends stand in the order of the run file; those without a finished sample are not there.
///
/// # Errors
/// The run cannot be read, or keeps no run file.
pub fn from_journal(run: &StoredRun) -> Result<(Vec<TaskResult>, Vec<GroupResult>), CountError> {
    let file = reopened(run, &[])?;
    let samples = run.samples()?;
    let mut units = Units::new(run, &file, &samples);
    samples.each(|number, line| {
        let outcome: SampleOutcome<'_> = samples.parse(line)?;
        let name = UnitName {
            task: outcome.task.as_ref().to_owned(),
            backend: outcome.backend.as_ref().to_owned(),
        };
        if let Some(unit) = units.of(&name, number)? {
            unit.tally.replay(outcome)?;
        }
        Ok::<_, CountError>(())
    })?;
    let tallies = units.into_tallies();
    let results = tallies.iter().map(Tally::result).collect::<Result<_, _>>()?;
    Ok((results, groups(&file.config, &tallies)?))
}

/// The run file that a run keeps, with these changes.
pub(super) fn reopened(run: &StoredRun, sets: &[String]) -> Result<RunFile, CountError> {
    let source = run.directory.join(run_dir::MANIFEST);
    match &run.manifest.run_file {
        Some(kept) => Ok(reopen_changed(kept, &source, sets)?),
        None => Err(CountError::NoRunFile(source)),
    }
}

/// The tasks at their backends, as samples of them are met.
pub(super) struct Units<'a> {
    run: &'a StoredRun,
    file: &'a RunFile,
    samples: &'a StoredSamples,
    by_name: HashMap<UnitName, Option<Unit>>,
}

/// A task at a backend.
pub(super) struct Unit {
    pub(super) task: Task,
    pub(super) tally: Tally,
}

impl<'a> Units<'a> {
    /// None met yet. The run file is the run's own, or what is made of it.
    pub(super) fn new(run: &'a StoredRun, file: &'a RunFile, samples: &'a StoredSamples) -> Self {
        Self { run, file, samples, by_name: HashMap::new() }
    }

    /// The unit that the sample of this number is of; none if the run file does not have it any more.
    pub(super) fn of(
        &mut self,
        name: &UnitName,
        number: usize,
    ) -> Result<Option<&mut Unit>, CountError> {
        if !self.by_name.contains_key(name) {
            let unit = self.open(name, number)?;
            self.by_name.insert(name.clone(), unit);
        }
        Ok(self.by_name.get_mut(name).and_then(Option::as_mut))
    }

    fn open(&self, name: &UnitName, number: usize) -> Result<Option<Unit>, CountError> {
        let config = &self.file.config;
        let Some(typed) = config.tasks.iter().find(|task| task.id == name.task) else {
            return Ok(None);
        };
        let task = Task::resolve_past(typed.task.clone(), &typed.base_dir)?;
        let earlier = self.run.summary.as_ref().and_then(|summary| {
            let is_it = |one: &&TaskResult| one.task == name.task && one.backend == name.backend;
            summary.results.iter().find(is_it)
        });
        let task = match (task.fallback(), earlier) {
            (None, _) => task,
            (Some(_), Some(earlier)) if !earlier.fallback => task,
            (Some(fallback), Some(_)) => fallback?,
            (Some(fallback), None) if is_generated(self.samples, name, number)? => fallback?,
            (Some(_), None) => task,
        };
        let backend = config.backends.iter().find(|backend| backend.id == name.backend);
        let said = self.run.manifest.backends.iter().find(|backend| backend.id == name.backend);
        let description = said.map(|said| &said.description);
        let named = backend.and_then(|backend| backend.model.clone());
        let mut tally = Tally::new(Subject {
            name: name.clone(),
            model: named.or_else(|| description.and_then(|said| said.model.clone())),
            mock: said.is_some_and(|said| said.mock),
            mocks: self.run.manifest.mocks(),
            fallback: task.is_fallback,
            prices: description.and_then(|said| said.prices.clone()),
            repeats: task.repeats,
            metrics: task.metrics.clone(),
        });
        if let Some(earlier) = earlier {
            tally.skip(earlier.samples.skipped);
            tally.was(earlier.samples_per_second);
        }
        Ok(Some(Unit { task, tally }))
    }

    /// What was counted, as the run's own summary has it: in the order of the run file.
    pub(super) fn into_tallies(self) -> Vec<Tally> {
        let config = &self.file.config;
        let place = |tally: &Tally| {
            let name = tally.name();
            let task = config.tasks.iter().position(|task| task.id == name.task);
            let backend = config.backends.iter().position(|one| one.id == name.backend);
            (task, backend)
        };
        let units = self.by_name.into_values().flatten();
        let mut tallies: Vec<Tally> = units.map(|unit| unit.tally).collect();
        tallies.sort_by_key(place);
        tallies
    }
}

/// Whether a unit is asked in generative form: the first of its samples that tells, from this one on. One that is
/// stored as a digest and was not answered does not.
fn is_generated(samples: &StoredSamples, name: &UnitName, from: usize) -> Result<bool, CountError> {
    let mut buffer = Vec::new();
    for number in from..samples.len() {
        let line = samples.line(number, &mut buffer)?;
        let outcome: SampleOutcome<'_> = samples.parse(line)?;
        if outcome.task != name.task || outcome.backend != name.backend {
            continue;
        }
        match outcome.response {
            Some(ResponseOutcome::Completion { .. }) => return Ok(true),
            Some(ResponseOutcome::Likelihoods { .. }) => return Ok(false),
            None => {}
        }
        if let Question::Full { form, .. } = samples.parse::<SampleRecord>(line)?.question {
            return Ok(matches!(form, Form::Generate(_)));
        }
    }
    Ok(false)
}
