//! The normal distribution: the few of its figures that tests and intervals need.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The 97.5 % quantile: that many standard errors to both sides hold 95 %.
pub const Z_975: f64 = 1.959_963_984_540_054;
/// The 80 % quantile.
pub const Z_80: f64 = 0.841_621_233_572_914_3;

/// Where the series for erf ends and the continued fraction for erfc begins: both are exact to 13 digits here.
const TURN: f64 = 2.0;
/// Terms of the continued fraction; at [`TURN`] so many are needed.
const TERMS: u32 = 100;

/// The chance of a standard normal number at least this far from 0, to either side: erfc(|z|/√2).
#[must_use]
pub fn two_sided_p(z: f64) -> f64 {
    erfc(z.abs() * FRAC_1_SQRT_2)
}

/// The z of which [`two_sided_p`] is `alpha`, by halving what it may be; 0 < `alpha` ≤ 1.
#[must_use]
pub fn two_sided_quantile(alpha: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if two_sided_p(middle) > alpha { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// 1 − erf(x) for x ≥ 0. Sources: Abramowitz and Stegun 7.1.6 (the series without cancellation) and 7.1.14 (the
/// continued fraction).
fn erfc(x: f64) -> f64 {
    if x < TURN {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * f64::EPSILON / 4.0 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    let fraction = (1..=TERMS).rev().fold(x, |below, k| x + f64::from(k) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_where_the_chance_is() {
        for (alpha, expected) in
            [(0.05, Z_975), (0.4, Z_80), (1.0, 0.0), (0.01, 2.575_829_303_548_9)]
        {
            let found = two_sided_quantile(alpha);
            assert!((found - expected).abs() < 1e-9, "{alpha}: {found}");
        }
    }

    #[test]
    fn tails_are_those_of_scipy() {
        // 2 * scipy.stats.norm.sf(z), SciPy 1.17.1.
        let table = [
            (0.0, 1.0),
            (0.1, 0.920344325445942),
            (0.5, 0.6170750774519738),
            (1.0, 0.31731050786291415),
            (1.96, 0.04999579029644087),
            (2.5, 0.012419330651552265),
            (2.8284271, 0.004677735342682298),
            (3.0, 0.0026997960632601866),
            (5.0, 5.733031437583866e-07),
            (8.0, 1.244192114854348e-15),
            (20.0, 5.507248237212311e-89),
            (37.0, 1.1451142445047853e-299),
        ];
        for (z, expected) in table {
            for z in [z, -z] {
                let found = two_sided_p(z);
                assert!((found / expected - 1.0).abs() < 1e-11, "{z}: {found}, not {expected}");
            }
        }
        assert_eq!(two_sided_p(f64::INFINITY), 0.0);
        assert!((two_sided_p(Z_975) - 0.05).abs() < 1e-15);
        assert!((two_sided_p(Z_80) - 0.4).abs() < 1e-15);
    }
}
