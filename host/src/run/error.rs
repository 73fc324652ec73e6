//! Why a run did not begin or ended too early, and the exit code that it stands for.

use std::path::PathBuf;

use super::{
    backend_error::BackendError, feed::FeedError, plan::PlanError, recorder::RecordError,
    resume::ResumeError,
};
use crate::{
    store::{StoreError, ledger::LedgerError, storage::LockError},
    task::error::TaskError,
};

/// Why a run did not begin, or ended too early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task makes no sense.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A backend does not open.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Tasks and backends do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no place for the run directory.
    #[error("{0}; name another folder by `out` or --out")]
    Directory(StoreError),
    /// The run directory cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A data file cannot be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The samples of a task ended too early.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// No sample can succeed.
    #[error("{0}")]
    Fatal(String),
    /// A plugin has died too often.
    #[error("{0}")]
    Broken(String),
    /// What was asked could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What came of the run could not be written down whole.
    #[error("{why}; {done} samples are recorded, and `host resume {}` goes on once that is mended", directory.display())]
    Unwritten {
        /// Which file, and what the system says.
        why: String,
        /// Samples that the journal has.
        done: u64,
        /// The run's directory.
        directory: PathBuf,
    },
    /// The run cannot be taken up.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The journal cannot be had for this process alone.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What backends hold cannot be told.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no such run directory.
    #[error("{}: there is no run directory; `host release` takes one that a run has left", .0.display())]
    NoDirectory(PathBuf),
    /// A backend holds resources still.
    #[error("backend `{backend}`: not everything is freed: {reason}")]
    Unreleased {
        /// Id of the backend.
        backend: String,
        /// What happened.
        reason: String,
    },
    /// A budget is spent.
    #[error(
        "{reason}; `host resume {} --set run.{}=…` goes on from here under a larger one",
        directory.display(),
        reason.split_once(':').map_or("budget", |(key, _)| key)
    )]
    Spent {
        /// Which, and how far: it begins with the key.
        reason: String,
        /// The run's directory.
        directory: PathBuf,
    },
    /// The user did not wait for the backends.
    #[error("stopped before the first sample was asked")]
    Stopped,
    /// The system gives no threads, or a part of the host failed.
    #[error("{0}")]
    Internal(String),
}

/// Exit codes: a contract.
pub mod exit {
    /// Done.
    pub const DONE: u8 = 0;
    /// The host failed.
    pub const INTERNAL: u8 = 1;
    /// The command or a file it names is wrong.
    pub const USAGE: u8 = 2;
    /// Finished with more unscored samples than allowed.
    pub const UNSCORED: u8 = 3;
    /// Stopped by a budget or by the user; resumable.
    pub const STOPPED: u8 = 4;
    /// A plugin was refused or failed.
    pub const PLUGIN: u8 = 5;
}

impl RunError {
    /// The exit code that it stands for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Backend(error) if !error.is_configuration() => exit::PLUGIN,
            Self::Backend(_) | Self::Task(_) | Self::Plan(_) | Self::Feed(_) => exit::USAGE,
            Self::Data { .. } | Self::Directory(_) => exit::USAGE,
            Self::Ledger(_) | Self::NoDirectory(_) => exit::USAGE,
            Self::Fatal(_) => exit::USAGE,
            Self::Resume(_) | Self::Lock(_) => exit::USAGE,
            Self::Broken(_) | Self::Unreleased { .. } => exit::PLUGIN,
            Self::Stopped | Self::Spent { .. } => exit::STOPPED,
            Self::Store(_) | Self::Record(_) | Self::Unwritten { .. } | Self::Internal(_) => {
                exit::INTERNAL
            }
        }
    }
}
