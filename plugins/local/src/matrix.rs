//! Matrices as the file holds them, and their product with rounded activations.
//!
//! The product repeats ggml's AVX2 arithmetic to the bit: eight partial sums an output, one for each group of four
//! values of a block, joined in a fixed order. That matters: where activations are rounded, a difference in the last
//! bit of a sum tips some values to the next of 255 steps, and after thirty blocks the log-likelihood of a sentence
//! has moved by tenths of a nat. ggml disagrees with itself that much when its attention sums in another order.
//!
//! Weights stay packed. A panel of 32 outputs is unpacked to f32 and multiplied with all rows while it is in the
//! cache; products of small whole numbers are exact in f32, so integer instructions are not needed for equality.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};
use half::f16;
use pulp::{Simd, WithSimd};

use crate::rounded_rows::{BLOCK, RoundedRows};

/// Outputs in a panel.
pub const PANEL: usize = 32;
/// Partial sums an output.
const GROUPS: usize = 8;
/// Values of a block that go into one partial sum.
const GROUP: usize = BLOCK / GROUPS;
/// Vectors of outputs that a tile covers.
const VECTORS: usize = 2;

/// A `[outputs, inputs]` matrix, used as `rows × transposed matrix`.
pub struct Matrix {
    outputs: usize,
    /// Blocks of 32 inputs in a row of the matrix.
    blocks: usize,
    store: Store,
    /// `[outputs, blocks]`
    scales: Vec<f32>,
    /// `[outputs, blocks]`; what every number of a block lies above.
    minima: Vec<f32>,
}

/// The numbers that scales multiply, `[outputs, blocks]`.
enum Store {
    /// 0 to 15; a byte holds the i-th and, in its upper half, the (i + 16)-th number.
    Nibbles { blocks: Vec<[u8; BLOCK / 2]>, below: f32 },
    Bytes(Vec<[i8; BLOCK]>),
    /// Types whose product is not repeated to the bit: dequantised, and multiplied with activations as they are.
    Floats(Vec<[f32; BLOCK]>),
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
        let (mut scales, mut minima) = (Vec::new(), Vec::new());
        let number = |bytes: [u8; 2]| f16::from_le_bytes(bytes).to_f32();
        let store = match tensor.dtype() {
            GgmlDType::Q4_0 => {
                let bytes = tensor.data()?;
                let (blocks, _) = bytes.as_chunks::<18>();
                scales.extend(blocks.iter().map(|[low, high, ..]| number([*low, *high])));
                Store::Nibbles { blocks: blocks.iter().map(tail).collect(), below: 8.0 }
            }
            GgmlDType::Q4_1 => {
                let bytes = tensor.data()?;
                let (blocks, _) = bytes.as_chunks::<20>();
                scales.extend(blocks.iter().map(|[low, high, ..]| number([*low, *high])));
                minima.extend(blocks.iter().map(|[_, _, low, high, ..]| number([*low, *high])));
                Store::Nibbles { blocks: blocks.iter().map(tail).collect(), below: 0.0 }
            }
            GgmlDType::Q8_0 => {
                let bytes = tensor.data()?;
                let (blocks, _) = bytes.as_chunks::<34>();
                scales.extend(blocks.iter().map(|[low, high, ..]| number([*low, *high])));
                let signed = |block| tail::<34, BLOCK>(block).map(u8::cast_signed);
                Store::Bytes(blocks.iter().map(signed).collect())
            }
            _ => {
                let values: Vec<f32> =
                    tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
                Store::Floats(values.as_chunks::<BLOCK>().0.to_vec())
            }
        };
        let blocks = inputs / BLOCK;
        scales.resize(outputs * blocks, 1.0);
        minima.resize(outputs * blocks, 0.0);
        Ok(Self { outputs, blocks, store, scales, minima })
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
        !matches!(self.store, Store::Floats(_))
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
        for index in output * self.blocks..(output + 1) * self.blocks {
            let (scale, least) = (self.scales[index], self.minima[index]);
            out.extend(self.numbers(index).map(|number| number * scale + least));
        }
        true
    }

    /// The product with rounded rows, `[rows, outputs]`.
    pub fn multiply(&self, rows: &RoundedRows) -> Vec<f32> {
        self.multiply_some(rows, 0, self.outputs)
    }

    /// The product with `count` outputs from `first` on, `[rows, count]`.
    pub fn multiply_some(&self, rows: &RoundedRows, first: usize, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows.rows() * count];
        let mut panel = Panel::default();
        for start in (0..count).step_by(PANEL) {
            let width = PANEL.min(count - start);
            self.unpack(first + start, width, &mut panel);
            let product = Product { panel: &panel, rows, out: &mut out, start, width, stride: count };
            pulp::Arch::new().dispatch(product);
        }
        out
    }

    fn numbers(&self, index: usize) -> [f32; BLOCK] {
        match &self.store {
            Store::Nibbles { blocks, below } => {
                let packed = &blocks[index];
                std::array::from_fn(|i| {
                    let byte = packed[i % (BLOCK / 2)];
                    f32::from(if i < BLOCK / 2 { byte & 15 } else { byte >> 4 }) - below
                })
            }
            Store::Bytes(blocks) => blocks[index].map(f32::from),
            Store::Floats(blocks) => blocks[index],
        }
    }

    fn unpack(&self, first: usize, width: usize, panel: &mut Panel) {
        panel.numbers.resize(self.blocks, [[0.0; PANEL]; BLOCK]);
        panel.scales.resize(self.blocks, [0.0; PANEL]);
        panel.minima.resize(self.blocks, [0.0; PANEL]);
        for block in 0..self.blocks {
            for column in 0..width {
                let index = (first + column) * self.blocks + block;
                panel.scales[block][column] = self.scales[index];
                panel.minima[block][column] = self.minima[index];
                for (line, number) in panel.numbers[block].iter_mut().zip(self.numbers(index)) {
                    line[column] = number;
                }
            }
        }
    }
}

