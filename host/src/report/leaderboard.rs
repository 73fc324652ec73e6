//! The leaderboard: a table for each task, the best first. Of runs of one name and configuration the newest counts.

use std::cmp::Ordering;

use comfy_table::Cell;

use super::table::{NONE, cost, entry, plain, right, whole_columns};
use crate::{
    score::metric::{Aggregation, Metric},
    store::{
        index::{Index, RunEntry},
        summary::{MetricEntry, State, TaskResult},
    },
};

/// Columns of a terminal below which a table has only what it is about.
const NARROW: u16 = 100;

/// A line of a table.
struct Line<'a> {
    run: &'a RunEntry,
    result: &'a TaskResult,
}

/// The tables of an index, and what they leave out.
pub fn render(index: &Index, width: Option<u16>) -> String {
    let lines: Vec<Line<'_>> = index
        .runs
        .iter()
        .filter(|run| run.latest)
        .flat_map(|run| run.results.iter().map(move |result| Line { run, result }))
        .collect();
    let mut tasks: Vec<&str> = lines.iter().map(|line| line.result.task.as_str()).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let mut text = String::new();
    for task in tasks {
        let lines: Vec<&Line<'_>> = lines.iter().filter(|line| line.result.task == task).collect();
        text.push_str(&of_task(task, lines, width));
    }
    let older = index.runs.iter().filter(|run| !run.latest).count();
    if older > 0 {
        text.push_str(&format!(
            "{older} older runs of the same configuration are in the index alone\n"
        ));
    }
    if lines.iter().any(|line| line.result.mock) {
        text.push_str(
            "(mock): answered by the host's own mock and by no model, so these are no scores\n",
        );
    }
    text
}

fn of_task(task: &str, mut lines: Vec<&Line<'_>>, width: Option<u16>) -> String {
    let has =
        |metric: &Metric| lines.iter().any(|line| line.result.metrics.contains_key(metric.name()));
    let metric = Metric::ALL.into_iter().find(has);
    let of =
        |line: &Line<'_>| metric.and_then(|metric| line.result.metrics.get(metric.name())).copied();
    lines.sort_by(|a, b| {
        let better = match (of(a), of(b)) {
            (Some(a), Some(b)) => better_first(metric, a, b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        better.then_with(|| name(a).cmp(&name(b))).then_with(|| a.run.run.cmp(&b.run.run))
    });
    let priced = lines.iter().any(|line| line.result.cost.is_some());
    // Where there is little room, what is left out is in the index; a number in pieces would be another one.
    let narrow = width.is_some_and(|columns| columns < NARROW);
    let metric_name = metric.map_or_else(|| NONE.to_owned(), |metric| format!("{metric} ± stderr"));
    let mut table = plain(width);
    let mut header = vec![task.to_owned(), metric_name, "scored".to_owned()];
    if !narrow {
        header.push("backend".to_owned());
        header.extend(priced.then(|| "cost (est.)".to_owned()));
        header.push("run".to_owned());
    }
    table.set_header(header);
    for line in lines {
        let result = line.result;
        let scored = format!("{} of {}", result.samples.scored, result.samples.total);
        let mut row = vec![
            Cell::new(name(line)),
            right(of(line).map_or_else(|| NONE.to_owned(), |found| entry(&found))),
            right(scored),
        ];
        if !narrow {
            row.push(Cell::new(&result.backend));
            row.extend(priced.then(|| right(cost(result))));
            row.push(Cell::new(run(line.run)));
        }
        table.add_row(row);
    }
    whole_columns(&mut table, 1..3);
    format!("{table}\n")
}

/// The model, or what stands for it.
fn name(line: &Line<'_>) -> String {
    let model = line.result.model.as_deref().unwrap_or(&line.result.backend);
    let mark = if line.result.mock { " (mock)" } else { "" };
    format!("{model}{mark}")
}

/// The run; a result of one that did not end well is not the whole result.
fn run(run: &RunEntry) -> String {
    match run.state {
        State::Complete => run.run.clone(),
        State::Interrupted => format!("{} (interrupted)", run.run),
        State::Spent => format!("{} (budget spent)", run.run),
        State::Failed => format!("{} (failed)", run.run),
    }
}

fn better_first(metric: Option<Metric>, a: MetricEntry, b: MetricEntry) -> Ordering {
    match metric.map(Metric::aggregation) {
        // The likelier a text, the lower its perplexity.
        Some(Aggregation::PerUnit { .. }) => a.value.total_cmp(&b.value),
        Some(Aggregation::Mean { wrong, right }) if right < wrong => a.value.total_cmp(&b.value),
        _ => b.value.total_cmp(&a.value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry_of(
        run: &str,
        latest: bool,
        task: &str,
        model: &str,
        metrics: serde_json::Value,
    ) -> RunEntry {
        serde_json::from_value(json!({
            "run": run, "name": run, "directory": run, "summary": "", "started": "", "finished": "",
            "state": if run == "r9" { "interrupted" } else { "complete" },
            "host_version": "", "config_blake3": "", "latest": latest,
            "results": [{
                "task": task, "backend": "b", "model": model, "mock": model == "m", "unscored_reasons": {},
                "metrics": metrics, "samples": { "total": 4, "scored": 3, "unscored": 1 },
                "tokens": { "prompt": 1, "completion": 1 },
                "latency_ms": { "p50": 1.0, "p90": 1.0, "p99": 1.0 }, "samples_per_second": 1.0, "retries": 0,
            }],
        }))
        .unwrap()
    }

    /// The models of each line that has one, in the order of the tables.
    fn shown(text: &str) -> Vec<String> {
        let words = text.lines().filter_map(|line| line.split_whitespace().next());
        words
            .filter(|word| word.len() == 1 || word.starts_with("task"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_best_is_first_by_what_the_metric_means() {
        let value = |name: &str, value: f64| json!({ name: { "value": value, "stderr": 0.1 } });
        let runs = vec![
            entry_of("r1", true, "task_a", "x", value("acc", 0.5)),
            entry_of("r2", true, "task_a", "y", value("acc", 0.75)),
            entry_of("r3", true, "task_a", "a", value("acc", 0.5)),
            entry_of("r4", true, "task_a", "z", json!({})),
            entry_of("r5", false, "task_a", "o", value("acc", 0.9)),
            entry_of("r6", true, "task_b", "x", value("word_perplexity", 12.0)),
            entry_of("r7", true, "task_b", "y", value("word_perplexity", 9.0)),
            entry_of("r8", true, "task_c", "x", value("brier_score", 1.5)),
            entry_of("r9", true, "task_c", "m", value("brier_score", 0.5)),
        ];
        let index = Index { format: 1, runs, broken: Vec::new() };
        let text = render(&index, None);
        let expected = ["task_a", "y", "a", "x", "z", "task_b", "y", "x", "task_c", "m", "x", "1"];
        assert_eq!(shown(&text), expected, "{text}");
        assert!(text.contains("m (mock)") && text.contains("so these are no scores"), "{text}");
        assert!(text.contains("r9 (interrupted)"), "{text}");
        assert!(text.contains("1 older runs"), "{text}");
        let narrow = render(&index, Some(40));
        let tables =
            narrow.lines().filter(|line| !line.contains("older") && !line.starts_with('('));
        for line in tables {
            assert!(line.chars().count() <= 40, "{line}");
        }
    }
}
