//! What the samples of one task at one backend come to. Does not depend on the order in which they finish.

use std::{collections::BTreeMap, sync::Arc};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::{event::UnitName, executor::Finished, grade::incident_name, plan::Unit};
use crate::{
    score::aggregate::{Aggregate, MetricValue},
    stats::exact::ExactError,
    store::{
        record::{Response, SampleRecord, Status, add_known},
        summary::{Cost, Counts, Latency, MetricEntry, TaskResult, TokenCounts},
    },
};

/// Running totals of one unit.
#[derive(Debug)]
pub struct Tally {
    unit: Arc<Unit>,
    aggregate: Aggregate,
    result: TaskResult,
    /// Microseconds, to three digits.
    latency: Option<Histogram<u64>>,
    finished: u64,
    /// Billionths of a US dollar, and the samples that they are known of.
    cost_usd_nanos: u64,
    priced: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Tally {
    /// Nothing yet.
    pub fn new(unit: Arc<Unit>) -> Self {
        let result = TaskResult {
            task: unit.name.task.clone(),
            backend: unit.name.backend.clone(),
            model: unit.backend.model(),
            mock: unit.backend.is_mock(),
            fallback: unit.task.is_fallback,
            samples: Counts::default(),
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
            aggregate: Aggregate::new(unit.task.repeats),
            result,
            // One hour at most; longer ones are counted as that.
            latency: Histogram::new_with_max(3_600_000_000, 3).ok(),
            finished: 0,
            cost_usd_nanos: 0,
            priced: 0,
            first: None,
            last: None,
            unit,
        }
    }

    /// Adds a finished sample.
    ///
    /// # Errors
    /// A score that is out of any range; the sample is not counted then.
    pub fn add(&mut self, record: &SampleRecord) -> Result<(), ExactError> {
        self.aggregate.add(record.sample.index, record.scores.as_ref())?;
        self.finished += 1;
        if let Status::Unscored(reason) = &record.status {
            *self.result.unscored_reasons.entry(reason.clone()).or_default() += 1;
        }
        if let (Some(other), Some(_)) = (&record.answered_by, &record.response) {
            *self.result.answered_by.entry(other.clone()).or_default() += 1;
        }
        for changed in &record.changed {
            *self.result.changed_parameters.entry(changed.parameter.clone()).or_default() += 1;
        }
        let tokens = &mut self.result.tokens;
        tokens.prompt = tokens.prompt.saturating_add(record.usage.prompt);
        tokens.completion = tokens.completion.saturating_add(record.usage.completion);
        add_known(&mut tokens.cached, record.usage.cached);
        add_known(&mut tokens.reasoning, record.usage.reasoning);
        if let Some(nanos) = record.usage.cost_usd_nanos {
            self.cost_usd_nanos = self.cost_usd_nanos.saturating_add(nanos);
            self.priced += 1;
        }
        match &record.response {
            Some(Response::Completion { choices, .. }) => {
                for incident in choices.iter().filter_map(|choice| choice.incident) {
                    *self
                        .result
                        .incidents
                        .entry(incident_name(Some(incident)).to_owned())
                        .or_default() += 1;
                }
            }
            Some(Response::Likelihoods { conditional, .. }) => {
                let merged =
                    conditional.iter().filter(|likelihood| likelihood.boundary_merged).count();
                self.result.boundary_merged += merged as u64;
            }
            None => {}
        }
        if let (Status::Scored, Some(latency)) = (&record.status, &mut self.latency) {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time is positive, and saturates"
            )]
            latency.saturating_record((record.timing_ms.total * 1e3) as u64);
        }
        Ok(())
    }

    /// Notes when a sample began and ended.
    pub fn time(&mut self, finished: &Finished) {
        let now = Instant::now();
        self.first = Some(self.first.map_or(finished.started, |first| first.min(finished.started)));
        self.last = Some(now);
    }

    /// A record was left out.
    pub fn skip(&mut self) {
        self.result.samples.skipped += 1;
    }

    /// An attempt failed and is repeated.
    pub fn retry(&mut self) {
        self.result.retries += 1;
    }

    /// Which task at which backend.
    pub fn name(&self) -> &UnitName {
        &self.unit.name
    }

    /// Finished samples, repeats counted.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// The metrics so far.
    ///
    /// # Errors
    /// More samples than can be counted.
    pub fn metrics(&self) -> Result<Vec<MetricValue>, ExactError> {
        self.aggregate.summary(&self.unit.task.metrics)
    }

    /// What the samples cost, if that is known of any.
    fn cost(&self) -> Option<Cost> {
        #[allow(clippy::cast_precision_loss, reason = "an estimate needs no more digits")]
        let usd = self.cost_usd_nanos as f64 / 1e9;
        let prices = self.unit.backend.description.prices.clone();
        (self.priced > 0).then_some(Cost {
            usd,
            estimate: true,
            priced_samples: self.priced,
            prices,
        })
    }

    /// The results so far.
    ///
    /// # Errors
    /// More samples than can be counted.
    pub fn result(&self) -> Result<TaskResult, ExactError> {
        let mut result = self.result.clone();
        result.samples.total = self.finished;
        result.samples.unscored = result.unscored_reasons.values().sum();
        result.samples.scored = self.finished - result.samples.unscored;
        result.cost = self.cost();
        for value in self.metrics()? {
            let entry = MetricEntry {
                value: value.value,
                stderr: value.stderr,
                if_unscored_wrong: value.if_unscored_wrong,
                if_unscored_right: value.if_unscored_right,
            };
            result.metrics.insert(value.metric.name().to_owned(), entry);
        }
        if let Some(latency) = self.latency.as_ref().filter(|latency| !latency.is_empty()) {
            #[allow(clippy::cast_precision_loss, reason = "an hour in microseconds fits")]
            let percentile = |p: f64| latency.value_at_quantile(p) as f64 / 1e3;
            result.latency_ms =
                Latency { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99) };
        }
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let seconds = last.duration_since(first).as_secs_f64();
            if seconds > 0.0 {
                #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
                let rate = self.finished as f64 / seconds;
                result.samples_per_second = (rate * 1e3).round() / 1e3;
            }
        }
        Ok(result)
    }
}
