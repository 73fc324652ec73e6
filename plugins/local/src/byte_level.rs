//! GPT-2's printable alphabet for bytes.
//!
//! A byte-level vocabulary stores its tokens in an alphabet of 256 printable characters, one a byte. The table is
//! the one of OpenAI's `bytes_to_unicode` (gpt-2, `src/encoder.py`): printable Latin-1 stands for itself, the other
//! bytes, in order, for U+0100 onwards.

/// Whether a byte stands for itself.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The byte that a character of the alphabet stands for; `None` outside the alphabet.
pub(crate) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_printable(byte).then_some(byte);
    }
    let rank = usize::try_from(code.checked_sub(0x100)?).ok()?;
    (0..=u8::MAX).filter(|byte| !is_printable(*byte)).nth(rank)
}

/// The bytes that a vocabulary entry stands for; `None` when a character is outside the alphabet.
pub(crate) fn bytes_of(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_entries_decode() {
        let table: &[(&str, Option<&[u8]>)] = &[
            ("Ġthe", Some(b" the")),
            ("Ċ", Some(b"\n")),
            ("Ã©", Some("é".as_bytes())),
            ("ĉ", Some(b"\t")),
            ("ł", Some(&[0xA0])),
            ("Ń", Some(&[0xAD])),
            ("", Some(b"")),
            (" ", None),
            ("日", None),
        ];
        for (token, expected) in table {
            assert_eq!(bytes_of(token).as_deref(), *expected, "{token:?}");
        }
    }

    #[test]
    fn every_byte_has_exactly_one_character() {
        let mut seen = [0; 256];
        for byte in (0..0x400).filter_map(char::from_u32).filter_map(byte_of) {
            seen[usize::from(byte)] += 1;
        }
        assert!(seen.iter().all(|count| *count == 1));
    }
}
