//! The metrics there are, and how their parts are put together.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The most likely option is right.
    Acc,
    /// As `acc`, with log-likelihood divided by the option's Unicode code points.
    AccNorm,
    /// As `acc`, with log-likelihood divided by the option's UTF-8 bytes.
    AccBytes,
    /// As `acc`, with the log-likelihood without context subtracted.
    AccMutualInfo,
    /// Σ(pᵢ − 1[i is right])² with p the softmax of the log-likelihoods; 0 is best, 2 is worst.
    BrierScore,
    /// The answer equals a reference; for options, the right one is the greedy continuation.
    ExactMatch,
    /// exp(−Σll/Σwords).
    WordPerplexity,
    /// exp(−Σll/Σbytes).
    BytePerplexity,
    /// −Σll/Σbytes / ln 2.
    BitsPerByte,
}

/// How the parts of samples become a value.
#[derive(Debug, Clone, Copy)]
pub enum Aggregation {
    /// The mean of a part of the metric's own name, where a wrong and a right sample are worth this.
    Mean {
        /// Worth of a sample that is as wrong as can be.
        wrong: f64,
        /// Worth of a sample that is right.
        right: f64,
    },
    /// A function of −Σll over the sum of another part.
    PerUnit {
        /// The name of that part.
        unit: &'static str,
        /// From nats per unit to the value.
        value: fn(f64) -> f64,
    },
}

impl Metric {
    /// All metrics, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Acc,
        Self::AccNorm,
        Self::AccBytes,
        Self::AccMutualInfo,
        Self::BrierScore,
        Self::ExactMatch,
        Self::WordPerplexity,
        Self::BytePerplexity,
        Self::BitsPerByte,
    ];

    /// The name in files and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::AccMutualInfo => "acc_mutual_info",
            Self::BrierScore => "brier_score",
            Self::ExactMatch => "exact_match",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::BitsPerByte => "bits_per_byte",
        }
    }

    /// The metric of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// How parts become a value.
    #[must_use]
    pub fn aggregation(self) -> Aggregation {
        match self {
            Self::BrierScore => Aggregation::Mean { wrong: 2.0, right: 0.0 },
            Self::WordPerplexity => Aggregation::PerUnit { unit: "words", value: f64::exp },
            Self::BytePerplexity => Aggregation::PerUnit { unit: "bytes", value: f64::exp },
            Self::BitsPerByte => {
                Aggregation::PerUnit { unit: "bytes", value: |nats| nats / std::f64::consts::LN_2 }
            }
            _ => Aggregation::Mean { wrong: 0.0, right: 1.0 },
        }
    }
}

impl Metric {
    /// Whether it says of a sample that it is right or wrong. Where it is a mean, a half or less of 1 is wrong.
    #[must_use]
    pub fn is_right_or_wrong(self) -> bool {
        matches!(self.aggregation(), Aggregation::Mean { wrong: 0.0, right: 1.0 })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
        assert_eq!(Metric::from_name("f1"), None);
    }
}
