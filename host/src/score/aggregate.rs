//! Puts the parts of many attempts together.
//!
//! Attempts may come in any order, from a run that goes on or from a journal: the summary is the
//! same bit for bit. Memory does not grow with the number of samples, but for those of which some
//! repeats are still to come, and with the number of clusters where samples are in any. Whether an attempt
//! was counted before is for the caller to know.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::metric::{Aggregation, Metric};
use super::parts::Parts;
use crate::stats::clustered;
use crate::stats::exact::{ExactError, ExactMoments, ExactSum};
use crate::stats::moments::estimate;
use crate::task::sample::ClusterKey;

/// A metric over all samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// Which metric.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
    /// Standard error: s/√n over the samples, where a sample with repeats counts once with its mean; where samples are
    /// in clusters, [`clustered::stderr`]. None for perplexities and for fewer than two samples or clusters.
    pub stderr: Option<f64>,
    /// How many clusters the standard error is by, if it is by clusters.
    pub clusters: Option<u64>,
    /// How many samples it is over.
    pub samples: u64,
    /// The value if everything unscored were wrong; none for perplexities.
    pub if_unscored_wrong: Option<f64>,
    /// The value if everything unscored were right; none for perplexities.
    pub if_unscored_right: Option<f64>,
}

/// Collects attempts. Two that were given the same attempts, in any order, are equal in what they say.
#[derive(Debug, Clone)]
pub struct Aggregate {
    repeats: u32,
    totals: Totals,
    incomplete: HashMap<u64, Attempts>,
}

#[derive(Debug, Clone, Default)]
struct Totals {
    means: BTreeMap<Metric, Mean>,
    sums: BTreeMap<String, ExactSum>,
    samples_scored: u64,
    samples_unscored: u64,
}

#[derive(Debug, Clone, Default)]
struct Mean {
    values: ExactMoments,
    wrong: ExactSum,
    right: ExactSum,
    /// The values of `values` by their cluster.
    clusters: BTreeMap<ClusterKey, ExactSum>,
}

/// The attempts at one sample.
#[derive(Debug, Clone, Default)]
struct Attempts {
    cluster: Option<ClusterKey>,
    attempts: u32,
    unscored: u32,
    sums: BTreeMap<String, ExactSum>,
}

impl Aggregate {
    /// Nothing yet; each sample is attempted `repeats` times.
    #[must_use]
    pub fn new(repeats: std::num::NonZeroU32) -> Self {
        Self { repeats: repeats.get(), totals: Totals::default(), incomplete: HashMap::new() }
    }

    /// Adds one attempt at the sample of an index, which is in this cluster: its parts, or none when it is unscored.
    ///
    /// # Errors
    /// [`ExactError`] when a part is not finite or out of range. The attempt is not counted then.
    pub fn add(
        &mut self,
        sample_index: u64,
        cluster: Option<ClusterKey>,
        parts: Option<&Parts>,
    ) -> Result<(), ExactError> {
        let mut attempts = self.incomplete.get(&sample_index).cloned().unwrap_or_default();
        attempts.cluster = attempts.cluster.max(cluster);
        attempts.attempts += 1;
        match parts {
            None => attempts.unscored += 1,
            Some(parts) => {
                for (name, value) in &parts.0 {
                    attempts.sums.entry(name.clone()).or_default().add(*value)?;
                }
            }
        }
        if attempts.attempts < self.repeats {
            self.incomplete.insert(sample_index, attempts);
            return Ok(());
        }
        self.incomplete.remove(&sample_index);
        self.totals.add(&attempts)
    }

    /// How many samples have a score, at least in one repeat.
    #[must_use]
    pub fn samples_scored(&self) -> u64 {
        let scored = self.incomplete.values().filter(|attempts| attempts.is_scored()).count();
        self.totals.samples_scored + scored as u64
    }

    /// How many samples have no score in any repeat so far.
    #[must_use]
    pub fn samples_unscored(&self) -> u64 {
        let unscored = self.incomplete.values().filter(|attempts| !attempts.is_scored()).count();
        self.totals.samples_unscored + unscored as u64
    }

    /// The values of those of `metrics` of which there are parts, in their order. Samples of which
    /// repeats are missing count with those they have.
    ///
    /// # Errors
    /// [`ExactError`] when there are more samples than can be counted.
    pub fn summary(&self, metrics: &[Metric]) -> Result<Vec<MetricValue>, ExactError> {
        let mut totals = self.totals.clone();
        for attempts in self.incomplete.values() {
            totals.add(attempts)?;
        }
        Ok(metrics.iter().filter_map(|metric| totals.value(*metric)).collect())
    }
}

