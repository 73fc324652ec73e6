//! Bodies of SGLang's native routes (python/sglang/srt/managers/io_struct.py, `GenerateReqInput`).
//!
//! Pure.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::sampling::Sampling;
use crate::mock::flavors::compatible::{Message, OneOrMany};

/// Body of `/generate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generate<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<OneOrMany<Cow<'a, str>>>,
    #[serde(default)]
    pub(super) input_ids: Option<Ids>,
    #[serde(default)]
    pub(super) sampling_params: Option<OneOrMany<Sampling>>,
    #[serde(default)]
    pub(super) rid: Option<OneOrMany<String>>,
    #[serde(default)]
    pub(super) return_logprob: Option<OneOrMany<bool>>,
    #[serde(default)]
    pub(super) logprob_start_len: Option<OneOrMany<i64>>,
    #[serde(default)]
    pub(super) top_logprobs_num: Option<OneOrMany<u32>>,
    #[serde(default)]
    pub(super) token_ids_logprob: Option<Ids>,
    #[serde(default)]
    pub(super) return_text_in_logprobs: Option<bool>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(rename = "image_data", default)]
    _image_data: Option<IgnoredAny>,
    #[serde(rename = "audio_data", default)]
    _audio_data: Option<IgnoredAny>,
    #[serde(rename = "video_data", default)]
    _video_data: Option<IgnoredAny>,
    #[serde(rename = "lora_path", default)]
    _lora_path: Option<IgnoredAny>,
    #[serde(rename = "session_params", default)]
    _session_params: Option<IgnoredAny>,
    #[serde(rename = "session_id", default)]
    _session_id: Option<IgnoredAny>,
    #[serde(rename = "return_hidden_states", default)]
    _return_hidden_states: Option<IgnoredAny>,
    #[serde(rename = "priority", default)]
    _priority: Option<i64>,
    #[serde(rename = "custom_logit_processor", default)]
    _custom_logit_processor: Option<IgnoredAny>,
    #[serde(rename = "return_prompt_token_ids", default)]
    _return_prompt_token_ids: Option<bool>,
    #[serde(rename = "cache_salt", default)]
    _cache_salt: Option<IgnoredAny>,
    #[serde(rename = "extra_key", default)]
    _extra_key: Option<IgnoredAny>,
    #[serde(rename = "routing_key", default)]
    _routing_key: Option<String>,
}

/// Body of `/tokenize` and `/v1/tokenize`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokenize<'a> {
    #[serde(rename = "model", default)]
    _model: Option<String>,
    #[serde(borrow, default)]
    pub(super) prompt: Option<OneOrMany<Cow<'a, str>>>,
    #[serde(borrow, default)]
    pub(super) messages: Option<Vec<Message<'a>>>,
    #[serde(default)]
    pub(super) add_special_tokens: Option<bool>,
}

/// Body of `/detokenize` and `/v1/detokenize`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Detokenize {
    #[serde(rename = "model", default)]
    _model: Option<String>,
    pub(super) tokens: Ids,
    #[serde(default)]
    pub(super) skip_special_tokens: Option<bool>,
}

/// Token ids of one prompt or of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// `[1, 2]`
    One(Vec<u32>),
    /// `[[1, 2], [3]]`
    Many(Vec<Vec<u32>>),
}

impl Ids {
    /// The list for item `at` of a batch: its own, or everyone's.
    pub(super) fn of(&self, at: usize) -> Option<&[u32]> {
        match self {
            Self::One(ids) => Some(ids),
            Self::Many(lists) => lists.get(at).map(Vec::as_slice),
        }
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;

        impl<'de> Visitor<'de> for Lists {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of token ids, or a list of such lists")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Ids, S::Error> {
                let mut ids = Vec::new();
                let mut lists = Vec::new();
                while let Some(item) = items.next_element::<IdOrList>()? {
                    match item {
                        IdOrList::Id(id) => ids.push(id),
                        IdOrList::List(list) => lists.push(list),
                    }
                }
                match (ids.is_empty(), lists.is_empty()) {
                    (_, true) => Ok(Ids::One(ids)),
                    (true, false) => Ok(Ids::Many(lists)),
                    (false, false) => Err(S::Error::custom("ids and lists of ids side by side")),
                }
            }
        }

        deserializer.deserialize_seq(Lists)
    }
}

enum IdOrList {
    Id(u32),
    List(Vec<u32>),
}

impl<'de> Deserialize<'de> for IdOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = IdOrList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token id or a list of them")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<IdOrList, E> {
                u32::try_from(id).map(IdOrList::Id).map_err(E::custom)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, ids: S) -> Result<IdOrList, S::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(ids)).map(IdOrList::List)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_list_or_several() {
        let read = |text: &str| serde_json::from_str::<Ids>(text).ok();
        assert_eq!(read("[1,2]"), Some(Ids::One(vec![1, 2])));
        assert_eq!(read("[]"), Some(Ids::One(vec![])));
        assert_eq!(read("[[1],[2,3]]"), Some(Ids::Many(vec![vec![1], vec![2, 3]])));
        for wrong in ["[1,[2]]", "[-1]", "\"1\"", "[\"1\"]", "[4294967296]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_sampling_value_beside_its_place_is_refused() {
        for body in [
            r#"{"text":"Q","temperature":0}"#,
            r#"{"text":"Q","max_new_tokens":5}"#,
            r#"{"text":"Q","sampling_params":{"max_tokens":5}}"#,
            r#"{"text":"Q","sampling_params":{"return_logprob":true}}"#,
        ] {
            assert!(serde_json::from_str::<Generate<'_>>(body).is_err(), "{body}");
        }
        let batch = r#"{"text":["Q","R"],"sampling_params":[{"n":1},{"stop":"a"}],"return_logprob":[true,false]}"#;
        assert!(serde_json::from_str::<Generate<'_>>(batch).is_ok());
    }
}
