//! What a run is given by the process that it runs in.

use std::{path::PathBuf, sync::Arc};

use super::mock::Mock;
use crate::{
    asset::Progress,
    config::RunFile,
    plugin::lock::open::{self as lock, LockError, Trust},
    printer::Printer,
    store::manifest::RecordingIdentity,
    transport::Cassette,
};

/// What the outside gives to opening.
pub struct Surroundings<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What `~` stands for in token files.
    pub home: Option<PathBuf>,
    /// Where fetched assets are kept.
    pub cache: Option<PathBuf>,
    /// Told while assets are fetched.
    pub progress: Arc<dyn Fn(Progress<'_>) + Send + Sync>,
    /// Stands for the servers of backends whose `base_url` names it.
    pub mock: &'a dyn Mock,
    /// Which lock file says what plugins are trusted, unless it is the nearest.
    pub lock: lock::Choice,
    /// Records what is asked and answered, or answers.
    pub cassette: Option<Cassette>,
    /// Is told the secrets, so that it never prints one.
    pub printer: &'a Printer,
}

impl Surroundings<'_> {
    /// What is trusted in the runs of a run file.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub(super) fn trust(&self, file: &RunFile) -> Result<Trust, Arc<LockError>> {
        self.lock.open(&file.folder).map_err(Arc::new)
    }

    /// The recording that answers in the servers' place, if one does.
    pub fn recording(&self) -> Option<RecordingIdentity> {
        let player = self.cassette.as_ref().and_then(Cassette::replay)?;
        let (path, blake3) = (player.path().display().to_string(), player.blake3().to_owned());
        Some(RecordingIdentity { path, blake3 })
    }
}
