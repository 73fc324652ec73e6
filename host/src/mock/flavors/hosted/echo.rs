//! Log-probabilities as `/completions` gives them: of the prompt (`echo`, `prompt_logprobs`) and of the answer.

use std::collections::HashSet;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::prompt::{Tokens, of_id};
use crate::mock::model::{Context, Said, Token};

/// `choices[].logprobs`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Vec<Option<ByText>>,
    text_offset: Vec<usize>,
}

/// `{"text": log-probability}`.
#[derive(Clone, Debug)]
struct ByText(Vec<(String, f64)>);

impl Serialize for ByText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(text, logprob)| (text, logprob)))
    }
}

/// A token of the prompt as vLLM shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ranked {
    logprob: f64,
    rank: usize,
    decoded_token: String,
}

/// `{"id": {...}}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ById(Vec<(u32, Ranked)>);

impl Serialize for ById {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, ranked) in &self.0 {
            map.serialize_entry(&id.to_string(), ranked)?;
        }
        map.end()
    }
}

/// The likeliest tokens of a place and the one that stands there.
fn likeliest(context: Context, id: u32, most: usize) -> Vec<(u32, f64)> {
    let mut all = context.alternatives(context.top(), most);
    if all.iter().all(|(other, _)| *other != id) {
        all.push((id, context.logprob(id)));
    }
    all
}

fn by_text(tokens: Vec<(u32, f64)>) -> ByText {
    // Where two ids have one text, only the likelier can be shown.
    let mut seen = HashSet::with_capacity(tokens.len());
    let texts = tokens.into_iter().map(|(id, logprob)| (of_id(id), logprob));
    ByText(texts.filter(|(text, _)| seen.insert(text.clone())).collect())
}

impl Logprobs {
    /// Appends those of a prompt. The first token has none: nothing came before it.
    pub(super) fn push_prompt(&mut self, prompt: &Tokens, most: usize) {
        let mut context = Context::new();
        let mut offset = Offset::new(&prompt.text, 0);
        for (at, token) in prompt.tokens.iter().enumerate() {
            self.tokens.push(prompt.piece(token));
            let given = at > 0;
            self.token_logprobs.push(given.then(|| context.logprob(token.id)));
            self.top_logprobs.push(given.then(|| by_text(likeliest(context, token.id, most))));
            self.text_offset.push(offset.of(token.start));
            context.push(token.id);
        }
    }

    /// Appends those of an answer that begins after so many characters.
    pub(super) fn push_answer(&mut self, said: &Said, most: usize, before: usize) {
        let mut offset = Offset::new(said.text(), before);
        for token in answer_tokens(said) {
            self.push(said, token, most, offset.of(token.start));
        }
    }

    /// Those of one token of an answer that begins after so many characters.
    pub(super) fn of_token(said: &Said, token: &Token, most: usize, before: usize) -> Self {
        let mut logprobs = Self::default();
        logprobs.push(said, token, most, Offset::new(said.text(), before).of(token.start));
        logprobs
    }

    fn push(&mut self, said: &Said, token: &Token, most: usize, offset: usize) {
        self.tokens.push(said.answer_piece(token).to_owned());
        self.token_logprobs.push(Some(token.logprob()));
        self.top_logprobs.push(Some(by_text(token.alternatives(most.max(1)))));
        self.text_offset.push(offset);
    }
}

/// The tokens that show in an answer: neither the one that ends it nor those of the stop text.
pub(super) fn answer_tokens(said: &Said) -> impl Iterator<Item = &Token> {
    said.tokens.iter().filter(|token| !said.answer_piece(token).is_empty())
}

/// Counts characters where bytes are known, from left to right.
struct Offset<'a> {
    text: &'a str,
    byte: usize,
    characters: usize,
}

impl<'a> Offset<'a> {
    const fn new(text: &'a str, before: usize) -> Self {
        Self { text, byte: 0, characters: before }
    }

    fn of(&mut self, byte: usize) -> usize {
        self.characters += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.characters
    }
}

/// vLLM's `prompt_logprobs`: the `most` likeliest of each place, and the token itself with its rank.
pub(super) fn prompt_logprobs(prompt: &Tokens, most: i64) -> Vec<Option<ById>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut context = Context::new();
    let ids = prompt.tokens.iter().enumerate();
    ids.map(|(at, token)| {
        let places = (at > 0).then(|| ranked(context, token.id, most));
        context.push(token.id);
        places
    })
    .collect()
}

fn ranked(context: Context, id: u32, most: usize) -> ById {
    let all = context.alternatives(context.top(), usize::MAX);
    let logprob = context.logprob(id);
    let rank = 1 + all.iter().filter(|(other, likely)| *other != id && *likely > logprob).count();
    let own = Ranked { logprob, rank, decoded_token: of_id(id) };
    let others = all.into_iter().take(most).enumerate().filter(|(_, (other, _))| *other != id);
    let others = others.map(|(at, (id, logprob))| {
        (id, Ranked { logprob, rank: at + 1, decoded_token: of_id(id) })
    });
    ById(std::iter::once((id, own)).chain(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_has_no_log_probability_and_the_others_have_the_models() {
        let prompt = Tokens::of_text("Né: yes", false);
        let mut logprobs = Logprobs::default();
        logprobs.push_prompt(&prompt, 2);
        assert_eq!(logprobs.tokens, ["Né", ":", " yes"]);
        assert_eq!(logprobs.text_offset, [0, 2, 3]);
        assert_eq!(logprobs.token_logprobs[0], None);
        let mut context = Context::new();
        context.push(prompt.tokens[0].id);
        assert_eq!(logprobs.token_logprobs[1], Some(context.logprob(prompt.tokens[1].id)));
        let top = logprobs.top_logprobs[1].as_ref().unwrap();
        assert!((2..=3).contains(&top.0.len()));
        assert!(top.0.iter().any(|(text, _)| text == ":"));
    }

    #[test]
    fn a_token_of_the_prompt_is_first_in_rank_exactly_if_it_is_the_likeliest() {
        for text in ["A B C D yes no the a", "The quick brown fox jumps over it"] {
            let prompt = Tokens::of_text(text, true);
            let shown = prompt_logprobs(&prompt, 3);
            assert_eq!(shown.len(), prompt.tokens.len());
            assert_eq!(shown[0], None);
            let mut context = Context::new();
            for (token, shown) in prompt.tokens.iter().zip(&shown) {
                if let Some(ById(shown)) = shown {
                    let (id, own) = &shown[0];
                    assert_eq!((*id, own.logprob), (token.id, context.logprob(token.id)));
                    assert_eq!(own.rank == 1, context.top() == token.id);
                    assert!((3..=4).contains(&shown.len()));
                }
                context.push(token.id);
            }
        }
    }
}
