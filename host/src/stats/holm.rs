//! Several tests at once: the more there are, the likelier is one that shows a difference by chance.

/// Holm's adjusted p-values (1979), in the order given: the i-th smallest of m, from 0, times m − i, never smaller
/// than an earlier one and never above 1. Rejecting those below α is wrong about any of them with a chance of at
/// most α, whatever their dependence.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let p = |index: usize| p_values.get(index).copied().unwrap_or(1.0);
    order.sort_by(|a, b| p(*a).total_cmp(&p(*b)));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max(p(index) * (p_values.len() - rank) as f64).min(1.0);
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = largest;
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_p_values_are_those_of_statsmodels() {
        // statsmodels.stats.multitest.multipletests(p, method="holm")[1], statsmodels 0.15.0.
        let table: [(&[f64], &[f64]); 4] = [
            (&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]),
            (&[0.5, 0.6, 0.9], &[1.0, 1.0, 1.0]),
            (&[0.02, 0.02, 0.02], &[0.06, 0.06, 0.06]),
            (
                &[1e-09, 0.049, 0.05, 0.2, 0.011],
                &[5e-09, 0.14700000000000002, 0.14700000000000002, 0.2, 0.044],
            ),
        ];
        for (p_values, expected) in table {
            for (found, expected) in holm(p_values).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-15, "{p_values:?}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn one_test_is_not_adjusted_and_none_is_none() {
        assert_eq!(holm(&[0.03]), [0.03]);
        assert!(holm(&[]).is_empty());
    }
}
