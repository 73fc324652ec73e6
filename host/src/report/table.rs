//! The result table: one row a task and backend.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, presets};

use crate::{
    score::metric::Metric,
    store::summary::{MetricEntry, Summary},
};

/// The table of a summary, with a line for each thing that a number alone would hide.
pub fn render(summary: &Summary) -> String {
    let metrics: Vec<&str> = Metric::ALL
        .iter()
        .map(|metric| metric.name())
        .filter(|name| summary.results.iter().any(|result| result.metrics.contains_key(*name)))
        .collect();
    let mut table = plain();
    let mut header =
        vec!["task".to_owned(), "backend".to_owned(), "scored".to_owned(), "unscored".to_owned()];
    header.extend(metrics.iter().map(|name| format!("{name} ± stderr")));
    header.extend(["samples/s".to_owned(), "tokens".to_owned()]);
    table.set_header(header);
    for result in &summary.results {
        let mut row = vec![
            Cell::new(&result.task),
            Cell::new(&result.backend),
            right(result.samples.scored.to_string()),
            right(result.samples.unscored.to_string()),
        ];
        row.extend(
            metrics
                .iter()
                .map(|name| right(result.metrics.get(*name).map_or_else(|| "–".to_owned(), entry))),
        );
        row.push(right(format!("{:.1}", result.samples_per_second)));
        row.push(right((result.tokens.prompt + result.tokens.completion).to_string()));
        table.add_row(row);
    }
    let mut text = format!("{table}\n");
    for line in remarks(summary) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// An empty table in the host's one style: a rule below the header, none between rows.
pub fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn entry(entry: &MetricEntry) -> String {
    match entry.stderr {
        Some(stderr) => format!("{:.4} ± {stderr:.4}", entry.value),
        None => format!("{:.4}", entry.value),
    }
}

fn remarks(summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let mut mocked: Vec<&str> =
        summary.results.iter().filter(|r| r.mock).map(|r| r.backend.as_str()).collect();
    mocked.sort_unstable();
    mocked.dedup();
    if !mocked.is_empty() {
        lines.push(format!(
            "answered by the host's own mock and by no model, so these are no scores: {}",
            mocked.join(", ")
        ));
    }
    for result in &summary.results {
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
        if !result.unscored_reasons.is_empty() {
            lines.push(format!("{name}: unscored: {}", counts(&result.unscored_reasons)));
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
    for group in &summary.groups {
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
