//! What is typed after `host ctl`.

use std::path::PathBuf;

use clap::Subcommand;

/// `host ctl`.
#[derive(Debug, clap::Args)]
pub struct CtlArgs {
    /// The run's directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What can be done with a run that goes on.
#[derive(Debug, Subcommand)]
pub enum CtlCommand {
    /// Tell how it stands.
    Status,
    /// Begin nothing more for now. What is in flight goes on, and what waits loses none of its time.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Change how much is in flight.
    Set {
        /// `concurrency=N`: requests at a replica of each backend; `BACKEND.concurrency=N`: of this one.
        #[arg(value_name = "KEY=N")]
        setting: String,
    },
    /// End the run as Ctrl-C does: what is finished is kept, and `host resume` goes on.
    Cancel,
}
