//! What may be typed after `host report`.

use std::path::PathBuf;

use clap::ValueEnum;

/// `host report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Run directories: one, or two to see them side by side, sample by sample.
    #[arg(value_name = "DIR", required = true, num_args = 1..=2)]
    pub directories: Vec<PathBuf>,
    /// What is made.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    pub format: Format,
    /// Only this task. May be repeated.
    #[arg(long = "task", value_name = "ID")]
    pub tasks: Vec<String>,
    /// Only this backend. May be repeated: one of each run, where they have no name in common.
    #[arg(long = "backend", value_name = "ID")]
    pub backends: Vec<String>,
    /// Where it goes: a file, for lm-eval a folder, `-` for stdout. By default `html` and `lm-eval` go into the (first)
    /// run directory, as `report.html` and `lm-eval/`, and the others to stdout.
    #[arg(long, short, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One page with results, charts and samples, that needs nothing but a browser.
    Html,
    /// The result table as GitHub's Markdown.
    Md,
    /// A row for each task, backend and metric.
    Csv,
    /// JUnit's XML: a suite for each task and backend, a case for each sample.
    Junit,
    /// One object: what ran and what came out, with intervals.
    Json,
    /// A folder with the results and samples as lm-evaluation-harness writes them.
    LmEval,
}
