//! Chance that can be had again: the same seed gives the same numbers.

/// A stream of numbers that look random. Source: Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled" (xorshift64*); the seed is spread by one step of splitmix64.
///
/// ```
/// use plugin_api::testkit::Random;
/// let (mut a, mut b) = (Random::new(7), Random::new(7));
/// assert_eq!((a.next(), a.below(10)), (b.next(), b.below(10)));
/// assert_eq!((a.once_in(3), a.pick(&["x", "y"])), (b.once_in(3), b.pick(&["x", "y"])));
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((state ^ (state >> 31)).max(1))
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "an endless stream that is never iterated")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// True once in `times`, on average.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these; none if there are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}
