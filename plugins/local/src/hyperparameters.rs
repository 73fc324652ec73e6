//! The shape of a model, as its GGUF states it.
//!
//! Read once and checked here, so that the arithmetic can trust every number.

use crate::gguf::{GgufFile, LoadError};

/// Sizes and constants of a Llama-architecture model.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperparameters {
    /// Number of transformer blocks.
    pub blocks: usize,
    /// Most tokens that one sequence may hold.
    pub context_length_tokens: usize,
    /// Width of the residual stream.
    pub embedding_width: usize,
    /// Width of the feed-forward layer.
    pub feed_forward_width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_value_heads: usize,
    /// Width of one head.
    pub head_width: usize,
    /// Leading dimensions of a head that are rotated; even.
    pub rotary_width: usize,
    /// Base of the rotary frequencies.
    pub rotary_base: f32,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f32,
}

impl Hyperparameters {
    /// Reads `llama.*` from the file.
    ///
    /// # Errors
    /// When the architecture is another one, a key is missing, or the sizes do not fit together.
    pub fn read(file: &GgufFile) -> Result<Self, LoadError> {
        let architecture = file.string("general.architecture")?.unwrap_or_default();
        if architecture != "llama" {
            return Err(LoadError::Unsupported {
                what: "architecture",
                found: architecture,
                supported: "`llama`",
            });
        }
        // Linear and YaRN scaling change every position; refusing is better than computing something else.
        if let Some(scaling) = file.string("llama.rope.scaling.type")?
            && scaling != "none"
        {
            return Err(LoadError::Unsupported {
                what: "rotary scaling",
                found: scaling,
                supported: "none, or the factors of a `rope_freqs.weight` tensor",
            });
        }
        let embedding_width = file.required_integer("llama.embedding_length")?;
        let heads = file.required_integer("llama.attention.head_count")?;
        let head_width = file
            .integer("llama.attention.key_length")?
            .unwrap_or(embedding_width.checked_div(heads).unwrap_or(0));
        let read = Self {
            blocks: file.required_integer("llama.block_count")?,
            context_length_tokens: file.required_integer("llama.context_length")?,
            embedding_width,
            feed_forward_width: file.required_integer("llama.feed_forward_length")?,
            heads,
            key_value_heads: file.integer("llama.attention.head_count_kv")?.unwrap_or(heads),
            head_width,
            rotary_width: file.integer("llama.rope.dimension_count")?.unwrap_or(head_width),
            rotary_base: file.float("llama.rope.freq_base")?.unwrap_or(10_000.0),
            norm_epsilon: file.float("llama.attention.layer_norm_rms_epsilon")?.ok_or_else(
                || LoadError::MissingKey {
                    key: "llama.attention.layer_norm_rms_epsilon".to_owned(),
                },
            )?,
        };
        read.check()?;
        Ok(read)
    }

    /// Columns of the fused query, key and value projection.
    pub fn query_key_value_width(&self) -> usize {
        (self.heads + 2 * self.key_value_heads) * self.head_width
    }

    fn check(&self) -> Result<(), LoadError> {
        let complaint = if self.heads == 0 || self.key_value_heads == 0 || self.head_width == 0 {
            "a head count or width is zero"
        } else if !self.heads.is_multiple_of(self.key_value_heads) {
            "the query heads are no multiple of the key-value heads"
        } else if !self.rotary_width.is_multiple_of(2) || self.rotary_width > self.head_width {
            "the rotary width is odd or exceeds the head width"
        } else if self.context_length_tokens == 0 || self.embedding_width == 0 {
            "the context length or the embedding width is zero"
        } else {
            return Ok(());
        };
        Err(LoadError::Inconsistent(format!("{complaint}: {self:?}")))
    }
}
