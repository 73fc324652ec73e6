//! `host run`.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustix::process::{Signal, getpid, kill_process};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    args::{PluginDirs, ResumeFlags, RunArgs},
    cassette,
    done::Done,
    report,
    run_mock::RunMock,
};
use crate::{
    asset,
    config::{self, Named, Overrides, RunFile},
    plugin::{discover::Discovery, lock::open::Choice},
    printer::{Mode, Printer},
    report::{lines::Lines, progress::Progress, table},
    run::{
        engine,
        error::exit,
        event::Reporter,
        finish::Finish,
        resume::{Resume, Retry},
        surroundings::Surroundings,
    },
    store::{run_dir, summary::Summary},
    transport::Cassette,
};

/// What is told beside the events of a run.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum RunRecord<'a> {
    /// One of several runs is over; after a single one `done` says this.
    RunEnded {
        /// Name from the run file.
        name: &'a str,
        /// The exit code, if it were alone.
        exit_code: u8,
        /// What went wrong, if anything did.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        /// The results.
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<&'a Summary>,
    },
}

/// Runs every file; the first exit code that is not 0 is the command's.
pub(super) fn main(args: &RunArgs, printer: &Printer) -> Done {
    if args.leash
        && let Err(error) = leash()
    {
        let error = anyhow::Error::new(error).context("no thread that listens to standard input");
        return Done::failed(printer, &error, exit::INTERNAL);
    }
    let discovery = match discover(&args.plugins, args.strict, printer) {
        Ok(discovery) => discovery,
        Err(done) => return done,
    };
    // A mistake in the last file should not cost a run of the first.
    let overrides = Overrides {
        sets: args.sets.clone(),
        max_samples: args.max_samples,
        out: args.out.clone(),
        profile: args.profile.clone(),
        model: args.model.clone(),
    };
    let files = match load(args, &overrides) {
        Ok(files) => files,
        Err(error) => return Done::failed(printer, &error, exit::USAGE),
    };
    if files.len() > 1 && args.resume.as_ref().is_some_and(Option::is_some) {
        let error = anyhow::anyhow!(
            "--resume=DIR is for one run file; plain --resume goes on with the newest run of each"
        );
        return Done::failed(printer, &error, exit::USAGE);
    }
    if args.resume.is_none() && (args.how.accept_changes || args.how.retry_unscored.is_some()) {
        let error = anyhow::anyhow!(
            "--accept-changes and --retry-unscored say how a run is resumed; add --resume"
        );
        return Done::failed(printer, &error, exit::USAGE);
    }
    let cassette = match cassette::open(args.record.as_deref(), args.replay.as_deref()) {
        Ok(cassette) => cassette,
        Err(error) => return Done::failed(printer, &error, exit::USAGE),
    };
    let lock = args.trust.choice();
    let mut all: Option<Done> = None;
    for file in &files {
        let resume = args
            .resume
            .as_ref()
            .and_then(|path| to_resume(path.as_deref(), file, &args.how, printer));
        let mut one = run_one(file, resume.as_ref(), &discovery, &lock, cassette.as_ref(), printer);
        let exit_code = one.exit_code;
        if files.len() > 1 {
            printer.record(&RunRecord::RunEnded {
                name: &file.config.name,
                exit_code,
                error: one.error.as_deref(),
                summary: one.summary.take().as_deref(),
            });
        }
        if all.as_ref().is_none_or(|all| all.exit_code == exit::DONE) {
            all = Some(one);
        }
        if exit_code == exit::STOPPED {
            break;
        }
    }
    let done = all.unwrap_or_default();
    match cassette {
        Some(cassette) => cassette::played(&cassette, done, printer),
        None => done,
    }
}

/// From now on the end of standard input is a signal to stop. The system closes it whatever ends the process at its
/// other side, so that nothing goes on that nobody waits for.
fn leash() -> io::Result<()> {
    thread::Builder::new().name("leash".to_owned()).spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = kill_process(getpid(), Signal::TERM);
    })?;
    Ok(())
}

/// The plugins that are there; the exit code if that is no good.
pub(super) fn discover(
    folders: &PluginDirs,
    strict: bool,
    printer: &Printer,
) -> Result<Discovery, Done> {
    let discovery =
        super::plugin::find(folders).map_err(|error| Done::failed(printer, &error, exit::USAGE))?;
    for refused in &discovery.refused {
        printer.warn(&format!("not used: {}: {}", refused.path.display(), refused.reason));
    }
    if strict && !discovery.refused.is_empty() {
        let error = anyhow::anyhow!(
            "{} plugin files are refused, and --strict allows none",
            discovery.refused.len()
        );
        return Err(Done::failed(printer, &error, exit::PLUGIN));
    }
    Ok(discovery)
}

/// The run that `--resume` means: the one at this path, or the newest one of the run file.
fn to_resume(
    path: Option<&Path>,
    file: &RunFile,
    how: &ResumeFlags,
    printer: &Printer,
) -> Option<Resume> {
    let config = &file.config;
    let directory = path.map(Path::to_owned).or_else(|| run_dir::newest(&config.out, &config.name));
    if directory.is_none() {
        printer.note(&format!(
            "there is no run of `{}` below {} to resume; a new one begins",
            config.name,
            config.out.display()
        ));
    }
    directory.map(|directory| how.of(directory))
}

impl ResumeFlags {
    /// How the run in this directory is to be taken up.
    pub(super) fn of(&self, directory: PathBuf) -> Resume {
        let retry_unscored =
            self.retry_unscored.clone().map(|reason| reason.map_or(Retry::All, Retry::Reason));
        Resume { directory, accept_changes: self.accept_changes, retry_unscored }
    }
}

