//! Text to token ids and back, from the vocabulary inside a GGUF.
//!
//! Encoding is the `tokenizers` crate's; decoding goes through bytes, because a token may end inside a character
//! and only the reader of the whole stream can tell.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{AddedToken, Tokenizer as Encoder};

use crate::byte_level;
use crate::gguf::{GgufFile, LoadError};
use crate::pre_tokenizer;

/// Token types of a GGUF that never stand for their spelling (`llama_token_type`).
const TYPE_CONTROL: i32 = 3;
const TYPE_USER_DEFINED: i32 = 4;

/// The tokenizer of one model.
pub struct Tokenizer {
    encoder: Encoder,
    /// What each id writes; empty for control tokens.
    bytes: Vec<Vec<u8>>,
    /// The vocabulary as the file spells it.
    spellings: Vec<String>,
    bos: Option<u32>,
    eos: Option<u32>,
    end_of_generation: Vec<u32>,
    adds_bos: bool,
}

/// Why a text could not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("failed to tokenise {length_bytes} bytes of text: {message}")]
pub struct TokenizeError {
    /// Length of the text.
    pub length_bytes: usize,
    /// What the encoder said.
    pub message: String,
}

impl Tokenizer {
    /// Builds the tokenizer that the file describes.
    ///
    /// # Errors
    /// When the file's vocabulary is of another kind than byte-level BPE, or incomplete.
    pub fn read(file: &GgufFile) -> Result<Self, LoadError> {
        let kind = file.string("tokenizer.ggml.model")?.unwrap_or_default();
        if kind != "gpt2" {
            return Err(LoadError::Unsupported {
                what: "tokenizer model",
                found: kind,
                supported: "`gpt2`",
            });
        }
        let spellings = file.required_strings("tokenizer.ggml.tokens")?;
        let types = file.integers("tokenizer.ggml.token_type")?.unwrap_or_default();
        let merges = file
            .required_strings("tokenizer.ggml.merges")?
            .iter()
            .map(|merge| split_merge(merge))
            .collect::<Result<Vec<_>, _>>()?;
        let vocabulary: Vocab = spellings.iter().cloned().zip(0..).collect();
        let name = file.string("tokenizer.ggml.pre")?.unwrap_or_else(|| "gpt-2".to_owned());
        let (splitter, whole_entries_first) = pre_tokenizer::named(&name)?;

        let failed = |error: tokenizers::Error| LoadError::Tokenizer(error.to_string());
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .ignore_merges(whole_entries_first)
            .build()
            .map_err(failed)?;
        let mut encoder = Encoder::new(model);
        encoder.with_pre_tokenizer(Some(splitter));
        let added: Vec<AddedToken> = spellings
            .iter()
            .zip(&types)
            .filter(|(_, kind)| matches!(**kind, TYPE_CONTROL | TYPE_USER_DEFINED))
            .map(|(text, kind)| {
                AddedToken::from(text.clone(), *kind == TYPE_CONTROL).normalized(false)
            })
            .collect();
        encoder.add_tokens(added).map_err(failed)?;

        let bytes = spellings
            .iter()
            .enumerate()
            .map(|(id, text)| match types.get(id) {
                Some(&TYPE_CONTROL) => Vec::new(),
                Some(&TYPE_USER_DEFINED) => text.clone().into_bytes(),
                _ => byte_level::bytes_of(text).unwrap_or_else(|| text.clone().into_bytes()),
            })
            .collect();
        let id = |key: &str| {
            Ok::<_, LoadError>(file.integer(key)?.and_then(|id| u32::try_from(id).ok()))
        };
        let bos = id("tokenizer.ggml.bos_token_id")?;
        let eos = id("tokenizer.ggml.eos_token_id")?;
        let eot = id("tokenizer.ggml.eot_token_id")?;
        let end_of_generation = end_of_generation(&spellings, [eos, eot]);
        let adds_bos = file.boolean("tokenizer.ggml.add_bos_token")?.unwrap_or(false);
        Ok(Self { encoder, bytes, spellings, bos, eos, end_of_generation, adds_bos })
    }

    /// Token ids of a prompt's text, led by BOS when the file says that the model expects it.
    ///
    /// The spelling of a special token is read as that token, as Hugging Face's tokenizers do.
    ///
    /// # Errors
    /// When the encoder fails, which a byte-level vocabulary should rule out.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let mut ids = match self.bos {
            Some(bos) if self.adds_bos => vec![bos],
            _ => Vec::new(),
        };
        ids.extend(self.encode_verbatim(text)?);
        Ok(ids)
    }

    /// Token ids of a text that brings its own special tokens, such as a rendered chat template: nothing is added.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_verbatim(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        self.encoder
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TokenizeError { length_bytes: text.len(), message: error.to_string() })
    }

    /// The bytes that a token writes: possibly part of a character; none for a control token or an unknown id.
    pub fn bytes(&self, id: u32) -> &[u8] {
        usize::try_from(id).ok().and_then(|index| self.bytes.get(index)).map_or(&[], Vec::as_slice)
    }

    /// The text of some tokens, broken characters replaced by U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id).iter().copied()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A token as the vocabulary spells it; `None` for an unknown id.
    pub fn spelling(&self, id: u32) -> Option<&str> {
        self.spellings.get(usize::try_from(id).ok()?).map(String::as_str)
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        self.spellings.len()
    }

    /// Begin-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// End-of-sequence token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that stands in for an empty context: BOS, else EOS.
    pub fn prefix_token(&self) -> Option<u32> {
        self.bos.or(self.eos)
    }

    /// Whether generation ends with this token.
    pub fn ends_generation(&self, id: u32) -> bool {
        self.end_of_generation.contains(&id)
    }
}

/// EOS, EOT and the spellings that llama.cpp, too, takes as the end of an answer.
fn end_of_generation(spellings: &[String], named: [Option<u32>; 2]) -> Vec<u32> {
    const ENDS: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end|>"];
    let mut ids: Vec<u32> = named.into_iter().flatten().collect();
    ids.extend(
        spellings
            .iter()
            .zip(0u32..)
            .filter(|(text, _)| ENDS.contains(&text.as_str()))
            .map(|(_, id)| id),
    );
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A merge is two entries with one space between; an entry never holds a space, but may be a multi-character one.
fn split_merge(merge: &str) -> Result<(String, String), LoadError> {
    merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned())).ok_or_else(
        || {
            LoadError::Tokenizer(format!(
                "the merge {merge:?} is not two entries with a space between"
            ))
        },
    )
}
