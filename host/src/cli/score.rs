//! `host score`: what a run stored, extracted and scored anew, without a request.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{args::ScoreArgs, done::Done};
use crate::{
    printer::Printer,
    report::table,
    run::{
        error::exit,
        score_again::{Rescored, free_name, score_again},
    },
    store::{stored_run::StoredRun, whole_file},
};

/// A run that was scored anew, as programs are told.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event", rename = "rescored")]
pub(super) struct RescoredRecord<'a> {
    /// The file that holds it.
    path: String,
    /// What is in the file.
    score: &'a Rescored,
}

/// Scores, tells, and writes it beside the run's own summary.
pub(super) fn main(args: &ScoreArgs, printer: &Printer) -> Done {
    match score(args, printer) {
        Ok(()) => exit::DONE.into(),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

fn score(args: &ScoreArgs, printer: &Printer) -> anyhow::Result<()> {
    let run = StoredRun::open(&args.directory)?;
    if run.summary.is_none() {
        printer.note("the run is not finished: what it has so far is scored");
    }
    let scored = score_again(&run, &args.sets)?;
    let path = match &args.out {
        Some(path) => path.clone(),
        None => args.directory.join(free_name(&args.directory)),
    };
    write(&path, &scored).with_context(|| {
        format!("{}: cannot write the summary; name another file by --out", path.display())
    })?;
    printer.record(&RescoredRecord { path: path.display().to_string(), score: &scored });
    printer.data(&table::render(&scored.summary, printer.width()));
    printer.data(&over_repeats(&scored, printer.width()));
    printer.data(&differences(&scored));
    printer.note(&format!("results: {}", path.display()));
    Ok(())
}

/// A file that is there already is not replaced.
fn write(path: &Path, scored: &Rescored) -> io::Result<()> {
    whole_file::create(path, |file| {
        serde_json::to_writer_pretty(&mut *file, scored)?;
        file.write_all(b"\n")
    })
}

fn over_repeats(scored: &Rescored, width: Option<u16>) -> String {
    if scored.over_repeats.is_empty() {
        return String::new();
    }
    let mut shown = table::plain(width);
    shown.set_header(["task", "backend", "over repeats", "value ± stderr", "samples"]);
    for one in &scored.over_repeats {
        for (name, value) in &one.values {
            let stderr = value.stderr.map_or_else(String::new, |stderr| format!(" ± {stderr:.4}"));
            let shown_value = format!("{:.4}{stderr}", value.value);
            let samples = value.samples.to_string();
            shown.add_row([&one.task, &one.backend, name, &shown_value, &samples]);
        }
    }
    format!("\n{shown}\n")
}

/// What was changed, and what came of it.
fn differences(scored: &Rescored) -> String {
    let rescoring = &scored.rescored;
    let mut text = String::new();
    let shown = |value: &Option<Value>| {
        value.as_ref().map_or_else(|| "not set".to_owned(), Value::to_string)
    };
    for change in &rescoring.changes {
        let (was, is) = (shown(&change.was), shown(&change.is));
        let _ = writeln!(text, "changed: {}: {was} → {is}", change.key);
    }
    let _ = writeln!(text, "{} samples are worth something else than before", rescoring.differing);
    for one in &rescoring.examples {
        let repeat =
            if one.repeat > 0 { format!(", repeat {}", one.repeat) } else { String::new() };
        let _ = writeln!(
            text,
            "  {} @ {}, {}{repeat}: {} → {}",
            one.task, one.backend, one.id, one.was, one.is
        );
    }
    let more = rescoring.differing.saturating_sub(rescoring.examples.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}
