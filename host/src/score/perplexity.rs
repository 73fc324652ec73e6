//! The parts of perplexity metrics: a text's log-likelihood, words and bytes.

use super::parts::Parts;
use crate::task::boundary::is_space;

/// Why a text has no perplexity.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PerplexityError {
    /// Nothing to predict.
    #[error("the text is empty")]
    EmptyText,
    /// A log-likelihood that is infinite or no number.
    #[error("the log-likelihood of the text is {0}")]
    NotFinite(f64),
}

/// Words of a text: the pieces between runs of whitespace, where whitespace at either end counts an
/// empty piece (`len(re.split(r"\s+", text))`, as lm-evaluation-harness counts).
#[must_use]
pub fn words(text: &str) -> usize {
    let mut runs = 0;
    let mut in_space = false;
    for c in text.chars() {
        let space = is_space(c);
        runs += usize::from(space && !in_space);
        in_space = space;
    }
    runs + 1
}

/// The parts of a text whose log-likelihood in all, in nats, is given.
///
/// # Errors
/// [`PerplexityError`] for an empty text or a log-likelihood that is not finite.
pub fn score(text: &str, loglikelihood: f64) -> Result<Parts, PerplexityError> {
    if text.is_empty() {
        return Err(PerplexityError::EmptyText);
    }
    if !loglikelihood.is_finite() {
        return Err(PerplexityError::NotFinite(loglikelihood));
    }
    let parts = [
        ("loglikelihood", loglikelihood),
        ("words", words(text) as f64),
        ("bytes", text.len() as f64),
    ];
    Ok(Parts(parts.map(|(name, value)| (name.to_owned(), value)).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_python_splits() {
        for (text, count) in [("a b c d", 4), ("a  b\n", 3), (" a", 2), ("x", 1), (" \n ", 2)] {
            assert_eq!(words(text), count, "{text:?}");
        }
    }

    #[test]
    fn what_has_no_perplexity_is_an_error() {
        assert_eq!(score("", -1.0), Err(PerplexityError::EmptyText));
        assert!(score("a", f64::NAN).is_err());
    }
}
