//! Why a report cannot be made.

use std::{io, path::PathBuf};

use crate::{run::from_journal::CountError, store::stored_run::ReadError};

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The samples of a run without a summary cannot be counted.
    #[error(transparent)]
    Count(#[from] CountError),
    /// It cannot be written.
    #[error("{}: cannot write the report: {source}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What it is written to takes nothing more.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
    /// The template cannot be filled in.
    #[error("cannot make the page: {0}")]
    Template(#[from] askama::Error),
    /// A format needs texts that the run has not kept.
    #[error(
        "{}: the run stores digests only (`run.store = \"hash\"`), and {format} has documents and answers in it; \
         --format html, md, csv, junit and json need none",
        directory.display()
    )]
    Hashed {
        /// The run.
        directory: PathBuf,
        /// What was asked for.
        format: &'static str,
    },
}
