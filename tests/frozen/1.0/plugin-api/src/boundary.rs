//! Where a context ends and a continuation begins, in text.
//!
//! Tokenisers join a space to the word after it, so a context that ends in one would be cut where no token
//! ends, and the slice of the continuation's tokens would come out empty.

/// Splits the whitespace at the end off a context: what stays, and what moves to the front of each
/// continuation.
///
/// Whitespace is what Python's `str.rstrip` takes it to be (Unicode whitespace and U+001C to U+001F), since
/// the scores to compare with were made so. Source: lm-evaluation-harness, `_encode_pair`.
///
/// ```
/// assert_eq!(plugin_api::split_context("Q: x\nA: "), ("Q: x\nA:", " "));
/// ```
pub fn split_context(context: &str) -> (&str, &str) {
    let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    context.split_at(context.trim_end_matches(is_space).len())
}

#[cfg(test)]
mod tests {
    use super::split_context;

    #[test]
    fn the_text_stays_the_same_and_the_context_ends_in_a_word() {
        for (context, expected) in [
            ("Answer:", ("Answer:", "")),
            ("Answer: \n", ("Answer:", " \n")),
            ("x \u{1f}\u{3000}", ("x", " \u{1f}\u{3000}")),
            (" \n", ("", " \n")),
            ("", ("", "")),
        ] {
            assert_eq!(split_context(context), expected);
        }
    }
}
