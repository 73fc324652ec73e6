//! `host sweep`: a template and a matrix, and a run for each cell of it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::timeout;

use super::{
    args::SweepArgs,
    collect,
    done::Done,
    in_words,
    run::{asked_to_stop, discover, surroundings},
    run_mock::RunMock,
};
use crate::{
    config::Overrides,
    printer::Printer,
    report::sweep::{self as report, Planned, SweepProgress},
    run::{error::exit, estimate},
    store::{index, run_dir, storage::LockedFile, stored_run::StoredRun, summary::TaskResult},
    sweep::{
        cell,
        error::SweepError,
        event::{CostedUnit, FORMAT, SweepEvent, Watcher as _},
        matrix::Matrix,
        prepare::{Prepared, prepare},
        record::{CellState, SweepRecord, exit_code},
        run::{self, How, Message},
        template::Template,
    },
};

/// Name of the file that keeps two sweeps out of one folder.
const LOCK: &str = "sweep.lock";

/// A sweep whose run files are written.
struct Sweep {
    name: String,
    /// Its folder, absolute.
    out: PathBuf,
    cells: Vec<Prepared>,
    record: SweepRecord,
    _lock: LockedFile,
}

/// Runs the sweep, or shows what it would run; the exit code.
pub(super) fn main(args: &SweepArgs, printer: &Printer) -> Done {
    let begun = dry_run(args).and_then(|dry_run| Ok((dry_run, begin(args, printer)?)));
    let (dry_run, sweep) = match begun {
        Ok(begun) => begun,
        Err(error) => return Done::failed(printer, &error, exit::USAGE),
    };
    let mut progress = SweepProgress::new(printer.clone());
    progress.on(&SweepEvent::Launch {
        format: FORMAT,
        sweep: sweep.name.clone(),
        directory: sweep.out.display().to_string(),
        cells: sweep.cells.iter().map(|prepared| prepared.cell.id.clone()).collect(),
        dry_run,
    });
    if dry_run { plan(args, &sweep, printer) } else { carry_out(args, sweep, progress, printer) }
}

/// Whether nothing is to be started.
fn dry_run(args: &SweepArgs) -> anyhow::Result<bool> {
    let variable = env::var("DRY_RUN").unwrap_or_default();
    match variable.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "" | "0" | "false" | "no" => Ok(args.dry_run),
        _ => bail!("the environment variable DRY_RUN is {variable:?}; expected 1 or 0"),
    }
}

/// Reads template and matrix, and writes the run files.
fn begin(args: &SweepArgs, printer: &Printer) -> anyhow::Result<Sweep> {
    let template = Template::read(&args.template)?;
    let matrix = Matrix::read(&args.matrix)?;
    let cells = cell::only(cell::cells(&matrix)?, &args.only)?;
    for problem in matrix.unused(|table, key| template.uses(table, key)) {
        printer.warn(&problem.to_string());
    }
    let name = name(args, &matrix);
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&name));
    let out = std::path::absolute(&out).with_context(|| out.display().to_string())?;
    fs::create_dir_all(&out).with_context(|| {
        format!("{}: cannot make the folder of the sweep; name another by --out", out.display())
    })?;
    let lock = LockedFile::open(&out.join(LOCK)).map_err(SweepError::from)?;
    let overrides = Overrides {
        sets: args.sets.clone(),
        max_samples: args.max_samples,
        profile: args.profile.clone(),
        ..Overrides::default()
    };
    let variable = |name: &str| env::var(name).ok();
    let cells = prepare(&template, &matrix, cells, &out, &overrides, &variable)
        .map_err(SweepError::from)?;
    let mut record = SweepRecord::new(&name, &template, &matrix, &cells);
    record.keep_others(&out);
    Ok(Sweep { name, out, cells, record, _lock: lock })
}

