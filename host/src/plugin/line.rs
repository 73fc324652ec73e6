//! What a plugin says, as one line that is no longer than a person reads: none may look like the host's own, nor turn
//! around what stands beside it.

/// Bytes of a line that are shown, but for the end of its last character.
pub const MOST_BYTES: usize = 400;

/// A text as a line.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= MOST_BYTES {
            break;
        }
        line.push(visible(c));
    }
    line
}

/// A character as it is shown: what steers a terminal, ends a line or changes the direction of text is a space.
pub fn visible(c: char) -> char {
    match c {
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            ' '
        }
        c if c.is_control() => ' ',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_of_what_is_visible() {
        for (text, expected) in [
            ("one\ntwo\r\u{1b}[1m\u{85}", "one two  [1m "),
            ("a\u{2028}b\u{2029}c", "a b c"),
            ("\u{202e}drawkcab\u{2066}\u{2069}\u{200f}\u{61c}", " drawkcab    "),
            ("日本語 שלום e\u{301}", "日本語 שלום e\u{301}"),
        ] {
            assert_eq!(one_line(text), expected);
        }
        assert_eq!(one_line(&"x".repeat(3_000_000)).len(), MOST_BYTES);
        // Never within a character.
        assert_eq!(one_line(&"日".repeat(MOST_BYTES)).len(), 402);
    }
}
