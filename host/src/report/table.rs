//! The result table: one row a task and backend.

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, presets,
};

use unicode_width::UnicodeWidthStr;

use crate::{
    score::metric::Metric,
    store::summary::{GroupResult, MetricEntry, Summary, TaskResult},
};

/// Stands where there is no value.
pub(super) const NONE: &str = "–";

/// The table of a summary, with a line for each thing that a number alone would hide.
pub fn render(summary: &Summary, width: Option<u16>) -> String {
    let metrics: Vec<&str> = Metric::ALL
        .iter()
        .map(|metric| metric.name())
        .filter(|name| summary.results.iter().any(|result| result.metrics.contains_key(*name)))
        .collect();
    let priced = summary.results.iter().any(|result| result.cost.is_some());
    let has_unscored = summary.results.iter().any(|result| result.samples.unscored > 0);
    let columns = columns(&metrics, priced, has_unscored);
    let table =
        fitted(width, &columns.iter().map(|column| column.rank).collect::<Vec<_>>(), |is_shown| {
            let shown: Vec<&Column<'_>> = columns
                .iter()
                .enumerate()
                .filter(|(at, _)| is_shown(*at))
                .map(|(_, one)| one)
                .collect();
            let mut table = plain(None);
            table.set_header(shown.iter().map(|column| column.name.clone()));
            for result in &summary.results {
                let cell = |column: &&Column<'_>| (column.cell)(result);
                table.add_row(shown.iter().map(cell));
            }
            table
        });
    let mut text = format!("{table}\n");
    for line in remarks(&summary.results, &summary.groups) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A column of the result table.
struct Column<'a> {
    name: String,
    /// How early it is left out where there is no room: the highest first, 0 never.
    rank: u8,
    cell: Box<dyn Fn(&TaskResult) -> Cell + 'a>,
}

fn columns<'a>(metrics: &[&'a str], priced: bool, has_unscored: bool) -> Vec<Column<'a>> {
    let column = |name: &str, rank, cell: fn(&TaskResult) -> Cell| Column {
        name: name.to_owned(),
        rank,
        cell: Box::new(cell),
    };
    let mut columns = vec![
        column("task", 0, |result| Cell::new(&result.task)),
        column("backend", 0, |result| Cell::new(&result.backend)),
        column("scored", 4, |result| right(result.samples.scored.to_string())),
        // What is missing is the last to go; a line below the table tells it in any case.
        column("unscored", if has_unscored { 1 } else { 3 }, |result| {
            right(result.samples.unscored.to_string())
        }),
    ];
    columns.extend(metrics.iter().enumerate().map(|(index, name)| Column {
        name: format!("{name} ± stderr"),
        rank: if index == 0 { 0 } else { 5 },
        cell: Box::new(|result| {
            right(result.metrics.get(*name).map_or_else(|| NONE.to_owned(), entry))
        }),
    }));
    columns.push(column("p50", 7, |result| right(latency(result))));
    columns
        .push(column("samples/s", 8, |result| right(format!("{:.1}", result.samples_per_second))));
    let tokens =
        |result: &TaskResult| result.tokens.prompt.saturating_add(result.tokens.completion);
    columns.push(Column {
        name: "tokens".to_owned(),
        rank: 9,
        cell: Box::new(move |result| right(tokens(result).to_string())),
    });
    if priced {
        columns.push(column("cost (est.)", 6, |result| right(cost(result))));
    }
    columns
}

/// A table that fits into so many columns of a terminal by leaving out columns of its own, those of the highest rank
/// first and the last of these first, so that no number is broken. What is left and does not fit all the same breaks its
/// cells. `build` makes it of those that it is told are shown.
pub fn fitted(
    width: Option<u16>,
    ranks: &[u8],
    build: impl Fn(&dyn Fn(usize) -> bool) -> Table,
) -> Table {
    let mut dropped = vec![false; ranks.len()];
    loop {
        let mut table = build(&|column| !dropped.get(column).copied().unwrap_or(false));
        let Some(width) = width else { return table };
        let natural = table.to_string().lines().map(UnicodeWidthStr::width).max().unwrap_or(0);
        let next = (0..ranks.len())
            .filter(|column| dropped.get(*column) == Some(&false))
            .filter_map(|column| ranks.get(column).map(|rank| (*rank, column)))
            .filter(|(rank, _)| *rank > 0)
            .max();
        match next {
            Some((_, column)) if natural > usize::from(width) => {
                if let Some(dropped) = dropped.get_mut(column) {
                    *dropped = true;
                }
            }
            _ => {
                table.set_width(width);
                return table;
            }
        }
    }
}

