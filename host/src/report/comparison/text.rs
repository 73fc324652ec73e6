//! A comparison for people: a table, or where there is little room a block a row.

use comfy_table::CellAlignment;
use unicode_width::UnicodeWidthStr as _;

use super::{
    compare::{Side, UnitComparison},
    counts::SampleCounts,
    flip::FlipText,
    row::{Row, Verdict},
};
use crate::report::table;

/// Longest text of a cell, in characters.
const CELL: usize = 48;
/// Stands for a text that is empty.
const EMPTY: &str = "(empty)";
/// Stands where there is no value.
const NONE: &str = "–";

/// Flipped samples of a row that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownFlips {
    /// Id of the task.
    pub task: String,
    /// Name of the metric.
    pub metric: &'static str,
    /// How many flipped samples there are.
    pub count: usize,
    /// Those that are shown, each with whether the candidate has it right.
    pub shown: Vec<(bool, FlipText)>,
}

/// Who is compared with whom, above the table.
pub fn heading(baseline: &Side, candidate: &Side, width: Option<u16>) -> String {
    let side = |side: &Side| {
        let model =
            side.model.as_deref().map_or(String::new(), |model| format!(", {}", one_line(model)));
        format!("{} @ {}{model}", side.directory, side.backend)
    };
    let mut text = wrapped(&format!("baseline:  {}", side(baseline)), width);
    text.push_str(&wrapped(&format!("candidate: {}", side(candidate)), width));
    text
}

