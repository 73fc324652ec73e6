//! `host collect`: the index of all runs below a folder, and the leaderboard that follows from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{args::CollectArgs, done::Done};
use crate::{
    printer::Printer,
    report::{collected::CollectEvent, leaderboard},
    run::error::exit,
    store::index::{self, Index},
};

/// Collects, shows, and gives the exit code.
pub(super) fn main(args: &CollectArgs, printer: &Printer) -> Done {
    match collect(&args.directory, printer) {
        Ok(path) => Done { index: Some(path.display().to_string()), ..exit::DONE.into() },
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

fn collect(directory: &Path, printer: &Printer) -> anyhow::Result<PathBuf> {
    if !directory.is_dir() {
        bail!(
            "{}: there is no such folder; name one that runs are in, `runs` say",
            directory.display()
        );
    }
    let index = index::collect(directory);
    if index.is_empty() {
        bail!(
            "{}: there is no run here or below; a run's directory has a manifest.json",
            directory.display()
        );
    }
    for entry in &index.runs {
        printer.record(&CollectEvent::Run { entry });
    }
    for entry in &index.broken {
        printer.record(&CollectEvent::Broken { entry });
    }
    show(&index, printer);
    let path = index.write(directory).context("the index")?;
    printer.note(&format!("index: {}", path.display()));
    Ok(path)
}

/// Prints the leaderboard, and what is missing in it.
pub(super) fn show(index: &Index, printer: &Printer) {
    printer.data(&leaderboard::render(index, printer.width()));
    for broken in &index.broken {
        printer.warn(&format!("not used: {}: {}", broken.directory, broken.reason));
    }
}
