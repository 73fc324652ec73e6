//! Python's `random.Random(seed)`, bit for bit.
//!
//! Few-shot examples drawn by other harnesses come from this generator, so a score can only be
//! compared with theirs when the same examples are drawn. Resampling uses it too, since its numbers will
//! be the same in every version. Nothing that needs secret randomness may use it.
//!
//! Sources: Matsumoto and Nishimura's MT19937 (2002) with `init_by_array`; CPython 3.11
//! `Modules/_randommodule.c` (seeding, `getrandbits`) and `Lib/random.py` (`sample`, `shuffle`).

use std::collections::HashSet;

const N: usize = 624;
const M: usize = 397;

/// A Mersenne Twister in the state that `random.Random(seed)` would be in.
#[derive(Clone, Debug)]
pub struct PythonRandom {
    state: Box<[u32; N]>,
    index: usize,
}

/// More items were asked for than there are (`ValueError` in Python).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} cannot be drawn from {population}")]
pub struct SampleTooLarge {
    /// How many were asked for.
    pub wanted: usize,
    /// How many there are.
    pub population: usize,
}

impl PythonRandom {
    /// The generator that `random.Random(seed)` gives for a non-negative integer seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // CPython splits |seed| into 32-bit words, least significant first; zero is one word.
        let low = (seed & 0xffff_ffff) as u32;
        let high = (seed >> 32) as u32;
        if high == 0 { Self::from_key(&[low]) } else { Self::from_key(&[low, high]) }
    }

    fn from_key(key: &[u32]) -> Self {
        let mut state = Box::new([0u32; N]);
        state[0] = 19_650_218;
        for i in 1..N {
            let previous = state[i - 1];
            state[i] =
                1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            let previous = state[i - 1];
            state[i] = (state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            (i, j) = (i + 1, j + 1);
            if i >= N {
                state[0] = state[N - 1];
                i = 1;
            }
            if j >= key.len() {
                j = 0;
            }
        }
        for _ in 0..N - 1 {
            let previous = state[i - 1];
            state[i] = (state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(1_566_083_941))
                .wrapping_sub(i as u32);
            i += 1;
            if i >= N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        Self { state, index: N }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.index = 0;
    }

    fn next_u32(&mut self) -> u32 {
        if self.index >= N {
            self.twist();
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `getrandbits(bits)` for 1 to 64 bits.
    fn bits(&mut self, bits: u32) -> u64 {
        if bits <= 32 {
            return u64::from(self.next_u32() >> (32 - bits));
        }
        let low = u64::from(self.next_u32());
        let high = u64::from(self.next_u32() >> (64 - bits));
        (high << 32) | low
    }

    /// `_randbelow(n)`: a number in `0..n` by rejection. `below(0)` is 0 and draws nothing.
    fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        let n = n as u64;
        let bits = 64 - n.leading_zeros();
        loop {
            let drawn = self.bits(bits);
            if drawn < n {
                return drawn as usize;
            }
        }
    }

    /// `sample(range(population), k)`: `k` different indices in the order in which they were drawn.
    ///
    /// # Errors
    /// [`SampleTooLarge`] when `k > population`; nothing is drawn then.
    pub fn sample(&mut self, population: usize, k: usize) -> Result<Vec<usize>, SampleTooLarge> {
        if k > population {
            return Err(SampleTooLarge { wanted: k, population });
        }
        // CPython keeps a list of the population where that is smaller than a set of the chosen;
        // the two ways draw differently, so the threshold is part of the sequence.
        let mut set_size = 21usize;
        if k > 5 {
            set_size = set_size.saturating_add(4usize.saturating_pow(log4_ceil(3 * k)));
        }
        let mut chosen = Vec::with_capacity(k);
        if population <= set_size {
            let mut pool: Vec<usize> = (0..population).collect();
            for i in 0..k {
                let j = self.below(population - i);
                chosen.push(pool[j]);
                pool[j] = pool[population - i - 1];
            }
        } else {
            let mut seen = HashSet::with_capacity(k);
            while chosen.len() < k {
                let j = self.below(population);
                if seen.insert(j) {
                    chosen.push(j);
                }
            }
        }
        Ok(chosen)
    }

    /// `random()`: a number in [0, 1) with 53 random bits.
    pub(super) fn unit(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// One index of `choices(range(population))`: drawn with replacement. `population` must not be 0.
    pub fn choice(&mut self, population: usize) -> usize {
        // Floored as Python does it; the product is below the population.
        (self.unit() * population as f64) as usize
    }

    /// `shuffle(items)`, in place. Nothing is shuffled but in tests; its vector is one more check of the
    /// generator.
    #[cfg(test)]
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

/// `ceil(log(x, 4))` for `x >= 1`, as CPython computes it in floating point: the two agree because
/// `3 * k` is never a power of four.
fn log4_ceil(x: usize) -> u32 {
    let mut power = 1usize;
    let mut exponent = 0;
    while power < x {
        power = power.saturating_mul(4);
        exponent += 1;
    }
    exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_words_are_those_of_python() {
        let mut random = PythonRandom::new(1234);
        let words: Vec<u32> = (0..4).map(|_| random.next_u32()).collect();
        assert_eq!(words, [4_150_886_329, 3_342_196_574, 1_892_932_127, 501_869_158]);
    }

    #[test]
    fn samples_are_those_of_python() {
        // (seed, population, k, first draw, second draw), made with CPython 3.11; the pairs 21/22
        // and 85/86 lie on both sides of the change from list to set.
        type Row = (u64, usize, usize, &'static [usize], &'static [usize]);
        let table: &[Row] = &[
            (1234, 10, 3, &[7, 1, 0], &[1, 0, 9]),
            (1234, 100, 5, &[99, 56, 14, 0, 11], &[74, 4, 85, 88, 10]),
            (
                0,
                1000,
                10,
                &[864, 394, 776, 911, 430, 41, 265, 988, 523, 497],
                &[414, 940, 802, 849, 310, 991, 488, 366, 597, 913],
            ),
            (42, 21, 5, &[20, 3, 0, 8, 7], &[7, 4, 3, 17, 2]),
            (42, 22, 5, &[20, 3, 0, 8, 7], &[7, 4, 3, 21, 17]),
            (7, 85, 6, &[41, 19, 50, 6, 9, 68], &[12, 46, 74, 7, 64, 27]),
            (7, 86, 6, &[41, 19, 50, 83, 6, 9], &[68, 12, 46, 74, 7, 64]),
            (5, 1, 1, &[0], &[0]),
        ];
        for &(seed, population, k, first, second) in table {
            let mut random = PythonRandom::new(seed);
            assert_eq!(random.sample(population, k).unwrap(), first, "seed {seed}");
            assert_eq!(random.sample(population, k).unwrap(), second, "seed {seed}");
        }
    }

    #[test]
    fn a_seed_of_two_words_is_that_of_python() {
        let mut random = PythonRandom::new((1 << 40) + 7);
        assert_eq!(
            random.sample(500, 30).unwrap(),
            [
                314, 382, 417, 480, 483, 327, 292, 361, 243, 128, 485, 315, 64, 264, 192, 266, 368,
                185, 201, 226, 230, 442, 459, 190, 115, 431, 457, 227, 384, 304
            ]
        );
    }

    #[test]
    fn shuffle_is_that_of_python() {
        let mut items: Vec<u32> = (0..10).collect();
        PythonRandom::new(123).shuffle(&mut items);
        assert_eq!(items, [8, 7, 5, 9, 2, 3, 6, 1, 4, 0]);
    }

    #[test]
    fn choices_are_those_of_python() {
        let mut random = PythonRandom::new(3);
        random.next_u32();
        assert_eq!(random.unit(), 0.592_640_910_627_165_6);
        let mut random = PythonRandom::new(0);
        let drawn: Vec<usize> = (0..8).map(|_| random.choice(10)).collect();
        assert_eq!(drawn, [8, 7, 4, 2, 5, 4, 7, 3]);
    }

    #[test]
    fn too_large_a_sample_is_refused() {
        let refused = PythonRandom::new(0).sample(2, 3).unwrap_err();
        assert_eq!(refused, SampleTooLarge { wanted: 3, population: 2 });
    }
}
