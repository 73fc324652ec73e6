//! What is typed after `host score`.

use std::path::PathBuf;

/// `host score`.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// The run's directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Change how answers are read or what they are worth: `task.gsm8k.extract.kind=number`,
    /// `task.on_refusal=unscored`. What was asked cannot be changed. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Write the new summary into this file; `summary.score-N.json` in the run's directory by default.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
