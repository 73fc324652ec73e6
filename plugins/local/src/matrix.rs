//! Matrices as the file holds them, and their product with rounded activations.
//!
//! The product repeats ggml's AVX2 arithmetic to the bit: eight partial sums an output, one for each group of four
//! values of a block, joined in a fixed order. That matters: where activations are rounded, a difference in the last
//! bit of a sum tips some values to the next of 255 steps, and after thirty blocks the log-likelihood of a sentence
//! has moved by tenths of a nat. ggml disagrees with itself that much when its attention sums in another order.
//!
//! Weights are kept as bytes in panels of 32 outputs. A panel is widened to f32 and multiplied with all rows while it
//! is in the cache; products of small whole numbers are exact in f32, so integer instructions are not needed for
//! equality.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};
use half::f16;
use pulp::{Simd, WithSimd};

use crate::rounded_rows::{BLOCK, RoundedRows};
use crate::vectorised::vectorised;

/// Outputs in a panel.
pub(crate) const PANEL: usize = 32;
/// Partial sums an output.
const GROUPS: usize = 8;
/// Values of a block that go into one partial sum.
const GROUP: usize = BLOCK / GROUPS;

/// 32 inputs of 32 outputs, by input.
type Square<T> = [[T; PANEL]; BLOCK];

/// A `[outputs, inputs]` matrix, used as `rows × transposed matrix`.
pub struct Matrix {
    outputs: usize,
    /// Blocks of 32 inputs in a row of the matrix.
    blocks: usize,
    /// `[panels, blocks]`
    numbers: Numbers,
    /// What the numbers are multiplied with, `[panels, blocks]`.
    scales: Vec<[f32; PANEL]>,
    /// What every number of a block lies above, `[panels, blocks]`.
    minima: Vec<[f32; PANEL]>,
}

enum Numbers {
    Bytes(Vec<Square<i8>>),
    /// Types whose product is not repeated to the bit: dequantised, and multiplied with activations as they are.
    Floats(Vec<Square<f32>>),
}

impl Matrix {
    /// Takes a matrix over from the file.
    ///
    /// # Errors
    /// When the tensor is no matrix, its rows are no whole blocks of 32, or candle cannot read its type.
    pub fn new(tensor: &QTensor) -> candle_core::Result<Self> {
        let (outputs, inputs) = tensor.shape().dims2()?;
        if inputs % BLOCK != 0 {
            candle_core::bail!("rows of {inputs} values are no whole blocks of {BLOCK}");
        }
        let blocks = inputs / BLOCK;
        let squares = outputs.div_ceil(PANEL) * blocks;
        let bytes = tensor.data()?;
        let mut scales = vec![[0.0; PANEL]; squares];
        let mut minima = vec![[0.0; PANEL]; squares];
        // Where the n-th block of the file goes: its square, and its column there.
        let place = |n: usize| {
            let output = n / blocks;
            (output / PANEL * blocks + n % blocks, output % PANEL)
        };
        let mut packed =
            |size: usize, numbers: fn(&[u8]) -> [i8; BLOCK], minimum: Option<usize>| {
                let mut packed = vec![[[0i8; PANEL]; BLOCK]; squares];
                for (n, block) in bytes.chunks_exact(size).enumerate() {
                    let (square, column) = place(n);
                    scales[square][column] = half_at(block, 0);
                    minima[square][column] = minimum.map_or(0.0, |offset| half_at(block, offset));
                    for (line, number) in packed[square].iter_mut().zip(numbers(block)) {
                        line[column] = number;
                    }
                }
                Numbers::Bytes(packed)
            };
        let numbers = match tensor.dtype() {
            GgmlDType::Q4_0 => packed(18, |block| nibbles(&block[2..]).map(|n| n - 8), None),
            GgmlDType::Q4_1 => packed(20, |block| nibbles(&block[4..]), Some(2)),
            GgmlDType::Q8_0 => {
                packed(34, |block| std::array::from_fn(|i| block[2 + i].cast_signed()), None)
            }
            _ => {
                let values: Vec<f32> = tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
                let mut floats = vec![[[0.0; PANEL]; BLOCK]; squares];
                for (n, block) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
                    let (square, column) = place(n);
                    for (line, value) in floats[square].iter_mut().zip(block) {
                        line[column] = *value;
                    }
                }
                scales.fill([1.0; PANEL]);
                Numbers::Floats(floats)
            }
        };
        Ok(Self { outputs, blocks, numbers, scales, minima })
    }

    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.blocks * BLOCK
    }

    /// Whether activations are rounded to 8 bits before they are multiplied with this matrix.
    pub fn rounds(&self) -> bool {
        !matches!(self.numbers, Numbers::Floats(_))
    }

    /// Activations, `[rows, inputs]`, as this matrix is multiplied with them.
    pub fn round(&self, values: &[f32]) -> RoundedRows {
        if self.rounds() {
            RoundedRows::round(values, self.inputs())
        } else {
            RoundedRows::exact(values, self.inputs())
        }
    }

    /// The product with `[rows, inputs]`, `[rows, outputs]`.
    pub fn product(&self, values: &[f32]) -> Vec<f32> {
        self.multiply(&self.round(values))
    }

    /// Appends a row of the matrix to `out`; false when there is no such row.
    pub fn row(&self, output: usize, out: &mut Vec<f32>) -> bool {
        if output >= self.outputs {
            return false;
        }
        let column = output % PANEL;
        for square in output / PANEL * self.blocks..(output / PANEL + 1) * self.blocks {
            let (scale, least) = (self.scales[square][column], self.minima[square][column]);
            let mut push = |number: f32| out.push(number * scale + least);
            match &self.numbers {
                Numbers::Bytes(squares) => {
                    squares[square].iter().for_each(|line| push(f32::from(line[column])));
                }
                Numbers::Floats(squares) => {
                    squares[square].iter().for_each(|line| push(line[column]));
                }
            }
        }
        true
    }

    /// The product with rounded rows, `[rows, outputs]`.
    pub fn multiply(&self, rows: &RoundedRows) -> Vec<f32> {
        self.multiply_some(rows, 0, self.outputs)
    }

    /// The product with `count` outputs from `first` on, a multiple of 32: `[rows, count]`.
    pub fn multiply_some(&self, rows: &RoundedRows, first: usize, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows.rows() * count];
        let mut widened = vec![[[0.0; PANEL]; BLOCK]; self.blocks];
        for start in (0..count).step_by(PANEL) {
            let panel = (first + start) / PANEL;
            let range = panel * self.blocks..(panel + 1) * self.blocks;
            let numbers = match &self.numbers {
                Numbers::Bytes(squares) => {
                    widen(&squares[range.clone()], &mut widened);
                    widened.as_slice()
                }
                Numbers::Floats(squares) => &squares[range.clone()],
            };
            pulp::Arch::new().dispatch(Product {
                numbers,
                scales: &self.scales[range.clone()],
                minima: &self.minima[range],
                rows,
                out: &mut out,
                start,
                width: PANEL.min(count - start),
                stride: count,
            });
        }
        out
    }
}

