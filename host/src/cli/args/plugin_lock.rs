//! What is typed after `host plugin lock`.

use std::{path::PathBuf, str::FromStr};

use super::{LockArgs, PluginDirs};

/// `host plugin lock`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("named").args(["ids", "run_files"]).multiple(true))]
pub struct PluginLockArgs {
    /// Ids of plugins. Without any, and without --with, --all and --grant, those that the lock file has already.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Every plugin that a backend of this run file names, in the lock file that counts for it. May be repeated.
    #[arg(long = "with", value_name = "FILE")]
    pub run_files: Vec<PathBuf>,
    /// Every plugin that is found, those that came with this host too.
    #[arg(long, conflicts_with_all = ["ids", "run_files"])]
    pub all: bool,
    /// Take the entry of this plugin out of the lock file. May be repeated.
    #[arg(
        long = "remove",
        value_name = "ID",
        conflicts_with_all = ["ids", "run_files", "all", "grants", "signed_by", "check"]
    )]
    pub removed: Vec<String>,
    /// Let a plugin do more than its entry says: `in-process` (run in the host's own process, with its rights),
    /// `unchecked-layout` (load without a layout check), `asked` (all origins, secrets and variables that it asks for
    /// now). May be repeated.
    #[arg(long = "grant", value_name = "ID=RIGHT")]
    pub grants: Vec<TypedGrant>,
    /// The files of these plugins must be signed by this minisign key, now and whenever they are used: the key, or its
    /// file. `FILE.minisig` is looked for beside FILE.
    #[arg(long, value_name = "KEY", requires = "named")]
    pub signed_by: Option<String>,
    /// Change nothing; exit with 5 if the lock file is out of date.
    #[arg(long)]
    pub check: bool,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which lock file is written; where there is none a new plugins.lock in the current folder, or beside the run file.
    #[command(flatten)]
    pub file: LockArgs,
}

/// A right for one plugin.
#[derive(Clone, Debug)]
pub struct TypedGrant {
    /// The plugin's id.
    pub id: String,
    /// What it is granted.
    pub right: Right,
}

/// What a plugin may be granted beyond its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To run in the host's own process.
    InProcess,
    /// To load without a layout check.
    UncheckedLayout,
    /// Everything that it asks for.
    Asked,
}

impl FromStr for TypedGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let right = |name: &str| match name {
            "in-process" => Some(Right::InProcess),
            "unchecked-layout" => Some(Right::UncheckedLayout),
            "asked" => Some(Right::Asked),
            _ => None,
        };
        let typed = text.split_once('=').and_then(|(id, name)| Some((id, right(name)?)));
        match typed {
            Some((id, right)) if !id.is_empty() => Ok(Self { id: id.to_owned(), right }),
            _ => Err("expected ID=in-process, ID=unchecked-layout or ID=asked".to_owned()),
        }
    }
}
