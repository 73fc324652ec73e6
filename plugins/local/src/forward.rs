//! One pass of some rows through the transformer.
//!
//! A pass appends its rows to a cache and yields their hidden states, at every row. It advances block by block, so
//! that the caller can come back between two of them; where it is interrupted changes no figure, and neither does
//! what else is in the pass: a row's arithmetic depends on its own sequence alone.
//!
//! All of it runs on the calling thread; sessions are what keeps several cores busy.

use candle_core::Result;

use crate::attention::{self, Seen};
use crate::cache::{Cache, Row};
use crate::hyperparameters::Hyperparameters;
use crate::numeric;
use crate::rotation::Rotation;
use crate::weights::{BlockWeights, Weights};

/// A pass under way.
pub(crate) struct ForwardPass {
    /// First cache row of this pass.
    start: usize,
    /// The residual stream, `[rows, width]`.
    residual: Vec<f32>,
    /// What each row sees, see [`Cache::path`].
    paths: Vec<Vec<usize>>,
    rotation: Rotation,
    next_block: usize,
}

impl ForwardPass {
    /// Appends `rows` to the cache and embeds them.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or a parent is not cached.
    pub(crate) fn begin(weights: &Weights, cache: &mut Cache, rows: &[Row]) -> Result<Self> {
        let start = cache.len();
        let positions = cache.append(rows)?;
        let mut residual = Vec::with_capacity(rows.len() * weights.hyperparameters.embedding_width);
        for row in rows {
            if !weights.embedding.row(row.token as usize, &mut residual) {
                candle_core::bail!("token {} is outside the vocabulary", row.token);
            }
        }
        Ok(Self {
            start,
            residual,
            paths: (start..cache.len()).map(|row| cache.path(row)).collect(),
            rotation: weights.rotary.at(&positions),
            next_block: 0,
        })
    }

    /// The cache row of the pass's first row.
    pub(crate) fn first_row(&self) -> usize {
        self.start
    }

    /// Computes one more block; false when there was none left.
    pub(crate) fn advance(&mut self, weights: &Weights, cache: &mut Cache) -> bool {
        let Some(block) = weights.blocks.get(self.next_block) else {
            return false;
        };
        let sizes = &weights.hyperparameters;
        let attended = self.attend(block, sizes, cache);
        numeric::add(&mut self.residual, &block.attention_output.product(&attended));
        let normed = self.norm(&block.feed_forward_norm, sizes);
        let [mut inner, up] = block.gate_up.products(&normed);
        numeric::swiglu(&mut inner, &up);
        numeric::add(&mut self.residual, &block.down.product(&inner));
        self.next_block += 1;
        true
    }

    /// The hidden states after the last norm, `[rows, width]`, row by row. Call it when `advance` returned false.
    pub(crate) fn finish(self, weights: &Weights) -> Vec<f32> {
        self.norm(&weights.output_norm, &weights.hyperparameters)
    }

    fn norm(&self, weight: &[f32], sizes: &Hyperparameters) -> Vec<f32> {
        let mut normed = Vec::with_capacity(self.residual.len());
        for row in self.residual.chunks_exact(sizes.embedding_width) {
            numeric::rms_norm(row, weight, sizes.norm_epsilon, &mut normed);
        }
        normed
    }

    /// Grouped-query attention, `[rows, heads * head_width]`.
    fn attend(&self, block: &BlockWeights, sizes: &Hyperparameters, cache: &mut Cache) -> Vec<f32> {
        let normed = self.norm(&block.attention_norm, sizes);
        let [mut queries, mut keys, mut values] = block.query_key_value.products(&normed);
        let (width, shared) = (sizes.head_width, sizes.heads / sizes.key_value_heads);
        self.rotation.apply(&mut queries, width);
        self.rotation.apply(&mut keys, width);
        for rounded in [&mut queries, &mut keys, &mut values] {
            attention::round(rounded);
        }
        cache.store(self.next_block, &keys, &values);
        let (keys, values) = cache.block(self.next_block);
        let mut attended = vec![0.0; queries.len()];
        let stride = sizes.key_value_heads * width;
        let row_width = sizes.heads * width;
        let mut scratch = Vec::new();
        let rows = queries.chunks_exact(row_width).zip(attended.chunks_exact_mut(row_width));
        for ((queries, out), path) in rows.zip(&self.paths) {
            let seen = Seen { keys, values, path, stride, offset: 0 };
            attention::attend(queries, seen, shared, width, &mut scratch, out);
        }
        attended
    }
}
