//! The fake's language model: a tokenizer, a chat template and log-probabilities, all pure functions of the text.
//!
//! Knows nothing of HTTP.

/// Id of the token before every text; its text is `<s>`.
pub const BOS: u32 = 1;
/// Id of the token that ends an answer; its text is `</s>`.
pub const EOS: u32 = 2;
/// Log-probability of each token of inputs that are said to be likely.
pub const LIKELY: f64 = -1.0 / 128.0;

/// The model's habits.
#[derive(Clone, Debug)]
pub struct Model {
    /// Whether the tokenizer puts BOS before every text.
    pub adds_bos: bool,
    /// Whether the chat template begins with the text of BOS.
    pub template_writes_bos: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self { adds_bos: true, template_writes_bos: true }
    }
}

/// One token of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its id.
    pub id: u32,
    /// Its part of the text; empty for a BOS that the tokenizer added.
    pub text: &'a str,
    /// Byte at which it starts.
    pub start: usize,
}

/// A text as tokens, without anything added: a word with the space before it, else one character. `<s>` and `</s>`
/// are special tokens.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        let length = piece_length(rest);
        let piece = &rest[..length];
        pieces.push(Piece { id: id(piece), text: piece, start });
        start += length;
    }
    pieces
}

fn piece_length(text: &str) -> usize {
    for special in ["<s>", "</s>"] {
        if text.starts_with(special) {
            return special.len();
        }
    }
    let space = usize::from(text.starts_with(' '));
    let word = text[space..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - space);
    if word > 0 { space + word } else { text.chars().next().map_or(0, char::len_utf8) }
}

fn id(piece: &str) -> u32 {
    match piece {
        "<s>" => BOS,
        "</s>" => EOS,
        _ => 3 + hash(piece.bytes().map(u32::from)) % 31_997,
    }
}

/// FNV-1a.
fn hash(parts: impl Iterator<Item = u32>) -> u32 {
    parts.fold(2_166_136_261, |hash, part| (hash ^ part).wrapping_mul(16_777_619))
}

/// Natural logarithm of the probability of a token after another: between -8 and 0, in steps that both
/// 32 and 64 bits hold exactly, so that sums are equal in any order.
pub fn logprob(before: u32, id: u32) -> f64 {
    -f64::from(hash([before, id].into_iter()) % 1023 + 1) / 128.0
}

impl Model {
    /// A text as the server tokenises it.
    pub fn tokenize<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let mut all = pieces(text);
        if self.adds_bos {
            all.insert(0, Piece { id: BOS, text: "", start: 0 });
        }
        all
    }

    /// Messages (role, content) as text, the assistant's turn opened.
    pub fn template<'m>(&self, messages: impl Iterator<Item = (&'m str, &'m str)>) -> String {
        let mut text = String::from(if self.template_writes_bos { "<s>" } else { "" });
        for (role, content) in messages {
            text.extend(["<|", role, "|>\n", content, "\n"]);
        }
        text.push_str("<|assistant|>\n");
        text
    }

    /// Log-likelihood and number of tokens of `continuation` after `context`, as lm-eval's rule has it: white
    /// space at the end of the context counts as the continuation's.
    pub fn score(&self, context: &str, continuation: &str) -> (f64, usize) {
        let whole = format!("{context}{continuation}");
        let whole = self.tokenize(&whole);
        let before = self.tokenize(context.trim_end()).len();
        let pairs = whole.windows(2).skip(before.saturating_sub(1));
        let scores = pairs.map(|pair| logprob(pair[0].id, pair[1].id));
        (scores.sum(), whole.len() - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_the_space_before_them_and_a_lone_space_is_a_token() {
        let texts = |text| pieces(text).into_iter().map(|piece| piece.text).collect::<Vec<_>>();
        assert_eq!(texts("Q: x\nA: "), ["Q", ":", " x", "\n", "A", ":", " "]);
        assert_eq!(texts("A: yes"), ["A", ":", " yes"]);
        assert_eq!(texts("<s>  é|</s>"), ["<s>", " ", " é", "|", "</s>"]);
    }

    #[test]
    fn a_score_sums_the_tokens_after_the_context() {
        let model = Model::default();
        let yes = pieces(" yes")[0].id;
        let colon = pieces(":")[0].id;
        assert_eq!(model.score("A: ", "yes"), (logprob(colon, yes), 1));
        assert_eq!(model.score("", "yes").1, 1);
    }
}