/// The same of rows of text.
pub fn fitted_rows<const N: usize>(
    width: Option<u16>,
    names: &[&str; N],
    ranks: &[u8; N],
    rows: &[[String; N]],
) -> Table {
    fitted(width, ranks, |is_shown| {
        let mut table = plain(None);
        table.set_header(
            names.iter().enumerate().filter(|(at, _)| is_shown(*at)).map(|(_, name)| *name),
        );
        for row in rows {
            table.add_row(
                row.iter().enumerate().filter(|(at, _)| is_shown(*at)).map(|(_, cell)| cell),
            );
        }
        table
    })
}

/// An empty table in the host's one style: a rule below the header, none between rows. With a `width`, in columns,
/// it breaks its cells rather than its lines.
pub fn plain(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table
}

/// Lets these columns be as wide as what is in them, so that none of it is broken.
pub(super) fn whole_columns(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

pub(super) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// The median latency of scored samples.
fn latency(result: &TaskResult) -> String {
    match result.latency_ms.p50 {
        _ if result.samples.scored == 0 || result.cached >= result.samples.total => NONE.to_owned(),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// What the samples cost. Of some of them the price may be unknown: then it is at least that much.
pub(super) fn cost(result: &TaskResult) -> String {
    let Some(cost) = &result.cost else { return NONE.to_owned() };
    let least = if cost.priced_samples < result.samples.total { "≥ " } else { "" };
    match cost.usd {
        usd if usd > 0.0 && usd < 1e-4 => format!("{least}${usd:.7}"),
        usd if usd < 1.0 => format!("{least}${usd:.4}"),
        usd => format!("{least}${usd:.2}"),
    }
}

pub(super) fn entry(entry: &MetricEntry) -> String {
    match entry.stderr {
        Some(stderr) => format!("{:.4} ± {stderr:.4}", entry.value),
        None => format!("{:.4}", entry.value),
    }
}

/// What a number alone would hide, and the averages over tasks: a line for each.
pub fn remarks(results: &[TaskResult], groups: &[GroupResult]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut mocked: Vec<&str> =
        results.iter().filter(|r| r.mock).map(|r| r.backend.as_str()).collect();
    mocked.sort_unstable();
    mocked.dedup();
    if !mocked.is_empty() {
        lines.push(format!(
            "answered by the host's own mock and by no model, so these are no scores: {}",
            mocked.join(", ")
        ));
    }
    for result in results {
        let name = format!("{} @ {}", result.task, result.backend);
        let counts = |counts: &std::collections::BTreeMap<String, u64>| {
            counts
                .iter()
                .map(|(what, count)| format!("{what} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        if result.fallback {
            lines.push(format!(
                "{name}: asked in its generative form; does not compare with log-likelihood"
            ));
        }
        if result.cached > 0 {
            lines.push(format!(
                "{name}: {} of {} samples answered from the response cache",
                result.cached, result.samples.total
            ));
        }
        if !result.unscored_reasons.is_empty() {
            lines.push(format!("{name}: unscored: {}", counts(&result.unscored_reasons)));
        }
        if !result.answered_by.is_empty() {
            lines.push(format!(
                "{name}: answered by another backend in its place: {}",
                counts(&result.answered_by)
            ));
        }
        if !result.incidents.is_empty() {
            lines.push(format!("{name}: counted apart: {}", counts(&result.incidents)));
        }
        if !result.changed_parameters.is_empty() {
            lines.push(format!(
                "{name}: parameters dropped or changed: {}",
                counts(&result.changed_parameters)
            ));
        }
        if result.boundary_merged > 0 {
            lines.push(format!(
                "{name}: {} continuations share a token with their context",
                result.boundary_merged
            ));
        }
        if result.samples.skipped > 0 {
            lines.push(format!("{name}: {} records left out", result.samples.skipped));
        }
    }
    for group in groups {
        lines.push(format!(
            "{} @ {}: {} by sample {}, by task {}",
            group.group,
            group.backend,
            group.metric,
            entry(&group.by_sample),
            entry(&group.by_task)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::summary::{Cost, Counts, Latency};

    fn result(backend: &str, p50: f64, cost: Option<(f64, u64)>) -> TaskResult {
        let mut result: TaskResult = serde_json::from_value(serde_json::json!({
            "task": "t", "backend": backend, "model": null, "unscored_reasons": {}, "metrics": {},
            "samples": {"total": 0, "scored": 0, "unscored": 0}, "tokens": {"prompt": 3, "completion": 4},
            "latency_ms": {"p50": 0.0, "p90": 0.0, "p99": 0.0}, "samples_per_second": 1.0, "retries": 0,
        }))
        .unwrap();
        result.samples = Counts { total: 10, scored: 9, unscored: 1, skipped: 0 };
        result.latency_ms = Latency { p50, ..Latency::default() };
        result.cost = cost.map(|(usd, priced_samples)| Cost {
            usd,
            estimate: true,
            priced_samples,
            prices: Some("prices 1".into()),
        });
        result
    }

    #[test]
    fn cost_and_latency_are_readable_at_any_size() {
        let table = [
            (result("a", 0.25, Some((0.0, 10))), ["0.2 ms", "$0.0000"]),
            (result("a", 812.4, Some((0.000_012_3, 10))), ["812 ms", "$0.0000123"]),
            (result("a", 1840.0, Some((0.0123, 9))), ["1.8 s", "≥ $0.0123"]),
            (result("a", 61_000.0, Some((12.345, 10))), ["61.0 s", "$12.35"]),
            (result("a", 5.0, None), ["5.0 ms", "–"]),
        ];
        for (result, expected) in table {
            assert_eq!([latency(&result), cost(&result)], expected);
        }
        let unscored = TaskResult { samples: Counts::default(), ..result("a", 5.0, None) };
        assert_eq!(latency(&unscored), "–");
    }

    #[test]
    fn a_column_is_there_only_if_a_result_has_something_in_it() {
        let summary = |results: Vec<TaskResult>| Summary {
            format: 1,
            run: serde_json::from_value(serde_json::json!({
                "id": "r", "name": "r", "started": "", "finished": "", "state": "complete",
                "host_version": "", "config_blake3": "",
            }))
            .unwrap(),
            results,
            groups: Vec::new(),
        };
        let priced =
            render(&summary(vec![result("a", 1.0, None), result("b", 1.0, Some((1.0, 10)))]), None);
        assert!(priced.contains("cost (est.)") && priced.contains("$1.00"), "{priced}");
        let narrow = render(&summary(vec![result("a", 1.0, Some((1.0, 10)))]), Some(60));
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        let mut scored = result("openai", 1.0, Some((1.0, 10)));
        scored.metrics = serde_json::from_value(serde_json::json!({
            "acc": { "value": 0.45, "stderr": 0.0648 }, "acc_norm": { "value": 0.5, "stderr": 0.06 },
        }))
        .unwrap();
        let narrow = render(&summary(vec![scored]), Some(40));
        assert!(narrow.contains(" 0.4500 ± 0.0648 ") && !narrow.contains("tokens"), "{narrow}");
        let mocked = [("a", true), ("b", false), ("a", true)]
            .map(|(backend, mock)| TaskResult { mock, ..result(backend, 1.0, None) });
        let mocked = render(&summary(mocked.into()), None);
        assert!(!mocked.contains("cost"), "{mocked}");
        assert!(mocked.contains("by no model, so these are no scores: a\n"), "{mocked}");
    }
}
