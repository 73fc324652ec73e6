//! What is wrong with a run file: every problem with its place, key, expectation and hint.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file, from 1.
    Line(Arc<Path>, usize),
    /// A command-line argument, as typed.
    Argument(Arc<str>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The full path of the key, as `--set` would name it; empty for the file as a whole.
    pub key: String,
    /// What was expected.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a run file cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Everything that is wrong, one problem a line (a hint has a line of its own).
    #[error("{}", report(.0))]
    Invalid(Vec<Problem>),
}

impl Place {
    pub(crate) fn line(path: &Arc<Path>, line: usize) -> Self {
        Self::Line(Arc::clone(path), line)
    }
}

impl Problem {
    pub(crate) fn new(place: &Place, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.clone(), key: key.into(), message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

impl ConfigError {
    /// `Ok` if nothing is wrong; otherwise the problems in the order of the file.
    pub(crate) fn unless_empty(mut problems: Vec<Problem>) -> Result<(), Self> {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        if problems.is_empty() { Ok(()) } else { Err(Self::Invalid(problems)) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Argument(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

fn report(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
