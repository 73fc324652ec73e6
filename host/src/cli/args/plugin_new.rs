//! What may be typed after `host plugin new`.

use std::path::PathBuf;

use crate::scaffold::{kind::Kind, name::PluginName};

/// `host plugin new`.
#[derive(Debug, clap::Args)]
pub struct PluginNewArgs {
    /// The plugin's id in run files, and the name of its crate: lower-case letters, digits, `-` and `_`.
    pub name: PluginName,
    /// What it is like.
    #[arg(long, value_enum, default_value_t = Kind::Http)]
    pub kind: Kind,
    /// The folder that is made, NAME by default. It may be there if it is empty.
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Build against the SDK in this folder, the `plugin-api` of a checkout, in place of a copy of this host's own.
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,
}
