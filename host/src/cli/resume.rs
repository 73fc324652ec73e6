//! `host resume`: goes on with a run from its directory alone.

use super::{
    args::ResumeArgs,
    cassette,
    done::Done,
    run::{discover, run_one},
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

/// Reads the run file that the directory keeps, changes what is typed, and goes on.
pub(super) fn main(args: &ResumeArgs, printer: &Printer) -> Done {
    let discovery = match discover(&args.plugins, args.strict, printer) {
        Ok(discovery) => discovery,
        Err(done) => return done,
    };
    let opened = kept(args).and_then(|file| {
        let cassette = cassette::open(None, args.replay.as_deref())?;
        Ok((file, cassette))
    });
    let (file, cassette) = match opened {
        Ok(opened) => opened,
        Err(error) => return Done::failed(printer, &error, exit::USAGE),
    };
    let how = args.how.of(args.directory.clone());
    let done =
        run_one(&file, Some(&how), &discovery, &args.trust.choice(), cassette.as_ref(), printer);
    match cassette {
        Some(cassette) => cassette::played(&cassette, done, printer),
        None => done,
    }
}

fn kept(args: &ResumeArgs) -> anyhow::Result<RunFile> {
    let manifest = read_manifest(&args.directory)?;
    let kept = manifest.run_file.ok_or_else(|| ResumeError::NoRunFile(args.directory.clone()))?;
    let manifest = args.directory.join(run_dir::MANIFEST);
    Ok(config::reopen_changed(&kept, &manifest, &args.sets)?)
}