/// The last `N` bytes of a block.
fn tail<const SIZE: usize, const N: usize>(block: &[u8; SIZE]) -> [u8; N] {
    std::array::from_fn(|i| block[SIZE - N + i])
}

/// 32 outputs side by side, by block.
#[derive(Default)]
struct Panel {
    numbers: Vec<[[f32; PANEL]; BLOCK]>,
    scales: Vec<[f32; PANEL]>,
    minima: Vec<[f32; PANEL]>,
}

struct Product<'a> {
    panel: &'a Panel,
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
        while row + 4 <= self.rows.rows() {
            self.tile::<S, 4>(simd, row);
            row += 4;
        }
        while row < self.rows.rows() {
            self.tile::<S, 1>(simd, row);
            row += 1;
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, first: usize) {
        let rows: [_; ROWS] = std::array::from_fn(|row| self.rows.row(first + row));
        let blocks = self.panel.numbers.len();
        let zero = simd.splat_f32s(0.0);
        let mut results = [[0.0f32; PANEL]; ROWS];
        for vector in (0..PANEL / S::F32_LANES).step_by(VECTORS) {
            let mut partial = [[[zero; VECTORS]; ROWS]; GROUPS];
            for (group, partial) in partial.iter_mut().enumerate() {
                let mut sums = [[zero; VECTORS]; ROWS];
                for block in 0..blocks {
                    let mut products = [[zero; VECTORS]; ROWS];
                    for input in group * GROUP..(group + 1) * GROUP {
                        let (numbers, _) = S::as_simd_f32s(&self.panel.numbers[block][input]);
                        for row in 0..ROWS {
                            let value = simd.splat_f32s(rows[row].0[block][input]);
                            for v in 0..VECTORS {
                                products[row][v] =
                                    simd.mul_add_f32s(numbers[vector + v], value, products[row][v]);
                            }
                        }
                    }
                    let (scales, _) = S::as_simd_f32s(&self.panel.scales[block]);
                    for row in 0..ROWS {
                        let scale = simd.splat_f32s(rows[row].1[block]);
                        for v in 0..VECTORS {
                            let scale = simd.mul_f32s(scales[vector + v], scale);
                            sums[row][v] = simd.mul_add_f32s(scale, products[row][v], sums[row][v]);
                        }
                    }
                }
                *partial = sums;
            }
            for row in 0..ROWS {
                let (result, _) = S::as_mut_simd_f32s(&mut results[row]);
                for v in 0..VECTORS {
                    let mut minima = zero;
                    for block in 0..blocks {
                        let (least, _) = S::as_simd_f32s(&self.panel.minima[block]);
                        let sum = simd.splat_f32s(rows[row].2[block]);
                        minima = simd.mul_add_f32s(least[vector + v], sum, minima);
                    }
                    let pair = |group: usize| {
                        simd.add_f32s(partial[group][row][v], partial[group + 4][row][v])
                    };
                    let even = simd.add_f32s(pair(0), pair(2));
                    let odd = simd.add_f32s(pair(1), pair(3));
                    result[vector + v] = simd.add_f32s(simd.add_f32s(even, odd), minima);
                }
            }
        }
        for (row, result) in results.iter().enumerate() {
            let offset = (first + row) * self.stride + self.start;
            self.out[offset..offset + self.width].copy_from_slice(&result[..self.width]);
        }
    }
}
