//! What one attempt at a sample contributes to the metrics. This is what a journal stores.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metric::{Aggregation, Metric};

/// Numbers by name, sorted. A mean metric has a part of its own name; perplexities share
/// `loglikelihood` (nats), `words` and `bytes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Parts(pub BTreeMap<String, f64>);

impl Parts {
    /// Sets the part of a mean metric.
    pub fn set(&mut self, metric: Metric, value: f64) {
        self.0.insert(metric.name().to_owned(), value);
    }

    /// The part of a mean metric.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0.get(metric.name()).copied()
    }

    /// Whether a metric can be had of them: a mean of its own part, a perplexity of a log-likelihood and its units.
    #[must_use]
    pub fn allow(&self, metric: Metric) -> bool {
        match metric.aggregation() {
            Aggregation::Mean { .. } => self.get(metric).is_some(),
            Aggregation::PerUnit { unit, .. } => {
                ["loglikelihood", unit].iter().all(|part| self.0.contains_key(*part))
            }
        }
    }

    /// Each part's mean over those that have it, in the order given.
    #[must_use]
    pub fn mean(all: &[Self]) -> Self {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (name, value) in all.iter().flat_map(|parts| &parts.0) {
            let (sum, count) = sums.entry(name.clone()).or_default();
            *sum += value;
            *count += 1.0;
        }
        Self(sums.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect())
    }
}

/// 1 for right, 0 for wrong.
pub(super) fn mark(right: bool) -> f64 {
    if right { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::perplexity;

    #[test]
    fn what_metrics_parts_allow() {
        let allowed = |parts: &Parts| -> Vec<&str> {
            let metrics = Metric::ALL.into_iter().filter(|metric| parts.allow(*metric));
            metrics.map(Metric::name).collect()
        };
        let mut parts = Parts::default();
        assert!(allowed(&parts).is_empty());
        parts.set(Metric::AccNorm, 0.0);
        parts.set(Metric::ExactMatch, 1.0);
        assert_eq!(allowed(&parts), ["acc_norm", "exact_match"]);
        let mut text = perplexity::score("two words", -3.0).unwrap();
        assert_eq!(allowed(&text), ["word_perplexity", "byte_perplexity", "bits_per_byte"]);
        text.0.remove("words");
        assert_eq!(allowed(&text), ["byte_perplexity", "bits_per_byte"]);
    }

    #[test]
    fn the_mean_of_replies_is_taken_part_by_part() {
        let one = |value| Parts([("exact_match".to_owned(), value)].into());
        assert_eq!(Parts::mean(&[one(1.0), one(0.0), one(1.0), one(1.0)]), one(0.75));
    }

    #[test]
    fn parts_survive_the_journal_bit_for_bit() {
        let parts =
            Parts([("loglikelihood".to_owned(), -0.1 - 0.2), ("x".to_owned(), 5e-324)].into());
        let written = serde_json::to_string(&parts).unwrap();
        assert_eq!(serde_json::from_str::<Parts>(&written).unwrap(), parts);
    }
}
