//! Prompts of `/completions`: texts or the ids of tokens, one or several.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use crate::mock::{
    flavors::text::Text,
    model::{BOS, Context, EOS, Pieces, decode},
};

/// The field `prompt`.
#[derive(Clone, Debug)]
pub(super) enum PromptField<'a> {
    /// A text.
    Text(Text<'a>),
    /// Several texts, or the ids of one or of several prompts.
    List(Vec<Item<'a>>),
}

/// A part of the list.
#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    Text(Text<'a>),
    Id(u32),
    Ids(Vec<u32>),
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = PromptField<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, array of strings, array of tokens, or array of token arrays")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(PromptField::Text(Text(text.into())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PromptField::Text(Text(text.to_owned().into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(PromptField::List)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token or an array of tokens")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Item::Text(Text(text.into())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Item::Text(Text(text.to_owned().into())))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Self::Value, E> {
        u32::try_from(id)
            .map(Item::Id)
            .map_err(|_| E::custom(format!("token {id} is out of vocabulary")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(Item::Ids)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PromptField<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

impl PromptField<'_> {
    /// The tokens of each prompt, BOS before those that are texts if the server adds it; none if the list is empty or
    /// has parts of several kinds.
    pub(super) fn tokens(&self, bos: bool) -> Option<Vec<Tokens>> {
        let items = match self {
            Self::Text(text) => return Some(vec![Tokens::of_text(text, bos)]),
            Self::List(items) => items,
        };
        let ids = items.iter().map(|item| match item {
            Item::Id(id) => Some(*id),
            _ => None,
        });
        match items.first()? {
            Item::Id(_) => Some(vec![Tokens::of_ids(&ids.collect::<Option<Vec<u32>>>()?)]),
            Item::Text(_) => items
                .iter()
                .map(|item| match item {
                    Item::Text(text) => Some(Tokens::of_text(text, bos)),
                    _ => None,
                })
                .collect(),
            Item::Ids(_) => items
                .iter()
                .map(|item| match item {
                    Item::Ids(ids) => Some(Tokens::of_ids(ids)),
                    _ => None,
                })
                .collect(),
        }
    }
}

/// The tokens of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    /// The text, without special tokens.
    pub(crate) text: String,
    /// The tokens.
    pub(crate) tokens: Vec<PromptToken>,
}

/// A token of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PromptToken {
    /// Its id.
    pub(crate) id: u32,
    /// The byte of the text at which it starts.
    pub(crate) start: usize,
    /// The byte after it; the same for a special token.
    pub(crate) end: usize,
}

impl Tokens {
    /// Of a text.
    pub(crate) fn of_text(text: &str, bos: bool) -> Self {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 2);
        if bos {
            tokens.push(PromptToken { id: BOS, start: 0, end: 0 });
        }
        tokens.extend(Pieces::of(text).map(|piece| PromptToken {
            id: piece.id,
            start: piece.start,
            end: piece.end(),
        }));
        Self { text: text.to_owned(), tokens }
    }

    /// Of the ids of its tokens, taken as they are.
    pub(crate) fn of_ids(ids: &[u32]) -> Self {
        let mut text = String::with_capacity(ids.len() * 4);
        let tokens = ids.iter().map(|id| {
            let start = text.len();
            if !matches!(*id, BOS | EOS) {
                decode(*id, &mut text);
            }
            PromptToken { id: *id, start, end: text.len() }
        });
        let tokens = tokens.collect();
        Self { text, tokens }
    }

    /// A token's text, also that of a special one.
    pub(crate) fn piece(&self, token: &PromptToken) -> String {
        if token.start < token.end {
            self.text[token.start..token.end].to_owned()
        } else {
            of_id(token.id)
        }
    }

    /// The context after them.
    pub(crate) fn context(&self) -> Context {
        let mut context = Context::new();
        self.tokens.iter().for_each(|token| context.push(token.id));
        context
    }

    /// Keeps the last tokens.
    pub(super) fn keep_last(&mut self, most: usize) {
        let Some(cut) = self.tokens.len().checked_sub(most).filter(|cut| *cut > 0) else {
            return;
        };
        self.tokens.drain(..cut);
        let ids: Vec<u32> = self.tokens.iter().map(|token| token.id).collect();
        *self = Self::of_ids(&ids);
    }
}

/// The text of an id.
pub(super) fn of_id(id: u32) -> String {
    let mut text = String::with_capacity(4);
    decode(id, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &'static str, bos: bool) -> Option<Vec<Vec<u32>>> {
        let field: PromptField<'_> = serde_json::from_str(json).ok()?;
        let prompts = field.tokens(bos)?.into_iter();
        Some(prompts.map(|prompt| prompt.tokens.iter().map(|token| token.id).collect()).collect())
    }

    #[test]
    fn a_prompt_is_a_text_or_ids_one_or_several() {
        let table: [(&str, Option<Vec<Vec<u32>>>); 9] = [
            (r#""A""#, Some(vec![vec![BOS, 0x41]])),
            (r#"["A","B"]"#, Some(vec![vec![BOS, 0x41], vec![BOS, 0x42]])),
            ("[65,66]", Some(vec![vec![65, 66]])),
            ("[[65],[66,67]]", Some(vec![vec![65], vec![66, 67]])),
            (r#"[65,"A"]"#, None),
            (r#"["A",[65]]"#, None),
            ("[]", None),
            ("[-1]", None),
            ("7", None),
        ];
        for (json, expected) in table {
            assert_eq!(read(json, true), expected, "{json}");
        }
        assert_eq!(read(r#""A""#, false), Some(vec![vec![0x41]]));
    }

    #[test]
    fn ids_give_back_their_text_without_special_tokens() {
        let text = Tokens::of_text("Q: x\nA: yes", true);
        let ids: Vec<u32> = text.tokens.iter().map(|token| token.id).collect();
        assert_eq!(Tokens::of_ids(&ids), text);
        assert_eq!(text.piece(&text.tokens[0]), "<s>");
        assert_eq!(text.context(), Tokens::of_text("Q: x\nA: yes", false).context());
        let mut cut = text;
        cut.keep_last(2);
        assert_eq!(cut.text, ": yes");
    }
}
