//! Sums log-probabilities of the tokens of a continuation.

/// Why there is no log-likelihood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LikelihoodError {
    /// Nothing to sum. Its sum would be 0 and win every comparison.
    #[error(
        "no tokens of the continuation were scored: {scored} tokens in all, {context} of them context"
    )]
    EmptySlice {
        /// Tokens with or without a log-probability.
        scored: usize,
        /// Tokens of the context.
        context: usize,
    },
    /// A token of the continuation without a log-probability.
    #[error("token {0} (from 0) belongs to the continuation and has no finite log-probability")]
    Missing(usize),
}

/// The log-likelihood, in nats, of the tokens after the first `context` ones.
///
/// `tokens` holds the log-probability of each token of context and continuation; the first token of
/// all usually has none.
///
/// # Errors
/// [`LikelihoodError`]; never a sum over nothing.
pub fn continuation(tokens: &[Option<f64>], context: usize) -> Result<f64, LikelihoodError> {
    let empty = LikelihoodError::EmptySlice {
        scored: tokens.len(),
        context,
    };
    let slice = tokens
        .get(context..)
        .filter(|slice| !slice.is_empty())
        .ok_or(empty)?;
    let mut sum = 0.0;
    for (i, token) in slice.iter().enumerate() {
        sum += token
            .filter(|ll| ll.is_finite())
            .ok_or(LikelihoodError::Missing(context + i))?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_v3() {
        let prefill = [
            None,
            Some(-9.1),
            Some(-0.4),
            Some(-3.2),
            Some(-1.1),
            Some(-0.9),
            Some(-0.1),
            Some(-0.75),
        ];
        assert_eq!(continuation(&prefill, 7), Ok(-0.75));
        assert_eq!(
            continuation(&prefill, 8),
            Err(LikelihoodError::EmptySlice {
                scored: 8,
                context: 8
            })
        );
        let merged = [None, Some(-1.0), Some(-2.5), Some(-0.3)];
        assert_eq!(continuation(&merged, 3), Ok(-0.3));
        assert_eq!(continuation(&merged, 2), Ok(-2.8));
        assert_eq!(continuation(&merged, 0), Err(LikelihoodError::Missing(0)));
        assert!(continuation(&[], 0).is_err() && continuation(&merged, 9).is_err());
    }
}
