//! How a command ends: its exit code and, for programs, the last record.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::{in_words, print_error};
use crate::{printer::Printer, store::summary::Summary};

/// The last record of every command.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(tag = "event", rename = "done")]
pub(super) struct Done {
    /// The exit code.
    pub(super) exit_code: u8,
    /// What went wrong, if anything did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The results, after a single run file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<Box<Summary>>,
    /// The index of all results that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<String>,
    /// The files that a report was written into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) written: Vec<PathBuf>,
}

impl From<u8> for Done {
    fn from(exit_code: u8) -> Self {
        Self { exit_code, ..Self::default() }
    }
}

impl Done {
    /// The end of a command that failed; the error is told on stderr, too.
    pub(super) fn failed(printer: &Printer, error: &anyhow::Error, exit_code: u8) -> Self {
        print_error(printer, error);
        Self { error: Some(in_words(error)), ..exit_code.into() }
    }

    /// This end, unless something fails after a command that had not: then the exit code is that one's.
    pub(super) fn or_failed(mut self, printer: &Printer, error: String, exit_code: u8) -> Self {
        printer.error(&error);
        if self.exit_code == crate::run::error::exit::DONE {
            self.exit_code = exit_code;
        }
        self.error.get_or_insert(error);
        self
    }
}
