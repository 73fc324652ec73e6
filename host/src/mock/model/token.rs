//! The tokenizer. A token is at most four bytes of UTF-8 and its id is these bytes, so that ids are the same in every
//! process and can be read back without a table.

/// Id of the token before every text; its text is `<s>`.
pub(crate) const BOS: u32 = 1;
/// Id of the token that ends an answer; its text is `</s>`.
pub(crate) const EOS: u32 = 2;

/// Texts that are tokens of their own.
const SPECIAL: [(&str, u32); 2] = [("<s>", BOS), ("</s>", EOS)];
/// Where the ids of the first control characters lie, whose bytes are the ids of special tokens.
const CONTROL: u32 = 0xff00;
/// Most bytes of a token, but for special ones.
const MOST_BYTES: usize = 4;

/// One token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// Its id.
    pub(crate) id: u32,
    /// Its part of the text.
    pub(crate) text: &'a str,
    /// The byte at which it starts.
    pub(crate) start: usize,
}

impl Piece<'_> {
    /// The byte after it.
    pub(crate) const fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The tokens of a text, none added: up to four bytes of a word, the space before it among them; else one character.
/// So what follows a space that ends a context merges with it, as with the tokenizers of real models.
#[derive(Clone, Debug)]
pub(crate) struct Pieces<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Pieces<'a> {
    /// Of this text.
    pub(crate) const fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let start = self.at;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let special =
            rest.starts_with('<').then(|| SPECIAL.iter().find(|(s, _)| rest.starts_with(s)));
        let (id, length) = match special.flatten() {
            Some((text, id)) => (*id, text.len()),
            None => {
                let length = length(rest);
                (pack(&rest.as_bytes()[..length]), length)
            }
        };
        self.at += length;
        Some(Piece { id, text: &rest[..length], start })
    }
}

/// Bytes of the token at the beginning of a text that is not empty.
fn length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let space = usize::from(bytes[0] == b' ');
    let mut end = space;
    // Nearly all text is ASCII, where a byte is a character.
    while end < MOST_BYTES && bytes.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        end += 1;
    }
    if end < MOST_BYTES && bytes.get(end).is_some_and(|byte| !byte.is_ascii()) {
        for character in text[end..].chars() {
            if !character.is_alphanumeric() || end + character.len_utf8() > MOST_BYTES {
                break;
            }
            end += character.len_utf8();
        }
    }
    if end > space { end } else { text.chars().next().map_or(1, char::len_utf8) }
}

/// The id of at most four bytes.
const fn pack(bytes: &[u8]) -> u32 {
    let mut id = 0;
    let mut at = bytes.len();
    while at > 0 {
        at -= 1;
        id = id << 8 | bytes[at] as u32;
    }
    if bytes.len() == 1 && id <= EOS { id | CONTROL } else { id }
}

/// The id of a short text that is one token.
pub(super) const fn id_of(text: &str) -> u32 {
    pack(text.as_bytes())
}

/// Appends a token's text. An id that no text has reads as the replacement character.
pub(crate) fn decode(id: u32, into: &mut String) {
    if let Some((text, _)) = SPECIAL.iter().find(|(_, special)| *special == id) {
        into.push_str(text);
        return;
    }
    let id = if id & !0xff == CONTROL && id & 0xff <= EOS { id & 0xff } else { id };
    let bytes = id.to_le_bytes();
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    match std::str::from_utf8(&bytes[..length]) {
        Ok(text) => into.push_str(text),
        Err(_) => into.push(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        Pieces::of(text).map(|piece| piece.text).collect()
    }

    #[test]
    fn a_token_is_up_to_four_bytes_of_a_word_with_the_space_before_it() {
        assert_eq!(texts("Q: x\nA: "), ["Q", ":", " x", "\n", "A", ":", " "]);
        assert_eq!(texts("A: yes"), ["A", ":", " yes"]);
        assert_eq!(texts("The question?"), ["The", " que", "stio", "n", "?"]);
        assert_eq!(texts("<s>  é|</s><x"), ["<s>", " ", " é", "|", "</s>", "<", "x"]);
        assert_eq!(texts("日本語 🎉"), ["日", "本", "語", " ", "🎉"]);
        assert_eq!(texts(""), [""; 0]);
    }

    #[test]
    fn ids_read_back_as_the_text() {
        let text = "Naïve \0\u{1}\u{2} <s>日本語 🎉 tokens\r\n\t</s> ǅ and 12345!";
        let mut back = String::new();
        let mut end = 0;
        for piece in Pieces::of(text) {
            assert_eq!(piece.start, end);
            end = piece.end();
            decode(piece.id, &mut back);
        }
        assert_eq!(back, text);
    }

    #[test]
    fn ids_are_the_same_in_every_process() {
        let ids: Vec<u32> = Pieces::of("<s>A yes").map(|piece| piece.id).collect();
        assert_eq!(ids, [1, 0x41, 0x7365_7920]);
    }

    #[test]
    fn an_id_without_text_is_told_as_such() {
        let mut text = String::new();
        decode(0xffff_ffff, &mut text);
        assert_eq!(text, "\u{fffd}");
    }
}
