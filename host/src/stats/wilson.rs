//! The interval of a proportion.

use super::{interval::Interval, normal::Z_975};

/// Wilson's score interval (1927) of a share of `trials`, at 95 %:
/// (p + z²/2n ± z·sqrt(p(1−p)/n + z²/4n²)) / (1 + z²/n). Unlike p ± z·stderr it never leaves 0 to 1, and it is not
/// empty where all are right. None of no trials, and of what is no share.
#[must_use]
pub fn wilson(share: f64, trials: u64) -> Option<Interval> {
    if trials == 0 || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let n = trials as f64;
    let z2 = Z_975 * Z_975;
    let scale = 1.0 + z2 / n;
    let centre = (share + z2 / (2.0 * n)) / scale;
    let half = Z_975 / scale * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    Some(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(count, nobs, alpha=0.05, method="wilson"), statsmodels
        // 0.15.0.
        let table = [
            (0, 10, 0.0, 0.27753279986288926),
            (10, 10, 0.7224672001371106, 1.0),
            (1, 2, 0.09453120573423068, 0.9054687942657693),
            (3, 4, 0.30064184258240184, 0.9544127391902995),
            (29, 64, 0.33729447780611665, 0.5742640277994588),
            (1175, 1838, 0.6170587262881045, 0.660923940215573),
            (50000, 100000, 0.49690108435968966, 0.5030989156403103),
            (0, 1, 0.0, 0.7934506856227627),
        ];
        for (right, trials, low, high) in table {
            let found = wilson(right as f64 / trials as f64, trials).unwrap();
            assert!((found.low - low).abs() < 1e-12, "{right} of {trials}: {found:?}");
            assert!((found.high - high).abs() < 1e-12, "{right} of {trials}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_share_has_no_interval() {
        for (share, trials) in [(0.5, 0), (1.5, 10), (-0.1, 10), (f64::NAN, 10)] {
            assert_eq!(wilson(share, trials), None);
        }
    }
}
