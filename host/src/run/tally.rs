//! What the samples of one task at one backend come to. Does not depend on the order in which they finish.

use std::{borrow::Cow, collections::BTreeMap, num::NonZeroU32};

use hdrhistogram::Histogram;
use plugin_api::Changed;
use tokio::time::Instant;

use super::{event::UnitName, grade::incident_name, plan::Unit};
use crate::{
    score::{
        aggregate::{Aggregate, MetricValue},
        generated::Incident,
        metric::Metric,
        parts::Parts,
    },
    stats::exact::ExactError,
    store::{
        outcome::{ResponseOutcome, SampleOutcome},
        record::{Response, Status, Tokens, add_known},
        summary::{Cost, Counts, Latency, MetricEntry, TaskResult, TokenCounts},
    },
    task::sample::ClusterKey,
};

/// What a tally is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Which task at which backend.
    pub name: UnitName,
    /// The model as results name it.
    pub model: Option<String>,
    /// Whether the mock answers in place of a model.
    pub mock: bool,
    /// Ids of the run's backends that are the mock: one of them may stand in for this one.
    pub mocks: Vec<String>,
    /// Whether the task is asked in its generative form because the backend has no log-likelihood.
    pub fallback: bool,
    /// Name of the backend's price table.
    pub prices: Option<String>,
    /// Attempts at each sample.
    pub repeats: NonZeroU32,
    /// The metrics to report, in order.
    pub metrics: Vec<Metric>,
}

impl From<&Unit> for Subject {
    fn from(unit: &Unit) -> Self {
        let mocks = unit.fallbacks.iter().filter(|backend| backend.is_mock());
        Self {
            name: unit.name.clone(),
            model: unit.backend.model(),
            mock: unit.backend.is_mock(),
            mocks: mocks.map(|backend| backend.id.clone()).collect(),
            fallback: unit.task.is_fallback,
            prices: unit.backend.description.prices.clone(),
            repeats: unit.task.repeats,
            metrics: unit.task.metrics.clone(),
        }
    }
}

/// What of a finished sample is counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Position of its record.
    pub index: u64,
    /// Which samples it belongs together with, if the task says so.
    pub cluster: Option<ClusterKey>,
    /// `scored`, or why not.
    pub status: Status,
    /// What it contributes to the metrics.
    pub scores: Option<Parts>,
    /// Tokens used.
    pub usage: Tokens,
    /// What the model did that is counted apart.
    pub incidents: Vec<Incident>,
    /// Likelihoods whose context and continuation share a token.
    pub boundary_merged: u64,
    /// Parameters that the backend dropped or changed.
    pub changed: Vec<Changed>,
    /// Milliseconds from first attempt to end.
    pub ms: f64,
    /// Whether the response cache answered.
    pub cached: bool,
    /// Id of the backend that answered in place of the unit's own.
    pub answered_by: Option<String>,
}

/// What of a response is counted apart, and its merged likelihoods.
pub fn counted_apart(response: Option<&Response>) -> (Vec<Incident>, u64) {
    match response {
        Some(Response::Completion { choices, .. }) => {
            (choices.iter().filter_map(|choice| choice.incident).collect(), 0)
        }
        Some(Response::Likelihoods { conditional, .. }) => {
            let merged = conditional.iter().filter(|likelihood| likelihood.boundary_merged);
            (Vec::new(), merged.count() as u64)
        }
        None => (Vec::new(), 0),
    }
}

impl From<SampleOutcome<'_>> for Counted {
    fn from(outcome: SampleOutcome<'_>) -> Self {
        let (incidents, boundary_merged) = match &outcome.response {
            Some(ResponseOutcome::Completion { choices }) => {
                (choices.iter().filter_map(|choice| choice.incident).collect(), 0)
            }
            Some(ResponseOutcome::Likelihoods { conditional, .. }) => {
                let merged = conditional.iter().filter(|likelihood| likelihood.boundary_merged);
                (Vec::new(), merged.count() as u64)
            }
            None => (Vec::new(), 0),
        };
        Self {
            index: outcome.sample.index,
            cluster: outcome.cluster(),
            status: outcome.status,
            scores: outcome.scores,
            usage: outcome.usage,
            incidents,
            boundary_merged,
            changed: outcome.changed,
            ms: outcome.timing_ms.total,
            cached: outcome.cached,
            answered_by: outcome
                .answered_by
                .filter(|_| outcome.response.is_some())
                .map(Cow::into_owned),
        }
    }
}

