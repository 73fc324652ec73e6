//! What is typed after `host check`.

use std::path::PathBuf;

use super::{PluginDirs, TrustArgs};

/// `host check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Run files (TOML).
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Ask no server: look at files, plugins and secrets alone.
    #[arg(long)]
    pub offline: bool,
    /// Change a value of the run files, as `host run --set` does. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Take this profile of the run files.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Most samples of each task.
    #[arg(long, value_name = "N")]
    pub max_samples: Option<u64>,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which of them may be used.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Any plugin file that is refused is an error.
    #[arg(long)]
    pub strict: bool,
}
