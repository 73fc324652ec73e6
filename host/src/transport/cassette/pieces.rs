//! Finds a secret that came in pieces: a stream that spells a key out, some letters an event, has it nowhere as a
//! whole, and yet whoever reads the file can put it together. Pure.
//!
//! It knows no vendor's format. All that it takes is that each piece is a JSON string of its own, or the end or the
//! beginning of one, and that the pieces follow each other with only a few other strings between them.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

/// Secrets shorter than this are no keys, and would be found by chance.
const SHORTEST: usize = 8;
/// Most strings between two pieces: the names and other members of an event.
const GAP: usize = 48;

/// A beginning of the secret that was found.
#[derive(Clone)]
struct Begun {
    /// Where its pieces stand.
    pieces: Vec<Range<usize>>,
    /// Which string holds the last of them.
    last: usize,
}

/// `text` with the pieces of this secret taken out; the first gives way to `[redacted:slot]`.
pub(super) fn hide<'t>(text: &'t str, slot: &str, secret: &str) -> Cow<'t, str> {
    if secret.len() < SHORTEST {
        return Cow::Borrowed(text);
    }
    let mut found: Vec<Vec<Range<usize>>> = Vec::new();
    // By the bytes of the secret that are found. Of two ways to the same length the later one is the nearer.
    let mut begun: BTreeMap<usize, Begun> = BTreeMap::new();
    for (number, string) in strings(text).enumerate() {
        let piece = &text[string.clone()];
        if piece.is_empty() {
            continue;
        }
        begun.retain(|_, begun| number - begun.last <= GAP);
        let mut longer: Vec<(usize, Begun)> = Vec::new();
        let mut whole = None;
        for (length, begun) in &begun {
            let rest = &secret[*length..];
            let mut pieces = begun.pieces.clone();
            if piece.starts_with(rest) {
                pieces.push(string.start..string.start + rest.len());
                whole = Some(pieces);
            } else if rest.starts_with(piece) {
                pieces.push(string.clone());
                longer.push((length + piece.len(), Begun { pieces, last: number }));
            }
        }
        let ends = (1..secret.len().min(piece.len() + 1))
            .filter(|end| secret.is_char_boundary(*end) && piece.ends_with(&secret[..*end]));
        for end in ends {
            let piece = string.end - end..string.end;
            longer.push((end, Begun { pieces: Vec::from([piece]), last: number }));
        }
        // Single letters are found in order in any long text.
        match whole.filter(|pieces| pieces.len() * 2 <= secret.len()) {
            Some(pieces) => {
                found.push(pieces);
                begun.clear();
            }
            None => begun.extend(longer),
        }
    }
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut end = 0;
    for pieces in found {
        for (number, piece) in pieces.into_iter().enumerate() {
            clean.push_str(&text[end..piece.start]);
            if number == 0 {
                clean.push_str(&format!("[redacted:{slot}]"));
            }
            end = piece.end;
        }
    }
    clean.push_str(&text[end..]);
    Cow::Owned(clean)
}

/// Where the JSON strings of a text stand, without their quotes.
fn strings(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes.get(at..)?.iter().position(|byte| *byte == b'"')? + 1;
        let mut end = start;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        at = end + 1;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-canary-0123456789";

    fn stream(pieces: &[&str]) -> String {
        pieces
            .iter()
            .map(|piece| {
                format!("data: {{\"id\":\"x\",\"delta\":{{\"role\":\"a\",\"content\":\"{piece}\"}}}}\n\n")
            })
            .collect()
    }

    #[test]
    fn a_key_that_is_spelt_out_is_found_however_it_is_cut() {
        for pieces in [
            &["your key is sk-can", "ary-0123456789", "!"][..],
            &["sk", "-can", "ary", "-012", "345", "6789 is it"],
            &["s", "sk-", "canary-", "0123456789"],
            &["say \\\"sk-canary", "-0123456789"],
        ] {
            let text = stream(pieces);
            let clean = hide(&text, "key", SECRET);
            let said: String = clean
                .split("\"content\":\"")
                .skip(1)
                .filter_map(|rest| rest.split("\"}").next())
                .collect();
            assert!(said.contains("[redacted:key]"), "{clean}");
            assert!(!said.contains("canary") && !said.contains("456"), "{said}");
            assert_eq!(clean.matches("data: ").count(), pieces.len());
        }
    }

    #[test]
    fn what_only_resembles_a_key_is_left_alone() {
        for pieces in [&["sk-canary", "-012345678"][..], &["sk-", "dog", "-0123"], &["no"], &[]] {
            assert!(matches!(hide(&stream(pieces), "key", SECRET), Cow::Borrowed(_)));
        }
        let letters: Vec<String> = SECRET.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert!(matches!(hide(&stream(&letters), "key", SECRET), Cow::Borrowed(_)));
        for text in ["\"", "\"a\\", "no string", "\"ü\\\"\"\""] {
            assert_eq!(hide(text, "key", SECRET), text);
        }
    }
}
