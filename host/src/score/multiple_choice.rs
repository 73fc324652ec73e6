//! Scores options by their log-likelihoods.
//!
//! Source of the formulas: lm-evaluation-harness, `multiple_choice` (`acc`, `acc_norm`,
//! `acc_mutual_info`, `brier_score`); `acc_bytes` is `acc_norm` by UTF-8 bytes.

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::parts::{Parts, mark};

/// What a backend says of one option.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptionLikelihood {
    /// Log-likelihood of the continuation after the prompt, in nats.
    pub loglikelihood: f64,
    /// Whether the continuation is the greedy one; none where the backend cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy: Option<bool>,
    /// Log-likelihood of the continuation without a context, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconditional: Option<f64>,
}

/// Why options cannot be scored.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ChoiceScoreError {
    /// Not one likelihood for each option.
    #[error("{choices} options and {likelihoods} log-likelihoods")]
    Count {
        /// How many options.
        choices: usize,
        /// How many log-likelihoods.
        likelihoods: usize,
    },
    /// An option without text has no length to divide by.
    #[error("option {0} (from 0) is empty")]
    EmptyChoice(usize),
    /// A log-likelihood that is infinite or no number.
    #[error("the log-likelihood of option {index} (from 0) is {value}")]
    NotFinite {
        /// The option.
        index: usize,
        /// What was said of it.
        value: f64,
    },
    /// No right option, or one that does not exist.
    #[error("there is no right option")]
    NoGold,
}

/// The parts of all metrics that the likelihoods allow: `acc_mutual_info` needs the unconditional
/// ones, `exact_match` needs to know whether the right option is greedy.
///
/// `choices` are the options without delimiter; `gold` holds the indices of the right ones. On a tie
/// the first option is the prediction.
///
/// # Errors
/// [`ChoiceScoreError`] when input is missing or makes no sense; a score is never made up.
pub fn score(
    choices: &[String],
    likelihoods: &[OptionLikelihood],
    gold: &[usize],
) -> Result<Parts, ChoiceScoreError> {
    if choices.len() != likelihoods.len() || choices.is_empty() {
        let (choices, likelihoods) = (choices.len(), likelihoods.len());
        return Err(ChoiceScoreError::Count { choices, likelihoods });
    }
    if let Some(empty) = choices.iter().position(String::is_empty) {
        return Err(ChoiceScoreError::EmptyChoice(empty));
    }
    for (index, likelihood) in likelihoods.iter().enumerate() {
        let values = [Some(likelihood.loglikelihood), likelihood.unconditional];
        if let Some(value) = values.into_iter().flatten().find(|value| !value.is_finite()) {
            return Err(ChoiceScoreError::NotFinite { index, value });
        }
    }
    if gold.is_empty() || gold.iter().any(|index| *index >= choices.len()) {
        return Err(ChoiceScoreError::NoGold);
    }

    let ll: Vec<f64> = likelihoods.iter().map(|likelihood| likelihood.loglikelihood).collect();
    let mut parts = Parts::default();
    for metric in [Metric::Acc, Metric::AccNorm, Metric::AccBytes, Metric::AccMutualInfo] {
        if let Some(chosen) = chosen(metric, choices, likelihoods) {
            parts.set(metric, mark(gold.contains(&chosen)));
        }
    }
    parts.set(Metric::BrierScore, brier(&ll, gold));
    let greedy: Option<Vec<bool>> = gold.iter().map(|index| likelihoods[*index].greedy).collect();
    if let Some(greedy) = greedy {
        parts.set(Metric::ExactMatch, mark(greedy.contains(&true)));
    }
    Ok(parts)
}

/// The option that a metric takes for the model's answer; none if it needs what is not known, or takes none.
#[must_use]
pub fn chosen(
    metric: Metric,
    choices: &[String],
    likelihoods: &[OptionLikelihood],
) -> Option<usize> {
    let value = |(likelihood, choice): (&OptionLikelihood, &String)| {
        let ll = likelihood.loglikelihood;
        match metric {
            Metric::Acc => Some(ll),
            Metric::AccNorm => Some(ll / choice.chars().count() as f64),
            Metric::AccBytes => Some(ll / choice.len() as f64),
            Metric::AccMutualInfo => likelihood.unconditional.map(|without| ll - without),
            _ => None,
        }
    };
    let values: Vec<f64> = likelihoods.iter().zip(choices).map(value).collect::<Option<_>>()?;
    (!values.is_empty()).then(|| first_maximum(&values))
}

