//! Counts of times, in classes that are each 5 % wider than the one before: small enough to keep one for each moment
//! of a run, and fine enough for its percentiles.

use std::collections::BTreeMap;

/// How much larger each class begins than the one before it.
const STEP: f64 = 1.05;
/// What is shorter counts as this, in milliseconds.
const SHORTEST_MS: f64 = 0.01;

/// A histogram of milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHistogram {
    classes: BTreeMap<i32, u64>,
    count: u64,
}

impl LogHistogram {
    /// Counts a time.
    pub fn add(&mut self, ms: f64) {
        #[allow(clippy::cast_possible_truncation, reason = "the logarithm of a time is small")]
        let class = (ms.max(SHORTEST_MS).ln() / STEP.ln()).floor() as i32;
        *self.classes.entry(class).or_default() += 1;
        self.count += 1;
    }

    /// Counts all of another one, too.
    pub fn merge(&mut self, other: &Self) {
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
        self.count += other.count;
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A percentile, from 0 to 1, in milliseconds, to 2.5 %; none of nothing.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.count as f64).max(1.0);
        let mut passed = 0;
        let found = self.classes.iter().find(|(_, count)| {
            passed += **count;
            passed as f64 >= wanted
        });
        found.map(|(class, _)| STEP.powf(f64::from(*class) + 0.5))
    }

    /// At most `most` bars of equal width on a logarithmic axis: where each begins and ends in milliseconds, and how
    /// many times are in it.
    pub fn bars(&self, most: u32) -> Vec<(f64, f64, u64)> {
        let ends = self.classes.first_key_value().zip(self.classes.last_key_value());
        let Some(((first, _), (last, _))) = ends else { return Vec::new() };
        let span = last - first + 1;
        let most = i32::try_from(most).unwrap_or(i32::MAX).max(1);
        let width = (span + most - 1) / most;
        let count = (span + width - 1) / width;
        let bar = |number: i32| {
            let (from, to) = (first + number * width, first + (number + 1) * width);
            let counted = self.classes.range(from..to).map(|(_, count)| count).sum();
            (STEP.powi(from), STEP.powi(to), counted)
        };
        (0..count).map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_the_width_of_a_class() {
        let mut histogram = LogHistogram::default();
        (1..=1000).for_each(|ms| histogram.add(f64::from(ms)));
        for (share, expected) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = histogram.percentile(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.05, "{share}: {found}");
        }
        assert_eq!(LogHistogram::default().percentile(0.5), None);
    }

    #[test]
    fn bars_hold_every_time_once() {
        let mut histogram = LogHistogram::default();
        for ms in [0.0, 0.5, 3.0, 3.1, 80.0, 4_000.0] {
            histogram.add(ms);
        }
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        let bars = twice.bars(10);
        assert!(bars.len() <= 10);
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<u64>(), 12);
        assert!(bars.windows(2).all(|pair| pair[0].1 == pair[1].0), "they touch: {bars:?}");
        assert!(LogHistogram::default().bars(10).is_empty());
    }
}
