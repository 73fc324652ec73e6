//! What can be wrong with a task before any of its data is read.

use std::path::{Path, PathBuf};

use super::generation::GenerationError;
use super::raw::Kind;
use super::template::TemplateError;

/// A task that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("task `{task}`: {problem}")]
pub struct TaskError {
    /// The id of the task.
    pub task: String,
    /// What is wrong with it.
    pub problem: TaskProblem,
}

/// What is wrong with a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskProblem {
    /// A key that this kind of task needs.
    #[error("`{key}` is needed by `kind = \"{}\"`", kind_name(*kind))]
    Missing {
        /// The key.
        key: &'static str,
        /// The kind.
        kind: Kind,
    },
    /// A key that has no meaning here.
    #[error("`{key}` has no meaning in this task of `kind = \"{}\"`: {hint}", kind_name(*kind))]
    Contradiction {
        /// The key.
        key: &'static str,
        /// The kind.
        kind: Kind,
        /// Why, or what to do.
        hint: &'static str,
    },
    /// A value out of range.
    #[error("`{key}` must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A file that cannot be opened.
    #[error("`{key}`: cannot read {}{}: {source}", path.display(), relative_to(typed, base_dir))]
    File {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its path as typed.
        typed: PathBuf,
        /// What that is relative to.
        base_dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A data file whose format is not known.
    #[error("`{key}`: the format of {} is not known by its extension (jsonl, ndjson, json, csv); set `data.format`", path.display())]
    UnknownFormat {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A template that cannot be compiled.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A pattern that cannot be compiled.
    #[error("`{key}`: pattern `{pattern}`: {reason}")]
    Pattern {
        /// The key.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter of generation out of range.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// A metric that this kind of task does not have.
    #[error("`metrics`: `kind = \"{}\"` has no metric `{name}`; it has {possible}", kind_name(*kind))]
    UnknownMetric {
        /// The metric.
        name: String,
        /// The kind.
        kind: Kind,
        /// The metrics it has.
        possible: String,
    },
}

impl TaskProblem {
    pub(super) fn value(key: &'static str, expected: &'static str) -> Self {
        Self::Value { key, expected }
    }
}

/// Says where a relative path was looked for; nothing of one that is not.
fn relative_to(typed: &Path, base_dir: &Path) -> String {
    if typed.is_absolute() {
        return String::new();
    }
    let folder = match base_dir.as_os_str().is_empty() {
        true => "the current directory".to_owned(),
        false => format!("{}, the folder of the file that names it", base_dir.display()),
    };
    format!(" ({} is relative to {folder})", typed.display())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::MultipleChoice => "multiple_choice",
        Kind::Generate => "generate",
        Kind::Perplexity => "perplexity",
    }
}
