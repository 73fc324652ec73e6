//! What a run begins with: nothing, or what an earlier process left of it.

use std::{fs::File, sync::Arc, time::Duration};

use plugin_api::capability::Capability;

use super::{
    budget::{Budget, Used},
    change::PluginNow,
    done::Done,
    error::RunError,
    found::Found,
    plan::{Offer, Pair, Unit, plan},
    replay::{Left, Replayed},
    resume::{Earlier, Resume, ResumeError},
    surroundings::Surroundings,
    tally::{Subject, Tally},
};
use crate::{
    config::{self, RunConfig, RunFile},
    secret::Redactor,
    store::{
        RunDir,
        journal_tail::{self, Cut},
        ledger::{Ledger, LedgerError},
        manifest::{DataIdentity, RunManifest},
        run_dir::{self, PlannedDir},
        storage::LockedFile,
    },
    task::resolve::Task,
};

/// A run that is to begin, or to go on.
pub struct Past {
    /// Where it is.
    pub directory: Arc<PlannedDir>,
    /// When it began, RFC 3339.
    pub started: String,
    earlier: Option<(Earlier, Replayed)>,
}

/// What a run that begins holds of itself.
pub struct Begun {
    /// `events.jsonl`.
    pub events: File,
    /// By unit, what was counted before.
    pub tallies: Vec<Tally>,
    /// By unit, what is not asked again.
    pub done: Vec<Arc<Done>>,
    /// What was counted before of units that cannot be asked this time.
    pub others: Vec<Tally>,
    /// Whether samples are asked again that the journal has as unscored.
    pub again: bool,
    /// What was used before.
    pub used: Used,
}

impl Past {
    /// A run of its own.
    pub fn none(config: &RunConfig) -> Self {
        let now = jiff::Zoned::now();
        let started = now.timestamp().to_string();
        let directory = Arc::new(PlannedDir::new(&config.out, &config.name, now));
        Self { directory, started, earlier: None }
    }

    /// A run that is taken up again: it must be what it was, and what it lacks is known.
    ///
    /// # Errors
    /// It cannot be taken up.
    pub fn of(
        how: &Resume,
        file: &RunFile,
        data: &[DataIdentity],
        tasks: &[(Task, Vec<String>)],
        found: &[Found<'_>],
        redactor: &Redactor,
        around: &Surroundings<'_>,
    ) -> Result<(Self, Vec<Pair>), RunError> {
        let printer = around.printer;
        let mut earlier = Earlier::take(how)?;
        let plugins: Vec<PluginNow> = found.iter().map(Found::plugin).collect::<Result<_, _>>()?;
        earlier.compare(file, data, &plugins, around.recording().as_ref(), redactor)?;
        // What a backend lacks of what its plugin declares it has said before.
        let offers: Vec<Offer<'_>> = found
            .iter()
            .map(|found| {
                let lacks: &[Capability] = earlier.lacks(found.offer().id);
                found.offer_lacking(lacks)
            })
            .collect();
        let pairs = plan(tasks, &offers)?;
        let replayed = earlier.replay(file, &pairs)?;
        match replayed.torn {
            Cut { lines: 0, .. } => {}
            Cut { ended: false, bytes, .. } => printer.note(&format!(
                "the last line of the journal was not whole; its {bytes} bytes are cut off, and its sample is asked again"
            )),
            Cut { lines: 1, bytes, .. } => printer.note(&format!(
                "the last line of the journal is damaged; its {bytes} bytes are moved to {}, and its sample is asked again",
                journal_tail::KEPT
            )),
            Cut { lines, bytes, .. } => printer.note(&format!(
                "the last {lines} lines of the journal were not whole; their {bytes} bytes are moved to {}, and their samples are asked again",
                journal_tail::KEPT
            )),
        }
        if replayed.stale > 0 {
            let lines = replayed.stale;
            printer
                .note(&format!("{lines} lines of the journal are of what is not asked any more"));
        }
        if replayed.again > 0 {
            printer.note(&format!("{} unscored samples are asked again", replayed.again));
        }
        let directory = Arc::new(PlannedDir::of_run(earlier.directory(), earlier.id()));
        let started = earlier.started().to_owned();
        Ok((Self { directory, started, earlier: Some((earlier, replayed)) }, pairs))
    }

    /// The tallies of all pairs, if nothing is left to ask. What was accepted is noted then.
    ///
    /// # Errors
    /// The data cannot be read, or is not what it was.
    pub fn complete(
        &mut self,
        pairs: &[Pair],
        redactor: &Redactor,
    ) -> Result<Option<Vec<Tally>>, RunError> {
        let Some((earlier, replayed)) = &mut self.earlier else { return Ok(None) };
        let Some(tallies) = replayed.complete(pairs)? else { return Ok(None) };
        if let Some(manifest) = earlier.manifest_if_accepted(jiff::Timestamp::now().to_string()) {
            let directory = self.directory.make()?;
            directory.write_json(run_dir::MANIFEST, &manifest, redactor)?;
        }
        Ok(Some(tallies))
    }

    /// Why nothing more may be asked, if earlier processes have spent what the run may spend.
    pub fn spent(&self, allowed: config::Budget) -> Option<String> {
        let (_, replayed) = self.earlier.as_ref()?;
        let mut budget = Budget::new(allowed);
        budget.add_earlier(&replayed.used);
        budget.check(Duration::ZERO).map(|spent| spent.to_string())
    }

    /// The ledger of what backends hold outside.
    ///
    /// # Errors
    /// The run has one already that cannot be used.
    pub fn ledger(&self, redactor: Arc<Redactor>) -> Result<Ledger, LedgerError> {
        let directory = Arc::clone(&self.directory);
        match &self.earlier {
            None => Ok(Ledger::new(directory, redactor)),
            Some((earlier, _)) => Ledger::again(directory, earlier.directory(), redactor),
        }
    }

    /// The run's journal, locked: no other process can take the run up while any handle of it is open.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn journal(&self, directory: &RunDir) -> Result<LockedFile, RunError> {
        match &self.earlier {
            None => Ok(LockedFile::open(&directory.path().join(run_dir::JOURNAL))?),
            Some((earlier, _)) => Ok(earlier.journal().try_clone()?),
        }
    }

