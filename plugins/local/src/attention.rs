//! Attention of one row, in ggml's arithmetic without flash attention.
//!
//! Keys, values, queries and weights are rounded to 16 bits; sums run in eight lanes, by dimension for the scores and
//! by position for the mixture, and are joined in a fixed order. Positions, not cache rows, decide the lane, so that
//! a continuation's figures do not depend on what else is in the cache.

use half::f16;

use crate::numeric::{self, LANES};
use crate::vectorised::vectorised;

/// Rounds to 16 bits, in place.
pub(crate) fn round(values: &mut [f32]) {
    for value in values {
        *value = f16::from_f32(*value).to_f32();
    }
}

/// What one head of one row sees, rounded to 16 bits: rows of `stride` values, the head's at `offset`.
pub(crate) struct Seen<'a> {
    /// Keys of all cached rows.
    pub keys: &'a [f32],
    /// Values of all cached rows.
    pub values: &'a [f32],
    /// Cached rows to look at, by position.
    pub path: &'a [usize],
    /// Values in a row.
    pub stride: usize,
    /// Where the head begins in a row.
    pub offset: usize,
}

/// Writes the mixture of the values seen by `query` to `out`.
#[inline(always)]
fn attend_head(query: &[f32], seen: &Seen<'_>, weights: &mut Vec<f32>, out: &mut [f32]) {
    let head = |rows: &'_ [f32], row: usize| -> std::ops::Range<usize> {
        let start = (row * seen.stride + seen.offset).min(rows.len());
        start..(start + query.len()).min(rows.len())
    };
    let scale = 1.0 / (query.len() as f32).sqrt();
    weights.clear();
    for row in seen.path {
        weights.push(dot(&seen.keys[head(seen.keys, *row)], query) * scale);
    }
    numeric::softmax(weights);
    round(weights);
    for (part, out) in out.chunks_mut(MIXED).enumerate() {
        let start = part * MIXED;
        let mut lanes = [[0.0f32; MIXED]; LANES];
        for (position, (row, weight)) in seen.path.iter().zip(weights.iter()).enumerate() {
            let values = &seen.values[head(seen.values, *row)][start..start + out.len()];
            for (lane, value) in lanes[position % LANES].iter_mut().zip(values) {
                *lane = value.mul_add(*weight, *lane);
            }
        }
        for (dimension, out) in out.iter_mut().enumerate() {
            *out = numeric::join(lanes.map(|lane| lane[dimension]));
        }
    }
}

vectorised! {
    /// Mixes the values seen by each head of one row; `weights` is scratch memory.
    ///
    /// `shared` query heads look at the same key head, and `width` is a head's number of dimensions.
    pub(crate) fn attend<'a>(
        queries: &'a [f32],
        seen: Seen<'a>,
        shared: usize,
        width: usize,
        weights: &'a mut Vec<f32>,
        out: &'a mut [f32],
    ) -> () {
        let heads = queries.chunks_exact(width).zip(out.chunks_exact_mut(width));
        for (head, (query, out)) in heads.enumerate() {
            attend_head(query, &Seen { offset: head / shared * width, ..seen }, weights, out);
        }
    }
}

/// Dimensions that are mixed at a time.
const MIXED: usize = 64;

#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane = left.mul_add(*right, *lane);
        }
    }
    for ((lane, left), right) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane = left.mul_add(*right, *lane);
    }
    numeric::join(lanes)
}
