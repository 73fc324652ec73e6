//! What is typed after `host plugin lock`.

use std::str::FromStr;

use super::{LockArgs, PluginDirs};

/// `host plugin lock`.
#[derive(Debug, clap::Args)]
pub struct PluginLockArgs {
    /// Ids of plugins; all that are found by default.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Let a plugin do more than its entry says: `in-process` (run in the host's own process, with its rights),
    /// `unchecked-layout` (load without a layout check), `asked` (all origins, secrets and variables that it asks for
    /// now). May be repeated.
    #[arg(long = "grant", value_name = "ID=RIGHT")]
    pub grants: Vec<TypedGrant>,
    /// The files of these plugins must be signed by this minisign key, now and whenever they are used: the key, or its
    /// file. `FILE.minisig` is looked for beside FILE.
    #[arg(long, value_name = "KEY", requires = "ids")]
    pub signed_by: Option<String>,
    /// Change nothing; exit with 5 if the lock file is out of date.
    #[arg(long)]
    pub check: bool,
    /// Where plugins are looked for.
    #[command(flatten)]
    pub plugins: PluginDirs,
    /// Which lock file is written; without one a new plugins.lock in the current folder.
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