/// Running totals of one unit.
#[derive(Debug)]
pub struct Tally {
    subject: Subject,
    aggregate: Aggregate,
    result: TaskResult,
    /// Microseconds, to three digits.
    latency: Option<Histogram<u64>>,
    finished: u64,
    /// Of those the ones that this process asked.
    timed: u64,
    /// Billionths of a US dollar, and the samples that they are known of.
    cost_usd_nanos: u64,
    priced: u64,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Tally {
    /// Nothing yet.
    pub fn new(subject: Subject) -> Self {
        let result = TaskResult {
            task: subject.name.task.clone(),
            backend: subject.name.backend.clone(),
            model: subject.model.clone(),
            mock: subject.mock,
            fallback: subject.fallback,
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
            aggregate: Aggregate::new(subject.repeats),
            result,
            // One hour at most; longer ones are counted as that.
            latency: Histogram::new_with_max(3_600_000_000, 3).ok(),
            finished: 0,
            timed: 0,
            cost_usd_nanos: 0,
            priced: 0,
            first: None,
            last: None,
            subject,
        }
    }

    /// The same totals under what is known of the backend now.
    pub fn of(mut self, subject: Subject) -> Self {
        self.result.model.clone_from(&subject.model);
        self.result.mock = subject.mock;
        Self { subject, ..self }
    }

    /// Whether samples of this subject may be added to those that are counted.
    pub fn has_form_of(&self, subject: &Subject) -> bool {
        let form = |subject: &Subject| (subject.fallback, subject.repeats, subject.metrics.clone());
        form(&self.subject) == form(subject)
    }

    /// The same samples, with what only the process knows that `counted` is of: times, retries, what was left out.
    pub fn in_place_of(mut self, counted: Self) -> Self {
        self.result.retries = counted.result.retries;
        self.result.samples.skipped = counted.result.samples.skipped;
        (self.timed, self.first, self.last) = (counted.timed, counted.first, counted.last);
        self.of(counted.subject)
    }

    /// How many samples a second an earlier process finished: what is said if this one finishes none.
    pub fn was(&mut self, samples_per_second: f64) {
        self.result.samples_per_second = samples_per_second;
    }

    /// Attempts at each sample.
    pub fn repeats(&self) -> NonZeroU32 {
        self.subject.repeats
    }

    /// Adds a finished sample.
    ///
    /// # Errors
    /// A score that is out of any range; the sample is not counted then.
    pub fn add(&mut self, counted: &Counted) -> Result<(), ExactError> {
        self.aggregate.add(counted.index, counted.cluster, counted.scores.as_ref())?;
        self.finished += 1;
        self.result.cached += u64::from(counted.cached);
        if let Status::Unscored(reason) = &counted.status {
            count(&mut self.result.unscored_reasons, reason);
        }
        if let Some(other) = &counted.answered_by {
            count(&mut self.result.answered_by, other);
        }
        for changed in &counted.changed {
            count(&mut self.result.changed_parameters, &changed.parameter);
        }
        for incident in &counted.incidents {
            count(&mut self.result.incidents, incident_name(Some(*incident)));
        }
        self.result.boundary_merged += counted.boundary_merged;
        let tokens = &mut self.result.tokens;
        tokens.prompt = tokens.prompt.saturating_add(counted.usage.prompt);
        tokens.completion = tokens.completion.saturating_add(counted.usage.completion);
        add_known(&mut tokens.cached, counted.usage.cached);
        add_known(&mut tokens.reasoning, counted.usage.reasoning);
        if let Some(nanos) = counted.usage.cost_usd_nanos {
            self.cost_usd_nanos = self.cost_usd_nanos.saturating_add(nanos);
            self.priced += 1;
        }
        if let (Status::Scored, false, Some(latency)) =
            (&counted.status, counted.cached, &mut self.latency)
        {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time is positive, and saturates"
            )]
            latency.saturating_record((counted.ms * 1e3) as u64);
        }
        Ok(())
    }

    /// Adds a sample that an earlier process finished.
    ///
    /// # Errors
    /// As for [`Tally::add`].
    pub fn replay(&mut self, outcome: SampleOutcome<'_>) -> Result<(), ExactError> {
        self.result.retries += u64::from(outcome.retries());
        self.add(&outcome.into())
    }

    /// Notes when a sample of this process began and ended.
    pub fn time(&mut self, started: Instant, ended: Instant) {
        self.timed += 1;
        self.first = Some(self.first.map_or(started, |first| first.min(started)));
        self.last = Some(self.last.map_or(ended, |last| last.max(ended)));
    }

    /// So many records were left out.
    pub fn skip(&mut self, records: u64) {
        self.result.samples.skipped += records;
    }

    /// An attempt failed and is repeated.
    pub fn retry(&mut self) {
        self.result.retries += 1;
    }

    /// Which task at which backend.
    pub fn name(&self) -> &UnitName {
        &self.subject.name
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
        self.aggregate.summary(&self.subject.metrics)
    }

    /// What the samples cost, if that is known of any.
    fn cost(&self) -> Option<Cost> {
        #[allow(clippy::cast_precision_loss, reason = "an estimate needs no more digits")]
        let usd = self.cost_usd_nanos as f64 / 1e9;
        let prices = self.subject.prices.clone();
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
        result.mock |= self.subject.mocks.iter().any(|id| result.answered_by.contains_key(id));
        result.samples.total = self.finished;
        result.samples.unscored = result.unscored_reasons.values().sum();
        result.samples.scored = self.finished - result.samples.unscored;
        result.cost = self.cost();
        for value in self.metrics()? {
            let entry = MetricEntry {
                value: value.value,
                stderr: value.stderr,
                stderr_clusters: value.clusters,
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
                let rate = self.timed as f64 / seconds;
                result.samples_per_second = (rate * 1e3).round() / 1e3;
            }
        }
        Ok(result)
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