/// What the sweep is called: by its matrix, by its template, or by the folder of one that is called nothing.
fn name(args: &SweepArgs, matrix: &Matrix) -> String {
    let path = std::path::absolute(&args.template).unwrap_or_else(|_| args.template.clone());
    let folder = path.parent().and_then(Path::file_name);
    let stem = path.file_stem().filter(|stem| *stem != "template").or(folder);
    let given = matrix.name.clone().or_else(|| Some(stem?.to_string_lossy().into_owned()));
    let safe = run_dir::safe(&given.unwrap_or_default());
    if safe.is_empty() { "sweep".to_owned() } else { safe }
}

/// Shows what every cell would ask, and starts nothing.
fn plan(args: &SweepArgs, sweep: &Sweep, printer: &Printer) -> Done {
    let discovery = match discover(&args.plugins, args.strict, printer) {
        Ok(discovery) => discovery,
        Err(done) => return done,
    };
    let variable = |name: &str| env::var(name).ok();
    let mock = RunMock::absent();
    let around = surroundings(&variable, &mock, &args.trust.choice(), printer);
    let mut failed = Vec::new();
    let mut planned: Vec<Planned> = Vec::new();
    for prepared in &sweep.cells {
        let units = prepared.loaded.as_ref().map_err(Clone::clone).and_then(|file| {
            let units = estimate::of_file(file, &discovery, &around);
            let units = units.map_err(|error| in_words(&anyhow::Error::new(error)))?;
            let newest = run_dir::newest(&file.config.out, &file.config.name);
            let before = newest.and_then(|directory| StoredRun::open(&directory).ok());
            Ok(units
                .into_iter()
                .map(|estimate| costed(estimate, before.as_ref()))
                .collect::<Vec<_>>())
        });
        let id = prepared.cell.id.clone();
        if let Err(error) = &units {
            printer.error(&format!("{id}: would not run: {error}"));
            failed.push(id.clone());
        }
        printer.record(&SweepEvent::CellPlanned {
            cell: id.clone(),
            file: prepared.file.display().to_string(),
            units: units.as_ref().ok().cloned().unwrap_or_default(),
            error: units.as_ref().err().cloned(),
        });
        planned.push((id, units));
    }
    printer.data(&report::planned(&planned, printer.width()));
    printer.note(
        "≈: a request is a reply or the log-likelihood of one option, of which a plugin may put several into one; a \
         token is taken for four characters; retries come on top",
    );
    let unpriced = |unit: &CostedUnit| unit.cost_usd.is_none() && !unit.estimate.mock;
    if planned.iter().flat_map(|(_, units)| units.iter().flatten()).any(unpriced) {
        printer.note(
            "–: the cost is not known: only a plugin knows prices, and tells them with its answers. After a run of a few \
             samples (--max-samples 5) it is told here by what those cost; the sweep itself then begins with --fresh",
        );
    }
    printer.note(&format!("nothing was started; the run files are in {}", sweep.out.display()));
    match failed.as_slice() {
        [] => exit::DONE.into(),
        failed => {
            let all = sweep.cells.len();
            let said =
                format!("{} of {all} cells would not run: {}", failed.len(), failed.join(", "));
            Done::from(exit::DONE).or_failed(printer, said, exit::USAGE)
        }
    }
}

/// What a task at a backend may cost, by what its samples cost in an earlier run of the cell.
fn costed(estimate: estimate::UnitEstimate, before: Option<&StoredRun>) -> CostedUnit {
    if estimate.mock {
        return CostedUnit { estimate, cost_usd: Some(0.0), cost_from: None };
    }
    let is_same = |result: &&TaskResult| {
        result.task == estimate.task && result.backend == estimate.backend && !result.mock
    };
    let summary = before.and_then(|run| run.summary.as_ref());
    let result = summary.and_then(|summary| summary.results.iter().find(is_same));
    let cost =
        result.and_then(|result| result.cost.as_ref()).filter(|cost| cost.priced_samples > 0);
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    let cost_usd =
        cost.map(|cost| cost.usd / cost.priced_samples as f64 * estimate.amount.samples as f64);
    let cost_from = cost_usd.and(before).map(|run| run.manifest.id.clone());
    CostedUnit { estimate, cost_usd, cost_from }
}

