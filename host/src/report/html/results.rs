//! The result table of the page: a row for each task, backend, run and metric.

use super::chart::{self, Axis};
use crate::{
    report::{
        interval::Method,
        pairing::UnitPair,
        view::{MetricView, View},
        words::{count, dollars, duration, percent, tick, trimmed},
    },
    score::metric::{Aggregation, Metric},
    store::summary::TaskResult,
};

/// A task at a backend, in one run or two.
#[derive(Debug)]
pub struct Group {
    /// The task.
    pub task: String,
    /// The backend, or both.
    pub backend: String,
    /// The models, where they are called something else.
    pub model: String,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A metric of it.
#[derive(Debug)]
pub struct Row {
    /// Letter of the run; empty if there is only one.
    pub run: &'static str,
    /// Name of the metric.
    pub metric: String,
    /// Its value.
    pub value: String,
    /// The picture of its interval.
    pub picture: String,
    /// The interval, in numbers.
    pub interval: String,
    /// How it is computed.
    pub method: &'static str,
    /// What unscored samples could make of it.
    pub bounds: String,
    /// Scored samples.
    pub scored: String,
    /// Unscored ones, with their share.
    pub unscored: String,
}

/// A task at a backend: what it took.
#[derive(Debug)]
pub struct Usage {
    /// Letter of the run; empty if there is only one.
    pub run: &'static str,
    /// Task and backend.
    pub unit: String,
    /// Tokens of prompts.
    pub prompt: String,
    /// Tokens generated.
    pub completion: String,
    /// Of those reasoning.
    pub reasoning: String,
    /// Of prompts, from the server's cache.
    pub cached: String,
    /// What it cost.
    pub cost: String,
    /// Latency percentiles.
    pub latency: [String; 3],
    /// Samples a second.
    pub rate: String,
    /// Attempts that were repeated.
    pub retries: String,
}

/// A reason why samples are unscored.
#[derive(Debug)]
pub struct Reason {
    /// Letter of the run; empty if there is only one.
    pub run: &'static str,
    /// Task and backend.
    pub unit: String,
    /// The reason.
    pub reason: String,
    /// How many samples.
    pub count: String,
    /// Their share of the unit's samples.
    pub share: String,
    /// That share from 0 to 100, for a bar.
    pub width: String,
}

/// The letter of a run among so many.
pub fn letter(runs: usize, number: usize) -> &'static str {
    match (runs, number) {
        (1, _) => "",
        (_, 0) => "A",
        _ => "B",
    }
}

/// The rows of all results.
pub fn groups(views: &[View], pairs: &[UnitPair]) -> Vec<Group> {
    let all: Vec<(&View, &TaskResult)> =
        views.iter().flat_map(|view| view.results.iter().map(move |one| (view, one))).collect();
    pairs
        .iter()
        .map(|pair| {
            let of = |number: usize, at: Option<usize>| {
                let view = views.get(number)?;
                Some((letter(views.len(), number), view, view.results.get(at?)?))
            };
            let sides: Vec<_> =
                [of(0, pair.first), of(1, pair.second)].into_iter().flatten().collect();
            group(&sides, &all)
        })
        .collect()
}

