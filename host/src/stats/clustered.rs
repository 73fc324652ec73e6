//! The standard error of a mean whose numbers come in clusters: several questions about one text, say. Numbers of one
//! cluster tend to be alike, so that there is less to learn from them than from as many independent ones.

use super::exact::ExactSum;

/// sqrt(Σ_c(Σ_{i∈c}(x_i − x̄))²)/n over the sums of the clusters. Source: Miller, "Adding Error Bars to Evals" (2024),
/// section 2.2; without a correction for few clusters, so that with a cluster a number it is s·√((n−1)/n)/√n.
/// `clusters` must come in an order that does not depend on chance. None of fewer than two clusters.
#[must_use]
pub fn stderr<'a>(
    clusters: impl IntoIterator<Item = &'a ExactSum>,
    total: &ExactSum,
) -> Option<f64> {
    let (mut squares, mut count) = (0.0, 0_u64);
    for cluster in clusters {
        squares += cluster.deviation(total).powi(2);
        count += 1;
    }
    (count > 1).then(|| f64::sqrt(squares) / total.count() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of numbers with their clusters.
    fn of(numbers: &[(usize, f64)]) -> Option<f64> {
        let clusters = numbers.iter().map(|(cluster, _)| cluster + 1).max().unwrap_or(0);
        let mut sums = vec![ExactSum::default(); clusters];
        let mut total = ExactSum::default();
        for (cluster, x) in numbers {
            sums[*cluster].add(*x).unwrap();
            total.add(*x).unwrap();
        }
        stderr(&sums, &total)
    }

    #[test]
    fn clusters_of_one_are_no_clusters_and_equal_ones_count_once() {
        let numbers = [1.0, 0.0, 1.0, 1.0];
        let single: Vec<(usize, f64)> = numbers.into_iter().enumerate().collect();
        // s/√n is 1/4 there.
        let expected = 0.25 * (3.0_f64 / 4.0).sqrt();
        assert!((of(&single).unwrap() - expected).abs() < 1e-15);
        let twice: Vec<(usize, f64)> = single.iter().flat_map(|one| [*one, *one]).collect();
        assert!((of(&twice).unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn errors_are_those_of_statsmodels() {
        // statsmodels.api.OLS(x, ones).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
        // .bse[0], statsmodels 0.15.0.
        let table: [(&[(usize, f64)], f64); 2] = [
            (
                &[
                    (0, 1.0),
                    (0, 1.0),
                    (0, 0.0),
                    (1, 0.0),
                    (1, 0.0),
                    (2, 1.0),
                    (3, 1.0),
                    (3, 0.0),
                    (3, 1.0),
                    (3, 1.0),
                ],
                0.14142135623730945,
            ),
            (
                &[
                    (0, 0.25),
                    (1, -0.5),
                    (0, 1.0),
                    (2, 0.125),
                    (1, 0.0),
                    (2, 0.75),
                    (0, -1.0),
                    (4, 0.3),
                    (3, 0.9),
                ],
                0.14334550835670348,
            ),
        ];
        for (numbers, expected) in table {
            let found = of(numbers).unwrap();
            assert!((found - expected).abs() < 1e-14, "{found}, not {expected}");
        }
    }

    #[test]
    fn one_cluster_has_no_error_and_equal_numbers_have_none_to_speak_of() {
        assert_eq!(of(&[(0, 1.0), (0, 0.0)]), None);
        assert_eq!(of(&[(0, 0.1), (0, 0.1), (1, 0.1)]), Some(0.0));
    }
}
