//! What is typed after `host show`.

use std::path::PathBuf;

use super::{PluginDirs, TrustArgs};

/// `host show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The run file (TOML).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show this sample in its place, by its id or by the position of its record from 0: its prompt, and the requests
    /// that the plugins would send. A mock (`base_url = "mock:..."`) is asked, so that what depends on its answers is
    /// shown, too.
    #[arg(long, value_name = "SAMPLE")]
    pub sample: Option<String>,
    /// Only the sample of this task.
    #[arg(long, value_name = "ID", requires = "sample")]
    pub task: Option<String>,
    /// Only the requests to this backend.
    #[arg(long, value_name = "ID", requires = "sample")]
    pub backend: Option<String>,
    /// Change a value of the run file, as `host run --set` does. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Take this profile of the run file.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which of them may be used.
    #[command(flatten)]
    pub trust: TrustArgs,
}
