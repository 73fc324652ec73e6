//! How far a metric is to be trusted: an interval that holds the true value in 95 of 100 runs.

use crate::{
    score::metric::{Aggregation, Metric},
    stats::{normal::Z_975, wilson::wilson},
    store::summary::MetricEntry,
};

/// An interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How it is computed.
    pub method: Method,
}

/// How an interval is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Wilson's score interval, for what is right or wrong and nothing between, in no clusters.
    Wilson,
    /// The value ± 1.96 standard errors.
    Normal,
}

impl Method {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wilson => "wilson",
            Self::Normal => "normal",
        }
    }
}

/// The interval of a metric over `samples` scored samples (one with repeats counts once); none where the summary has
/// no standard error.
pub fn interval(name: &str, entry: &MetricEntry, samples: u64) -> Option<Interval> {
    let stderr = entry.stderr?;
    let is_share = Metric::from_name(name).is_some_and(|metric| {
        matches!(metric.aggregation(), Aggregation::Mean { wrong: 0.0, right: 1.0 })
    });
    if is_share
        && entry.stderr_clusters.is_none()
        && is_all_or_nothing(entry.value, stderr, samples)
        && let Some(range) = wilson(entry.value, samples)
    {
        return Some(Interval { low: range.low, high: range.high, method: Method::Wilson });
    }
    let half = Z_975 * stderr;
    Some(Interval { low: entry.value - half, high: entry.value + half, method: Method::Normal })
}

/// Whether each of these numbers in [0, 1] is 0 or 1: of all with this mean their variance n·p(1−p)/(n−1) is the
/// largest, and no others have it.
fn is_all_or_nothing(mean: f64, stderr: f64, count: u64) -> bool {
    if count < 2 {
        return false;
    }
    let largest = (mean * (1.0 - mean) / (count - 1) as f64).max(0.0).sqrt();
    (stderr - largest).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: f64, stderr: Option<f64>, samples: u64) -> Option<(f64, f64, Method)> {
        let entry = MetricEntry {
            value,
            stderr,
            stderr_clusters: None,
            if_unscored_wrong: None,
            if_unscored_right: None,
        };
        let round = |x: f64| (x * 1e4).round() / 1e4;
        interval(name, &entry, samples).map(|i| (round(i.low), round(i.high), i.method))
    }

    #[test]
    fn shares_get_wilsons_interval_and_others_the_normal_one() {
        let bernoulli = |p: f64, n: u64| Some((p * (1.0 - p) / (n - 1) as f64).sqrt());
        let table = [
            // 8 of 10: the textbook's 0.4902 to 0.9433.
            (of("acc", 0.8, bernoulli(0.8, 10), 10), Some((0.4902, 0.9433, Method::Wilson))),
            (of("acc", 1.0, Some(0.0), 20), Some((0.8389, 1.0, Method::Wilson))),
            (of("exact_match", 0.0, Some(0.0), 20), Some((0.0, 0.1611, Method::Wilson))),
            // Means over repeats lie between.
            (of("acc", 0.8, Some(0.05), 10), Some((0.702, 0.898, Method::Normal))),
            (
                of("brier_score", 0.5, bernoulli(0.5, 10), 10),
                Some((0.1733, 0.8267, Method::Normal)),
            ),
            (of("word_perplexity", 3.5, None, 10), None),
            (of("acc", 1.0, None, 1), None),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }
}
