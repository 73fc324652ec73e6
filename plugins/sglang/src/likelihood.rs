//! Log-likelihood out of the log-probabilities that the server gives of token ids (wire.md 3.5).
//!
//! The rule at the boundary is that of lm-eval's `encode_pair` (evaluation.md 6.2): white space at the end of the
//! context belongs to the continuation; the continuation's tokens are those of the whole beyond the number of the
//! context's; and what is sent is the context's own tokens, then those. Pure.

use plugin_api::{Error, ErrorKind, Likelihood, Result};

use crate::{
    choice,
    decode::{Entry, Output},
};

/// Tokens to score after others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// All tokens that are sent.
    pub ids: Vec<u32>,
    /// Number of the first one that is scored; never 0, since the first token of all has no condition.
    pub from: usize,
    /// Whether the whole is cut into other tokens than these at the boundary.
    pub merged: bool,
}

impl Sequence {
    /// Where the server's list shall begin: it gives no log-probability with its first entry, so that must be the
    /// one before the first scored token.
    pub const fn start(&self) -> usize {
        self.from - 1
    }
}

/// The tokens of a continuation after those of its context. `context` and `whole` are the tokens of the context and
/// of the text that context and continuation make, both with what the tokenizer puts before; `prefix` stands for
/// a context of no token at all.
///
/// # Errors
/// `invalid_request` if the continuation has no token of its own, or none stands before its first one.
pub fn sequence(context: &[u32], whole: &[u32], prefix: Option<u32>) -> Result<Sequence> {
    if context.is_empty() {
        return after_prefix(whole, prefix);
    }
    let own = whole.get(context.len()..).filter(|own| !own.is_empty()).ok_or_else(|| {
        invalid(format!(
            "the continuation has no token of its own: context {} tokens, context and continuation {}",
            context.len(),
            whole.len()
        ))
    })?;
    Ok(Sequence {
        ids: [context, own].concat(),
        from: context.len(),
        merged: !whole.starts_with(context),
    })
}

/// A continuation that begins with the prefix token itself has its context in it.
fn after_prefix(whole: &[u32], prefix: Option<u32>) -> Result<Sequence> {
    let prefix = prefix.ok_or_else(|| {
        invalid(
            "an empty context, and the tokenizer puts no token before it: the first token has no \
             probability; set prefix_token_id to the token that an empty context shall stand for"
                .to_owned(),
        )
    })?;
    let own = whole.strip_prefix(&[prefix]).filter(|rest| !rest.is_empty()).unwrap_or(whole);
    if own.is_empty() {
        return Err(invalid("the continuation has no token".to_owned()));
    }
    Ok(Sequence { ids: [&[prefix], own].concat(), from: 1, merged: false })
}

/// Cuts a text's tokens into pieces of at most `most`, so that each token from number `from` on is scored once: as
/// many of the tokens before as fit stand in front of each later piece (lm-eval's `get_rolling_token_windows` with a
/// context of one token).
pub fn windows(ids: &[u32], from: usize, most: usize) -> Vec<Sequence> {
    // A smaller window could hold nothing to score.
    let most = most.max(from + 1);
    let mut windows = Vec::new();
    let mut scored = from.max(1);
    while scored < ids.len() {
        let start = if windows.is_empty() { 0 } else { scored - 1 };
        let end = ids.len().min(start + most);
        let start = end.saturating_sub(most);
        let (from, part) = (scored - start, ids.get(start..end).unwrap_or_default());
        windows.push(Sequence { ids: part.to_vec(), from, merged: false });
        scored = end;
    }
    windows
}

/// How far above 0 rounding may lift a log-probability; what lies higher is none.
const ROUNDING: f64 = 0.01;

/// The likelihood of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Of each scored token, in order; none for what is not a number.
    pub logprobs: Vec<Option<f64>>,
    /// Whether each was the likeliest; none if the server does not say.
    pub greedy: Option<bool>,
}

/// Reads the log-probabilities of `ids` from number `from` on, out of lists that begin at number `start`.
///
/// # Errors
/// The failure that stands in the answer's place; `context_length` if the server cut the tokens; `unexpected_reply`
/// if the lists are not those of these tokens. Never a score of a part.
pub fn scored(ids: &[u32], from: usize, start: usize, output: &Output<'_>) -> Result<Scored> {
    let meta = output.meta()?;
    choice::uncut(Some(ids.len()), meta.prompt_tokens)?;
    let entries = meta
        .input_token_logprobs
        .as_deref()
        .ok_or_else(|| Error::unexpected("an answer without `input_token_logprobs`"))?;
    let sent = ids.get(start..).unwrap_or_default();
    // Of the entries before the first scored token there must be one, because the first entry has no value.
    let skip = from.checked_sub(start).filter(|skip| *skip > 0);
    let (Some(skip), true) = (skip, entries.len() == sent.len()) else {
        return Err(Error::unexpected(format!(
            "{} log-probabilities came for {} tokens from number {start} on, of which those from {from} on \
             are scored",
            entries.len(),
            sent.len()
        )));
    };
    if !entries.iter().zip(sent).all(|(entry, id)| is_of(entry, *id)) {
        return Err(Error::unexpected(
            "the log-probabilities are those of other tokens than were sent",
        ));
    }
    if entries.first().is_some_and(|first| first.0.is_some()) {
        return Err(Error::unexpected(
            "the first log-probability is a number, where SGLang has none: the list may be shifted",
        ));
    }
    let own = entries.get(skip..).filter(|own| !own.is_empty());
    let own = own.ok_or_else(|| Error::unexpected("no log-probability came for what is scored"))?;
    if own.iter().filter_map(|entry| entry.0).any(|logprob| logprob > ROUNDING) {
        return Err(Error::unexpected("a log-probability above 0"));
    }
    Ok(Scored {
        logprobs: own.iter().map(|entry| entry.0).collect(),
        greedy: greedy(sent, skip, meta.input_top_logprobs.as_deref())?,
    })
}

