//! What may be typed after `host collect`.

use std::path::PathBuf;

/// `host collect`.
#[derive(Debug, clap::Args)]
pub struct CollectArgs {
    /// The folder below which the runs are; the index is written into it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}
