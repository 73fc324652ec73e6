//! Log-probabilities in OpenAI's two forms: one object a token (chat), or lists side by side (completions).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::mock::model::{Said, Token, decode};

/// Log-probabilities in one of the two forms.
#[derive(Clone, Debug)]
pub(in crate::mock::flavors) enum Logprobs<'a> {
    /// Of a chat.
    Chat(ChatLogprobs<'a>),
    /// Of a completion.
    Text(TextLogprobs<'a>),
}

impl Serialize for Logprobs<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Chat(chat) => chat.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
        }
    }
}

/// A list with all that is known of each token.
#[derive(Clone, Debug, Serialize)]
pub(in crate::mock::flavors) struct ChatLogprobs<'a> {
    /// One a token.
    pub(super) content: Vec<Scored<'a>>,
}

/// Lists side by side.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::mock::flavors) struct TextLogprobs<'a> {
    /// Texts.
    pub(in crate::mock::flavors) tokens: Vec<Cow<'a, str>>,
    /// Values; none for a first token, which has no condition.
    pub(in crate::mock::flavors) token_logprobs: Vec<Option<f64>>,
    /// The likeliest in the place of each, by text.
    pub(in crate::mock::flavors) top_logprobs: Vec<Option<Map<String, Value>>>,
    /// Where each begins.
    pub(in crate::mock::flavors) text_offset: Vec<i64>,
}

/// A token of a chat.
#[derive(Clone, Debug, Serialize)]
pub(in crate::mock::flavors) struct Scored<'a> {
    token: Cow<'a, str>,
    logprob: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<Self>>,
}

impl<'a> Scored<'a> {
    fn new(token: Cow<'a, str>, logprob: f64, bytes: bool) -> Self {
        let bytes = bytes.then(|| token.as_bytes().to_vec());
        Self { token, logprob, bytes, top_logprobs: None }
    }
}

/// The log-probabilities of a chat's answer, with `top` alternatives each; SGLang tells bytes, too.
pub(in crate::mock::flavors) fn chat_logprobs(
    said: &Said,
    top: usize,
    bytes: bool,
) -> Logprobs<'_> {
    let told = said.tokens.iter().filter(|token| !token.special());
    let content = told.map(|token| scored(said, token, top, bytes)).collect();
    Logprobs::Chat(ChatLogprobs { content })
}

fn scored<'a>(said: &'a Said, token: &Token, top: usize, bytes: bool) -> Scored<'a> {
    let text = Cow::Borrowed(said.piece(token));
    let alternatives = token.alternatives(top).into_iter();
    let alternatives = alternatives
        .map(|(id, logprob)| Scored::new(Cow::Owned(text_of(id)), logprob, bytes))
        .collect();
    Scored { top_logprobs: Some(alternatives), ..Scored::new(text, token.logprob(), bytes) }
}

/// A token's text.
pub(in crate::mock::flavors) fn text_of(id: u32) -> String {
    let mut text = String::new();
    decode(id, &mut text);
    text
}
