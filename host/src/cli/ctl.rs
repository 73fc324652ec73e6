//! `host ctl`: asks a run that goes on, through the socket in its directory.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    args::{CtlArgs, CtlCommand},
    done::Done,
};
use crate::{
    printer::Printer,
    report::table,
    run::{
        control::{Command, Pace, Reply, RunStatus, UnitStatus, short},
        error::exit,
    },
};

/// A run answers at once; one that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a run stands, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "status")]
pub(super) struct StatusRecord<'a> {
    /// How.
    status: &'a RunStatus,
}

/// Asks, and tells what the run answers.
pub(super) fn main(args: &CtlArgs, printer: &Printer) -> Done {
    match ctl(args, printer) {
        Ok(()) => exit::DONE.into(),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

fn ctl(args: &CtlArgs, printer: &Printer) -> anyhow::Result<()> {
    let command = command(&args.command)?;
    match ask(&args.directory, &command)? {
        Reply::Refused { reason } => bail!("{reason}"),
        Reply::Status(status) => {
            printer.record(&StatusRecord { status: &status });
            printer.data(&in_words(&status, printer.width()));
            Ok(())
        }
    }
}

fn command(typed: &CtlCommand) -> anyhow::Result<Command> {
    Ok(match typed {
        CtlCommand::Status => Command::Status,
        CtlCommand::Pause => Command::Pause,
        CtlCommand::Resume => Command::Resume,
        CtlCommand::Cancel => Command::Cancel,
        CtlCommand::Set { setting } => {
            let expected = "expected concurrency=N or BACKEND.concurrency=N, with N from 1 up";
            let (key, value) = setting.split_once('=').context(expected)?;
            let concurrency = value.trim().parse().ok().filter(|number| *number > 0);
            let concurrency = concurrency.with_context(|| format!("{setting}: {expected}"))?;
            let backend = match key.trim().rsplit_once('.') {
                None if key.trim() == "concurrency" => None,
                Some((backend, "concurrency")) => Some(backend.to_owned()),
                _ => bail!("{setting}: {expected}"),
            };
            Command::Set(Pace { concurrency, backend })
        }
    })
}

fn ask(directory: &Path, command: &Command) -> anyhow::Result<Reply> {
    let shown = directory.display();
    let folder = File::open(directory).with_context(|| format!("{shown}: there is no run here"))?;
    let mut stream = match UnixStream::connect(short(&folder)) {
        Ok(stream) => stream,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            bail!(
                "{shown}: no run goes on here; `host resume {shown}` takes up one that is not complete"
            )
        }
        Err(error) => {
            return Err(error).with_context(|| format!("{shown}: the run cannot be asked"));
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = serde_json::to_vec(command)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .with_context(|| format!("{shown}: the run does not answer"))?;
    if line.is_empty() {
        bail!("{shown}: the run does not answer to this user");
    }
    serde_json::from_str(&line).with_context(|| format!("{shown}: the run is of another host"))
}

fn in_words(status: &RunStatus, width: Option<u16>) -> String {
    let RunStatus { run, state, seconds, units, backends, slowest } = status;
    let mut text = format!("{run}: {state}, for {seconds:.0} s\n");
    const NAMES: [&str; 7] =
        ["task", "backend", "finished", "of", "unscored", "in flight", "limit"];
    let rows = units.iter().map(|unit| {
        // Tasks at a backend come one after the other.
        let is_left = |one: &&UnitStatus| one.samples.is_none_or(|all| one.finished < all);
        let at_work = units.iter().filter(|one| one.backend == unit.backend).find(is_left);
        let pulse = backends.iter().find(|one| one.backend == unit.backend);
        let pulse = pulse.filter(|_| at_work == Some(unit));
        let number = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |n| n.to_string());
        [
            unit.task.clone(),
            unit.backend.clone(),
            unit.finished.to_string(),
            number(unit.samples),
            unit.unscored.to_string(),
            number(pulse.map(|pulse| pulse.in_flight.into())),
            number(pulse.map(|pulse| pulse.limit.into())),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let shown = table::fitted_rows(width, &NAMES, &[0, 0, 0, 2, 1, 3, 3], &rows);
    text.push_str(&format!("{shown}\n"));
    if let Some(slow) = slowest {
        text.push_str(&format!(
            "slowest: {}, sample {}, attempt {}, {:.1} s\n",
            slow.unit,
            slow.id,
            slow.attempt,
            slow.age_ms as f64 / 1e3
        ));
    }
    text
}
