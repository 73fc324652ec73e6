//! `host compare`.

use super::{args::CompareArgs, done::Done};
use crate::{
    printer::{Mode, Printer},
    report::comparison::{
        compare::{Comparison, Only, UnitComparison, compare},
        difference::DifferenceKind,
        record::{CompareRecord, ComparisonRecord, FORMAT},
        text::{self, ShownFlips},
    },
    run::error::exit,
    store::stored_run::StoredRun,
};

/// Flipped samples of a task that people are shown, if they ask for no number.
const FLIPS: usize = 10;

/// Compares.
pub(super) fn main(args: &CompareArgs, printer: &Printer) -> Done {
    let done = compared(args).and_then(|comparison| match printer.mode() {
        Mode::Json => lines(args, &comparison, printer),
        _ => show(args, &comparison, printer),
    });
    match done {
        Ok(()) => exit::DONE.into(),
        Err(error) => Done::failed(printer, &error, exit::USAGE),
    }
}

fn compared(args: &CompareArgs) -> anyhow::Result<Comparison> {
    let runs =
        args.directories.iter().map(|path| StoredRun::open(path)).collect::<Result<Vec<_>, _>>()?;
    let only = Only {
        tasks: args.tasks.clone(),
        backends: args.backends.clone(),
        metrics: args.metrics.clone(),
    };
    Ok(compare(&runs, &only)?)
}

/// For programs.
fn lines(args: &CompareArgs, comparison: &Comparison, printer: &Printer) -> anyhow::Result<()> {
    let directories = args.directories.iter().map(|path| path.display().to_string()).collect();
    printer.record(&CompareRecord::Launch { format: FORMAT, directories });
    for text in &comparison.remarks {
        printer.record(&CompareRecord::Remark { text: text.clone() });
    }
    for unit in &comparison.units {
        let (baseline, candidate) = (&unit.baseline, &unit.candidate);
        for difference in &unit.differences {
            printer.record(&CompareRecord::Difference {
                baseline: baseline.clone(),
                candidate: candidate.clone(),
                difference: difference.clone(),
            });
        }
        for row in &unit.rows {
            let record = Box::new(ComparisonRecord::new(unit, row));
            printer.record(&CompareRecord::Comparison(record));
            for flip in row.flips.iter().take(args.flips.unwrap_or(usize::MAX)) {
                printer.record(&CompareRecord::Flip {
                    task: unit.task.clone(),
                    metric: row.metric.name().to_owned(),
                    baseline: baseline.clone(),
                    candidate: candidate.clone(),
                    gained: flip.gained,
                    answers: comparison.flip_text(unit, row.metric, *flip)?,
                });
            }
        }
    }
    Ok(())
}

/// For people: warnings on stderr, then for each two sides a table and the samples that flipped.
fn show(args: &CompareArgs, comparison: &Comparison, printer: &Printer) -> anyhow::Result<()> {
    for text in &comparison.remarks {
        printer.warn(text);
    }
    let width = printer.width();
    let mut units: Vec<&UnitComparison> = comparison.units.iter().collect();
    // Tasks of the same two sides stand together.
    units.sort_by_key(|unit| {
        let first = comparison.units.iter().position(|other| has_sides_of(other, unit));
        first.unwrap_or(usize::MAX)
    });
    for (number, group) in units.chunk_by(|a, b| has_sides_of(a, b)).enumerate() {
        let Some(first) = group.first() else { continue };
        for difference in group.iter().flat_map(|unit| &unit.differences) {
            let text = format!("differs: {difference}");
            // Another model is what most comparisons are about.
            if difference.kind == DifferenceKind::Model {
                printer.note(&text)
            } else {
                printer.warn(&text)
            }
        }
        if number > 0 {
            printer.data("\n");
        }
        printer.data(&text::heading(&first.baseline, &first.candidate, width));
        printer.data(&text::rows(group, width));
        for unit in group {
            printer.data(&text::counts(unit, width));
        }
        for unit in group {
            let Some(row) = unit.rows.first().filter(|row| !row.flips.is_empty()) else { continue };
            let shown = row
                .flips
                .iter()
                .take(args.flips.unwrap_or(FLIPS))
                .map(|flip| Ok((flip.gained, comparison.flip_text(unit, row.metric, *flip)?)));
            let flips = ShownFlips {
                task: unit.task.clone(),
                metric: row.metric.name(),
                count: row.flips.len(),
                shown: shown.collect::<anyhow::Result<_>>()?,
            };
            printer.data(&text::flips(&flips, width));
        }
    }
    Ok(())
}

fn has_sides_of(a: &UnitComparison, b: &UnitComparison) -> bool {
    a.baseline == b.baseline && a.candidate == b.candidate
}
