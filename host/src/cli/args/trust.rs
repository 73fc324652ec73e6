//! What is typed about which plugins are trusted.

use std::{env, path::PathBuf};

use crate::plugin::lock::open::Choice;

/// Which lock file counts.
#[derive(Debug, clap::Args)]
pub struct LockArgs {
    /// The lock file, in place of $HOST_PLUGINS_LOCK and of the nearest plugins.lock: in the folder of the run file, the
    /// current one without, or above it.
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
}

/// Which plugins may be used.
#[derive(Debug, clap::Args)]
pub struct TrustArgs {
    /// Which lock file counts.
    #[command(flatten)]
    pub file: LockArgs,
    /// Use no plugin that the lock file does not have, byte for byte.
    #[arg(long)]
    pub locked: bool,
}

impl LockArgs {
    /// What was typed, or what the environment says.
    pub fn choice(&self) -> Choice {
        let variable = env::var_os("HOST_PLUGINS_LOCK").filter(|value| !value.is_empty());
        let named = self.lock.clone().or_else(|| variable.map(PathBuf::from));
        Choice { named, locked: false }
    }
}

impl TrustArgs {
    /// What was typed, or what the environment says.
    pub fn choice(&self) -> Choice {
        Choice { locked: self.locked, ..self.file.choice() }
    }
}