fn group(sides: &[(&'static str, &View, &TaskResult)], all: &[(&View, &TaskResult)]) -> Group {
    let task = sides.first().map_or(String::new(), |(_, _, result)| result.task.clone());
    let mut backends: Vec<String> =
        sides.iter().map(|(_, _, result)| result.backend.clone()).collect();
    backends.dedup();
    let mut models: Vec<String> = sides
        .iter()
        .filter_map(|(_, _, result)| result.model.clone())
        .filter(|model| !backends.contains(model))
        .collect();
    models.dedup();
    let mut rows = Vec::new();
    for metric in Metric::ALL {
        for (run, view, result) in sides {
            let metrics = view.metrics(result);
            if let Some(shown) = metrics.iter().find(|shown| shown.name == metric.name()) {
                rows.push(row(run, shown, result, axis(metric, all)));
            }
        }
    }
    for (run, _, result) in sides.iter().filter(|(_, _, result)| result.metrics.is_empty()) {
        rows.push(Row {
            run,
            metric: "–".to_owned(),
            value: "–".to_owned(),
            picture: String::new(),
            interval: String::new(),
            method: "",
            bounds: String::new(),
            scored: count(result.samples.scored),
            unscored: unscored(result),
        });
    }
    Group { task, backend: backends.join(" / "), model: models.join(" / "), rows }
}

/// From 0 to 1 for shares; for others as far as the values of all results go.
fn axis(metric: Metric, all: &[(&View, &TaskResult)]) -> Axis {
    if let Aggregation::Mean { wrong: 0.0, right: 1.0 } = metric.aggregation() {
        return Axis::linear(0.0, 1.0);
    }
    let mut most = 0.0_f64;
    for (view, result) in all {
        for shown in view.metrics(result).iter().filter(|shown| shown.name == metric.name()) {
            most = most.max(shown.interval.map_or(shown.entry.value, |interval| interval.high));
        }
    }
    Axis::up_to(most)
}

fn row(run: &'static str, shown: &MetricView<'_>, result: &TaskResult, axis: Axis) -> Row {
    let entry = shown.entry;
    let bounds = entry
        .if_unscored_wrong
        .zip(entry.if_unscored_right)
        .filter(|_| result.samples.unscored > 0)
        .map(|(wrong, right)| [wrong.min(right), wrong.max(right)]);
    let range = shown.interval.map(|interval| [interval.low, interval.high]);
    let text = |[low, high]: [f64; 2]| format!("{low:.4} – {high:.4}");
    Row {
        run,
        metric: shown.name.to_owned(),
        value: format!("{:.4}", entry.value),
        picture: chart::interval(axis, entry.value, range, bounds),
        interval: range.map(text).unwrap_or_default(),
        method: match shown.interval.map(|interval| interval.method) {
            Some(Method::Wilson) => "Wilson's score interval, 95 %",
            Some(Method::Normal) => "value ± 1.96 standard errors",
            None => "",
        },
        bounds: bounds.map(text).unwrap_or_default(),
        scored: count(result.samples.scored),
        unscored: unscored(result),
    }
}

fn unscored(result: &TaskResult) -> String {
    match result.samples.unscored {
        0 => "0".to_owned(),
        some => format!("{} ({})", count(some), percent(some, result.samples.total)),
    }
}

/// What every unit took.
pub fn usages(views: &[View]) -> Vec<Usage> {
    let known = |tokens: Option<u64>| tokens.map_or_else(|| "–".to_owned(), count);
    each(views, |run, result| {
        let asked = result.samples.scored > 0 && result.cached < result.samples.total;
        let latency = [result.latency_ms.p50, result.latency_ms.p90, result.latency_ms.p99];
        vec![Usage {
            run,
            unit: format!("{} @ {}", result.task, result.backend),
            prompt: count(result.tokens.prompt),
            completion: count(result.tokens.completion),
            reasoning: known(result.tokens.reasoning),
            cached: known(result.tokens.cached),
            cost: cost(result),
            latency: latency.map(|ms| if asked { duration(ms) } else { "–".to_owned() }),
            rate: match result.samples_per_second {
                0.0 => "–".to_owned(),
                rate => tick(rate),
            },
            retries: count(result.retries),
        }]
    })
}

/// Why samples are unscored.
pub fn reasons(views: &[View]) -> Vec<Reason> {
    each(views, |run, result| {
        let reason = |(reason, number): (&String, &u64)| Reason {
            run,
            unit: format!("{} @ {}", result.task, result.backend),
            reason: reason.clone(),
            count: count(*number),
            share: percent(*number, result.samples.total),
            width: trimmed(*number as f64 * 100.0 / result.samples.total.max(1) as f64, 2),
        };
        result.unscored_reasons.iter().map(reason).collect()
    })
}

fn each<T>(views: &[View], of: impl Fn(&'static str, &TaskResult) -> Vec<T>) -> Vec<T> {
    let numbered = views.iter().enumerate();
    let all = numbered.flat_map(|(number, view)| {
        let run = letter(views.len(), number);
        view.results.iter().map(move |result| (run, result))
    });
    all.flat_map(|(run, result)| of(run, result)).collect()
}

/// What a unit cost. Of some samples the price may be unknown: then it is at least that much.
fn cost(result: &TaskResult) -> String {
    let Some(cost) = &result.cost else { return "–".to_owned() };
    let least = if cost.priced_samples < result.samples.total { "≥ " } else { "" };
    format!("{least}{}", dollars(cost.usd))
}

/// All tokens and all costs of a run; none for a cost that nobody knows.
pub fn totals(view: &View) -> (u64, Option<f64>) {
    let counts = view.results.iter().flat_map(|one| [one.tokens.prompt, one.tokens.completion]);
    let tokens = counts.fold(0, u64::saturating_add);
    let costs: Vec<f64> =
        view.results.iter().filter_map(|one| one.cost.as_ref()).map(|cost| cost.usd).collect();
    (tokens, (!costs.is_empty()).then(|| costs.iter().sum()))
}
