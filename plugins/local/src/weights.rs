//! The weights of a model, as its file holds them.
//!
//! Matrices stay packed, about as big as the file (100 MB for SmolLM2-135M), once a process, whatever the number of
//! sessions.

use crate::gguf::{GgufFile, LoadError};
use crate::hyperparameters::Hyperparameters;
use crate::matrix::Matrix;
use crate::rotation::Rotary;

/// Matrices that are multiplied with the same activations, which are rounded once.
pub struct Together<const N: usize>([Matrix; N]);

impl<const N: usize> Together<N> {
    /// The products with `[rows, inputs]`, each `[rows, outputs]`.
    pub fn products(&self, values: &[f32]) -> [Vec<f32>; N] {
        let mut rounded = None;
        let mut exact = None;
        self.0.each_ref().map(|matrix| {
            let rows = if matrix.rounds() { &mut rounded } else { &mut exact };
            matrix.multiply(rows.get_or_insert_with(|| matrix.round(values)))
        })
    }
}

/// The weights of one transformer block.
pub struct BlockWeights {
    /// RMSNorm before attention, `[width]`.
    pub attention_norm: Vec<f32>,
    /// Query, key and value projections, `[heads * head_width, width]` and twice
    /// `[key_value_heads * head_width, width]`.
    pub query_key_value: Together<3>,
    /// Output projection of attention, `[width, heads * head_width]`.
    pub attention_output: Matrix,
    /// RMSNorm before the feed-forward layer, `[width]`.
    pub feed_forward_norm: Vec<f32>,
    /// Gate and up projections, `[feed_forward_width, width]`.
    pub gate_up: Together<2>,
    /// Down projection, `[width, feed_forward_width]`.
    pub down: Matrix,
}

/// All weights of a model.
pub struct Weights {
    /// Sizes and constants.
    pub hyperparameters: Hyperparameters,
    /// Blocks, first to last.
    pub blocks: Vec<BlockWeights>,
    /// Token embedding, `[vocabulary, width]`.
    pub embedding: Matrix,
    /// RMSNorm before the output projection, `[width]`.
    pub output_norm: Vec<f32>,
    /// Output projection, `[vocabulary, width]`; `None` when it is tied to the embedding.
    pub output: Option<Matrix>,
    /// Rotary position embedding.
    pub rotary: Rotary,
}

impl Weights {
    /// Reads every tensor of a Llama-architecture file.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape than the hyperparameters say.
    pub fn read(file: &mut GgufFile) -> Result<Self, LoadError> {
        let hyperparameters = Hyperparameters::read(file)?;
        let blocks = (0..hyperparameters.blocks)
            .map(|index| block(file, &hyperparameters, index))
            .collect::<Result<_, _>>()?;
        let width = hyperparameters.embedding_width;
        let embedding = file.matrix("token_embd.weight")?;
        let vocabulary = embedding.outputs();
        let output = if file.has_tensor("output.weight") {
            Some(matrix(file, "output.weight", vocabulary, width)?)
        } else {
            None
        };
        Ok(Self {
            blocks,
            embedding: shaped(embedding, "token_embd.weight", vocabulary, width)?,
            output_norm: vector(file, "output_norm.weight", width)?,
            output,
            rotary: rotary(file, &hyperparameters)?,
            hyperparameters,
        })
    }

    /// The matrix that hidden states are projected with.
    pub fn output(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

fn block(
    file: &mut GgufFile,
    sizes: &Hyperparameters,
    index: usize,
) -> Result<BlockWeights, LoadError> {
    let name = |part: &str| format!("blk.{index}.{part}.weight");
    let width = sizes.embedding_width;
    let queries = sizes.heads * sizes.head_width;
    let keys = sizes.key_value_heads * sizes.head_width;
    let inner = sizes.feed_forward_width;
    Ok(BlockWeights {
        attention_norm: vector(file, &name("attn_norm"), width)?,
        query_key_value: Together([
            matrix(file, &name("attn_q"), queries, width)?,
            matrix(file, &name("attn_k"), keys, width)?,
            matrix(file, &name("attn_v"), keys, width)?,
        ]),
        attention_output: matrix(file, &name("attn_output"), width, queries)?,
        feed_forward_norm: vector(file, &name("ffn_norm"), width)?,
        gate_up: Together([
            matrix(file, &name("ffn_gate"), inner, width)?,
            matrix(file, &name("ffn_up"), inner, width)?,
        ]),
        down: matrix(file, &name("ffn_down"), width, inner)?,
    })
}

fn matrix(
    file: &mut GgufFile,
    name: &str,
    outputs: usize,
    inputs: usize,
) -> Result<Matrix, LoadError> {
    shaped(file.matrix(name)?, name, outputs, inputs)
}

fn shaped(matrix: Matrix, name: &str, outputs: usize, inputs: usize) -> Result<Matrix, LoadError> {
    let found = [matrix.outputs(), matrix.inputs()];
    if found == [outputs, inputs] {
        Ok(matrix)
    } else {
        Err(LoadError::Inconsistent(format!(
            "tensor `{name}` is {found:?}, expected [{outputs}, {inputs}]"
        )))
    }
}

fn vector(file: &mut GgufFile, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
    let values = file.vector(name)?;
    if values.len() == length {
        Ok(values)
    } else {
        Err(LoadError::Inconsistent(format!(
            "tensor `{name}` has {} elements, expected {length}",
            values.len()
        )))
    }
}

fn rotary(file: &mut GgufFile, sizes: &Hyperparameters) -> Result<Rotary, LoadError> {
    let pairs = sizes.rotary_width / 2;
    let divisors = if file.has_tensor("rope_freqs.weight") {
        vector(file, "rope_freqs.weight", pairs)?
    } else {
        vec![1.0; pairs]
    };
    Ok(Rotary::new(sizes.rotary_base, divisors))
}
