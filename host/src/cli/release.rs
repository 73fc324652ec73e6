//! `host release`: frees what the backends of a run that was killed hold still.

use std::env;

use schemars::JsonSchema;
use serde::Serialize;

use super::{args::ReleaseArgs, done::Done, run::surroundings, run_mock::RunMock};
use crate::{
    printer::Printer,
    run::{error::exit, release::release_directory},
};

/// What came of one backend, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "released")]
pub(super) struct ReleaseRecord<'a> {
    /// Id of the backend.
    backend: &'a str,
    /// What it holds, or held.
    resources: &'a [String],
    /// Whether it is freed.
    freed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Frees it, says what is freed, and fails if anything is not.
pub(super) fn main(args: &ReleaseArgs, printer: &Printer) -> Done {
    release(args, printer).unwrap_or_else(|error| Done::failed(printer, &error, exit::USAGE))
}

fn release(args: &ReleaseArgs, printer: &Printer) -> anyhow::Result<Done> {
    let discovery = super::plugin::find(&args.plugins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let variable = |name: &str| env::var(name).ok();
    let mock = RunMock::default();
    let around = surroundings(&variable, &mock, &args.trust.choice(), printer);
    let released = match runtime.block_on(release_directory(&args.directory, &discovery, &around)) {
        Ok(released) => released,
        Err(error) => {
            let code = error.exit_code();
            return Ok(Done::failed(printer, &error.into(), code));
        }
    };
    let mut done = Done::from(exit::DONE);
    if released.is_empty() {
        printer.note("nothing to free: the run's backends hold nothing");
    }
    for one in released {
        printer.record(&ReleaseRecord {
            backend: &one.backend,
            resources: &one.resources,
            freed: one.error.is_none(),
            error: one.error.as_ref().map(ToString::to_string),
        });
        let names = one.resources.join(", ");
        match one.error {
            None => printer.data(&format!("{}: freed {names}\n", one.backend)),
            Some(error) => {
                let code = error.exit_code();
                done = done.or_failed(printer, super::in_words(&error.into()), code);
            }
        }
    }
    Ok(done)
}
