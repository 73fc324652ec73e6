//! The weights of a model, laid out for the forward pass.
//!
//! Everything is dequantised to f32 once, at load, and transposed to `[inputs, outputs]`. Multiplying with the
//! quantised blocks needs four times less memory but runs scalar code; measured on two AVX-512 cores, f32 is several
//! times faster for the tens of rows that scoring packs into a pass. The price for SmolLM2-135M is about 540 MB of
//! memory (135 million weights of 4 bytes), once a process, whatever the number of sessions.

use candle_core::{CpuStorage, Result, Storage, Tensor};

use crate::gguf::{GgufFile, LoadError};
use crate::hyperparameters::Hyperparameters;
use crate::vocabulary_matrix::VocabularyMatrix;

/// The weights of one transformer block.
pub struct BlockWeights {
    /// RMSNorm before attention, `[width]`.
    pub attention_norm: Vec<f32>,
    /// Query, key and value projections side by side, `[width, (heads + 2 key_value_heads) * head_width]`.
    pub query_key_value: Tensor,
    /// Output projection of attention, `[heads * head_width, width]`.
    pub attention_output: Tensor,
    /// RMSNorm before the feed-forward layer, `[width]`.
    pub feed_forward_norm: Vec<f32>,
    /// Gate and up projections side by side, `[width, 2 * feed_forward_width]`.
    pub gate_up: Tensor,
    /// Down projection, `[feed_forward_width, width]`.
    pub down: Tensor,
}

/// All weights of a model.
pub struct Weights {
    /// Sizes and constants.
    pub hyperparameters: Hyperparameters,
    /// Blocks, first to last.
    pub blocks: Vec<BlockWeights>,
    /// Token embedding.
    pub embedding: VocabularyMatrix,
    /// RMSNorm before the output projection, `[width]`.
    pub output_norm: Vec<f32>,
    /// Output projection; `None` when it is tied to the embedding.
    pub output: Option<VocabularyMatrix>,
    /// Rotary angle of each pair of dimensions, per position, `[rotary_width / 2]`.
    pub inverse_frequencies: Vec<f64>,
}

impl Weights {
    /// Reads every tensor of a Llama-architecture file.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape than the hyperparameters say.
    pub fn read(file: &mut GgufFile) -> std::result::Result<Self, LoadError> {
        let hyperparameters = Hyperparameters::read(file)?;
        let blocks = (0..hyperparameters.blocks)
            .map(|index| block(file, &hyperparameters, index))
            .collect::<std::result::Result<_, _>>()?;
        let output = if file.has_tensor("output.weight") {
            Some(VocabularyMatrix::new(&file.tensor("output.weight")?)?)
        } else {
            None
        };
        Ok(Self {
            blocks,
            embedding: VocabularyMatrix::new(&file.tensor("token_embd.weight")?)?,
            output_norm: vector(file, "output_norm.weight", hyperparameters.embedding_width)?,
            output,
            inverse_frequencies: inverse_frequencies(file, &hyperparameters)?,
            hyperparameters,
        })
    }

    /// The matrix that hidden states are projected with.
    pub fn output(&self) -> &VocabularyMatrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

/// Reads a contiguous f32 tensor's elements without copying them.
///
/// # Errors
/// When the tensor is not on the CPU, not f32 or not contiguous.
pub fn with_f32<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => values
            .get(start..end)
            .map(read)
            .ok_or_else(|| candle_core::Error::Msg("a tensor's layout is off".into())),
        _ => candle_core::bail!("expected a contiguous f32 tensor in main memory"),
    }
}

fn block(
    file: &mut GgufFile,
    sizes: &Hyperparameters,
    index: usize,
) -> std::result::Result<BlockWeights, LoadError> {
    let name = |part: &str| format!("blk.{index}.{part}.weight");
    let width = sizes.embedding_width;
    let queries = sizes.heads * sizes.head_width;
    let keys = sizes.key_value_heads * sizes.head_width;
    let inner = sizes.feed_forward_width;
    let query_key_value = [
        matrix(file, &name("attn_q"), queries, width)?,
        matrix(file, &name("attn_k"), keys, width)?,
        matrix(file, &name("attn_v"), keys, width)?,
    ];
    let gate_up = [
        matrix(file, &name("ffn_gate"), inner, width)?,
        matrix(file, &name("ffn_up"), inner, width)?,
    ];
    Ok(BlockWeights {
        attention_norm: vector(file, &name("attn_norm"), width)?,
        query_key_value: Tensor::cat(&query_key_value, 0)?.t()?.contiguous()?,
        attention_output: matrix(file, &name("attn_output"), width, queries)?
            .t()?
            .contiguous()?,
        feed_forward_norm: vector(file, &name("ffn_norm"), width)?,
        gate_up: Tensor::cat(&gate_up, 0)?.t()?.contiguous()?,
        down: matrix(file, &name("ffn_down"), width, inner)?
            .t()?
            .contiguous()?,
    })
}

fn matrix(
    file: &mut GgufFile,
    name: &str,
    outputs: usize,
    inputs: usize,
) -> std::result::Result<Tensor, LoadError> {
    let tensor = file.tensor(name)?;
    if tensor.dims() == [outputs, inputs] {
        Ok(tensor)
    } else {
        let found = tensor.dims();
        Err(LoadError::Inconsistent(format!(
            "tensor `{name}` is {found:?}, expected [{outputs}, {inputs}]"
        )))
    }
}

fn vector(
    file: &mut GgufFile,
    name: &str,
    length: usize,
) -> std::result::Result<Vec<f32>, LoadError> {
    let values: Vec<f32> = file.tensor(name)?.to_vec1()?;
    if values.len() == length {
        Ok(values)
    } else {
        Err(LoadError::Inconsistent(format!(
            "tensor `{name}` has {} elements, expected {length}",
            values.len()
        )))
    }
}

/// base^(-2i / rotary_width), divided by the file's long-context factors where it has some (Llama 3.1 and later).
fn inverse_frequencies(
    file: &mut GgufFile,
    sizes: &Hyperparameters,
) -> std::result::Result<Vec<f64>, LoadError> {
    let pairs = sizes.rotary_width / 2;
    let factors = if file.has_tensor("rope_freqs.weight") {
        vector(file, "rope_freqs.weight", pairs)?
    } else {
        vec![1.0; pairs]
    };
    let width = sizes.rotary_width as f64;
    Ok(factors
        .iter()
        .enumerate()
        .map(|(pair, factor)| {
            f64::from(sizes.rotary_base).powf(-2.0 * pair as f64 / width) / f64::from(*factor)
        })
        .collect())
}
