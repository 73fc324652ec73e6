//! The choice of the next token.
//!
//! Order of operations: temperature, then `top_k`, then `top_p` on what is left, then one draw. Ties are broken by
//! token id, so that a seed gives the same text everywhere.

use std::cmp::Ordering;

use crate::engine::EngineError;
use crate::numeric;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 always takes the most likely token.
    pub temperature: f64,
    /// Keeps the k most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens that together reach this probability; 1 keeps all.
    pub top_p: f64,
    /// Seeds the draws.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number in [0, 1), with 53 random bits.
    pub fn next_unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Chooses tokens, drawing from its own sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: SplitMix64,
}

impl Sampler {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`EngineError::Parameter`] for a temperature below 0 or `top_p` outside (0, 1].
    pub fn new(sampling: Sampling) -> Result<Self, EngineError> {
        let wrong = |parameter, value: f64, expected| {
            Err(EngineError::Parameter { parameter, value: value.to_string(), expected })
        };
        if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
            return wrong("temperature", sampling.temperature, "a number from 0 up");
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return wrong("top_p", sampling.top_p, "a number above 0, up to 1");
        }
        Ok(Self { random: SplitMix64::new(sampling.seed), sampling })
    }

    /// The next token, given a row of logits; `None` when there are none.
    pub fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        let top = numeric::argmax(logits)?;
        if self.sampling.temperature == 0.0 {
            return u32::try_from(top).ok();
        }
        let highest = f64::from(*logits.get(top)?);
        let weigh = |logit: f32| ((f64::from(logit) - highest) / self.sampling.temperature).exp();
        let mut candidates: Vec<(u32, f64)> =
            (0u32..).zip(logits.iter().map(|logit| weigh(*logit))).collect();
        let by_weight = |left: &(u32, f64), right: &(u32, f64)| -> Ordering {
            right.1.total_cmp(&left.1).then(left.0.cmp(&right.0))
        };
        let kept = if self.sampling.top_k == 0 { candidates.len() } else { self.sampling.top_k };
        if kept < candidates.len() {
            candidates.select_nth_unstable_by(kept, by_weight);
            candidates.truncate(kept);
        }
        candidates.sort_unstable_by(by_weight);
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut nucleus = 0.0;
        let within = candidates
            .iter()
            .position(|(_, weight)| {
                nucleus += weight;
                nucleus >= self.sampling.top_p * total
            })
            .map_or(candidates.len(), |last| last + 1);
        candidates.truncate(within);
        let mut left =
            self.random.next_unit() * candidates.iter().map(|(_, weight)| weight).sum::<f64>();
        candidates
            .iter()
            .find(|(_, weight)| {
                left -= weight;
                left < 0.0
            })
            .or(candidates.last())
            .map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    fn frequencies(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling).unwrap();
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.choose(logits).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_follow_the_distribution_that_is_left() {
        let logits: Vec<f32> = [0.1f32, 0.5, 0.3, 0.1].iter().map(|p| p.ln()).collect();
        let plain = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 7 };
        let table = [
            (plain, [0.1, 0.5, 0.3, 0.1]),
            (Sampling { temperature: 0.0, ..plain }, [0.0, 1.0, 0.0, 0.0]),
            (Sampling { top_k: 2, ..plain }, [0.0, 0.625, 0.375, 0.0]),
            (Sampling { top_k: 3, ..plain }, [0.111, 0.556, 0.333, 0.0]),
            (Sampling { top_p: 0.6, ..plain }, [0.0, 0.625, 0.375, 0.0]),
            (Sampling { top_p: 0.01, ..plain }, [0.0, 1.0, 0.0, 0.0]),
            (Sampling { temperature: 0.5, ..plain }, [0.028, 0.694, 0.25, 0.028]),
        ];
        for (sampling, expected) in table {
            for (found, expected) in frequencies(sampling, &logits).iter().zip(expected) {
                assert!((found - expected).abs() < 0.015, "{sampling:?}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn senseless_parameters_are_refused() {
        for (temperature, top_p) in [(-1.0, 1.0), (f64::NAN, 1.0), (1.0, 0.0), (1.0, 1.1)] {
            assert!(Sampler::new(Sampling { temperature, top_k: 0, top_p, seed: 0 }).is_err());
        }
    }
}
