//! Shows a sweep: to people a line for each cell that begins or ends and one that says how far all are, to programs
//! every event; and the table of a dry run.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use comfy_table::Cell;

use super::{
    table::{NONE, plain, right, whole_columns},
    words,
};
use crate::{
    printer::Printer,
    run::estimate::Estimate,
    sweep::{
        event::{CostedUnit, Progress, SweepEvent, Watcher},
        record::CellState,
    },
};

/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(10);
/// Columns of a terminal below which the table has only what it is about.
const NARROW: u16 = 110;

/// Shows how far a sweep is.
pub struct SweepProgress {
    printer: Printer,
    cells: usize,
    over: usize,
    running: BTreeMap<String, Progress>,
    shown: Instant,
}

impl SweepProgress {
    /// Nothing yet.
    pub fn new(printer: Printer) -> Self {
        Self { printer, cells: 0, over: 0, running: BTreeMap::new(), shown: Instant::now() }
    }

    fn line(&self) -> String {
        let running = self.running.iter().map(|(cell, progress)| {
            let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
            let unscored = match progress.unscored {
                0 => String::new(),
                unscored => format!(" ({unscored} unscored)"),
            };
            format!("{cell} {}{total}{unscored}", progress.done)
        });
        let running: Vec<String> = running.collect();
        format!("{} of {} cells; {}", self.over, self.cells, running.join(", "))
    }

    fn show(&mut self) {
        let terminal = self.printer.stderr_is_terminal();
        if self.shown.elapsed() < if terminal { REDRAW } else { PLAIN } {
            return;
        }
        self.shown = Instant::now();
        if terminal {
            self.printer.status(&self.line());
        } else {
            self.printer.note(&self.line());
        }
    }
}

impl Watcher for SweepProgress {
    fn on(&mut self, event: &SweepEvent) {
        self.printer.record(event);
        match event {
            SweepEvent::Launch { directory, cells, .. } => {
                self.cells = cells.len();
                self.printer.note(&format!("sweep directory: {directory}"));
            }
            SweepEvent::CellStarted { cell, .. } => {
                self.running.insert(cell.clone(), Progress::default());
                self.printer.note(&format!("{cell}: begins"));
            }
            SweepEvent::CellEnded { cell, state, error, samples, ms, .. } => {
                self.running.remove(cell);
                self.over += 1;
                let seconds = Duration::from_millis(*ms).as_secs_f64();
                let what = match state {
                    CellState::Done => {
                        return self
                            .printer
                            .note(&format!("{cell}: done, {samples} samples, {seconds:.1} s"));
                    }
                    CellState::Unscored => "finished, with more unscored samples than it allows",
                    CellState::Stopped => "stopped; the same sweep goes on with it",
                    _ => "failed",
                };
                let why = error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
                self.printer.error(&format!("{cell}: {what}{why}"));
            }
            SweepEvent::Interrupted => {
                self.printer.warn(
                    "stopping; what is finished is kept, and the same sweep goes on from there",
                );
            }
            SweepEvent::CellPlanned { .. } => {}
        }
    }

    fn progress(&mut self, cell: &str, progress: &Progress) {
        self.running.insert(cell.to_owned(), progress.clone());
        self.show();
    }
}

/// A cell that would run: its name and what it would ask, or why it would not.
pub type Planned = (String, Result<Vec<CostedUnit>, String>);

