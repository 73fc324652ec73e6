//! The model: how often each byte came after each other one in a text. Pure; put your own in its place.

/// Different bytes.
const BYTES: usize = 256;
/// What stands before the first byte of a text.
const START: u8 = b'\n';

/// A learnt model.
pub struct Model {
    /// Times seen, by the byte before and the byte itself, each with the smoothing.
    pairs: Vec<f64>,
    /// The same, summed over the byte itself.
    totals: Vec<f64>,
}

impl Model {
    /// Learns from a text; each pair counts as seen `smoothing` times before.
    pub fn learn(text: &[u8], smoothing: f64) -> Self {
        let mut pairs = vec![smoothing; BYTES * BYTES];
        let mut totals = vec![smoothing * BYTES as f64; BYTES];
        let mut last = START;
        for &next in text {
            pairs[at(last, next)] += 1.0;
            totals[usize::from(last)] += 1.0;
            last = next;
        }
        Self { pairs, totals }
    }

    /// Natural logarithm of the probability of `next` after `last`; none before stands for the start of a text.
    pub fn logprob(&self, last: Option<u8>, next: u8) -> f64 {
        let last = last.unwrap_or(START);
        (self.pairs[at(last, next)] / self.totals[usize::from(last)]).ln()
    }

    /// The likeliest byte after `last`; the lowest of several.
    pub fn likeliest_after(&self, last: Option<u8>) -> u8 {
        let last = last.unwrap_or(START);
        let mut best = 0;
        for next in 1..=u8::MAX {
            if self.pairs[at(last, next)] > self.pairs[at(last, best)] {
                best = next;
            }
        }
        best
    }
}

fn at(last: u8, next: u8) -> usize {
    usize::from(last) * BYTES + usize::from(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_after_a_byte_add_up_to_one() {
        let model = Model::learn(b"abracadabra", 0.05);
        for last in [None, Some(b'a'), Some(b'z')] {
            let sum: f64 = (0..=u8::MAX)
                .map(|next| model.logprob(last, next).exp())
                .sum();
            assert!((sum - 1.0).abs() < 1e-9, "{last:?}: {sum}");
        }
    }

    #[test]
    fn what_came_most_often_is_the_likeliest() {
        let model = Model::learn(b"abracadabra", 0.05);
        assert_eq!(model.likeliest_after(Some(b'a')), b'b');
        assert_eq!(model.likeliest_after(None), b'a');
        assert!(model.logprob(Some(b'a'), b'b') > model.logprob(Some(b'a'), b'c'));
    }
}
