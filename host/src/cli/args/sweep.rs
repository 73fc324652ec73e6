//! What may be typed after `host sweep`.

use std::path::PathBuf;

use super::{PluginDirs, ResumeFlags, TrustArgs};

/// `host sweep`.
#[derive(Debug, clap::Args)]
pub struct SweepArgs {
    /// A run file with Jinja placeholders: `{{ model.base_url }}`, `{{ task.file }}`, `{{ cell }}`.
    #[arg(value_name = "TEMPLATE")]
    pub template: PathBuf,
    /// The models, and the tasks if the template has none of its own (TOML).
    #[arg(long, value_name = "MATRIX.toml")]
    pub matrix: PathBuf,
    /// Write and check every run file, show what would be asked, and start nothing; as the environment variable
    /// DRY_RUN=1 does.
    #[arg(long)]
    pub dry_run: bool,
    /// Only the cells whose names are like this; `*` stands for any text. May be repeated.
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,
    /// So many cells at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Folder of the sweep; `runs/NAME` by default, where NAME is the matrix's `name`, or else the template's folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Most samples of each task.
    #[arg(long, value_name = "N")]
    pub max_samples: Option<u64>,
    /// Change a value of every run file, as `host run --set` does. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Take this profile of every run file.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Begin a new run of every cell, also where there is one to go on with.
    #[arg(long, conflicts_with_all = ["accept_changes", "retry_unscored"])]
    pub fresh: bool,
    /// How cells are resumed.
    #[command(flatten)]
    pub how: ResumeFlags,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which of them may be used.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Do not run if any plugin file is refused.
    #[arg(long)]
    pub strict: bool,
}
