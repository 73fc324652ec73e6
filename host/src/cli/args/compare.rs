//! What may be typed after `host compare`.

use std::path::PathBuf;

use crate::score::metric::Metric;

/// `host compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Run directories: the baseline, then those that are compared with it. Of a single one the backends are compared
    /// with its first.
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// Compare only this task. May be repeated.
    #[arg(long = "task", value_name = "ID")]
    pub tasks: Vec<String>,
    /// Compare only this backend. May be repeated: one of each run, where they have no name in common.
    #[arg(long = "backend", value_name = "ID")]
    pub backends: Vec<String>,
    /// Compare only this metric, also if a task does not report it. May be repeated.
    #[arg(long = "metric", value_name = "NAME", value_parser = metric)]
    pub metrics: Vec<Metric>,
    /// Show so many of the samples that one side has right and the other wrong, for the first metric of each task; 10
    /// if this is not given. Under --json all of every metric, unless this is given.
    #[arg(long, value_name = "N")]
    pub flips: Option<usize>,
}

fn metric(typed: &str) -> Result<Metric, String> {
    Metric::from_name(typed).ok_or_else(|| {
        let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        format!("there is no such metric; there is {}", names.join(", "))
    })
}
