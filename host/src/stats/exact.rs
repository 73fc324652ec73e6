//! Sums that do not depend on the order in which their terms arrive.
//!
//! Samples finish in any order, and a resumed run sees them in another one; floating-point addition
//! would make the two summaries differ in the last digits. So each term is rounded once to a
//! fixed-point number, and those are added as integers, which is exact.
//!
//! Resolution: 2^-60 (about 9e-19). Range of a term: |x| < 2^31 (about 2.1e9). Number of terms:
//! below 2^36. Within these no sum can overflow.

/// Fractional bits of the fixed-point numbers.
const FRACTION_BITS: i32 = 60;
/// A term must be smaller than this in magnitude.
pub const TERM_LIMIT: f64 = 2_147_483_648.0;
/// There must be fewer terms than this.
pub const COUNT_LIMIT: u64 = 1 << 36;

/// Why a number cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ExactError {
    /// Not a number, infinite, or too large.
    #[error("{0} cannot be aggregated: a finite number below 2^31 in magnitude is needed")]
    OutOfRange(f64),
    /// More terms than the accumulators hold.
    #[error("more than 2^36 numbers cannot be aggregated")]
    TooMany,
}

/// One fixed-point number: `x` in units of 2^-60, rounded half away from zero.
fn fixed(x: f64) -> Result<i128, ExactError> {
    if !x.is_finite() || x.abs() >= TERM_LIMIT {
        return Err(ExactError::OutOfRange(x));
    }
    // Scaling by a power of two is exact, and the product is below 2^91: the cast loses nothing.
    Ok((x * 2f64.powi(FRACTION_BITS)).round() as i128)
}

fn float(units: i128) -> f64 {
    units as f64 * 2f64.powi(-FRACTION_BITS)
}

/// An exact sum of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExactSum {
    units: i128,
    count: u64,
}

impl ExactSum {
    /// Adds one number.
    ///
    /// # Errors
    /// [`ExactError`] when the number or the count is out of range; the sum is unchanged then.
    pub fn add(&mut self, x: f64) -> Result<(), ExactError> {
        let units = fixed(x)?;
        if self.count + 1 >= COUNT_LIMIT {
            return Err(ExactError::TooMany);
        }
        self.units += units;
        self.count += 1;
        Ok(())
    }

    /// The sum.
    #[must_use]
    pub fn value(&self) -> f64 {
        float(self.units)
    }

    /// How many numbers were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How far this part of a sum is from what as many average numbers of `total` would be: Σ_{i∈part}(x_i − x̄).
    /// Exact before it is rounded once, so that there is no cancellation, unless the sums are huge.
    #[must_use]
    pub fn deviation(&self, total: &Self) -> f64 {
        let (part, all) = (i128::from(self.count), i128::from(total.count));
        let exact = self
            .units
            .checked_mul(all)
            .and_then(|own| own.checked_sub(total.units.checked_mul(part)?));
        match exact {
            Some(units) => float(units) / total.count as f64,
            None => self.value() - total.value() / total.count as f64 * self.count as f64,
        }
    }
}

/// An exact sum of numbers and of their squares, from which mean and variance follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExactMoments {
    sum: ExactSum,
    squares: Wide,
}

impl ExactMoments {
    /// Adds one number.
    ///
    /// # Errors
    /// [`ExactError`] when the number or the count is out of range; nothing is changed then.
    pub fn add(&mut self, x: f64) -> Result<(), ExactError> {
        let magnitude = fixed(x)?.unsigned_abs();
        self.sum.add(x)?;
        self.squares = self.squares.plus(Wide::product(magnitude, magnitude));
        Ok(())
    }

    /// How many numbers were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sum.count
    }

    /// The sum of the numbers.
    #[must_use]
    pub fn sum(&self) -> &ExactSum {
        &self.sum
    }

    /// The mean; none of no numbers.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.sum.count > 0).then(|| self.sum.value() / self.sum.count as f64)
    }

    /// The unbiased variance, Σ(x−x̄)²/(n−1); none of fewer than two numbers.
    ///
    /// Computed as (nΣx² − (Σx)²) / (n(n−1)), whose numerator is exact here, so that there is no
    /// cancellation and equal numbers have a variance of exactly 0.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let n = self.sum.count;
        if n < 2 {
            return None;
        }
        let sum = self.sum.units.unsigned_abs();
        let numerator = self.squares.times(n).minus(Wide::product(sum, sum));
        let scale = 2f64.powi(-2 * FRACTION_BITS);
        Some(numerator.to_f64() * scale / (n as f64 * (n - 1) as f64))
    }
}