/// The run files, or the one that the command line stands for.
fn load(args: &RunArgs, overrides: &Overrides) -> anyhow::Result<Vec<RunFile>> {
    let variable = |name: &str| env::var(name).ok();
    if args.tasks.is_empty() {
        let load = |path: &PathBuf| Ok(config::load(path, overrides, &variable)?);
        return args.files.iter().map(load).collect();
    }
    let catalog = super::task::catalog(&args.config)?;
    let find = |name: &String| Ok((name.clone(), catalog.find(name)?));
    let tasks = args.tasks.iter().map(find).collect::<anyhow::Result<_>>()?;
    let named = Named { tasks, backends: args.backends.clone() };
    Ok(vec![config::load_named(&named, overrides, &variable)?])
}

/// Runs a run file to its end, or goes on with a run of it; the exit code.
pub(super) fn run_one(
    file: &RunFile,
    resume: Option<&Resume>,
    discovery: &Discovery,
    lock: &Choice,
    cassette: Option<&Cassette>,
    printer: &Printer,
) -> Done {
    // Reading samples, recording them, and as a rule the server itself, take the other cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = (cores / 2).max(1);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = match builder.worker_threads(workers).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Done::failed(
                printer,
                &anyhow::Error::new(error).context("no threads"),
                exit::INTERNAL,
            );
        }
    };
    let driven = runtime.block_on(drive(file, resume, discovery, lock, cassette, printer));
    // A download that was interrupted is not waited for.
    runtime.shutdown_background();
    match driven {
        Ok(finish) => show(finish, printer),
        Err(error) => Done::failed(printer, &error.error, error.exit_code),
    }
}

struct Failed {
    error: anyhow::Error,
    exit_code: u8,
}

async fn drive(
    file: &RunFile,
    resume: Option<&Resume>,
    discovery: &Discovery,
    lock: &Choice,
    cassette: Option<&Cassette>,
    printer: &Printer,
) -> Result<Finish, Failed> {
    let (stop, _) = watch::channel(false);
    let (watched, told) = (stop.clone(), printer.clone());
    let interrupt = tokio::spawn(async move {
        while asked_to_stop().await {
            if watched.send_replace(true) {
                // The second one: the user will not wait for what is in flight to be let go.
                let error = Some("ended at once, as asked".to_owned());
                told.record(&Done { error, ..exit::STOPPED.into() });
                std::process::exit(exit::STOPPED.into());
            }
        }
    });
    let reporter: Box<dyn Reporter> = match printer.mode() {
        Mode::Json => Box::new(Lines(printer.clone())),
        _ => Box::new(Progress::new(printer.clone())),
    };
    let variable = |name: &str| env::var(name).ok();
    let replayed = cassette.and_then(Cassette::replay);
    if let Some(player) = replayed {
        printer.note(&format!("no server is asked: {} answers", player.path().display()));
    }
    let mock = if replayed.is_some() { RunMock::absent() } else { RunMock::default() };
    let cassette = cassette.cloned();
    let around = Surroundings { cassette, ..surroundings(&variable, &mock, lock, printer) };
    let result = engine::run(file, resume, discovery, &around, vec![reporter], stop).await;
    if let Ok(finish) = &result
        && file.config.run.report
    {
        report::at_end(&finish.directory, printer).await;
    }
    interrupt.abort();
    result.map_err(|error| Failed { exit_code: error.exit_code(), error: error.into() })
}

/// What the process gives to opening backends.
pub(super) fn surroundings<'a>(
    variable: &'a dyn Fn(&str) -> Option<String>,
    mock: &'a RunMock,
    lock: &Choice,
    printer: &'a Printer,
) -> Surroundings<'a> {
    let shown = printer.clone();
    let progress = move |now: asset::Progress<'_>| {
        let mib = |bytes: u64| bytes / (1 << 20);
        let (doing, what) = (now.doing, now.what);
        match now.total {
            0 => shown.status(&format!("{doing} {what}: {} MiB", mib(now.done))),
            total => {
                shown.status(&format!("{doing} {what}: {} of {} MiB", mib(now.done), mib(total)))
            }
        }
    };
    Surroundings {
        variable,
        home: env::var_os("HOME").map(PathBuf::from),
        cache: asset::cache_dir(&|name| env::var_os(name)),
        progress: Arc::new(progress),
        mock,
        lock: lock.clone(),
        cassette: None,
        printer,
    }
}

/// Waits for Ctrl-C, or for a signal that a scheduler or a closed terminal sends. False if none can be heard.
pub(super) async fn asked_to_stop() -> bool {
    let (Ok(mut terminate), Ok(mut hang_up)) =
        (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return tokio::signal::ctrl_c().await.is_ok();
    };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
        Some(()) = terminate.recv() => true,
        Some(()) = hang_up.recv() => true,
    }
}

/// The table and where everything lies.
fn show(finish: Finish, printer: &Printer) -> Done {
    printer.data(&table::render(&finish.summary, printer.width()));
    printer.note(&format!("results: {}", finish.directory.join("summary.json").display()));
    if let Some(error) = &finish.error {
        printer.error(error);
    }
    match finish.exit_code {
        exit::UNSCORED => printer.error(
            "more samples are unscored than max_unscored allows; their reasons are in the table and in journal.jsonl",
        ),
        exit::STOPPED if finish.error.is_none() => printer.error(&format!(
            "stopped before every sample was asked; what is finished is kept, and `host resume {}` asks the rest",
            finish.directory.display()
        )),
        _ => {}
    }
    let Finish { exit_code, error, unfreed, summary, .. } = finish;
    Done { error: error.or(unfreed), summary: Some(Box::new(summary)), ..exit_code.into() }
}