/// The server gives the last id of its vocabulary, and what lies beyond, as 0.
fn is_of(entry: &Entry<'_>, id: u32) -> bool {
    entry.1 == i64::from(id) || entry.1 == 0
}

/// Whether each token from `skip` on is the likeliest at its position. Ids are compared: two log-probabilities may be
/// equal.
fn greedy(
    sent: &[u32],
    skip: usize,
    top: Option<&[Option<Vec<Entry<'_>>>]>,
) -> Result<Option<bool>> {
    let Some(top) = top.filter(|top| !top.is_empty()) else {
        return Ok(None);
    };
    if top.len() != sent.len() {
        return Err(Error::unexpected(format!(
            "the likeliest tokens came for {} positions instead of {}",
            top.len(),
            sent.len()
        )));
    }
    let verdicts: Vec<Option<bool>> = sent
        .iter()
        .zip(top)
        .skip(skip)
        .map(|(id, top)| Some(top.as_deref()?.first()?.1 == i64::from(*id)))
        .collect();
    // A position without a likeliest token leaves it open, unless another decides.
    Ok(if verdicts.contains(&Some(false)) {
        Some(false)
    } else {
        verdicts.into_iter().try_fold(true, |all, one| Some(all && one?))
    })
}

impl Scored {
    /// As the host gets it.
    pub fn likelihood(self, sequence: &Sequence, tokens: bool) -> Likelihood {
        Likelihood {
            logprob: self.logprobs.iter().copied().sum(),
            tokens: u32::try_from(self.logprobs.len()).unwrap_or(u32::MAX),
            greedy: self.greedy,
            boundary_merged: sequence.merged,
            token_logprobs: tokens.then_some(self.logprobs),
            prompt_tokens: u64::try_from(sequence.ids.len()).ok(),
        }
    }
}

/// The likelihood of a text out of those of its windows.
pub fn total(parts: Vec<Likelihood>) -> Likelihood {
    Likelihood {
        logprob: parts.iter().map(|part| part.logprob).sum(),
        tokens: parts.iter().map(|part| part.tokens).sum(),
        greedy: None,
        boundary_merged: false,
        token_logprobs: None,
        prompt_tokens: parts.iter().map(|part| part.prompt_tokens).sum(),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_are_the_contexts_tokens_and_those_of_the_whole_beyond_them() {
        for (context, whole, ids, from, merged) in [
            (&[5, 6, 7][..], &[5, 6, 7, 8, 9][..], &[5, 6, 7, 8, 9][..], 3, false),
            // evaluation.md V3, the merged boundary: lm-eval sends the context's own tokens.
            (&[1, 10, 11], &[1, 10, 99, 21], &[1, 10, 11, 21], 3, true),
        ] {
            let expected = Sequence { ids: ids.to_vec(), from, merged };
            assert_eq!(sequence(context, whole, None).unwrap(), expected);
        }
        for whole in [&[5, 6][..], &[5], &[]] {
            let error = sequence(&[5, 6], whole, Some(1)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidRequest, "{whole:?}");
        }
    }

    #[test]
    fn an_empty_context_is_the_configured_token() {
        for (whole, ids) in [
            (&[8, 9][..], &[1, 8, 9][..]),
            // It is there already: it serves as context.
            (&[1, 8], &[1, 8]),
            // Alone it is what is scored.
            (&[1], &[1, 1]),
        ] {
            let sequence = sequence(&[], whole, Some(1)).unwrap();
            assert_eq!((sequence.ids.as_slice(), sequence.from), (ids, 1));
        }
        assert_eq!(sequence(&[], &[], Some(1)).unwrap_err().kind, ErrorKind::InvalidRequest);
        assert!(sequence(&[], &[8], None).unwrap_err().message.contains("prefix_token_id"));
    }

    #[test]
    fn every_token_is_scored_once_and_no_window_is_too_long() {
        for total in 0..40_u32 {
            let ids: Vec<u32> = (0..total).collect();
            for from in 1..3 {
                for most in 3..12 {
                    let mut next = from;
                    for window in windows(&ids, from, most) {
                        assert!(window.ids.len() <= most && window.from >= 1, "{window:?}");
                        let scored = &window.ids[window.from..];
                        assert_eq!(scored, &ids[next..next + scored.len()]);
                        assert!(!scored.is_empty());
                        next += scored.len();
                    }
                    assert_eq!(next, from.max(ids.len()), "{total} {from} {most}");
                }
            }
        }
        // The last window reaches back.
        let last = windows(&[0, 1, 2, 3, 4, 5], 1, 4).pop().unwrap();
        assert_eq!(last, Sequence { ids: vec![2, 3, 4, 5], from: 2, merged: false });
    }
}