    /// Writes down what the run is: from now on it can be taken up. The journal is locked before that, since whoever
    /// finds a manifest may want to resume.
    ///
    /// # Errors
    /// A file cannot be had or written, or something that decides results has changed.
    pub fn begin(
        self,
        directory: &RunDir,
        units: &[Arc<Unit>],
        manifest: RunManifest,
        redactor: &Redactor,
    ) -> Result<Begun, RunError> {
        let subjects: Vec<Subject> = units.iter().map(|unit| Subject::from(&**unit)).collect();
        let Some((mut earlier, replayed)) = self.earlier else {
            directory.write_json(run_dir::MANIFEST, &manifest, redactor)?;
            let events = directory.lines(run_dir::EVENTS)?;
            let repeats = subjects.iter().map(|subject| subject.repeats);
            let done = repeats.map(|repeats| Arc::new(Done::nothing(repeats))).collect();
            let tallies = subjects.into_iter().map(Tally::new).collect();
            let (others, again, used) = (Vec::new(), false, Used::default());
            return Ok(Begun { events, tallies, done, others, again, used });
        };
        earlier.compare_backends(&manifest.backends)?;
        let again = replayed.again > 0;
        let Left { tallies, done, others, used } =
            replayed.of_units(subjects, earlier.directory())?;
        let manifest = earlier.manifest(manifest, jiff::Timestamp::now().to_string());
        directory.write_json(run_dir::MANIFEST, &manifest, redactor)?;
        // From the next sample on they would not be the run's results any more.
        directory.remove(run_dir::SUMMARY)?;
        directory.remove(run_dir::REPORT)?;
        let events = directory.more_lines(run_dir::EVENTS)?;
        Ok(Begun { events, tallies, done, others, again, used })
    }
}

impl Begun {
    /// Samples that are done already, repeats counted.
    pub fn samples_done(&self) -> u64 {
        self.done.iter().map(|done| done.count()).sum()
    }
}

/// Counts once more from the journal, after a run that set out to ask unscored samples again and did not come to all
/// of them: those that it did not come to are still unscored. `counted` has one a unit; the journal's lock is held.
///
/// # Errors
/// The journal cannot be read.
pub fn recount(
    file: &RunFile,
    directory: &RunDir,
    journal: &LockedFile,
    units: &[Arc<Unit>],
    counted: Vec<Tally>,
) -> Result<Vec<Tally>, ResumeError> {
    let directory = directory.path().to_owned();
    let how = Resume { directory, accept_changes: false, retry_unscored: None };
    let mut earlier = Earlier::held(&how, journal.try_clone()?)?;
    let pair =
        |unit: &Arc<Unit>| Pair { task: unit.task.clone(), backend: unit.backend.id.clone() };
    let pairs: Vec<Pair> = units.iter().map(pair).collect();
    let tallies = earlier.replay(file, &pairs)?.into_tallies();
    Ok(tallies
        .into_iter()
        .zip(counted)
        .map(|(tally, counted)| tally.in_place_of(counted))
        .collect())
}