/// The table of a dry run.
pub fn planned(cells: &[Planned], width: Option<u16>) -> String {
    // A number in pieces would be another one; `--json` has all of them.
    let narrow = width.is_some_and(|columns| columns < NARROW);
    let mut table = plain(width);
    let all = [
        "cell",
        "samples",
        "requests",
        "cost",
        "prompt tokens",
        "output tokens",
        "task",
        "backend",
    ];
    table.set_header(all.into_iter().take(if narrow { 4 } else { all.len() }));
    let mut add = |cell: &str, amount: &Estimate, cost: String, [task, backend]: [&str; 2]| {
        let output = match amount.max_output_tokens {
            0 => "0".to_owned(),
            tokens => format!("≤ {tokens}"),
        };
        let mut row = vec![
            Cell::new(cell),
            right(amount.samples.to_string()),
            right(format!("≈ {}", amount.requests)),
            right(cost),
        ];
        if !narrow {
            row.push(right(format!("≈ {}", amount.prompt_tokens())));
            row.push(right(output));
            row.extend([Cell::new(task), Cell::new(backend)]);
        }
        table.add_row(row);
    };
    let mut sum = Estimate::default();
    let mut usd = Some(0.0);
    for (cell, units) in cells {
        for unit in units.iter().flatten() {
            let amount = unit.estimate.amount;
            sum.samples += amount.samples;
            sum.requests += amount.requests;
            sum.prompt_characters += amount.prompt_characters;
            sum.max_output_tokens += amount.max_output_tokens;
            usd = usd.zip(unit.cost_usd).map(|(sum, one)| sum + one);
            let cost = if unit.estimate.mock { "mock".to_owned() } else { dollars(unit.cost_usd) };
            add(cell, &amount, cost, [&unit.estimate.task, &unit.estimate.backend]);
        }
    }
    let mut units = cells.iter().flat_map(|(_, units)| units.iter().flatten());
    let all_mocked = units.all(|unit| unit.estimate.mock);
    add("all", &sum, if all_mocked { "mock".to_owned() } else { dollars(usd) }, [""; 2]);
    whole_columns(&mut table, 1..4);
    format!("{table}\n")
}

fn dollars(cost: Option<f64>) -> String {
    match cost {
        None => NONE.to_owned(),
        Some(usd) => format!("≈ {}", words::dollars(usd)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{printer::Mode, run::estimate::UnitEstimate};

    fn unit(mock: bool, cost_usd: Option<f64>) -> CostedUnit {
        let amount = Estimate {
            samples: 1_000,
            skipped: 0,
            requests: 123_456,
            prompt_characters: 10,
            max_output_tokens: 0,
        };
        let (task, backend) = ("a_task".to_owned(), "a_backend".to_owned());
        CostedUnit {
            estimate: UnitEstimate { task, backend, mock, amount },
            cost_usd,
            cost_from: None,
        }
    }

    fn table(units: Vec<CostedUnit>, width: Option<u16>) -> String {
        let name = "a-model-with-a-long-name--a-task".to_owned();
        planned(&[(name, Ok(units)), ("broken".to_owned(), Err("no".to_owned()))], width)
    }

    #[test]
    fn a_cost_that_is_not_known_is_not_nothing() {
        for (units, last) in [
            (vec![unit(true, Some(0.0))], "mock"),
            (vec![unit(true, Some(0.0)), unit(false, Some(0.25))], "≈ $0.2500"),
            (vec![unit(false, Some(12.0)), unit(false, None)], "–"),
        ] {
            let text = table(units, None);
            let all = text.lines().find(|line| line.starts_with(" all")).unwrap();
            assert!(all.contains(&format!(" {last} ")), "{text}");
        }
    }

    #[test]
    fn a_narrow_terminal_breaks_names_and_no_number() {
        let text = table(vec![unit(false, Some(12.0))], Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("≈ 123456") && text.contains("≈ $12.00"), "{text}");
    }

    #[test]
    fn the_line_says_how_far_each_cell_is() {
        let mut progress = SweepProgress::new(Printer::new(Mode::Quiet));
        progress.cells = 3;
        progress.progress("a", &Progress { done: 3, unscored: 0, total: None });
        progress.progress("b", &Progress { done: 7, unscored: 2, total: Some(9) });
        assert_eq!(progress.line(), "0 of 3 cells; a 3, b 7/9 (2 unscored)");
    }
}
