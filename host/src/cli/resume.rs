//! `host resume`: goes on with a run from its directory alone.

use super::{
    args::ResumeArgs,
    cassette,
    run::{discover, fail, run_one},
};
use crate::{
    config::{self, RunFile},
    printer::Printer,
    run::{
        error::exit,
        resume::{ResumeError, read_manifest},
    },
    store::run_dir,
};

/// Reads the run file that the directory keeps, and goes on.
pub(super) fn main(args: &ResumeArgs, printer: &Printer) -> u8 {
    let discovery = match discover(&args.plugins, args.strict, printer) {
        Ok(discovery) => discovery,
        Err(code) => return code,
    };
    let opened = kept(args).and_then(|file| {
        let cassette = cassette::open(None, args.replay.as_deref())?;
        Ok((file, cassette))
    });
    let (file, cassette) = match opened {
        Ok(opened) => opened,
        Err(error) => return fail(printer, &error, exit::USAGE),
    };
    let how = args.how.of(args.directory.clone());
    let code = run_one(&file, Some(&how), &discovery, cassette.as_ref(), printer);
    cassette.map_or(code, |cassette| cassette::played(&cassette, code, printer))
}

fn kept(args: &ResumeArgs) -> anyhow::Result<RunFile> {
    let manifest = read_manifest(&args.directory)?;
    let kept = manifest.run_file.ok_or_else(|| ResumeError::NoRunFile(args.directory.clone()))?;
    Ok(config::reopen_run(&kept, &args.directory.join(run_dir::MANIFEST))?)
}
