//! The log-likelihood of a continuation out of the prompt's log-probabilities.
//!
//! The rule is that of lm-eval's `encode_pair`: white space at the end of the context belongs to the continuation,
//! and the continuation's tokens are those of the whole beyond the number of the context's. TGI takes text only,
//! so where the boundary merges the whole is scored as the server cuts it, summed from the same place, and
//! the mismatch reported. The rule holds for a chat template's last line break too. Pure.

use plugin_api::{Error, ErrorKind, Likelihood, Result};

use super::decode::Prefill;

/// Sums the log-probabilities of the tokens after the context.
///
/// `context` holds the context's token ids with what the server puts before them, `prefill` the tokens of context
/// and continuation. A log-probability that is not a number makes the sum none.
///
/// # Errors
/// `unsupported` if the server gives no log-probabilities of a prompt; `invalid_request` if the continuation
/// has no token, or its first one stands at the beginning of everything and so has no probability.
pub fn after_context(context: &[u32], prefill: &[Prefill], tokens: bool) -> Result<Likelihood> {
    let scored = given(prefill)?.get(context.len()..).unwrap_or_default();
    if scored.is_empty() {
        return Err(invalid(format!(
            "the continuation has no token of its own: context {} tokens, context and continuation {}",
            context.len(),
            prefill.len()
        )));
    }
    if context.is_empty() {
        return Err(invalid(
            "an empty context, and the server puts no token before it: the first token has no \
             probability"
                .to_owned(),
        ));
    }
    let merged = prefill.iter().zip(context).any(|(token, id)| token.id != *id);
    Ok(Likelihood { boundary_merged: merged, ..sum(scored, prefill.len(), tokens) })
}

/// Sums the log-probabilities of all tokens that have one. The first token of the whole has none: that is the one
/// that the server puts before a text, or, where it puts none, the text's own first token, which stays
/// unscored.
///
/// # Errors
/// `unsupported` as for [`after_context`]; `invalid_request` if no token is left.
pub fn rolling(prefill: &[Prefill]) -> Result<Likelihood> {
    let scored = match given(prefill)? {
        [Prefill { logprob: None, .. }, rest @ ..] => rest,
        all => all,
    };
    if scored.is_empty() {
        return Err(invalid("the text has no token that follows another".to_owned()));
    }
    Ok(sum(scored, prefill.len(), false))
}

fn given(prefill: &[Prefill]) -> Result<&[Prefill]> {
    if prefill.is_empty() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the server gives no log-probabilities of a prompt: start TGI with \
             --enable-prefill-logprobs (its TensorRT-LLM, llama.cpp and Neuron backends have none)",
        ));
    }
    Ok(prefill)
}

fn sum(scored: &[Prefill], all: usize, tokens: bool) -> Likelihood {
    Likelihood {
        logprob: scored.iter().map(|token| token.logprob).sum(),
        tokens: u32::try_from(scored.len()).unwrap_or(u32::MAX),
        // The server does not say which token would have been the likeliest.
        greedy: None,
        boundary_merged: false,
        token_logprobs: tokens.then(|| scored.iter().map(|token| token.logprob).collect()),
        prompt_tokens: u64::try_from(all).ok(),
    }
}

/// What a server puts before every text: the common beginning of the tokens of two texts that share none.
pub fn common_prefix(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().zip(b).take_while(|(a, b)| a == b).map(|(id, _)| *id).collect()
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefill(tokens: &[(u32, Option<f64>)]) -> Vec<Prefill> {
        tokens.iter().map(|(id, logprob)| Prefill { id: *id, logprob: *logprob }).collect()
    }

    /// evaluation.md, V3.
    fn v3() -> (Vec<u32>, Vec<Prefill>) {
        let ids = [1, 660, 29901, 921, 13, 29909, 29901, 4874];
        let logprobs = [-9.1, -0.4, -3.2, -1.1, -0.9, -0.1, -0.75].map(Some);
        let whole = ids.into_iter().zip(std::iter::once(None).chain(logprobs)).collect::<Vec<_>>();
        (ids[..7].to_vec(), prefill(&whole))
    }

    #[test]
    fn v3_sums_the_tokens_after_the_context() {
        assert_eq!(plugin_api::split_context("Q: x\nA: "), ("Q: x\nA:", " "));
        let (context, whole) = v3();
        let likelihood = after_context(&context, &whole, true).unwrap();
        assert_eq!(likelihood.logprob, Some(-0.75));
        assert_eq!(likelihood.tokens, 1);
        assert_eq!(likelihood.token_logprobs, Some(vec![Some(-0.75)]));
        assert_eq!(likelihood.prompt_tokens, Some(8));
        assert_eq!((likelihood.greedy, likelihood.boundary_merged), (None, false));
    }

    #[test]
    fn v3_an_empty_slice_is_an_error_and_never_a_perfect_score() {
        let (mut context, whole) = v3();
        context.push(29871);
        assert_eq!(
            after_context(&context, &whole, false).unwrap_err().kind,
            ErrorKind::InvalidRequest
        );
        context.push(0);
        assert_eq!(
            after_context(&context, &whole, false).unwrap_err().kind,
            ErrorKind::InvalidRequest
        );
    }

    #[test]
    fn a_merged_boundary_is_summed_from_the_same_place_and_reported() {
        let whole = prefill(&[(1, None), (5, Some(-1.0)), (9, Some(-2.0)), (7, Some(-4.0))]);
        let likelihood = after_context(&[1, 5, 6], &whole, false).unwrap();
        assert!(likelihood.boundary_merged);
        assert_eq!((likelihood.logprob, likelihood.tokens), (Some(-4.0), 1));
    }

    #[test]
    fn what_is_not_a_number_makes_the_sum_none() {
        let whole = prefill(&[(1, None), (5, Some(-1.0)), (9, None)]);
        let likelihood = after_context(&[1], &whole, false).unwrap();
        assert_eq!((likelihood.logprob, likelihood.tokens), (None, 2));
    }

    #[test]
    fn a_first_token_without_condition_is_an_error() {
        let whole = prefill(&[(5, None), (9, Some(-1.0))]);
        assert_eq!(after_context(&[], &whole, false).unwrap_err().kind, ErrorKind::InvalidRequest);
    }

    #[test]
    fn an_empty_prefill_names_the_servers_flag() {
        let error = after_context(&[1], &[], false).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.message.contains("--enable-prefill-logprobs"));
        assert_eq!(rolling(&[]).unwrap_err().kind, ErrorKind::Unsupported);
    }

    #[test]
    fn rolling_scores_every_token_but_the_first() {
        let (_, whole) = v3();
        let likelihood = rolling(&whole).unwrap();
        assert_eq!(likelihood.tokens, 7);
        assert!((likelihood.logprob.unwrap() + 15.55).abs() < 1e-9);
        assert_eq!(rolling(&prefill(&[(1, None)])).unwrap_err().kind, ErrorKind::InvalidRequest);
    }

    #[test]
    fn what_the_server_puts_first_is_what_two_texts_share() {
        assert_eq!(common_prefix(&[1, 263], &[1, 289]), [1]);
        assert!(common_prefix(&[64], &[65]).is_empty());
    }
}