vectorised! {
    fn widen<'a>(squares: &'a [Square<i8>], out: &'a mut [Square<f32>]) -> () {
        for (out, square) in out.iter_mut().zip(squares) {
            for (out, line) in out.iter_mut().zip(square) {
                for (out, number) in out.iter_mut().zip(line) {
                    *out = f32::from(*number);
                }
            }
        }
    }
}

/// Two numbers a byte: the i-th and, in its upper half, the (i + 16)-th.
fn nibbles(packed: &[u8]) -> [i8; BLOCK] {
    std::array::from_fn(|i| {
        let byte = packed[i % (BLOCK / 2)];
        if i < BLOCK / 2 { byte & 15 } else { byte >> 4 }.cast_signed()
    })
}

fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// A product with one panel.
struct Product<'a> {
    /// By block.
    numbers: &'a [Square<f32>],
    scales: &'a [[f32; PANEL]],
    minima: &'a [[f32; PANEL]],
    rows: &'a RoundedRows,
    /// `[rows, stride]`; columns from `start` on, `width` of them, are written.
    out: &'a mut [f32],
    start: usize,
    width: usize,
    stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut row = 0;
        // As many rows at once as keep their sums in 32 vector registers.
        while row + 3 <= self.rows.rows() {
            self.tile::<S, 3>(simd, row);
            row += 3;
        }
        while row < self.rows.rows() {
            self.tile::<S, 1>(simd, row);
            row += 1;
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "several arrays run along each index")]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, first: usize) {
        let rows: [_; ROWS] = std::array::from_fn(|row| self.rows.row(first + row));
        let blocks = self.numbers.len();
        let zero = simd.splat_f32s(0.0);
        let mut results = [[0.0f32; PANEL]; ROWS];
        for vector in 0..PANEL / S::F32_LANES {
            let mut sums = [[zero; GROUPS]; ROWS];
            let mut minima = [zero; ROWS];
            for block in 0..blocks {
                let (scale, _) = S::as_simd_f32s(&self.scales[block]);
                let (least, _) = S::as_simd_f32s(&self.minima[block]);
                let scales: [_; ROWS] = std::array::from_fn(|row| {
                    simd.mul_f32s(scale[vector], simd.splat_f32s(rows[row].1[block]))
                });
                for row in 0..ROWS {
                    let sum = simd.splat_f32s(rows[row].2[block]);
                    minima[row] = simd.mul_add_f32s(least[vector], sum, minima[row]);
                }
                for group in 0..GROUPS {
                    let mut products = [zero; ROWS];
                    for input in group * GROUP..(group + 1) * GROUP {
                        let (numbers, _) = S::as_simd_f32s(&self.numbers[block][input]);
                        for row in 0..ROWS {
                            let value = simd.splat_f32s(rows[row].0[block][input]);
                            products[row] =
                                simd.mul_add_f32s(numbers[vector], value, products[row]);
                        }
                    }
                    for row in 0..ROWS {
                        sums[row][group] =
                            simd.mul_add_f32s(scales[row], products[row], sums[row][group]);
                    }
                }
            }
            for row in 0..ROWS {
                let (result, _) = S::as_mut_simd_f32s(&mut results[row]);
                let pair = |group: usize| simd.add_f32s(sums[row][group], sums[row][group + 4]);
                let even = simd.add_f32s(pair(0), pair(2));
                let odd = simd.add_f32s(pair(1), pair(3));
                result[vector] = simd.add_f32s(simd.add_f32s(even, odd), minima[row]);
            }
        }
        for (row, result) in results.iter().enumerate() {
            let offset = (first + row) * self.stride + self.start;
            self.out[offset..offset + self.width].copy_from_slice(&result[..self.width]);
        }
    }
}
