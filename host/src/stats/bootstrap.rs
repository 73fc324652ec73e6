//! Standard errors by resampling, for statistics that have no formula.
//!
//! Replicates are drawn as lm-evaluation-harness draws them (`bootstrap_stderr`): chunks of 1000,
//! chunk i from `random.Random(i)`. The estimate is a little small for few numbers.
//!
//! No metric uses it yet. Until the comparison of runs does, it is kept equal to lm-evaluation-harness
//! by the vectors in its tests.

use super::python_random::PythonRandom;

/// Replicates of one chunk.
const CHUNK: usize = 1000;

/// The sample standard deviation of a statistic over resamples of `numbers`.
///
/// Of `replicates`, whole chunks of 1000 are made, or as many as asked for below 1000. None of no
/// numbers and of fewer than two replicates.
#[must_use]
pub fn stderr(
    numbers: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    replicates: usize,
) -> Option<f64> {
    if numbers.is_empty() || replicates < 2 {
        return None;
    }
    let size = replicates.min(CHUNK);
    let mut values = Vec::with_capacity(replicates);
    let mut resample = vec![0.0; numbers.len()];
    for chunk in 0..replicates / size {
        let mut random = PythonRandom::new(chunk as u64);
        for _ in 0..size {
            for slot in &mut resample {
                *slot = numbers[random.choice(numbers.len())];
            }
            values.push(statistic(&resample));
        }
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(numbers: &[f64]) -> f64 {
        numbers.iter().sum::<f64>() / numbers.len() as f64
    }

    fn median(numbers: &[f64]) -> f64 {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    #[test]
    fn vector_v2() {
        let a = [1.0, 0.0, 1.0, 1.0];
        let table = [
            (stderr(&a, mean, 1000), 0.226_083_062_3),
            (stderr(&a, mean, 2000), 0.217_798_572_3),
            (stderr(&a, mean, 2999), 0.217_798_572_3),
            (stderr(&[1.0, 2.0, 3.0, 4.0, 10.0], median, 1000), 1.929_047_750_9),
        ];
        for (found, expected) in table {
            assert!((found.unwrap() - expected).abs() < 1e-10, "{found:?}");
        }
    }

    #[test]
    fn nothing_to_resample_has_no_error() {
        assert_eq!(stderr(&[], mean, 1000), None);
        assert_eq!(stderr(&[1.0], mean, 0), None);
    }
}
