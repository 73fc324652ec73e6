//! Replies of SGLang as typed values (wire.md 3.3 and 3.6; python/sglang/srt/managers/tokenizer_manager.py,
//! version 0.5.23).
//!
//! Pure: borrows from the reply. Texts are borrowed where JSON did not escape them.

use plugin_api::{Error, Reply, Result, message::Str};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::Value;
use wire::count;

use crate::failure;

/// One choice of a reply of `/generate`, or one frame of its stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Output<'a> {
    /// The text, without the stop text that ended it; in a stream what there is so far, or what is new.
    #[serde(borrow)]
    pub text: Option<Str<'a>>,
    /// The tokens of `text`, the stop text's included.
    pub output_ids: Option<Count>,
    /// How it went.
    #[serde(borrow)]
    pub meta_info: Option<Meta<'a>>,
    /// Which choice a frame belongs to, where a stream carries several.
    pub index: Option<usize>,
    /// An error in place of all that.
    pub error: Option<Value>,
}

/// Length of a list whose items do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Counting;
        impl<'de> Visitor<'de> for Counting {
            type Value = Count;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Count, A::Error> {
                let mut count = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Counting)
    }
}

/// How a generation went. What is no count of tokens is unknown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Meta<'a> {
    /// Null while a stream is under way.
    #[serde(borrow)]
    pub finish_reason: Option<Finish<'a>>,
    /// Tokens of the prompt, with what the server added.
    #[serde(deserialize_with = "count::read")]
    pub prompt_tokens: Option<u64>,
    /// Tokens generated so far.
    #[serde(deserialize_with = "count::read")]
    pub completion_tokens: Option<u64>,
    /// Prompt tokens that came from the prefix cache.
    #[serde(deserialize_with = "count::read")]
    pub cached_tokens: Option<u64>,
    /// Generated tokens that were reasoning, where the server has a reasoning parser.
    #[serde(deserialize_with = "count::read")]
    pub reasoning_tokens: Option<u64>,
    /// Tokens of the prompt from `logprob_start_len` on; the first has no log-probability.
    #[serde(borrow)]
    pub input_token_logprobs: Option<Vec<Entry<'a>>>,
    /// The likeliest tokens at each of those positions.
    #[serde(borrow)]
    pub input_top_logprobs: Option<Vec<Option<Vec<Entry<'a>>>>>,
    /// Generated tokens, the stop text's included.
    #[serde(borrow)]
    pub output_token_logprobs: Option<Vec<Entry<'a>>>,
    /// The likeliest tokens at each of those positions.
    #[serde(borrow)]
    pub output_top_logprobs: Option<Vec<Option<Vec<Entry<'a>>>>>,
    /// The tokens that were asked for by id, at each of those positions.
    #[serde(borrow)]
    pub output_token_ids_logprobs: Option<Vec<Option<Vec<Entry<'a>>>>>,
}

/// Why a generation ended.
#[derive(Debug, Deserialize)]
pub struct Finish<'a> {
    /// `stop`, `length` or `abort`.
    #[serde(borrow, rename = "type")]
    pub kind: Str<'a>,
    /// The stop text, or the token id, that ended it.
    #[serde(default)]
    pub matched: Option<Value>,
    /// Why it was aborted.
    #[serde(borrow, default)]
    pub message: Option<Str<'a>>,
    /// The HTTP status that an abort stands for.
    #[serde(default)]
    pub status_code: Option<u16>,
}

/// Log-probability (natural logarithm; null where there is none), token id, and the token's text if it was asked
/// for.
#[derive(Debug, Deserialize)]
pub struct Entry<'a>(
    /// Null for the first token of a prompt, and for what is not a number.
    pub Option<f64>,
    /// The token.
    pub i64,
    /// Null unless it was asked for.
    #[serde(borrow)]
    pub Option<Str<'a>>,
);

/// Reply of `/tokenize`: a list of ids for each text, or just one.
#[derive(Debug, Deserialize)]
pub struct Tokens<T> {
    /// The ids.
    pub tokens: T,
}

/// Reply of `/detokenize`.
#[derive(Debug, Deserialize)]
pub struct Detokenized<'a> {
    /// The text.
    #[serde(borrow)]
    pub text: Str<'a>,
}

/// Reply of `/model_info`.
#[derive(Debug, Deserialize)]
pub struct ModelInfo<'a> {
    /// Where the model was loaded from.
    #[serde(borrow)]
    pub model_path: Str<'a>,
    /// The name that it is served under; older servers do not say.
    #[serde(borrow, default)]
    pub served_model_name: Option<Str<'a>>,
    /// Whether it generates, and does not embed.
    #[serde(default)]
    pub is_generation: Option<bool>,
}

/// Of the reply of `/server_info`, the version.
#[derive(Debug, Deserialize)]
pub struct ServerInfo<'a> {
    /// SGLang's version.
    #[serde(borrow, default)]
    pub version: Option<Str<'a>>,
}

/// Reply of `/v1/models`: the model, then its adapters.
#[derive(Debug, Deserialize)]
pub struct Models {
    /// The model is the first.
    pub data: Vec<ModelCard>,
}

/// One of the models.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ModelCard {
    /// Context length in tokens; null for an adapter.
    #[serde(default)]
    pub max_model_len: Option<u64>,
}

/// Reads a reply that must be a success.
///
/// # Errors
/// What [`failure`] makes of another status, and of an error object under a good one; `unexpected_reply` if
/// the shape is not `T`'s.
pub fn success<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T> {
    if !reply.is_success() {
        return Err(failure::of(reply));
    }
    reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))
}

/// The outputs of a reply of `/generate`: an object for one prompt and one choice, else a list.
///
/// # Errors
/// As for [`success`]; `unexpected_reply` if there are not as many as `expected`.
pub fn outputs(reply: &Reply, expected: usize) -> Result<Vec<Output<'_>>> {
    let is_list = reply.body().trim_ascii_start().starts_with(b"[");
    let outputs: Vec<Output<'_>> = if is_list { success(reply)? } else { vec![success(reply)?] };
    let is_complete = outputs.iter().all(|output| output.meta_info.is_some());
    if let Some(error) = (!is_complete).then(|| failure::in_body(reply.body())).flatten() {
        return Err(error);
    }
    if outputs.len() != expected {
        let message = format!("{} answers came where {expected} were asked for", outputs.len());
        return Err(Error::unexpected(message).with_excerpt(reply.body()));
    }
    Ok(outputs)
}

impl<'a> Output<'a> {
    /// How it went.
    ///
    /// # Errors
    /// The failure that is told in its place, an abort included; `unexpected_reply` if there is nothing.
    pub fn meta(&self) -> Result<&Meta<'a>> {
        if let Some(error) = &self.error {
            return Err(failure::told(error));
        }
        let meta = self
            .meta_info
            .as_ref()
            .ok_or_else(|| Error::unexpected("an answer without `meta_info`"))?;
        match &meta.finish_reason {
            Some(finish) if &*finish.kind == "abort" => Err(failure::aborted(finish)),
            _ => Ok(meta),
        }
    }
}

impl Entry<'_> {
    /// The token's text; its id in decimal where the server has no text (it runs without a tokenizer).
    pub fn to_text(&self) -> String {
        self.2.as_deref().map_or_else(|| self.1.to_string(), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_anything_is_counted() {
        assert_eq!(serde_json::from_str::<Count>("[1,-2,[3]]").unwrap(), Count(3));
        assert!(serde_json::from_str::<Count>("{}").is_err());
    }
}