/// Runs the cells, collects what they left, and says what failed.
fn carry_out(
    args: &SweepArgs,
    mut sweep: Sweep,
    mut progress: SweepProgress,
    printer: &Printer,
) -> Done {
    let messages = mpsc::channel();
    let arguments = arguments(args);
    let how = How { out: &sweep.out, jobs: args.jobs.into(), arguments: &arguments };
    let heard = hear(messages.0.clone())
        .map_err(|error| anyhow::Error::new(error).context("no thread that hears Ctrl-C"))
        .and_then(|()| {
            Ok(run::run(&sweep.cells, &mut sweep.record, &how, &mut progress, &messages)?)
        });
    // Whatever happened: what there is can be looked at.
    let index = index::collect(&sweep.out);
    if !index.is_empty() {
        collect::show(&index, printer);
    }
    let written = index.write(&sweep.out);
    let own = || sweep.record.cells.iter().take(sweep.cells.len());
    let (mut code, mut error) = match &heard {
        Ok(interrupted) => {
            let failed: Vec<String> =
                own().filter(|cell| cell.is_failed()).map(|cell| cell.in_words()).collect();
            let all = sweep.cells.len();
            let waiting = own().filter(|cell| cell.state == CellState::Pending).count();
            let mut said = Vec::new();
            if !failed.is_empty() {
                said.push(format!("{} of {all} cells failed: {}", failed.len(), failed.join(", ")));
            }
            if waiting > 0 {
                said.push(format!("{waiting} of {all} cells were not begun"));
            }
            let said = Some(said.join("; ")).filter(|said| !said.is_empty());
            (exit_code(own(), *interrupted), said)
        }
        Err(error) => (exit::INTERNAL, Some(in_words(error))),
    };
    let path = match written {
        Ok(path) => Some(path.display().to_string()),
        Err(failed) => {
            code = if code == exit::DONE { exit::INTERNAL } else { code };
            let failed = failed.to_string();
            error =
                Some(error.map_or_else(|| failed.clone(), |error| format!("{failed}\n{error}")));
            None
        }
    };
    if let Some(path) = &path {
        printer.note(&format!("index: {path}"));
    }
    match &error {
        Some(error) => printer.error(error),
        None => printer.note(&format!("all {} cells are done", sweep.cells.len())),
    }
    Done { error, index: path, ..code.into() }
}

/// What every cell's `host run` is told.
fn arguments(args: &SweepArgs) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |argument: String| arguments.push(argument.into());
    if !args.fresh {
        add("--resume".to_owned());
        if args.how.accept_changes {
            add("--accept-changes".to_owned());
        }
        match &args.how.retry_unscored {
            None => {}
            Some(None) => add("--retry-unscored".to_owned()),
            Some(Some(reason)) => add(format!("--retry-unscored={reason}")),
        }
    }
    if args.strict {
        add("--strict".to_owned());
    }
    if let Some(most) = args.max_samples {
        add(format!("--max-samples={most}"));
    }
    if let Some(profile) = &args.profile {
        add(format!("--profile={profile}"));
    }
    for set in &args.sets {
        add(format!("--set={set}"));
    }
    if args.trust.locked {
        add("--locked".to_owned());
    }
    if let Some(lock) = &args.trust.file.lock {
        arguments.extend(["--lock".into(), lock.clone().into_os_string()]);
    }
    for folder in &args.plugins.plugin_dirs {
        arguments.extend(["--plugin-dir".into(), folder.clone().into_os_string()]);
    }
    arguments
}

/// From now on the signals that ask to stop are messages.
fn hear(messages: mpsc::Sender<Message>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the first cell is begun, so that no signal ends this process and leaves that one.
    let (ready, is_ready) = mpsc::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut next = Box::pin(asked_to_stop());
            let early = timeout(Duration::ZERO, &mut next).await;
            let _ = ready.send(());
            let mut heard = match early {
                Ok(heard) => heard,
                Err(_) => next.await,
            };
            while heard && messages.send(Message::Stop).is_ok() {
                heard = asked_to_stop().await;
            }
        });
    })?;
    let _ = is_ready.recv();
    Ok(())
}
