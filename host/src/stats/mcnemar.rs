//! Whether two models differ on the same right-or-wrong samples.

use super::binomial::mass;

/// The exact test of McNemar (1947): of the samples on which two sides differ, as many should fall to either side if
/// there is no difference. Two-sided: p = min(1, 2·P(X ≤ min(gained, lost))) with X ~ Binomial(gained + lost, ½).
/// Samples on which both agree say nothing, so they do not enter.
#[must_use]
pub fn mcnemar(gained: u64, lost: u64) -> f64 {
    let (fewer, n) = (gained.min(lost), gained + lost);
    // Half of the mass and more lies there.
    if gained == lost {
        return 1.0;
    }
    // From the largest term downwards: each is smaller than the one before, so they soon add nothing.
    let (mut term, mut sum, mut k) = (mass(fewer, n, 0.5), 0.0, fewer);
    while term > 0.0 && term > sum * f64::EPSILON / 4.0 {
        sum += term;
        if k == 0 {
            break;
        }
        term *= k as f64 / (n - k + 1) as f64;
        k -= 1;
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gained: u64, lost: u64, expected: f64, within: f64) {
        for found in [mcnemar(gained, lost), mcnemar(lost, gained)] {
            let off = (found - expected).abs();
            assert!(off <= within * expected, "{gained} {lost}: {found}, not {expected}");
        }
    }

    #[test]
    fn few_samples_have_closed_forms() {
        for (gained, lost, expected) in
            [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2.0 / 32.0), (6, 1, 16.0 / 128.0), (3, 3, 1.0)]
        {
            check(gained, lost, expected, 1e-14);
        }
        check(200, 0, 2f64.powi(-199), 1e-12);
    }

    #[test]
    fn p_values_are_those_of_statsmodels() {
        // statsmodels.stats.contingency_tables.mcnemar([[0, gained], [lost, 0]], exact=True).pvalue, statsmodels
        // 0.15.0; scipy.stats.binomtest(lost, gained + lost, 0.5).pvalue of SciPy 1.17.1 agrees.
        let table = [
            (1, 2, 1.0),
            (10, 4, 0.1795654296875),
            (25, 9, 0.00904118549078703),
            (121, 59, 4.4344492637551645e-06),
            (30, 12, 0.007915897334896727),
            (500, 560, 0.06990955946026937),
            (1000, 1100, 0.03072070786424249),
            (50000, 50500, 0.11547629006868594),
            (3000, 2000, 1.3002310005205326e-45),
        ];
        for (gained, lost, expected) in table {
            check(gained, lost, expected, 1e-9);
        }
    }
}
