//! `host release`: frees what the backends of a run that was killed hold still.

use std::env;

use serde::Serialize;

use super::{args::ReleaseArgs, print_error, run::surroundings, run_mock::RunMock};
use crate::{
    printer::Printer,
    run::{error::exit, release::release_directory},
};

/// What came of one backend, as programs are told.
#[derive(Serialize)]
struct ReleaseRecord<'a> {
    backend: &'a str,
    resources: &'a [String],
    freed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Frees it, says what is freed, and fails if anything is not.
pub(super) fn main(args: &ReleaseArgs, printer: &Printer) -> u8 {
    match release(args, printer) {
        Ok(code) => code,
        Err(error) => {
            print_error(printer, &error);
            exit::USAGE
        }
    }
}

fn release(args: &ReleaseArgs, printer: &Printer) -> anyhow::Result<u8> {
    let discovery = super::plugin::find(&args.plugins)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let variable = |name: &str| env::var(name).ok();
    let mock = RunMock::default();
    let around = surroundings(&variable, &mock, printer);
    let released = match runtime.block_on(release_directory(&args.directory, &discovery, &around)) {
        Ok(released) => released,
        Err(error) => {
            let code = error.exit_code();
            print_error(printer, &error.into());
            return Ok(code);
        }
    };
    let mut code = exit::DONE;
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
                if code == exit::DONE {
                    code = error.exit_code();
                }
                print_error(printer, &error.into());
            }
        }
    }
    Ok(code)
}
