//! The results of a run that has no summary, since it goes on or was killed: what its journal holds so far.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde_json::Value;

use super::{error::ReportError, log_histogram::LogHistogram};
use crate::{
    score::{aggregate::Aggregate, metric::Metric},
    store::{
        manifest::RunManifest,
        outcome::SampleOutcome,
        record::{Status, add_known},
        stored_run::StoredSamples,
        summary::{Cost, Counts, Latency, MetricEntry, TaskResult, TokenCounts},
    },
};

/// A unit's part of it.
struct Unit {
    result: TaskResult,
    aggregate: Aggregate,
    metrics: Vec<Metric>,
    latency: LogHistogram,
    cost_usd_nanos: u64,
    priced: u64,
}

/// What the samples of each task and backend come to, in the order in which they are met.
///
/// # Errors
/// The journal cannot be read or summed up.
pub fn recount(
    manifest: &RunManifest,
    samples: &StoredSamples,
) -> Result<Vec<TaskResult>, ReportError> {
    let mut units: Vec<Unit> = Vec::new();
    samples.each(|_, line| {
        let outcome: SampleOutcome<'_> = samples.parse(line)?;
        let is_own = |unit: &Unit| {
            unit.result.task == outcome.task && unit.result.backend == outcome.backend
        };
        let at = units.iter().position(is_own).unwrap_or_else(|| {
            units.push(Unit::new(manifest, &outcome.task, &outcome.backend));
            units.len() - 1
        });
        match units.get_mut(at) {
            Some(unit) => unit.add(&outcome),
            None => Ok(()),
        }
    })?;
    units.into_iter().map(Unit::finish).collect()
}

impl Unit {
    fn new(manifest: &RunManifest, task: &str, backend: &str) -> Self {
        let known = manifest.backends.iter().find(|known| known.id == backend);
        let result = TaskResult {
            task: task.to_owned(),
            backend: backend.to_owned(),
            model: known.and_then(|known| known.description.model.clone()),
            mock: known.is_some_and(|known| known.mock),
            fallback: false,
            samples: Counts::default(),
            cached: 0,
            unscored_reasons: BTreeMap::new(),
            answered_by: BTreeMap::new(),
            incidents: BTreeMap::new(),
            changed_parameters: BTreeMap::new(),
            boundary_merged: 0,
            metrics: BTreeMap::new(),
            tokens: TokenCounts::default(),
            cost: None,
            latency_ms: Latency::default(),
            samples_per_second: 0.0,
            retries: 0,
        };
        Self {
            result,
            aggregate: Aggregate::new(repeats(manifest, task)),
            metrics: metrics(manifest, task),
            latency: LogHistogram::default(),
            cost_usd_nanos: 0,
            priced: 0,
        }
    }

    fn add(&mut self, outcome: &SampleOutcome<'_>) -> Result<(), ReportError> {
        self.aggregate.add(outcome.sample.index, outcome.cluster(), outcome.scores.as_ref())?;
        let result = &mut self.result;
        result.samples.total += 1;
        result.cached += u64::from(outcome.cached);
        result.retries += u64::from(outcome.retries());
        match &outcome.status {
            Status::Scored => result.samples.scored += 1,
            Status::Unscored(reason) => {
                result.samples.unscored += 1;
                *result.unscored_reasons.entry(reason.clone()).or_default() += 1;
            }
        }
        for changed in &outcome.changed {
            *result.changed_parameters.entry(changed.parameter.clone()).or_default() += 1;
        }
        if let Some(other) = outcome.answered_by.as_ref().filter(|_| outcome.response.is_some()) {
            *result.answered_by.entry(other.clone().into_owned()).or_default() += 1;
        }
        let tokens = &mut result.tokens;
        tokens.prompt = tokens.prompt.saturating_add(outcome.usage.prompt);
        tokens.completion = tokens.completion.saturating_add(outcome.usage.completion);
        add_known(&mut tokens.cached, outcome.usage.cached);
        add_known(&mut tokens.reasoning, outcome.usage.reasoning);
        if let Some(nanos) = outcome.usage.cost_usd_nanos {
            self.cost_usd_nanos = self.cost_usd_nanos.saturating_add(nanos);
            self.priced += 1;
        }
        if outcome.status == Status::Scored && !outcome.cached {
            self.latency.add(outcome.timing_ms.total);
        }
        Ok(())
    }

    fn finish(self) -> Result<TaskResult, ReportError> {
        let mut result = self.result;
        for value in self.aggregate.summary(&self.metrics)? {
            let entry = MetricEntry {
                value: value.value,
                stderr: value.stderr,
                stderr_clusters: value.clusters,
                if_unscored_wrong: value.if_unscored_wrong,
                if_unscored_right: value.if_unscored_right,
            };
            result.metrics.insert(value.metric.name().to_owned(), entry);
        }
        let percentile = |share| self.latency.percentile(share).unwrap_or_default();
        result.latency_ms =
            Latency { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99) };
        result.cost = (self.priced > 0).then(|| Cost {
            usd: self.cost_usd_nanos as f64 / 1e9,
            estimate: true,
            priced_samples: self.priced,
            prices: None,
        });
        Ok(result)
    }
}

/// What the run file says of a task; null if nothing.
pub fn task_of<'a>(manifest: &'a RunManifest, id: &str) -> &'a Value {
    let tasks = manifest.config["tasks"].as_array();
    let own = tasks.into_iter().flatten().find(|task| task["id"] == id);
    own.map_or(&Value::Null, |task| &task["task"])
}

/// The metrics that a task reports: those that it names, else the usual ones. A sample without the parts of one adds
/// nothing to it.
fn metrics(manifest: &RunManifest, task: &str) -> Vec<Metric> {
    let task = task_of(manifest, task);
    if let Some(named) = task["metrics"].as_array() {
        return named.iter().filter_map(Value::as_str).filter_map(Metric::from_name).collect();
    }
    let is_choice = task["kind"] == "multiple_choice";
    // Asked in its generative form, a choice is right or wrong by `exact_match` alone.
    let is_generated = !task["fallback"].is_null();
    let is_usual = |metric: &Metric| match metric {
        Metric::AccMutualInfo | Metric::BrierScore => false,
        Metric::ExactMatch => !is_choice || is_generated,
        _ => true,
    };
    Metric::ALL.into_iter().filter(is_usual).collect()
}

/// How often a task asks each sample, as the run file says.
pub fn repeats(manifest: &RunManifest, task: &str) -> NonZeroU32 {
    task_of(manifest, task)["repeats"]
        .as_u64()
        .and_then(|repeats| u32::try_from(repeats).ok())
        .and_then(NonZeroU32::new)
        .unwrap_or(NonZeroU32::MIN)
}
