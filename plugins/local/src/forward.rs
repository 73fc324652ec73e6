//! One pass of some rows through the transformer.
//!
//! A pass appends its rows to a cache and yields their hidden states, at every row. It advances block by block, so
//! that the caller can come back between two of them; where it is interrupted changes no figure.
//!
//! Matrix products run on the calling thread. Two sessions on two cores finish sooner that way than by splitting
//! every product in two, because nothing waits for the other half; [`single_threaded`] sets it.

use std::sync::Once;

use candle_core::{Device, Result, Tensor};

use crate::cache::{Cache, Row};
use crate::hyperparameters::Hyperparameters;
use crate::numeric;
use crate::weights::{BlockWeights, Weights, with_f32};

/// Keeps every matrix product on the thread that asks for it, in this copy of the library.
pub fn single_threaded() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| gemm::set_threading_threshold(usize::MAX));
}

/// A pass under way.
pub struct ForwardPass {
    rows: usize,
    /// First cache row of this pass.
    start: usize,
    /// The residual stream, `[rows, width]`.
    residual: Vec<f32>,
    /// `[rows, cache length]`, see [`Cache::visibility`].
    bias: Vec<f32>,
    rotation: Rotation,
    next_block: usize,
}

impl ForwardPass {
    /// Appends `rows` to the cache and embeds them.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or a parent is not cached.
    pub fn begin(weights: &Weights, cache: &mut Cache, rows: &[Row]) -> Result<Self> {
        let start = cache.len();
        let positions = cache.append(rows)?;
        let mut residual = Vec::with_capacity(rows.len() * weights.hyperparameters.embedding_width);
        for row in rows {
            weights.embedding.row(row.token, &mut residual)?;
        }
        Ok(Self {
            rows: rows.len(),
            start,
            residual,
            bias: cache.visibility(start),
            rotation: Rotation::new(&weights.inverse_frequencies, &positions),
            next_block: 0,
        })
    }

    /// The cache row of the pass's first row.
    pub fn first_row(&self) -> usize {
        self.start
    }

    /// Computes one more block; false when there was none left.
    ///
    /// # Errors
    /// When a matrix product fails, which shapes checked at load should rule out.
    pub fn advance(&mut self, weights: &Weights, cache: &Cache) -> Result<bool> {
        let Some(block) = weights.blocks.get(self.next_block) else {
            return Ok(false);
        };
        let sizes = &weights.hyperparameters;
        let normed = self.norm(&block.attention_norm, sizes)?;
        let attended = self.attend(sizes, cache, &normed.matmul(&block.query_key_value)?)?;
        with_f32(&attended.matmul(&block.attention_output)?, |out| {
            numeric::add(&mut self.residual, out)
        })?;
        self.feed_forward(block, sizes)?;
        self.next_block += 1;
        Ok(true)
    }

    /// The hidden states after the last norm, `[rows, width]`, row by row. Call it when `advance` returned false.
    pub fn finish(self, weights: &Weights) -> Vec<f32> {
        let sizes = &weights.hyperparameters;
        let mut hidden = Vec::with_capacity(self.residual.len());
        for row in self.residual.chunks_exact(sizes.embedding_width) {
            numeric::rms_norm(row, &weights.output_norm, sizes.norm_epsilon, &mut hidden);
        }
        hidden
    }

    fn norm(&self, weight: &[f32], sizes: &Hyperparameters) -> Result<Tensor> {
        let mut normed = Vec::with_capacity(self.residual.len());
        for row in self.residual.chunks_exact(sizes.embedding_width) {
            numeric::rms_norm(row, weight, sizes.norm_epsilon, &mut normed);
        }
        Tensor::from_vec(normed, (self.rows, sizes.embedding_width), &Device::Cpu)
    }

    fn feed_forward(&mut self, block: &BlockWeights, sizes: &Hyperparameters) -> Result<()> {
        let gate_up = self
            .norm(&block.feed_forward_norm, sizes)?
            .matmul(&block.gate_up)?;
        let mut inner = Vec::with_capacity(self.rows * sizes.feed_forward_width);
        with_f32(&gate_up, |values| {
            for row in values.chunks_exact(2 * sizes.feed_forward_width) {
                numeric::swiglu(row, &mut inner);
            }
        })?;
        let inner = Tensor::from_vec(inner, (self.rows, sizes.feed_forward_width), &Device::Cpu)?;
        with_f32(&inner.matmul(&block.down)?, |out| {
            numeric::add(&mut self.residual, out)
        })
    }

