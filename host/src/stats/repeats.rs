//! What repeated attempts at one sample say: the chance that one of j is right, and what most of them answer.

/// The chance that at least one of `drawn` attempts is right, of `attempts` of which `right` are: 1 − C(n−c, j) / C(n, j),
/// the unbiased estimate of Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1. None
/// if fewer were made than are drawn.
#[must_use]
pub fn pass_at(drawn: u32, attempts: u32, right: u32) -> Option<f64> {
    if drawn == 0 || drawn > attempts || right > attempts {
        return None;
    }
    let wrong = attempts - right;
    if wrong < drawn {
        return Some(1.0);
    }
    // The quotient of the binomials, factor by factor: it can neither overflow nor lose its digits.
    let all_wrong: f64 =
        (0..drawn).map(|i| f64::from(wrong - i) / f64::from(attempts - i)).product();
    Some(1.0 - all_wrong)
}

/// The answer that most attempts give, with whether it is right; of several that are as frequent, the one that was given
/// first. An attempt without an answer votes for none. None if nobody votes.
#[must_use]
pub fn majority<'a, A: PartialEq>(
    attempts: impl IntoIterator<Item = (&'a A, bool)>,
) -> Option<(&'a A, bool)> {
    let mut votes: Vec<(&A, bool, u32)> = Vec::new();
    for (answer, right) in attempts {
        match votes.iter_mut().find(|(known, ..)| *known == answer) {
            Some((.., count)) => *count += 1,
            None => votes.push((answer, right, 1)),
        }
    }
    let most = votes.iter().map(|(.., count)| *count).max()?;
    let winner = votes.into_iter().find(|(.., count)| *count == most);
    winner.map(|(answer, right, _)| (answer, right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_that_of_all_subsets() {
        // All subsets of j of n attempts, the first c of which are right, counted.
        let counted = |j: u32, n: u32, c: u32| {
            let subsets = (0_u32..1 << n).filter(|subset| subset.count_ones() == j);
            let (mut all, mut passed) = (0.0, 0.0);
            for subset in subsets {
                all += 1.0;
                passed += f64::from(u8::from(subset & ((1 << c) - 1) != 0));
            }
            passed / all
        };
        for n in 1..8 {
            for c in 0..=n {
                for j in 1..=n {
                    let found = pass_at(j, n, c).unwrap();
                    assert!((found - counted(j, n, c)).abs() < 1e-12, "{j} of {n}, {c} right");
                }
            }
        }
        assert_eq!(pass_at(2, 1, 1), None);
        assert_eq!(pass_at(0, 1, 1), None);
        // Of 1000 attempts one is right: one of ten drawn is with a chance of a hundredth.
        assert!((pass_at(10, 1000, 1).unwrap() - 0.01).abs() < 1e-12);
    }

    #[test]
    fn the_first_of_the_most_frequent_answers_wins() {
        type Case = (&'static [(&'static str, bool)], Option<(&'static str, bool)>);
        let table: [Case; 4] = [
            (&[("7", false), ("8", true), ("8", true)], Some(("8", true))),
            (&[("7", false), ("8", true)], Some(("7", false))),
            (&[("8", true)], Some(("8", true))),
            (&[], None),
        ];
        for (attempts, expected) in table {
            let found = majority(attempts.iter().map(|(answer, right)| (answer, *right)));
            assert_eq!(found.map(|(answer, right)| (*answer, right)), expected);
        }
    }
}
