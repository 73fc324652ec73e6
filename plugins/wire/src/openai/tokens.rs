//! Log-probabilities of generated tokens in the two shapes of the wire: chat's list of objects, and the parallel lists
//! of completions.
//!
//! Pure. A value that the vendor uses for "very unlikely" (-9999) is kept as it stands.

use std::{borrow::Cow, fmt};

use plugin_api::{TokenLogprob, message::Str};
use serde::{Deserialize, Deserializer, de};

/// `logprobs` of a choice, or of a streamed piece of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Logprobs<'a> {
    /// Chat.
    #[serde(borrow)]
    content: Option<Vec<Token<'a>>>,
    /// Completions: the tokens' texts, and beside each its value and its alternatives.
    #[serde(borrow)]
    tokens: Option<Vec<Str<'a>>>,
    token_logprobs: Option<Vec<Option<f64>>>,
    #[serde(borrow)]
    top_logprobs: Option<Vec<Option<Pairs<'a>>>>,
}

#[derive(Debug, Deserialize)]
struct Token<'a> {
    #[serde(borrow)]
    token: Str<'a>,
    #[serde(default)]
    logprob: Option<f64>,
    /// The token's bytes, where its text alone is not valid.
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(borrow, default)]
    top_logprobs: Option<Vec<Alternative<'a>>>,
}

#[derive(Debug, Deserialize)]
struct Alternative<'a> {
    #[serde(borrow)]
    token: Str<'a>,
    #[serde(default)]
    logprob: Option<f64>,
}

/// An object as pairs, in its own order.
#[derive(Debug)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Option<f64>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and log-probabilities")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Str<'de>, Option<f64>>()? {
                    pairs.push((name.0, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// One token, and how many bytes of the text it makes.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) bytes: usize,
    pub(super) token: TokenLogprob,
}

impl Logprobs<'_> {
    /// The tokens, `alternatives` with each; none if the server gave no log-probabilities.
    pub(super) fn tokens(self, alternatives: u32) -> Option<Vec<Measured>> {
        let most = usize::try_from(alternatives).unwrap_or(usize::MAX);
        if let Some(content) = self.content {
            return Some(content.into_iter().map(|token| token.measured(most)).collect());
        }
        let values = self.token_logprobs?;
        let texts = self.tokens.unwrap_or_default();
        let mut top = self.top_logprobs.unwrap_or_default().into_iter();
        let tokens = values.into_iter().enumerate().map(|(at, logprob)| {
            let text = texts.get(at).map_or("", |text| &**text);
            let pairs = top.next().flatten().map_or_else(Vec::new, |pairs| pairs.0);
            Measured {
                bytes: text.len(),
                token: TokenLogprob {
                    token: text.to_owned(),
                    logprob,
                    top: likeliest(pairs.into_iter(), most),
                },
            }
        });
        Some(tokens.collect())
    }
}

impl Token<'_> {
    fn measured(self, most: usize) -> Measured {
        let top = self.top_logprobs.unwrap_or_default();
        let top = top.into_iter().map(|other| (other.token.0, other.logprob));
        Measured {
            bytes: self.bytes.map_or(self.token.len(), |bytes| bytes.len()),
            token: TokenLogprob {
                token: self.token.into_owned(),
                logprob: self.logprob,
                top: likeliest(top, most),
            },
        }
    }
}

/// The `most` likeliest, first the likeliest.
fn likeliest<'a>(
    pairs: impl Iterator<Item = (Cow<'a, str>, Option<f64>)>,
    most: usize,
) -> Vec<(String, Option<f64>)> {
    let mut pairs: Vec<_> = pairs.map(|(text, logprob)| (text.into_owned(), logprob)).collect();
    let value = |logprob: Option<f64>| logprob.unwrap_or(f64::NEG_INFINITY);
    pairs.sort_by(|a, b| value(b.1).total_cmp(&value(a.1)));
    pairs.truncate(most);
    pairs
}
