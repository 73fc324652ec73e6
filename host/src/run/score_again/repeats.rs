//! Of tasks that ask each sample several times: mean@k, pass@k and the majority's answer.

use std::collections::BTreeMap;

use plugin_api::Choice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice;
use crate::{
    run::{event::UnitName, grade::grade_choice},
    score::{exact_match::PatternError, metric::Metric},
    stats::{
        clustered,
        exact::{ExactError, ExactMoments, ExactSum},
        moments::estimate,
        repeats::{majority, pass_at},
    },
    store::record::{Response, SampleKey},
    task::{answer::Answer, render::Generate, resolve::Task, sample::ClusterKey},
};

/// What the repeats of a task at a backend come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OverRepeats {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// Attempts at each sample.
    pub attempts: u32,
    /// `mean@k`, `pass@1`, `pass@2` … `pass@k`, `majority@k`, by name.
    pub values: BTreeMap<String, OverRepeatsValue>,
}

/// A mean over samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OverRepeatsValue {
    /// The mean.
    pub value: f64,
    /// Its standard error, over samples, or over clusters where each sample is in one; none for fewer than two.
    pub stderr: Option<f64>,
    /// Samples that have enough graded attempts for it.
    pub samples: u64,
}

/// The graded attempts of a task's samples.
#[derive(Debug)]
pub(super) struct Repeats {
    attempts: u32,
    /// By record.
    samples: BTreeMap<u64, Attempts>,
}

/// The attempts at a sample.
#[derive(Debug, Default)]
struct Attempts {
    cluster: Option<ClusterKey>,
    /// By repeat and choice.
    all: BTreeMap<(u32, usize), Attempt>,
}

/// A value of each sample, summed up.
#[derive(Default)]
struct Values {
    moments: ExactMoments,
    clusters: BTreeMap<ClusterKey, ExactSum>,
}

impl Values {
    fn add(&mut self, cluster: Option<ClusterKey>, value: f64) -> Result<(), ExactError> {
        self.moments.add(value)?;
        if let Some(cluster) = cluster {
            self.clusters.entry(cluster).or_default().add(value)?;
        }
        Ok(())
    }

    fn estimate(&self) -> Option<OverRepeatsValue> {
        let found = estimate(&self.moments)?;
        let clustered: u64 = self.clusters.values().map(ExactSum::count).sum();
        let stderr = if clustered == found.count {
            clustered::stderr(self.clusters.values(), self.moments.sum())
        } else {
            found.stderr
        };
        Some(OverRepeatsValue { value: found.mean, stderr, samples: found.count })
    }
}

/// An attempt: its answer, as the first 64 bits of its digest, and whether it is right.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    answer: Option<u64>,
    is_right: bool,
}

impl Repeats {
    /// Nothing yet; none for a task that asks each sample once.
    pub(super) fn of(task: &Task) -> Option<Self> {
        let choices = task.generation.as_ref()?.n.get();
        let attempts = task.repeats.get().saturating_mul(choices);
        (attempts > 1).then(|| Self { attempts, samples: BTreeMap::new() })
    }

    /// Adds what came of one repeat. Choices that are not graded are no attempts.
    pub(super) fn add(
        &mut self,
        task: &Task,
        form: &Generate,
        sample: &SampleKey,
        response: &Response,
    ) -> Result<(), PatternError> {
        let (Some(rules), Response::Completion { choices, .. }) = (&task.rules, response) else {
            return Ok(());
        };
        let attempts = self.samples.entry(sample.index).or_default();
        attempts.cluster = attempts.cluster.max(sample.cluster.as_deref().map(ClusterKey::of));
        for (number, record) in choices.iter().enumerate() {
            let choice: Choice = choice(record.clone());
            let grade = grade_choice(rules, form, &choice)?;
            let Some(worth) = grade.parts.and_then(|parts| parts.get(Metric::ExactMatch)) else {
                continue;
            };
            let answer = match &grade.answer {
                // Two answers are one if a reference could not tell them apart.
                Answer::Found(answer) => Some(short(&rules.exact_match.normalise(answer)?)),
                Answer::None => None,
            };
            attempts.all.insert((sample.repeat, number), Attempt { answer, is_right: worth > 0.5 });
        }
        Ok(())
    }

    pub(super) fn sum_up(self, unit: &UnitName) -> Result<OverRepeats, ExactError> {
        let all = self.attempts;
        let mut sums: BTreeMap<String, Values> = BTreeMap::new();
        let doubling = std::iter::successors(Some(1_u32), |drawn| drawn.checked_mul(2));
        let mut drawn: Vec<u32> = doubling.take_while(|drawn| *drawn < all).collect();
        drawn.push(all);
        for Attempts { cluster, all: attempts } in self.samples.into_values() {
            if attempts.is_empty() {
                continue;
            }
            let count = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
            let right = attempts.values().filter(|attempt| attempt.is_right).count();
            let right = u32::try_from(right).unwrap_or(u32::MAX);
            let mean = f64::from(right) / f64::from(count);
            sums.entry(format!("mean@{all}")).or_default().add(cluster, mean)?;
            for drawn in &drawn {
                if let Some(chance) = pass_at(*drawn, count, right) {
                    sums.entry(format!("pass@{drawn}")).or_default().add(cluster, chance)?;
                }
            }
            let votes = attempts.values().filter_map(|attempt| {
                attempt.answer.as_ref().map(|answer| (answer, attempt.is_right))
            });
            // A sample of which no attempt has an answer is as wrong as each of them.
            let is_right = majority(votes).is_some_and(|(_, is_right)| is_right);
            let worth = if is_right { 1.0 } else { 0.0 };
            sums.entry(format!("majority@{all}")).or_default().add(cluster, worth)?;
        }
        let values = sums.into_iter().filter_map(|(name, values)| Some((name, values.estimate()?)));
        Ok(OverRepeats {
            task: unit.task.clone(),
            backend: unit.backend.clone(),
            attempts: all,
            values: values.collect(),
        })
    }
}

fn short(answer: &str) -> u64 {
    let hash = blake3::hash(answer.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
