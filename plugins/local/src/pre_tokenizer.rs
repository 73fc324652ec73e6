//! The splitting that comes before byte-pair encoding.
//!
//! A GGUF names it (`tokenizer.ggml.pre`) instead of describing it; the names and their expressions are those of
//! llama.cpp (`src/llama-vocab.cpp`). An unknown name is refused: a wrong split gives wrong tokens silently.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::normalizer::SplitDelimiterBehavior;

use crate::gguf::LoadError;

/// Llama 3: numbers in groups of up to three digits.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2: as Llama 3, but every digit alone.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The splitter of that name, and whether whole vocabulary entries take precedence over merges.
///
/// # Errors
/// When the name is none of the supported ones.
pub(crate) fn named(name: &str) -> Result<(PreTokenizerWrapper, bool), LoadError> {
    match name {
        "gpt-2" => Ok((gpt2().into(), false)),
        "smollm" | "starcoder" | "refact" | "command-r" => {
            // Digits come out one by one before GPT-2's expression sees the text.
            Ok((Sequence::new(vec![Digits::new(true).into(), gpt2().into()]).into(), false))
        }
        "llama-bpe" => Ok((expression(LLAMA3)?, true)),
        "qwen2" => Ok((expression(QWEN2)?, false)),
        other => Err(LoadError::Unsupported {
            what: "pre-tokenizer",
            found: other.to_owned(),
            supported: "`gpt-2`, `smollm`, `starcoder`, `refact`, `command-r`, `llama-bpe` and `qwen2`",
        }),
    }
}

fn gpt2() -> ByteLevel {
    ByteLevel::new(false, false, true)
}

fn expression(pattern: &str) -> Result<PreTokenizerWrapper, LoadError> {
    let split = Split::new(
        SplitPattern::Regex(pattern.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )
    .map_err(|error| LoadError::Tokenizer(error.to_string()))?;
    Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()]).into())
}
