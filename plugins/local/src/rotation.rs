//! Rotary position embedding, as ggml computes it: every angle from the one before, in single precision.

use crate::vectorised::vectorised;

/// What the angles follow from.
pub struct Rotary {
    /// Ratio of two neighbouring pairs' angles: base^(-2 / rotary width).
    ratio: f32,
    /// What a pair's angle is divided by: the file's long-context factors (Llama 3.1 and later), else 1.
    divisors: Vec<f32>,
}

impl Rotary {
    /// For heads of which as many pairs of dimensions are rotated as there are divisors.
    pub fn new(base: f32, divisors: Vec<f32>) -> Self {
        let width = 2.0 * divisors.len() as f32;
        Self { ratio: base.powf(-2.0 / width), divisors }
    }

    /// The rotation of some rows at these positions.
    pub fn at(&self, positions: &[usize]) -> Rotation {
        let mut cosine_sine = Vec::with_capacity(positions.len() * self.divisors.len());
        for position in positions {
            let mut angle = *position as f32;
            for divisor in &self.divisors {
                let divided = angle / divisor;
                cosine_sine.push((divided.cos(), divided.sin()));
                angle *= self.ratio;
            }
        }
        Rotation { pairs: self.divisors.len(), cosine_sine }
    }
}

/// Cosine and sine of the rotary angles of a pass's rows.
pub struct Rotation {
    pairs: usize,
    /// `[rows, pairs]`
    cosine_sine: Vec<(f32, f32)>,
}

impl Rotation {
    /// Rotates the heads, of `width` dimensions each, of all rows.
    ///
    /// A GGUF's query and key rows are permuted so that a pair is two neighbouring dimensions; Hugging Face's
    /// checkpoints pair dimension i with i + width/2 instead.
    pub fn apply(&self, values: &mut [f32], width: usize) {
        if self.pairs == 0 || self.cosine_sine.is_empty() {
            return;
        }
        let row_width = values.len() / (self.cosine_sine.len() / self.pairs);
        let angles = self.cosine_sine.chunks_exact(self.pairs);
        for (row, angles) in values.chunks_exact_mut(row_width).zip(angles) {
            rotate(row, width, angles);
        }
    }
}

vectorised! {
    fn rotate<'a>(row: &'a mut [f32], width: usize, angles: &'a [(f32, f32)]) -> () {
        for head in row.chunks_exact_mut(width) {
            let (pairs, _) = head.as_chunks_mut::<2>();
            for ([even, odd], (cosine, sine)) in pairs.iter_mut().zip(angles) {
                let (x, y) = (*even, *odd);
                *even = x.mul_add(*cosine, -(y * sine));
                *odd = x.mul_add(*sine, y * cosine);
            }
        }
    }
}
