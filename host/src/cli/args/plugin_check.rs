//! What is typed after `host plugin check`.

use std::path::PathBuf;

use super::LockArgs;
use crate::plugin::conformance::Glibc;

/// `host plugin check`.
#[derive(Debug, clap::Args)]
pub struct PluginCheckArgs {
    /// Plugin files, or folders whose plugins are all looked at.
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// A run file whose backend of the plugin says how it is opened and who answers it. May be repeated. Its server is
    /// asked a few short questions; `base_url = "mock:WIRE"` is one that costs nothing.
    #[arg(long = "with", value_name = "FILE")]
    pub run_files: Vec<PathBuf>,
    /// Without a run file: a key of the backend as a run file has it, `base_url=mock:tgi`, say; one of the plugin's own
    /// is `config.KEY=VALUE`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "run_files")]
    pub sets: Vec<String>,
    /// The newest glibc that a library may need.
    #[arg(long, value_name = "VERSION")]
    pub glibc: Option<Glibc>,
    /// What is only warned about is a failure, too.
    #[arg(long)]
    pub strict: bool,
    /// Which lock file may say that a library loads without a layout check. Nothing else in it counts here: the plugin
    /// runs in a worker in any case.
    #[command(flatten)]
    pub file: LockArgs,
}
