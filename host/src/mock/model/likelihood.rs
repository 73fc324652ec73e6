//! How likely a token is after a context: made up, but plausible and the same every time.
//!
//! All values are multiples of 1/128, which 32 and 64 bits hold exactly, so that sums are equal in any order.

use super::token::{BOS, id_of};

/// What the model finds likely: one of these is the likeliest token after any context of a prompt.
const COMMON: [u32; 24] = [
    id_of(" A"),
    id_of(" B"),
    id_of(" C"),
    id_of(" D"),
    id_of("A"),
    id_of("B"),
    id_of("C"),
    id_of("D"),
    id_of(" yes"),
    id_of(" no"),
    id_of(" the"),
    id_of(" a"),
    id_of(" to"),
    id_of(" of"),
    id_of(" in"),
    id_of(" is"),
    id_of(" and"),
    id_of(" it"),
    id_of("The"),
    id_of("\n"),
    id_of("."),
    id_of(","),
    id_of(" 1"),
    id_of(" 2"),
];

/// All tokens so far. BOS counts for nothing, so that a text is as likely on a wire that adds it as on one that does
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context(u64);

impl Context {
    /// Before any token.
    pub(crate) const fn new() -> Self {
        Self(0x243F_6A88_85A3_08D3)
    }

    /// One token later.
    pub(crate) const fn push(&mut self, id: u32) {
        if id != BOS {
            self.0 = (self.0.rotate_left(5) ^ id as u64).wrapping_mul(0x517C_C1B7_2722_0A95);
        }
    }

    /// A number that follows from the context.
    pub(crate) const fn number(self) -> u64 {
        mix(self.0)
    }

    /// The likeliest token.
    pub(crate) const fn top(self) -> u32 {
        COMMON[(self.number() % COMMON.len() as u64) as usize]
    }

    /// Natural logarithm of the probability of the likeliest token, whichever it is: from -0.5.
    pub(crate) const fn top_logprob(self) -> f64 {
        -((1 + (self.number() >> 32) % 64) as f64) / 128.0
    }

    /// Natural logarithm of a token's probability: that of the likeliest, or from -9 to -1.
    pub(crate) const fn logprob(self, id: u32) -> f64 {
        if id == self.top() { self.top_logprob() } else { self.other_logprob(id) }
    }

    /// Natural logarithm of the probability of a token that is not the likeliest: from -9 to -1.
    pub(crate) const fn other_logprob(self, id: u32) -> f64 {
        -1.0 - (mix(self.0 ^ ((id as u64) << 17 | 1)) % 1025) as f64 / 128.0
    }

    /// The `most` likeliest tokens, likeliest first, if `top` is the likeliest.
    pub(crate) fn alternatives(self, top: u32, most: usize) -> Vec<(u32, f64)> {
        let others = COMMON.into_iter().filter(|id| *id != top);
        let mut all: Vec<_> = others.map(|id| (id, self.other_logprob(id))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.insert(0, (top, self.top_logprob()));
        all.truncate(most);
        all
    }
}

/// Spreads every bit over all (the finalizer of splitmix64).
pub(super) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ids: &[u32]) -> Context {
        let mut context = Context::new();
        ids.iter().for_each(|id| context.push(*id));
        context
    }

    #[test]
    fn a_value_depends_on_the_whole_context_but_not_on_bos() {
        assert_eq!(after(&[BOS, 7, 8]).logprob(9), after(&[7, 8]).logprob(9));
        assert_ne!(after(&[6, 8]), after(&[7, 8]));
        assert_ne!(after(&[8, 7]), after(&[7, 8]));
    }

    #[test]
    fn values_are_plausible_and_exact() {
        for first in 0..200 {
            let context = after(&[first, 5]);
            let mut greedy = 0;
            for id in COMMON.into_iter().chain(300..400) {
                let logprob = context.logprob(id);
                assert!((-9.0..0.0).contains(&logprob));
                assert_eq!(logprob * 128.0, (logprob * 128.0).trunc());
                greedy += usize::from(logprob > -0.75);
            }
            assert_eq!(greedy, 1);
        }
    }

    #[test]
    fn the_likeliest_comes_first_and_agrees_with_the_single_values() {
        let context = after(&[17, 4]);
        let best = context.alternatives(context.top(), 5);
        assert_eq!(best.len(), 5);
        assert_eq!(best[0].0, context.top());
        assert!(best.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!(best.iter().all(|(id, logprob)| context.logprob(*id) == *logprob));
        assert_eq!(context.alternatives(12345, 2)[0].0, 12345);
    }
}