/// The rows of some units: a table if it fits, else a block each.
pub fn rows(units: &[&UnitComparison], width: Option<u16>) -> String {
    let mut table = table::plain(None);
    table.set_header([
        "task",
        "metric",
        "samples",
        "baseline",
        "candidate",
        "difference [95 %]",
        "p (Holm)",
        "gained",
        "lost",
        "verdict",
    ]);
    let mut blocks = String::new();
    for (unit, row) in units.iter().flat_map(|unit| unit.rows.iter().map(move |row| (unit, row))) {
        let cells = cells(unit, row);
        let names = [
            "samples",
            "baseline",
            "candidate",
            "difference",
            "p (Holm)",
            "gained",
            "lost",
            "verdict",
        ];
        blocks.push_str(&wrapped(&format!("{} {}", unit.task, row.metric), width));
        for (name, cell) in names.iter().zip(cells.iter().skip(2)) {
            blocks.push_str(&wrapped(&format!("  {name:<10} {cell}"), width));
        }
        table.add_row(cells);
    }
    if table.is_empty() {
        return String::new();
    }
    // Numbers stand below each other.
    for at in [2, 3, 4, 7, 8] {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let table = format!("{table}\n");
    if fits(&table, width) { table } else { blocks }
}

fn cells(unit: &UnitComparison, row: &Row) -> [String; 10] {
    let clusters = row.difference.clusters.map_or(String::new(), |n| format!(" in {n} clusters"));
    let interval = row.difference.interval.map_or(String::new(), |interval| {
        format!(" [{}, {}]", signed(interval.low), signed(interval.high))
    });
    let p = |p: Option<f64>| p.map_or(NONE.to_owned(), probability);
    let (gained, lost) = match row.metric {
        crate::score::metric::Metric::BrierScore => (NONE.to_owned(), NONE.to_owned()),
        _ => (row.gained().to_string(), row.lost().to_string()),
    };
    [
        unit.task.clone(),
        row.metric.name().to_owned(),
        format!("{}{clusters}", row.samples),
        format!("{:.4}", row.baseline.value),
        format!("{:.4}", row.candidate.value),
        format!("{}{interval}", signed(row.difference.mean)),
        format!("{} ({})", p(row.p_value), p(row.adjusted_p_value)),
        gained,
        lost,
        verdict(row),
    ]
}

/// A verdict in words.
pub fn verdict(row: &Row) -> String {
    match (row.verdict, row.minimal_detectable_effect) {
        (Verdict::Better, _) => "better".to_owned(),
        (Verdict::Worse, _) => "worse".to_owned(),
        (Verdict::NoDifferenceShown, Some(effect)) => {
            format!("no difference shown (could have seen ±{effect:.4})")
        }
        (Verdict::NoDifferenceShown, None) => "no difference shown".to_owned(),
        (Verdict::SameScores, _) => "same score on every sample".to_owned(),
        (Verdict::TooFewSamples, _) => "too few samples to tell".to_owned(),
    }
}

/// What was not compared, a line a unit that has something to say.
pub fn counts(unit: &UnitComparison, width: Option<u16>) -> String {
    let SampleCounts {
        compared: _,
        unscored_by_candidate,
        unscored_by_baseline,
        unscored_by_both,
        only_in_baseline,
        only_in_candidate,
        changed,
    } = unit.samples;
    let parts = [
        (unscored_by_baseline, "unscored by the baseline"),
        (unscored_by_candidate, "unscored by the candidate"),
        (unscored_by_both, "unscored by both"),
        (only_in_baseline, "only in the baseline"),
        (only_in_candidate, "only in the candidate"),
        (changed, "with another record"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    wrapped(&format!("{}: samples that are not compared: {}", unit.task, parts.join(", ")), width)
}

/// Flipped samples with their answers.
pub fn flips(flips: &ShownFlips, width: Option<u16>) -> String {
    let ShownFlips { task, metric, count, shown } = flips;
    let of_all = match shown.len() {
        all if all == *count => String::new(),
        some => format!(", {some} of them shown (--flips {count} shows all)"),
    };
    let mut text = wrapped(&format!("{task} {metric}: {} flipped{of_all}", samples(*count)), width);
    text.insert(0, '\n');
    let mut table = table::plain(None);
    table.set_header(["sample", "now", "target", "baseline", "candidate"]);
    let mut blocks = String::new();
    for (gained, flip) in shown {
        let now = if *gained { "right" } else { "wrong" };
        let cells = [&flip.sample, &now.to_owned(), &flip.target, &flip.baseline, &flip.candidate]
            .map(|text| in_cell(text));
        blocks.push_str(&wrapped(&format!("  {}: now {}", cells[0], cells[1]), width));
        for (name, cell) in ["target", "baseline", "candidate"].iter().zip(cells.iter().skip(2)) {
            blocks.push_str(&wrapped(&format!("    {name:<9} {cell}"), width));
        }
        table.add_row(cells);
    }
    if table.is_empty() {
        return text;
    }
    let table = format!("{table}\n");
    text.push_str(if fits(&table, width) { &table } else { &blocks });
    text
}

/// A number of samples in words.
fn samples(count: usize) -> String {
    if count == 1 { "1 sample".to_owned() } else { format!("{count} samples") }
}

/// A difference with its sign, to four digits.
pub fn signed(value: f64) -> String {
    // What rounds to nothing has no sign.
    let value = if value.abs() < 5e-5 { 0.0 } else { value };
    format!("{value:+.4}")
}

/// A chance, to four digits.
pub fn probability(p: f64) -> String {
    if p < 1e-4 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// A text as one line, without what would steer a terminal.
fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text in a cell.
fn in_cell(text: &str) -> String {
    let text = one_line(text);
    if text.is_empty() { EMPTY.to_owned() } else { cut(&text) }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

fn fits(text: &str, width: Option<u16>) -> bool {
    width.is_none_or(|width| text.lines().all(|line| line.width() <= usize::from(width)))
}

/// A line of words, broken where it would be wider; what follows is indented as its first word is, and two more. A word
/// that is wider itself is broken anywhere.
fn wrapped(line: &str, width: Option<u16>) -> String {
    if fits(line, width) {
        return format!("{line}\n");
    }
    let width = usize::from(width.unwrap_or(u16::MAX)).max(8);
    let indent = (line.len() - line.trim_start_matches(' ').len()).min(width / 2);
    let below = " ".repeat((indent + 2).min(width / 2));
    let (mut text, mut current) = (String::new(), " ".repeat(indent));
    let mut is_empty = true;
    for word in line.split_whitespace() {
        if !is_empty && current.width() + 1 + word.width() > width {
            text.push_str(current.trim_end());
            text.push('\n');
            current.clone_from(&below);
            is_empty = true;
        }
        if !is_empty {
            current.push(' ');
        }
        for c in word.chars() {
            if current.width() + c.to_string().width() > width {
                text.push_str(&current);
                text.push('\n');
                current.clone_from(&below);
            }
            current.push(c);
        }
        is_empty = false;
    }
    text.push_str(&current);
    text.push('\n');
    text
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
