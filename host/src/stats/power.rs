//! What a comparison could have seen.

use super::normal::{Z_80, Z_975};

/// The smallest true difference that a two-sided test at α = 0.05 finds with a chance of 80 %:
/// (z₀.₉₇₅ + z₀.₈) · stderr, where the standard error of a paired difference is sd(differences)/√n. Source: Miller,
/// "Adding Error Bars to Evals" (2024), section 5, solved for the effect.
#[must_use]
pub fn minimal_detectable_effect(stderr: f64) -> f64 {
    (Z_975 + Z_80) * stderr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_is_that_of_statsmodels() {
        // effect * sd / sqrt(n) of
        // statsmodels.stats.power.NormalIndPower(ddof=0).solve_power(nobs1=n, alpha=0.05, power=0.8, ratio=0) * sd,
        // statsmodels 0.15.0; it counts the far tail of the test too, hence the margin.
        let table = [
            (200, 1.0, 0.19810178824311017),
            (1838, 0.6, 0.03920865317651511),
            (64, 0.5, 0.17509905935274417),
            (10000, 0.45, 0.012606711740509258),
        ];
        for (n, sd, expected) in table {
            let found = minimal_detectable_effect(sd / f64::from(n).sqrt());
            assert!((found / expected - 1.0).abs() < 1e-4, "{n}: {found}, not {expected}");
        }
    }
}
