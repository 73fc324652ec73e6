//! Bytes in pieces to text in whole characters.
//!
//! A token may end in the middle of a character; the rest of it is in the next token.

/// Decodes a stream of bytes, holding back the beginning of a character until the rest has come.
#[derive(Debug, Default)]
pub(crate) struct Utf8Stream {
    /// At most three bytes, which may still become a character.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes bytes and gives the characters that are complete; bytes that cannot become one give U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = invalid;
                    // No length means that the input ends inside a character.
                    if let Some(length) = error.error_len() {
                        text.push(char::REPLACEMENT_CHARACTER);
                        rest = rest.get(length..).unwrap_or_default();
                        continue;
                    }
                }
            }
            break;
        }
        self.pending = rest.to_vec();
        text
    }

    /// What is left at the end: U+FFFD for a character that never became complete.
    pub(crate) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_out_whole() {
        type Case<'a> = (&'a [&'a [u8]], &'a [&'a str], &'a str);
        let table: &[Case<'_>] = &[
            (&[b"ab", b"c"], &["ab", "c"], ""),
            (&[b"\xC3", b"\xA9!"], &["", "é!"], ""),
            (&[b"\xF0\x9F", b"\x98", b"\x80"], &["", "", "😀"], ""),
            (&[b"a\xFFb"], &["a\u{FFFD}b"], ""),
            (&[b"\xE6\x97", b"x"], &["", "\u{FFFD}x"], ""),
            (&[b"x\xE6\x97"], &["x"], "\u{FFFD}"),
        ];
        for (pieces, expected, end) in table {
            let mut stream = Utf8Stream::default();
            let out: Vec<String> = pieces.iter().map(|piece| stream.push(piece)).collect();
            assert_eq!(out, *expected);
            assert_eq!(stream.finish(), *end);
        }
    }

    #[test]
    fn any_cut_of_a_text_gives_the_text() {
        let text = "naïve 日本語 😀 e\u{301}";
        for cut in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            let mut stream = Utf8Stream::default();
            assert_eq!(stream.push(left) + &stream.push(right) + &stream.finish(), text);
        }
    }
}
