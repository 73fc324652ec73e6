//! Takes up a run where an earlier process left it: what it was must be what it is to be, what its journal holds is
//! not asked again, and its results are counted from the journal as if nothing had happened between.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    change::{self, PluginNow},
    event::UnitName,
    plan::Pair,
    replay::{Replayed, digests, replay},
    tally::{Subject, Tally},
};
use crate::{
    config::{RunFile, decisive_of},
    secret::Redactor,
    stats::exact::ExactError,
    store::{
        StoreError,
        journal_reader::JournalError,
        manifest::{BackendIdentity, DataIdentity, RecordingIdentity, Resumption, RunManifest},
        run_dir,
        storage::{LockError, LockedFile},
        stored_run::{self, ReadError},
        summary::Summary,
    },
    task::stream::SampleError,
};
use plugin_api::capability::Capability;

/// How a run is to be taken up.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The run's directory.
    pub directory: PathBuf,
    /// Go on although something has changed that decides results.
    pub accept_changes: bool,
    /// Which unscored samples are asked again; none by default.
    pub retry_unscored: Option<Retry>,
}

/// Unscored samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retry {
    /// All.
    All,
    /// Those that are unscored for this reason.
    Reason(String),
}

impl Retry {
    /// Whether a sample that is unscored for this reason is one of them.
    pub fn has(&self, reason: &str) -> bool {
        match self {
            Self::All => true,
            Self::Reason(only) => only == reason,
        }
    }
}

/// Why a run cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// There is no run.
    #[error(
        "{}: there is no run to resume here: it has no manifest.json, so nothing was asked yet; run its run file",
        .0.display()
    )]
    NoRun(PathBuf),
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(ReadError),
    /// The manifest does not hold the run file.
    #[error(
        "{}: it was written by a host that did not keep the run file; resume by `host run FILE --resume={}`",
        .0.join(run_dir::MANIFEST).display(),
        .0.display()
    )]
    NoRunFile(PathBuf),
    /// Another process is at work on it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What decides results has changed.
    #[error(
        "{}: it cannot be resumed as it is, because something that decides its results has changed:\n  {}\nundo that, \
         or start a new run (of a sweep's cells by --fresh); with --accept-changes the samples that are finished keep \
         what they have, the others are asked as it is now, and manifest.json says so",
        directory.display(),
        changes.join("\n  ")
    )]
    Changed {
        /// The run's directory.
        directory: PathBuf,
        /// A line for each difference.
        changes: Vec<String>,
    },
    /// A task takes another form than it had.
    #[error(
        "{}: {unit} would be asked in another form than before (another number of repeats, other metrics, or options \
         by log-likelihood and by letter): the two do not compare; start a new run",
        directory.display()
    )]
    Form {
        /// The run's directory.
        directory: PathBuf,
        /// Which task at which backend.
        unit: UnitName,
    },
    /// The data cannot be read.
    #[error("task `{task}`: {error}")]
    Data {
        /// The task.
        task: String,
        /// What is wrong.
        error: Box<SampleError>,
    },
    /// A score in the journal is out of any range.
    #[error("{}: a score cannot be counted: {source}", path.display())]
    Score {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        source: ExactError,
    },
}

/// Reads the manifest of a run that is to be taken up.
///
/// # Errors
/// There is none, or it is of another format.
pub fn read_manifest(directory: &Path) -> Result<RunManifest, ResumeError> {
    stored_run::read_manifest(directory).map_err(|error| match error {
        ReadError::Absent { directory, .. } => ResumeError::NoRun(directory),
        error => ResumeError::Manifest(error),
    })
}

/// A run that an earlier process began, and that is this one's now.
#[derive(Debug)]
pub struct Earlier {
    how: Resume,
    journal: LockedFile,
    manifest: RunManifest,
    accepted: Vec<String>,
}

impl Earlier {
    /// Takes up a run: from now on no other process can.
    ///
    /// # Errors
    /// There is none, or another process is at work on it.
    pub fn take(how: &Resume) -> Result<Self, ResumeError> {
        let path = how.directory.join(run_dir::JOURNAL);
        // Not before it is known that this is a run's directory is a file made in it.
        read_manifest(&how.directory)?;
        // The manifest is read once more: until the lock was held another process may have changed it.
        Self::held(how, LockedFile::open(&path)?)
    }

