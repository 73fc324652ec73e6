//! What is typed to get texts that follow from the program itself: schemas, completions, manual pages.

use std::path::PathBuf;

use clap_complete::Shell;

use super::PluginDirs;

/// `host schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// The schema of a task file in place of that of a run file.
    #[arg(long)]
    pub task: bool,
    /// The schema of what commands print on stdout under --json, one such record a line.
    #[arg(long, conflicts_with = "task")]
    pub output: bool,
    /// Where plugins are looked for, whose own schemas become part of it.
    #[command(flatten)]
    pub plugins: PluginDirs,
}

/// `host completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `host man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The command that the page is of: `run`, `plugin list`; that of `host` itself by default.
    #[arg(conflicts_with = "out")]
    pub command: Vec<String>,
    /// Write the page of every command into this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
