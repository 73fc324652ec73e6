//! The arithmetic between the matrix products, equal to ggml's AVX2 code to the bit.
//!
//! Plain loops over slices, written so that the compiler vectorises them: fixed lanes, no branches, no library call.
//! The order of every sum is fixed, so results never vary between runs. Functions that multiply and add in one
//! rounding (`mul_add`) must be inlined into a dispatch on the processor's features, or each becomes a call.

use crate::vectorised::vectorised;

/// Partial sums of a reduction: ggml's vectors have eight.
pub(crate) const LANES: usize = 8;

/// Joins eight partial sums in the order of ggml's `hsum_float_8`.
#[inline(always)]
pub(crate) fn join([a, b, c, d, e, f, g, h]: [f32; LANES]) -> f32 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// e^x in single precision, ggml's `ggml_v_expf`: within 1.45 units in the last place.
///
/// The argument is split into n ln 2 + b, e^b is a polynomial, 2^n goes into the exponent bits; beyond 2^±126 the
/// power is applied in two steps, and beyond 2^±192 the result is 0 or infinity.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    let z = x.mul_add(f32::from_bits(0x3fb8_aa3b), ROUND);
    let n = z - ROUND;
    let b = (-n).mul_add(f32::from_bits(0x35bf_be8e), (-n).mul_add(f32::from_bits(0x3f31_7200), x));
    let e = z.to_bits() << 23;
    let k = f32::from_bits(e.wrapping_add(0x3f80_0000));
    let u = b * b;
    let high = f32::from_bits(0x3c07_2010).mul_add(b, f32::from_bits(0x3d2b_9f17));
    let low = f32::from_bits(0x3e2a_af33).mul_add(b, f32::from_bits(0x3eff_fedb));
    let j = high.mul_add(u, low).mul_add(u, f32::from_bits(0x3f7f_fff6) * b);
    let near = j.mul_add(k, k);
    let g = if n <= 0.0 { 0x8200_0000u32 } else { 0 };
    let s1 = f32::from_bits(g.wrapping_add(0x7f00_0000));
    let s2 = f32::from_bits(e.wrapping_sub(g));
    let far = s2.mul_add(j, s2) * s1;
    if n.abs() > 192.0 {
        s1 * s1
    } else if n.abs() > 126.0 {
        far
    } else {
        near
    }
}

/// The largest element; minus infinity for an empty slice.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let larger = |top: f32, value: f32| if value > top { value } else { top };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *value);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

/// Replaces x by e^(x - offset) and returns the sum, of eight at a time in single precision, then in double.
#[inline(always)]
fn exp_all(values: &mut [f32], offset: f32) -> f64 {
    let mut sum = 0.0;
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for value in chunk.iter_mut() {
            *value = exp(*value - offset);
        }
        sum += f64::from(join(*chunk));
    }
    // What is missing at the end counts as masked positions, whose power is 0.
    let mut lanes = [0.0; LANES];
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *value = exp(*value - offset);
        *lane = *value;
    }
    sum + f64::from(join(lanes))
}

/// Softmax, in place; dispatched by the caller.
#[inline(always)]
pub(crate) fn softmax(values: &mut [f32]) {
    let sum = exp_all(values, max(values));
    let scale = (1.0 / sum) as f32;
    for value in values {
        *value *= scale;
    }
}

vectorised! {
    /// Σ e^(x - offset); overwrites the values.
    pub(crate) fn sum_exp<'a>(values: &'a mut [f32], offset: f32) -> f64 {
        exp_all(values, offset)
    }
}

/// RMSNorm of one row: x / sqrt(mean(x²) + epsilon) * weight, appended to `out`.
///
/// The squares are added one by one in double precision, as ggml does.
pub(crate) fn rms_norm(row: &[f32], weight: &[f32], epsilon: f32, out: &mut Vec<f32>) {
    let sum: f64 = row.iter().map(|value| f64::from(value * value)).sum();
    let mean = (sum / row.len() as f64) as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    out.extend(row.iter().zip(weight).map(|(value, weight)| value * scale * weight));
}

vectorised! {
    /// SwiGLU: silu(gate) * up, in place of the gate.
    pub(crate) fn swiglu<'a>(gate: &'a mut [f32], up: &'a [f32]) -> () {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}

/// `left += right`, element by element.
pub(crate) fn add(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
}

/// Index of the largest element, the first one on a tie; `None` for an empty slice.
pub(crate) fn argmax(values: &[f32]) -> Option<usize> {
    let top = max(values);
    values.iter().position(|value| *value == top)
}

/// ln Σ e^x of a row of logits.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = max(logits);
    f64::from(top) + sum_exp(&mut logits.to_vec(), top).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_over_its_range() {
        for step in -87_000..88_000 {
            let x = step as f32 / 1000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "x = {x}");
        }
        assert_eq!([exp(0.0), exp(-200.0), exp(200.0)], [1.0, 0.0, f32::INFINITY]);
    }

    #[test]
    fn sums_and_maxima_match_the_plain_ones() {
        for length in [1, 15, 16, 17, 500] {
            let values: Vec<f32> =
                (0..length).map(|i| ((i * 37) % 101) as f32 / 7.0 - 6.0).collect();
            let exact = values.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            assert!((log_sum_exp(&values) - exact).abs() < 1e-6);
            assert_eq!(max(&values), values.iter().copied().fold(f32::MIN, f32::max));
            assert_eq!(values[argmax(&values).unwrap()], max(&values));
        }
    }

    #[test]
    fn softmax_adds_up() {
        let mut values = [1.0, 1.0, -300.0];
        softmax(&mut values);
        assert_eq!(values, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[]), None);
    }
}
