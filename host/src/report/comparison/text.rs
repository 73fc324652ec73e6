//! A comparison for people: a table, or where there is little room a block a row.

use comfy_table::CellAlignment;
use unicode_width::UnicodeWidthStr as _;

use super::{
    compare::{SampleCounts, Side, UnitComparison},
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

fn signed(value: f64) -> String {
    // What rounds to nothing has no sign.
    let value = if value.abs() < 5e-5 { 0.0 } else { value };
    format!("{value:+.4}")
}

fn probability(p: f64) -> String {
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
mod tests {
    use super::*;
    use crate::{
        report::comparison::{
            flip::FlipText,
            row::{Flip, SideValue, Test},
        },
        score::metric::Metric,
        stats::{interval::Interval, paired::Paired},
    };

    fn unit() -> UnitComparison {
        let side = |directory: &str| Side {
            number: 0,
            directory: directory.to_owned(),
            run: "r".to_owned(),
            backend: "backend".to_owned(),
            model: Some("organisation/a-model-with-a-long-name-of-its-own".to_owned()),
        };
        let value = |value| SideValue { value, interval: None };
        let row = Row {
            metric: Metric::AccNorm,
            samples: 1838,
            baseline: value(0.64),
            candidate: value(0.643_26),
            difference: Paired {
                count: 1838,
                clusters: None,
                mean: 0.003_26,
                stderr: Some(0.005),
                interval: Some(Interval { low: -0.006_5, high: 0.013 }),
                replicates: 10_000,
            },
            test: Test::McnemarExact,
            p_value: Some(0.56),
            adjusted_p_value: Some(1.0),
            minimal_detectable_effect: Some(0.014),
            verdict: Verdict::NoDifferenceShown,
            flips: vec![Flip { index: 0, baseline_line: 0, candidate_line: 0, gained: true }],
        };
        UnitComparison {
            task: "piqa".to_owned(),
            baseline: side("runs/first-20260102-030405"),
            candidate: side("runs/日本語-20260102-030405"),
            samples: SampleCounts { unscored_by_candidate: 3, changed: 1, ..Default::default() },
            rows: vec![row],
            differences: Vec::new(),
        }
    }

    fn shown() -> ShownFlips {
        let text = FlipText {
            sample: "validation-17".to_owned(),
            target: "B. put it\ninto the oven \u{1b}[31m".to_owned(),
            baseline: "A. ".to_owned() + &"x".repeat(100),
            candidate: String::new(),
        };
        ShownFlips {
            task: "piqa".to_owned(),
            metric: "acc_norm",
            count: 1,
            shown: vec![(true, text)],
        }
    }

    fn all(width: Option<u16>) -> String {
        let unit = unit();
        [
            heading(&unit.baseline, &unit.candidate, width),
            rows(&[&unit], width),
            counts(&unit, width),
            flips(&shown(), width),
        ]
        .concat()
    }

    #[test]
    fn every_line_fits_every_terminal() {
        for width in 8..200 {
            let text = all(Some(width));
            let wide = text.lines().find(|line| line.width() > usize::from(width));
            assert_eq!(wide, None, "{width} columns");
        }
    }

    #[test]
    fn where_there_is_little_room_a_row_is_a_block() {
        let expected = "\
baseline: runs/first-20260102-030405 @
  backend,
  organisation/a-model-with-a-long-name-
  of-its-own
candidate: runs/日本語-20260102-030405 @
  backend,
  organisation/a-model-with-a-long-name-
  of-its-own
piqa acc_norm
  samples    1838
  baseline   0.6400
  candidate  0.6433
  difference +0.0033 [-0.0065, +0.0130]
  p (Holm)   0.5600 (1.0000)
  gained     1
  lost       0
  verdict no difference shown (could
    have seen ±0.0140)
piqa: samples that are not compared: 3
  unscored by the candidate, 1 with
  another record

piqa acc_norm: 1 sample flipped
  validation-17: now right
    target B. put it into the oven [31m
    baseline A.
      xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
      xxxxxxxxxxx…
    candidate (empty)
";
        assert_eq!(all(Some(40)), expected);
        let wide = all(None);
        assert!(wide.contains("no difference shown (could have seen ±0.0140)"), "{wide}");
        assert!(wide.contains(" B. put it into the oven [31m "), "{wide}");
        assert!(!wide.contains('\x1b') && wide.contains('…'), "{wide}");
    }

    #[test]
    fn words_are_broken_where_they_do_not_fit() {
        for (line, width, expected) in [
            ("a b", None, "a b\n"),
            ("aaaa bbbb cccc", Some(9), "aaaa bbbb\n  cccc\n"),
            ("  aaaa bbbb", Some(8), "  aaaa\n    bbbb\n"),
            ("aaaaaaaaaaaa", Some(8), "aaaaaaaa\n  aaaa\n"),
            ("日本語日本語", Some(8), "日本語日\n  本語\n"),
        ] {
            assert_eq!(wrapped(line, width), expected, "{line} in {width:?}");
        }
    }

    #[test]
    fn numbers_say_no_more_than_they_mean() {
        assert_eq!(
            [signed(0.1), signed(-0.000_01), signed(-0.5)],
            ["+0.1000", "+0.0000", "-0.5000"]
        );
        assert_eq!([probability(0.000_01), probability(0.05)], ["< 0.0001", "0.0500"]);
    }
}
