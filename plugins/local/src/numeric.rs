//! The arithmetic between the matrix products.
//!
//! Plain loops over slices, written so that the compiler vectorises them: fixed lanes for reductions, no branches,
//! no library call. The order of every sum is fixed by the slice's length, so results never vary between runs.

const LANES: usize = 16;

/// e^x in single precision: relative error below 3e-7 on [-87, 88], clamped outside.
///
/// Cephes' `expf`: the argument is split into n ln 2 + r, e^r is a polynomial of degree 6, 2^n goes into the
/// exponent bits. The C library's function is a call per element, which cannot be vectorised.
#[inline]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let fraction = p * r * r + r + 1.0;
    fraction * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// The largest element; minus infinity for an empty slice.
#[inline]
pub fn max(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(
        f32::NEG_INFINITY,
        |top, value| if *value > top { *value } else { top },
    )
}

/// Σ e^(x - offset), summed in lanes of single precision and then in double.
#[inline]
pub fn sum_exp(values: &[f32], offset: f32) -> f64 {
    // Short runs keep the single-precision partial sums accurate to about 1e-7.
    values
        .chunks(LANES * 16)
        .map(|run| {
            let (chunks, rest) = run.as_chunks::<LANES>();
            let mut lanes = [0.0f32; LANES];
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += exp(*value - offset);
                }
            }
            let tail: f64 = rest
                .iter()
                .map(|value| f64::from(exp(*value - offset)))
                .sum();
            lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + tail
        })
        .sum()
}

/// RMSNorm of one row: x / sqrt(mean(x²) + epsilon) * weight, appended to `out`.
#[inline]
pub fn rms_norm(row: &[f32], weight: &[f32], epsilon: f32, out: &mut Vec<f32>) {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value * value;
        }
    }
    let sum: f32 = lanes.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
    let scale = 1.0 / (sum / row.len() as f32 + epsilon).sqrt();
    out.extend(
        row.iter()
            .zip(weight)
            .map(|(value, weight)| value * scale * weight),
    );
}

/// SwiGLU of one row: silu(gate) * up, appended to `out`; `gate_up` holds both, one after the other.
#[inline]
pub fn swiglu(gate_up: &[f32], out: &mut Vec<f32>) {
    let (gate, up) = gate_up.split_at(gate_up.len() / 2);
    out.extend(
        gate.iter()
            .zip(up)
            .map(|(gate, up)| gate / (1.0 + exp(-gate)) * up),
    );
}

/// Softmax of one row of attention scores, appended to `out`.
///
/// `bias` is 0 where the row may look and minus infinity where it may not; there the result is exactly 0. At least
/// one position must be visible.
#[inline]
pub fn masked_softmax(scores: &[f32], bias: &[f32], out: &mut Vec<f32>) {
    let start = out.len();
    out.extend(scores.iter().zip(bias).map(|(score, bias)| score + bias));
    let Some(row) = out.get_mut(start..) else {
        return;
    };
    let top = max(row);
    for value in row.iter_mut() {
        let weight = exp(*value - top);
        *value = if *value == f32::NEG_INFINITY {
            0.0
        } else {
            weight
        };
    }
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    let scale = 1.0 / (lanes.iter().sum::<f32>() + rest.iter().sum::<f32>());
    for value in row {
        *value *= scale;
    }
}

/// `left += right`, element by element.
#[inline]
pub fn add(left: &mut [f32], right: &[f32]) {
    for (left, right) in left.iter_mut().zip(right) {
        *left += right;
    }
}

/// Index of the largest element, the first one on a tie; `None` for an empty slice.
pub fn argmax(values: &[f32]) -> Option<usize> {
    let top = max(values);
    values.iter().position(|value| *value == top)
}

/// ln Σ e^x of a row of logits.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = max(logits);
    f64::from(top) + sum_exp(logits, top).ln()
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
    }

    #[test]
    fn sums_and_maxima_match_the_plain_ones() {
        for length in [1, 15, 16, 17, 500] {
            let values: Vec<f32> = (0..length)
                .map(|i| ((i * 37) % 101) as f32 / 7.0 - 6.0)
                .collect();
            let exact = values.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            assert!((log_sum_exp(&values) - exact).abs() < 1e-6);
            assert_eq!(
                max(&values),
                values.iter().copied().fold(f32::MIN, f32::max)
            );
            assert_eq!(values[argmax(&values).unwrap()], max(&values));
        }
    }

    #[test]
    fn hidden_positions_get_no_weight_at_all() {
        let mut out = vec![9.0];
        masked_softmax(&[1.0, 50.0, 1.0], &[0.0, f32::NEG_INFINITY, 0.0], &mut out);
        assert_eq!(out, [9.0, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[]), None);
    }
}
