//! What a comparison could have seen.

use super::normal::{Z_80, two_sided_quantile};

/// The smallest true difference that a two-sided test at α = 0.05, one of so many `tests` that Holm's procedure adjusts,
/// finds with a chance of 80 % whatever the others find: (z₁₋α/₂ₘ + z₀.₈) · stderr, where the standard error of a paired difference is sd(differences)/√n. Source: Miller,
/// "Adding Error Bars to Evals" (2024), section 5, solved for the effect.
#[must_use]
pub fn minimal_detectable_effect(stderr: f64, tests: usize) -> f64 {
    (two_sided_quantile(0.05 / tests.max(1) as f64) + Z_80) * stderr
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
            let found = minimal_detectable_effect(sd / f64::from(n).sqrt(), 1);
            assert!((found / expected - 1.0).abs() < 1e-4, "{n}: {found}, not {expected}");
        }
        // Of two tests each is held to 2.5 %: z is 2.2414.
        let two = minimal_detectable_effect(1.0, 2);
        assert!((two - (2.241_402_728 + 0.841_621_234)).abs() < 1e-8, "{two}");
    }
}
