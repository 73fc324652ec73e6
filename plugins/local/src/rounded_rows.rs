//! Activations rounded to 8 bits, as ggml rounds them before it multiplies them with quantised weights.
//!
//! A model quantised for ggml was judged with this rounding, and another engine's figures for the same file contain
//! it; leaving it out moves a log-likelihood by some tenths of a nat.

use half::f16;

use crate::{numeric, vectorised::vectorised};

/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Rows in blocks of 32 whole numbers from -127 to 127, each with a scale.
pub struct RoundedRows {
    rows: usize,
    /// `[rows, blocks]`
    blocks: Vec<[f32; BLOCK]>,
    /// `[rows, blocks]`, rounded to 16 bits.
    scales: Vec<f32>,
    /// Scale times sum of a block's numbers, `[rows, blocks]`, rounded to 16 bits.
    sums: Vec<f32>,
}

impl RoundedRows {
    /// Rounds rows of `width` values, a multiple of 32; ggml's `quantize_row_q8_1` and, but for the sums, `_q8_0`.
    pub fn round(values: &[f32], width: usize) -> Self {
        let (blocks, _) = values.as_chunks::<BLOCK>();
        let mut this = Self::with_capacity(values.len(), width);
        this.blocks.extend_from_slice(blocks);
        this.scales.resize(blocks.len(), 0.0);
        this.sums.resize(blocks.len(), 0.0);
        round(&mut this.blocks, &mut this.scales, &mut this.sums);
        for value in this.scales.iter_mut().chain(&mut this.sums) {
            *value = f16::from_f32(*value).to_f32();
        }
        this
    }

    /// Takes rows of `width` values, a multiple of 32, as they are.
    pub fn exact(values: &[f32], width: usize) -> Self {
        let (blocks, _) = values.as_chunks::<BLOCK>();
        Self {
            blocks: blocks.to_vec(),
            scales: vec![1.0; blocks.len()],
            sums: vec![0.0; blocks.len()],
            ..Self::with_capacity(values.len(), width)
        }
    }

    fn with_capacity(values: usize, width: usize) -> Self {
        let blocks = values / BLOCK;
        Self {
            rows: values / width.max(1),
            blocks: Vec::with_capacity(blocks),
            scales: Vec::with_capacity(blocks),
            sums: Vec::with_capacity(blocks),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One row: blocks, scales, sums.
    pub fn row(&self, row: usize) -> (&[[f32; BLOCK]], &[f32], &[f32]) {
        let width = self.blocks.len() / self.rows.max(1);
        let range = row * width..(row + 1) * width;
        (&self.blocks[range.clone()], &self.scales[range.clone()], &self.sums[range])
    }
}

vectorised! {
    fn round<'a>(blocks: &'a mut [[f32; BLOCK]], scales: &'a mut [f32], sums: &'a mut [f32]) -> () {
        for ((block, scale), sum) in blocks.iter_mut().zip(scales).zip(sums) {
            let mut tops = [0.0f32; 16];
            for (i, value) in block.iter().enumerate() {
                let top = &mut tops[i % 16];
                *top = if value.abs() > *top { value.abs() } else { *top };
            }
            let largest = numeric::max(&tops);
            let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
            *scale = largest / 127.0;
            // Whole numbers: no order of adding them changes the sum.
            let mut total = [0.0f32; 16];
            for (i, value) in block.iter_mut().enumerate() {
                // Ties go to the even number: the vector instructions do that, the C reference does not. Adding
                // 1.5 * 2^23 leaves no bits for a fraction.
                *value = (*value * inverse + 12_582_912.0) - 12_582_912.0;
                total[i % 16] += *value;
            }
            *sum = *scale * total.iter().sum::<f32>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_rounded_to_its_largest_value() {
        let mut values = [0.0f32; 64];
        (values[0], values[1], values[2], values[3]) = (-127.0, 0.5, 1.5, 2.6);
        let rounded = RoundedRows::round(&values, 64);
        let (blocks, scales, sums) = rounded.row(0);
        assert_eq!(blocks[0][..5], [-127.0, 0.0, 2.0, 3.0, 0.0]);
        assert_eq!((scales, sums), (&[1.0, 0.0][..], &[-122.0, 0.0][..]));
    }

    #[test]
    fn scales_have_16_bits() {
        let rounded = RoundedRows::round(&[0.1; 32], 32);
        let (_, scales, sums) = rounded.row(0);
        assert_eq!(scales, [f16::from_f32(0.1 / 127.0).to_f32()]);
        assert_eq!(sums, [f16::from_f32(0.1 / 127.0 * 127.0 * 32.0).to_f32()]);
    }
}