fn first_maximum(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

fn softmax(ll: &[f64]) -> Vec<f64> {
    let highest = ll[first_maximum(ll)];
    let weights: Vec<f64> = ll.iter().map(|ll| (ll - highest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Brier score with the first right option as the truth.
fn brier(ll: &[f64], gold: &[usize]) -> f64 {
    let truth = gold.first().copied().unwrap_or_default();
    softmax(ll).iter().enumerate().map(|(i, p)| (p - mark(i == truth)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likelihoods(ll: &[f64], unconditional: Option<&[f64]>) -> Vec<OptionLikelihood> {
        let of = |i: usize| OptionLikelihood {
            loglikelihood: ll[i],
            greedy: Some(i == 1),
            unconditional: unconditional.map(|values| values[i]),
        };
        (0..ll.len()).map(of).collect()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn vector_v1() {
        let choices = texts(&["ab", "naïveté", "日本語"]);
        let likelihoods = likelihoods(&[-2.0, -4.9, -3.6], Some(&[-1.5, -7.0, -6.0]));
        // gold, acc, acc_norm, acc_bytes, acc_mutual_info, exact_match, brier_score
        let table = [
            (0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.069_498_815_2),
            (1, 0.0, 1.0, 0.0, 0.0, 1.0, 1.573_137_832_6),
            (2, 0.0, 0.0, 1.0, 1.0, 0.0, 1.339_434_289_7),
        ];
        for (gold, acc, norm, bytes, information, greedy, brier) in table {
            let parts = score(&choices, &likelihoods, &[gold]).unwrap();
            assert_eq!(parts.get(Metric::Acc), Some(acc), "gold {gold}");
            assert_eq!(parts.get(Metric::AccNorm), Some(norm), "gold {gold}");
            assert_eq!(parts.get(Metric::AccBytes), Some(bytes), "gold {gold}");
            assert_eq!(parts.get(Metric::AccMutualInfo), Some(information), "gold {gold}");
            assert_eq!(parts.get(Metric::ExactMatch), Some(greedy), "gold {gold}");
            assert!((parts.get(Metric::BrierScore).unwrap() - brier).abs() < 1e-10, "gold {gold}");
        }
        let p = softmax(&[-2.0, -4.9, -3.6]);
        for (p, expected) in p.iter().zip([0.795_595_748_7, 0.043_776_240_0, 0.160_628_011_4]) {
            assert!((p - expected).abs() < 1e-10);
        }
    }

    #[test]
    fn a_tie_goes_to_the_first_and_any_right_option_counts() {
        let choices = texts(&["a", "b", "c"]);
        let tie = likelihoods(&[-1.0, -1.0, -2.0], None);
        assert_eq!(score(&choices, &tie, &[0]).unwrap().get(Metric::Acc), Some(1.0));
        assert_eq!(score(&choices, &tie, &[1]).unwrap().get(Metric::Acc), Some(0.0));
        assert_eq!(score(&choices, &tie, &[0, 2]).unwrap().get(Metric::Acc), Some(1.0));
        assert_eq!(score(&choices, &tie, &[0]).unwrap().get(Metric::AccMutualInfo), None);
    }

    #[test]
    fn what_cannot_be_scored_is_an_error() {
        let two = likelihoods(&[-1.0, -2.0], None);
        assert_eq!(score(&texts(&["a", ""]), &two, &[0]), Err(ChoiceScoreError::EmptyChoice(1)));
        assert!(score(&texts(&["a"]), &two, &[0]).is_err());
        assert_eq!(score(&texts(&["a", "b"]), &two, &[2]), Err(ChoiceScoreError::NoGold));
        assert_eq!(score(&texts(&["a", "b"]), &two, &[]), Err(ChoiceScoreError::NoGold));
        let infinite = likelihoods(&[-1.0, f64::NEG_INFINITY], None);
        assert!(score(&texts(&["a", "b"]), &infinite, &[0]).is_err());
    }
}
