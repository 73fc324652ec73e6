//! Whitespace between a context and what follows it.
//!
//! Tokenisers join a space to the word after it, so a context that ends in one would be cut at a
//! place where no token ends. Whitespace here is what Python's `str` methods take it to be, since
//! the scores to compare with were made with those.

/// Whether Python's `str.isspace` holds: Unicode whitespace and the four separators U+001C to U+001F.
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Whether a text ends in whitespace. An empty text does not.
#[must_use]
pub fn ends_in_space(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_space)
}

/// Joins two texts with one space when neither has whitespace at the seam and neither is empty.
#[must_use]
pub fn join_with_space(left: &str, right: &str) -> String {
    let seam_is_bare = !left.is_empty()
        && !right.is_empty()
        && !ends_in_space(left)
        && !right.starts_with(is_space);
    if seam_is_bare { format!("{left} {right}") } else { format!("{left}{right}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_space_at_a_bare_seam() {
        let table = [
            ("a", "b", "a b"),
            ("a ", "b", "a b"),
            ("a", "\nb", "a\nb"),
            ("", "b", "b"),
            ("a", "", "a"),
        ];
        for (left, right, joined) in table {
            assert_eq!(join_with_space(left, right), joined);
        }
    }
}
