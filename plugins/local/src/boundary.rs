//! Where a context ends and a continuation begins, in tokens.
//!
//! The rule is lm-eval's `_encode_pair`: whitespace at the context's end belongs to the continuation, both are
//! tokenised together, and what comes after as many tokens as the context alone has is the continuation. The rule
//! trusts lengths; where the tokenizer merges across the boundary, the ids sent differ from the whole text's, and
//! that is reported, not hidden.

/// A context and a continuation as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedPair {
    /// Tokens of the context alone.
    pub context: Vec<u32>,
    /// Tokens to score.
    pub continuation: Vec<u32>,
    /// Whether the whole text's tokens do not begin with the context's.
    pub boundary_merged: bool,
}

/// Cuts the tokens of context and continuation together after as many as the context alone has.
pub(crate) fn split(context: Vec<u32>, whole: &[u32]) -> EncodedPair {
    let (head, tail) = whole.split_at(context.len().min(whole.len()));
    EncodedPair { boundary_merged: head != context, continuation: tail.to_vec(), context }
}

/// Conditions an empty context on the prefix token.
///
/// A continuation that already starts with that token gives it up as its context instead.
pub(crate) fn with_prefix(pair: EncodedPair, prefix: u32) -> EncodedPair {
    match pair.continuation.split_first() {
        _ if !pair.context.is_empty() => pair,
        Some((first, rest)) if *first == prefix && !rest.is_empty() => {
            EncodedPair { context: vec![prefix], continuation: rest.to_vec(), ..pair }
        }
        _ => EncodedPair { context: vec![prefix], ..pair },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_trusts_lengths_and_says_so() {
        type Case<'a> = (&'a [u32], &'a [u32], &'a [u32], bool);
        let table: &[Case<'_>] = &[
            (&[1, 2], &[1, 2, 3, 4], &[3, 4], false),
            (&[1, 2], &[1, 9, 3], &[3], true),
            (&[1, 2], &[9], &[], true),
            (&[], &[5], &[5], false),
        ];
        for (context, whole, continuation, boundary_merged) in table {
            let pair = split(context.to_vec(), whole);
            assert_eq!(
                (pair.continuation.as_slice(), pair.boundary_merged),
                (*continuation, *boundary_merged)
            );
            assert_eq!(pair.context, *context);
        }
    }

    #[test]
    fn an_empty_context_gets_the_prefix_token_once() {
        type Case<'a> = (&'a [u32], &'a [u32], &'a [u32], &'a [u32]);
        let table: &[Case<'_>] = &[
            (&[], &[5, 6], &[1], &[5, 6]),
            (&[], &[1, 6], &[1], &[6]),
            (&[], &[1], &[1], &[1]),
            (&[7], &[1, 6], &[7], &[1, 6]),
            (&[], &[], &[1], &[]),
        ];
        for (context, continuation, expected_context, expected_continuation) in table {
            let pair = EncodedPair {
                context: context.to_vec(),
                continuation: continuation.to_vec(),
                boundary_merged: false,
            };
            let pair = with_prefix(pair, 1);
            assert_eq!(
                (pair.context.as_slice(), pair.continuation.as_slice()),
                (*expected_context, *expected_continuation)
            );
        }
    }
}