    /// Grouped-query attention of `[rows, query_key_value_width]`, giving `[rows, heads * head_width]`.
    ///
    /// The query heads that share a key head are stacked as rows, so that a key head takes one product.
    fn attend(&self, sizes: &Hyperparameters, cache: &Cache, projected: &Tensor) -> Result<Tensor> {
        let (width, shared) = (sizes.head_width, sizes.heads / sizes.key_value_heads);
        let first_key = sizes.heads;
        let first_value = sizes.heads + sizes.key_value_heads;
        let scale = 1.0 / (width as f32).sqrt();
        let head = |row: usize, head: usize| {
            let offset = row * sizes.query_key_value_width() + head * width;
            offset..offset + width
        };
        let (queries, keys, values) = with_f32(projected, |projected| {
            let mut queries = Vec::with_capacity(self.rows * sizes.heads * width);
            let mut keys = Vec::with_capacity(self.rows * sizes.key_value_heads * width);
            let mut values = Vec::with_capacity(self.rows * sizes.key_value_heads * width);
            for query in 0..sizes.heads {
                for row in 0..self.rows {
                    let source = projected.get(head(row, query)).unwrap_or_default();
                    self.rotation.append(row, source, scale, &mut queries);
                }
            }
            for key in 0..sizes.key_value_heads {
                for row in 0..self.rows {
                    let source = projected
                        .get(head(row, first_key + key))
                        .unwrap_or_default();
                    self.rotation.append(row, source, 1.0, &mut keys);
                    values.extend_from_slice(
                        projected
                            .get(head(row, first_value + key))
                            .unwrap_or_default(),
                    );
                }
            }
            (queries, keys, values)
        })?;
        let new = (sizes.key_value_heads, self.rows, width);
        let keys = Tensor::from_vec(keys, new, &Device::Cpu)?;
        let values = Tensor::from_vec(values, new, &Device::Cpu)?;
        cache.store(self.next_block, self.start, &keys, &values)?;
        let (keys, values) = cache.block(self.next_block)?;

        let stacked = (sizes.key_value_heads, shared * self.rows, width);
        let queries = Tensor::from_vec(queries, stacked, &Device::Cpu)?;
        let scores = queries.matmul(&keys.t()?)?;
        let seen = cache.len();
        let mut weights = Vec::with_capacity(sizes.heads * self.rows * seen);
        with_f32(&scores, |scores| {
            // The stacked heads repeat the rows, and so the visibility.
            for (scores, bias) in scores
                .chunks_exact(seen)
                .zip(self.bias.chunks_exact(seen).cycle())
            {
                numeric::masked_softmax(scores, bias, &mut weights);
            }
        })?;
        let weights = Tensor::from_vec(
            weights,
            (sizes.key_value_heads, shared * self.rows, seen),
            &Device::Cpu,
        )?;
        let mixed = weights.matmul(&values)?;
        let attended = with_f32(&mixed, |mixed| {
            let mut attended = Vec::with_capacity(mixed.len());
            for row in 0..self.rows {
                for head in 0..sizes.heads {
                    let offset = (head * self.rows + row) * width;
                    attended
                        .extend_from_slice(mixed.get(offset..offset + width).unwrap_or_default());
                }
            }
            attended
        })?;
        Tensor::from_vec(attended, (self.rows, sizes.heads * width), &Device::Cpu)
    }
}

/// Cosine and sine of the rotary angles of a pass's rows.
struct Rotation {
    pairs: usize,
    /// `[rows, pairs]`
    cosine_sine: Vec<(f32, f32)>,
}

impl Rotation {
    fn new(inverse_frequencies: &[f64], positions: &[usize]) -> Self {
        let cosine_sine = positions
            .iter()
            .flat_map(|position| {
                inverse_frequencies.iter().map(|frequency| {
                    let (sine, cosine) = (*position as f64 * frequency).sin_cos();
                    (cosine as f32, sine as f32)
                })
            })
            .collect();
        Self {
            pairs: inverse_frequencies.len(),
            cosine_sine,
        }
    }

    /// Appends one head of a row, rotated and scaled.
    ///
    /// A GGUF's query and key rows are permuted so that a pair is two neighbouring dimensions; Hugging Face's
    /// checkpoints pair dimension i with i + width/2 instead.
    fn append(&self, row: usize, head: &[f32], scale: f32, out: &mut Vec<f32>) {
        let angles = self
            .cosine_sine
            .get(row * self.pairs..(row + 1) * self.pairs)
            .unwrap_or_default();
        let (pairs, _) = head.as_chunks::<2>();
        for ([even, odd], (cosine, sine)) in pairs.iter().zip(angles) {
            out.push((even * cosine - odd * sine) * scale);
            out.push((even * sine + odd * cosine) * scale);
        }
        out.extend(
            head.iter()
                .skip(2 * angles.len())
                .map(|value| value * scale),
        );
    }
}
