//! A mean with its standard error.

use super::exact::ExactMoments;

/// A mean and how far it is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// s/√n with s² = Σ(x−x̄)²/(n−1); none of fewer than two numbers.
    pub stderr: Option<f64>,
    /// How many numbers it is the mean of.
    pub count: u64,
}

/// The mean of numbers with its standard error s/√n; none of no numbers.
#[must_use]
pub fn estimate(moments: &ExactMoments) -> Option<Estimate> {
    let count = moments.count();
    let mean = moments.mean()?;
    let stderr = moments.variance().map(|variance| (variance / count as f64).sqrt());
    Some(Estimate { mean, stderr, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[f64]) -> Option<Estimate> {
        let mut moments = ExactMoments::default();
        for &x in numbers {
            moments.add(x).unwrap();
        }
        estimate(&moments)
    }

    #[test]
    fn vector_v2() {
        let a = of(&[1.0, 0.0, 1.0, 1.0]).unwrap();
        assert_eq!((a.mean, a.stderr, a.count), (0.75, Some(0.25), 4));
        let mut b = vec![1.0; 50];
        b.extend([0.0; 50]);
        let b = of(&b).unwrap();
        assert_eq!(b.mean, 0.5);
        assert!((b.stderr.unwrap() - 0.0502518908).abs() < 1e-10);
    }

    #[test]
    fn one_number_has_no_standard_error_and_none_no_mean() {
        assert_eq!(of(&[0.3]).unwrap().stderr, None);
        assert_eq!(of(&[]), None);
    }
}