impl Attempts {
    fn is_scored(&self) -> bool {
        self.unscored < self.attempts
    }
}

impl Totals {
    fn add(&mut self, attempts: &Attempts) -> Result<(), ExactError> {
        if !attempts.is_scored() {
            self.samples_unscored += 1;
            return Ok(());
        }
        self.samples_scored += 1;
        for (name, sum) in &attempts.sums {
            match Metric::from_name(name).map(|metric| (metric, metric.aggregation())) {
                Some((metric, Aggregation::Mean { wrong, right })) => {
                    let mean = self.means.entry(metric).or_default();
                    let scored = sum.count() as f64;
                    let unscored = f64::from(attempts.unscored);
                    let all = scored + unscored;
                    mean.values.add(sum.value() / scored)?;
                    if let Some(cluster) = attempts.cluster {
                        mean.clusters.entry(cluster).or_default().add(sum.value() / scored)?;
                    }
                    mean.wrong.add((sum.value() + wrong * unscored) / all)?;
                    mean.right.add((sum.value() + right * unscored) / all)?;
                }
                _ => self.sums.entry(name.clone()).or_default().add(sum.value())?,
            }
        }
        Ok(())
    }

    fn value(&self, metric: Metric) -> Option<MetricValue> {
        match metric.aggregation() {
            Aggregation::Mean { wrong, right } => {
                let mean = self.means.get(&metric)?;
                let estimate = estimate(&mean.values)?;
                let unscored = self.samples_unscored as f64;
                let all = estimate.count as f64 + unscored;
                // A run that began before its task named clusters has samples in none: then no error is by clusters.
                let in_clusters: u64 = mean.clusters.values().map(ExactSum::count).sum();
                let (stderr, clusters) = if in_clusters == estimate.count {
                    let stderr = clustered::stderr(mean.clusters.values(), mean.values.sum());
                    (stderr, Some(mean.clusters.len() as u64))
                } else {
                    (estimate.stderr, None)
                };
                Some(MetricValue {
                    metric,
                    value: estimate.mean,
                    stderr,
                    clusters,
                    samples: estimate.count,
                    if_unscored_wrong: Some((mean.wrong.value() + wrong * unscored) / all),
                    if_unscored_right: Some((mean.right.value() + right * unscored) / all),
                })
            }
            Aggregation::PerUnit { unit, value } => {
                let loglikelihood = self.sums.get("loglikelihood")?;
                let units = self.sums.get(unit).filter(|units| units.value() > 0.0)?;
                Some(MetricValue {
                    metric,
                    value: value(-loglikelihood.value() / units.value()),
                    stderr: None,
                    clusters: None,
                    samples: loglikelihood.count(),
                    if_unscored_wrong: None,
                    if_unscored_right: None,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::perplexity;
    use crate::stats::python_random::PythonRandom;
    use std::num::NonZeroU32;

    fn acc(value: f64) -> Parts {
        Parts([("acc".to_owned(), value)].into())
    }

    fn of(repeats: u32, attempts: &[(u64, Option<Parts>)]) -> Aggregate {
        let mut aggregate = Aggregate::new(NonZeroU32::new(repeats).unwrap());
        for (sample, parts) in attempts {
            aggregate.add(*sample, None, parts.as_ref()).unwrap();
        }
        aggregate
    }

    fn value(aggregate: &Aggregate, metric: Metric) -> MetricValue {
        aggregate.summary(&[metric]).unwrap().remove(0)
    }

    #[test]
    fn vector_v8() {
        let parts = perplexity::score("aaaa bbbb cccc ddddd", -5.0).unwrap();
        let aggregate = of(1, &[(0, Some(parts))]);
        let table = [
            (Metric::WordPerplexity, 3.490_342_957_5),
            (Metric::BytePerplexity, 1.284_025_416_7),
            (Metric::BitsPerByte, 0.360_673_760_2),
        ];
        for (metric, expected) in table {
            let found = value(&aggregate, metric);
            assert!((found.value - expected).abs() < 1e-10, "{found:?}");
        }
    }

    #[test]
    fn vector_v2_with_its_bounds() {
        let scored = [1.0, 0.0, 1.0, 1.0].map(acc);
        let mut attempts: Vec<(u64, Option<Parts>)> = (0..).zip(scored.map(Some)).collect();
        attempts.push((4, None));
        let found = value(&of(1, &attempts), Metric::Acc);
        assert_eq!((found.value, found.stderr, found.samples), (0.75, Some(0.25), 4));
        assert_eq!((found.if_unscored_wrong, found.if_unscored_right), (Some(0.6), Some(0.8)));
    }

    #[test]
    fn repeats_are_averaged_in_each_sample_first() {
        let attempts = [
            (0, Some(acc(1.0))),
            (1, Some(acc(0.0))),
            (0, Some(acc(1.0))),
            (1, Some(acc(1.0))),
            (2, None),
        ];
        let found = value(&of(2, &attempts), Metric::Acc);
        // Sample means 1 and 1/2: s = √(1/8), stderr = 1/4. Sample 2 is unscored as a whole.
        assert_eq!((found.value, found.stderr, found.samples), (0.75, Some(0.25), 2));
        assert_eq!(found.if_unscored_wrong, Some(0.5));
    }

    #[test]
    fn a_sample_scored_in_part_counts_with_what_it_has() {
        let attempts = [(0, Some(acc(1.0))), (0, None), (1, Some(acc(0.0))), (1, Some(acc(0.0)))];
        let found = value(&of(2, &attempts), Metric::Acc);
        assert_eq!(found.value, 0.5);
        assert_eq!((found.if_unscored_wrong, found.if_unscored_right), (Some(0.25), Some(0.5)));
    }

    #[test]
    fn brier_is_worst_at_two() {
        let parts = Parts([("brier_score".to_owned(), 0.5)].into());
        let found = value(&of(1, &[(0, Some(parts)), (1, None)]), Metric::BrierScore);
        assert_eq!((found.if_unscored_wrong, found.if_unscored_right), (Some(1.25), Some(0.25)));
    }

    #[test]
    fn order_changes_no_bit_of_a_summary() {
        let part = |i: u64| (i as f64 * 0.7).sin().abs();
        let parts = |i: u64| {
            let mut parts = acc(part(i));
            parts.0.insert("loglikelihood".into(), -1e4 * part(i));
            parts.0.insert("words".into(), (i % 7 + 1) as f64);
            Some(parts).filter(|_| !i.is_multiple_of(11))
        };
        let mut attempts: Vec<(u64, Option<Parts>)> =
            (0..3000).map(|i| (i / 3, parts(i))).collect();
        let metrics = [Metric::Acc, Metric::WordPerplexity];
        let expected = of(3, &attempts).summary(&metrics).unwrap();
        for seed in 0..3 {
            PythonRandom::new(seed).shuffle(&mut attempts);
            assert_eq!(of(3, &attempts).summary(&metrics).unwrap(), expected);
        }
    }

    #[test]
    fn samples_of_one_cluster_count_as_one_in_the_error() {
        let in_clusters = |order: &[usize]| {
            let mut aggregate = Aggregate::new(NonZeroU32::new(2).unwrap());
            for attempt in order {
                let sample = *attempt as u64 / 2;
                let cluster = ClusterKey::of(&(sample / 2).to_string());
                // Sample means 1, 1, 0, ½.
                let right = f64::from([1, 1, 1, 1, 0, 0, 0, 1][*attempt]);
                aggregate.add(sample, Some(cluster), Some(&acc(right))).unwrap();
            }
            value(&aggregate, Metric::Acc)
        };
        let found = in_clusters(&[0, 1, 2, 3, 4, 5, 6, 7]);
        // The mean is 5/8, the clusters are off by 3/4 and -3/4: sqrt(9/8)/4.
        assert_eq!((found.value, found.clusters), (0.625, Some(2)));
        assert!((found.stderr.unwrap() - (9.0_f64 / 8.0).sqrt() / 4.0).abs() < 1e-15);
        assert_eq!(in_clusters(&[7, 0, 2, 5, 1, 4, 6, 3]), found);
        // Half of it without a cluster: then by none.
        let mut mixed = Aggregate::new(NonZeroU32::new(1).unwrap());
        mixed.add(0, Some(ClusterKey::of("a")), Some(&acc(1.0))).unwrap();
        mixed.add(1, None, Some(&acc(0.0))).unwrap();
        assert_eq!((value(&mixed, Metric::Acc).clusters, mixed.samples_scored()), (None, 2));
    }

    #[test]
    fn memory_holds_only_samples_whose_repeats_are_missing() {
        let attempts: Vec<(u64, Option<Parts>)> =
            (0..1001).map(|i| (i / 2, Some(acc(1.0)))).collect();
        let aggregate = of(2, &attempts);
        assert_eq!(aggregate.incomplete.len(), 1);
        assert_eq!((aggregate.samples_scored(), aggregate.samples_unscored()), (501, 0));
    }

    #[test]
    fn nothing_scored_has_no_value() {
        assert!(of(1, &[(0, None)]).summary(&Metric::ALL).unwrap().is_empty());
    }
}
