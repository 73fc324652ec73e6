//! `host run`.

use std::{env, path::{Path, PathBuf}};

use tokio::sync::watch;

use super::{args::RunArgs, print_error};
use crate::{
    asset,
    config::{self, Overrides},
    plugin::discover::{Discovery, Provenance},
    printer::{Mode, Printer},
    report::{lines::Lines, progress::Progress, table},
    run::{
        engine::{self, Finish, exit},
        event::{Event, Reporter},
        open::Surroundings,
    },
};

/// Runs every file; the first exit code that is not 0 is the command's.
pub(super) fn main(args: &RunArgs, printer: &Printer) -> u8 {
    let discovery = match super::plugin::find(&args.plugins) {
        Ok(discovery) => discovery,
        Err(error) => return fail(printer, &error, exit::USAGE),
    };
    for refused in &discovery.refused {
        printer.warn(&format!("not used: {}: {}", refused.path.display(), refused.reason));
    }
    if args.strict && !discovery.refused.is_empty() {
        let error = anyhow::anyhow!("{} plugin files are refused, and --strict allows none", discovery.refused.len());
        return fail(printer, &error, exit::PLUGIN);
    }
    let mut code = exit::DONE;
    for file in &args.files {
        let one = run_one(file, args, &discovery, printer);
        if code == exit::DONE {
            code = one;
        }
        if one == exit::STOPPED {
            break;
        }
    }
    code
}

fn fail(printer: &Printer, error: &anyhow::Error, exit_code: u8) -> u8 {
    print_error(printer, error);
    printer.record(&Event::Done { exit_code, error: Some(super::in_words(error)), summary: None });
    exit_code
}

fn run_one(path: &Path, args: &RunArgs, discovery: &Discovery, printer: &Printer) -> u8 {
    let overrides = Overrides { sets: args.sets.clone(), max_samples: args.max_samples, out: args.out.clone() };
    let file = match config::load(path, &overrides, &|name| env::var(name).ok()) {
        Ok(file) => file,
        Err(error) => return fail(printer, &error.into(), exit::USAGE),
    };
    for backend in &file.config.backends {
        let found = discovery.plugins.iter().find(|candidate| candidate.id() == backend.plugin);
        if let Some(found) = found.filter(|found| found.provenance == Provenance::Directory) {
            printer.warn(&format!(
                "plugin `{}` ({}) did not come with this host and runs in-process, with the host's own rights",
                found.id(),
                found.path.display()
            ));
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(printer, &anyhow::Error::new(error).context("no threads"), exit::INTERNAL),
    };
    match runtime.block_on(drive(&file, discovery, printer)) {
        Ok(finish) => show(&finish, printer),
        Err(error) => fail(printer, &error.error, error.exit_code),
    }
}

struct Failed {
    error: anyhow::Error,
    exit_code: u8,
}

async fn drive(file: &config::RunFile, discovery: &Discovery, printer: &Printer) -> Result<Finish, Failed> {
    let (stop, _) = watch::channel(false);
    let watched = stop.clone();
    let interrupt = tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if watched.send_replace(true) {
                // The second one: the user will not wait for what is in flight to be let go.
                std::process::exit(130);
            }
        }
    });
    let reporter: Box<dyn Reporter> = match printer.mode() {
        Mode::Json => Box::new(Lines(printer.clone())),
        _ => Box::new(Progress::new(printer.clone())),
    };
    let mut progress = |now: asset::Progress<'_>| {
        let mib = |bytes: u64| bytes / (1 << 20);
        match now.total {
            0 => printer.status(&format!("{} {}: {} MiB", now.doing, now.what, mib(now.done))),
            total => printer.status(&format!("{} {}: {} of {} MiB", now.doing, now.what, mib(now.done), mib(total))),
        }
    };
    let mut around = Surroundings {
        discovery,
        variable: &|name| env::var(name).ok(),
        home: env::var_os("HOME").map(PathBuf::from),
        cache: asset::cache_dir(&|name| env::var_os(name)),
        progress: &mut progress,
        printer,
    };
    let result = engine::run(file, &mut around, vec![reporter], stop).await;
    interrupt.abort();
    result.map_err(|error| Failed { exit_code: error.exit_code(), error: error.into() })
}

/// The table and where everything lies.
fn show(finish: &Finish, printer: &Printer) -> u8 {
    printer.data(&table::render(&finish.summary));
    printer.note(&format!("results: {}", finish.directory.join("summary.json").display()));
    if let Some(error) = &finish.error {
        printer.error(error);
    }
    match finish.exit_code {
        exit::UNSCORED => printer.error(
            "more samples are unscored than max_unscored allows; their reasons are in the table and in journal.jsonl",
        ),
        exit::STOPPED => printer.error("stopped before every sample was asked; what is finished is kept"),
        _ => {}
    }
    finish.exit_code
}