    /// A run that is this process's already, by the lock on its journal.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn held(how: &Resume, journal: LockedFile) -> Result<Self, ResumeError> {
        let manifest = read_manifest(&how.directory)?;
        Ok(Self { how: how.clone(), journal, manifest, accepted: Vec::new() })
    }

    /// The run's directory.
    pub fn directory(&self) -> &Path {
        &self.how.directory
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// When it began, RFC 3339.
    pub fn started(&self) -> &str {
        &self.manifest.started
    }

    /// What a backend said that it lacks of what its plugin declares.
    pub fn lacks(&self, backend: &str) -> &[Capability] {
        self.backend(backend).map_or(&[], |backend| &backend.description.lacks)
    }

    fn backend(&self, id: &str) -> Option<&BackendIdentity> {
        self.manifest.backends.iter().find(|backend| backend.id == id)
    }

    /// Compares what can be compared before anything is opened.
    ///
    /// # Errors
    /// Something that decides results has changed, and that is not accepted.
    pub fn compare(
        &mut self,
        file: &RunFile,
        data: &[DataIdentity],
        plugins: &[PluginNow],
        recording: Option<&RecordingIdentity>,
        redactor: &Redactor,
    ) -> Result<(), ResumeError> {
        let before = &self.manifest;
        let mut changes = Vec::new();
        if before.config_blake3 != file.config_blake3 {
            // The manifest holds no secret, so that what it holds in the place of one is no difference.
            let mut now = file.config.decisive();
            redactor.redact_value(&mut now);
            changes.extend(change::of_config(&decisive_of(before.config.clone()), &now));
        }
        changes.extend(change::of_data(&before.data, data));
        changes.extend(change::of_plugins(&before.plugins, plugins));
        changes.extend(change::of_recording(before.recording.as_ref(), recording));
        self.accept(changes)
    }

    /// Compares what open backends say of themselves with what they said.
    ///
    /// # Errors
    /// As for [`Earlier::compare`].
    pub fn compare_backends(&mut self, now: &[BackendIdentity]) -> Result<(), ResumeError> {
        let changes = change::of_backends(&self.manifest.backends, now);
        self.accept(changes)
    }

    fn accept(&mut self, changes: Vec<String>) -> Result<(), ResumeError> {
        if !changes.is_empty() && !self.how.accept_changes {
            let directory = self.how.directory.clone();
            return Err(ResumeError::Changed { directory, changes });
        }
        self.accepted.extend(changes);
        Ok(())
    }

    /// The manifest of the run from now on: what it is now, with what it was called and each time that it was taken up.
    pub fn manifest(&self, now: RunManifest, at: String) -> RunManifest {
        let mut resumed = self.manifest.resumed.clone();
        resumed.push(Resumption {
            at,
            host_version: now.host_version.clone(),
            accepted: self.accepted.clone(),
        });
        let (id, started) = (self.manifest.id.clone(), self.manifest.started.clone());
        // Of a backend that does not open this time is kept what it said, and what its plugin was.
        let (mut backends, mut plugins) = (now.backends.clone(), now.plugins.clone());
        for backend in &self.manifest.backends {
            if backends.iter().all(|one| one.id != backend.id) {
                backends.push(backend.clone());
            }
        }
        for plugin in &self.manifest.plugins {
            if plugins.iter().all(|one| one.id != plugin.id) {
                plugins.push(plugin.clone());
            }
        }
        RunManifest { id, started, resumed, backends, plugins, ..now }
    }

    /// The manifest with what was accepted, if anything was: for a run of which nothing is asked any more.
    pub fn manifest_if_accepted(&self, at: String) -> Option<RunManifest> {
        let accepted = self.accepted.clone();
        let mut manifest = self.manifest.clone();
        let host_version = env!("CARGO_PKG_VERSION").to_owned();
        manifest.resumed.push(Resumption { at, host_version, accepted });
        (!self.accepted.is_empty()).then_some(manifest)
    }

    /// What the journal holds of these pairs of task and backend.
    ///
    /// # Errors
    /// The journal is damaged; or the data cannot be read, where a change of it was accepted.
    pub fn replay(&mut self, file: &RunFile, pairs: &[Pair]) -> Result<Replayed, ResumeError> {
        let summary = self.summary();
        let tally = |pair: &Pair| {
            let mut tally = Tally::new(self.subject(file, pair));
            let is_own = |name: &UnitName, task: &str, backend: &str| {
                name.task == task && name.backend == backend
            };
            let results = summary.iter().flat_map(|summary| &summary.results);
            let before =
                results.clone().find(|one| is_own(tally.name(), &one.task, &one.backend)).cloned();
            before.into_iter().for_each(|before| tally.was(before.samples_per_second));
            tally
        };
        let tallies = pairs.iter().map(tally).collect();
        // Once a change was accepted, the journal may hold answers to what is not asked any more.
        let was_mixed = self.manifest.resumed.iter().any(|one| !one.accepted.is_empty());
        let mixed = was_mixed || self.how.accept_changes;
        let current = match mixed {
            false => None,
            true => Some(pairs.iter().map(|pair| digests(&pair.task)).collect::<Result<_, _>>()?),
        };
        let retry = self.how.retry_unscored.as_ref();
        let replayed = replay(&self.journal, tallies, current, retry)?;
        if replayed.stale > 0 && !was_mixed && self.accepted.is_empty() {
            let lines = replayed.stale;
            self.accepted.push(format!("{lines} lines of the journal are of other records"));
        }
        Ok(replayed)
    }

    /// What the results will say of a pair, as far as the manifest knows.
    fn subject(&self, file: &RunFile, pair: &Pair) -> Subject {
        let backend = self.backend(&pair.backend);
        let mut backends = file.config.backends.iter();
        let named = backends.find(|one| one.id == pair.backend).and_then(|one| one.model.clone());
        let described = |of: fn(&BackendIdentity) -> Option<String>| backend.and_then(of);
        Subject {
            name: UnitName { task: pair.task.id.0.clone(), backend: pair.backend.clone() },
            model: named.or_else(|| described(|backend| backend.description.model.clone())),
            mock: backend.is_some_and(|backend| backend.mock),
            mocks: self.manifest.mocks(),
            fallback: pair.task.is_fallback,
            prices: described(|backend| backend.description.prices.clone()),
            repeats: pair.task.repeats,
            metrics: pair.task.metrics.clone(),
        }
    }

    /// The summary of the process before, if it came that far.
    fn summary(&self) -> Option<Summary> {
        let text = fs::read_to_string(self.how.directory.join(run_dir::SUMMARY)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The journal. Its lock is what makes the run this process's.
    pub fn journal(&self) -> &LockedFile {
        &self.journal
    }
}

impl From<StoreError> for ResumeError {
    fn from(error: StoreError) -> Self {
        Self::Journal(error.into())
    }
}