/// An unsigned integer of 256 bits with just what the sum of squares needs. The limits of this
/// module keep every value below 2^254, so nothing wraps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wide {
    high: u128,
    low: u128,
}

impl Wide {
    fn product(a: u128, b: u128) -> Self {
        const MASK: u128 = u64::MAX as u128;
        let (a_high, a_low) = (a >> 64, a & MASK);
        let (b_high, b_low) = (b >> 64, b & MASK);
        let low = a_low * b_low;
        let middle = a_high * b_low + (low >> 64);
        let middle_two = a_low * b_high + (middle & MASK);
        Self {
            high: a_high * b_high + (middle >> 64) + (middle_two >> 64),
            low: (middle_two << 64) | (low & MASK),
        }
    }

    fn plus(self, other: Self) -> Self {
        let (low, carry) = self.low.overflowing_add(other.low);
        Self { high: self.high.wrapping_add(other.high).wrapping_add(u128::from(carry)), low }
    }

    fn minus(self, other: Self) -> Self {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        Self { high: self.high.wrapping_sub(other.high).wrapping_sub(u128::from(borrow)), low }
    }

    fn times(self, factor: u64) -> Self {
        let low = Self::product(self.low, u128::from(factor));
        Self {
            high: self.high.wrapping_mul(u128::from(factor)).wrapping_add(low.high),
            low: low.low,
        }
    }

    fn to_f64(self) -> f64 {
        self.high as f64 * 2f64.powi(128) + self.low as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::python_random::PythonRandom;

    fn moments(numbers: &[f64]) -> ExactMoments {
        let mut moments = ExactMoments::default();
        for &x in numbers {
            moments.add(x).unwrap();
        }
        moments
    }

    #[test]
    fn order_changes_nothing() {
        let mut numbers: Vec<f64> =
            (1..2000).map(|i| (f64::from(i)).sin() * 1e5 / f64::from(i)).collect();
        let before = moments(&numbers);
        for seed in 0..5 {
            PythonRandom::new(seed).shuffle(&mut numbers);
            assert_eq!(moments(&numbers), before);
        }
    }

    #[test]
    fn equal_numbers_have_no_variance() {
        assert_eq!(moments(&[0.1; 1000]).variance(), Some(0.0));
        assert_eq!(moments(&[-1e9; 7]).variance(), Some(0.0));
    }

    #[test]
    fn variance_survives_a_large_mean() {
        let variance = moments(&[1e8, 1e8 + 1.0, 1e8 + 2.0]).variance().unwrap();
        assert!((variance - 1.0).abs() < 1e-12, "{variance}");
    }

    #[test]
    fn wide_arithmetic_agrees_with_known_products() {
        let max = u128::MAX;
        assert_eq!(Wide::product(max, max), Wide { high: max - 1, low: 1 });
        let square = Wide::product(1 << 100, 1 << 100);
        assert_eq!(square, Wide { high: 1 << 72, low: 0 });
        assert_eq!(square.times(3).minus(square).minus(square), square);
    }

    #[test]
    fn deviations_are_exact_also_where_sums_are_huge() {
        let sum = |numbers: &[f64]| {
            let mut sum = ExactSum::default();
            numbers.iter().for_each(|x| sum.add(*x).unwrap());
            sum
        };
        let all = sum(&[0.1, 0.1, 0.1, 0.7]);
        assert!((sum(&[0.1, 0.1]).deviation(&all) + 0.3).abs() < 1e-15);
        assert_eq!(sum(&[0.1, 0.1]).deviation(&sum(&[0.1; 3])), 0.0);
        let mut huge = ExactSum { units: 1 << 120, count: 1 << 30 };
        assert_eq!(huge.deviation(&huge), 0.0);
        huge.count *= 2;
        assert_eq!(ExactSum { units: 0, count: 1 << 30 }.deviation(&huge), -float(1 << 119));
    }

    #[test]
    fn what_cannot_be_summed_is_refused() {
        let mut sum = ExactSum::default();
        for x in [f64::NAN, f64::INFINITY, -TERM_LIMIT, 1e300] {
            assert!(sum.add(x).is_err());
        }
        assert_eq!(sum, ExactSum::default());
    }
}
