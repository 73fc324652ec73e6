//! Which of the replicas that may be asked is asked. Pure but for a generator of random numbers and, in round
//! robin, whose turn it is.

use crate::config::Route;

/// With affinity a replica may carry this many times its share of all that is in flight.
const SLACK: f64 = 1.25;
/// And at least this many times its weight: at so low a load there is nothing to spread.
const CALM: u32 = 4;

/// A replica as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its share against the others'; at least 1.
    pub weight: u32,
    /// Attempts in flight.
    pub in_flight: u32,
    /// A hash of its name, which is the same in every run.
    pub identity: u64,
    /// Whether it may be asked now.
    pub free: bool,
}

/// A policy and its state.
#[derive(Clone, Debug)]
pub struct Policy {
    route: Route,
    random: fastrand::Rng,
    /// Smooth weighted round robin: who has waited longest for its weight.
    turns: Vec<i64>,
}

impl Policy {
    /// For so many replicas.
    pub fn new(route: Route, replicas: usize, random: fastrand::Rng) -> Self {
        Self { route, random, turns: vec![0; replicas] }
    }

    /// One of the free replicas; none if there is none. `prefix` is a hash of how the prompt begins.
    pub fn pick(&mut self, loads: &[Load], prefix: u64) -> Option<usize> {
        let mut free = loads.iter().enumerate().filter(|(_, load)| load.free);
        let (first, _) = free.next()?;
        free.next().map_or(Some(first), |_| match self.route {
            Route::LeastInFlight => self.least_in_flight(loads),
            Route::RoundRobin => self.round_robin(loads),
            Route::Prefix => affine(loads, prefix),
        })
    }

    /// Of two that are drawn by weight, the one with fewer in flight for its weight (Mitzenmacher, "The Power of
    /// Two Choices in Randomized Load Balancing").
    fn least_in_flight(&mut self, loads: &[Load]) -> Option<usize> {
        let one = self.draw(loads, None)?;
        let other = self.draw(loads, Some(one))?;
        let per_weight =
            |a: usize, b: usize| u64::from(loads[a].in_flight) * u64::from(loads[b].weight);
        Some(if per_weight(other, one) < per_weight(one, other) { other } else { one })
    }

    /// A free replica at random, by weight.
    fn draw(&mut self, loads: &[Load], but: Option<usize>) -> Option<usize> {
        let free = || {
            let all = loads.iter().enumerate();
            all.filter(move |(index, load)| load.free && Some(*index) != but)
        };
        let total: u64 = free().map(|(_, load)| u64::from(load.weight)).sum();
        let mut left = self.random.u64(0..total.max(1));
        for (index, load) in free() {
            match left.checked_sub(load.weight.into()) {
                Some(rest) => left = rest,
                None => return Some(index),
            }
        }
        None
    }

    /// Smooth weighted round robin: each free replica gains its weight, the one that is ahead is taken and pays
    /// for all. In every run of as many turns as the weights' sum each comes exactly by its weight, spread out.
    fn round_robin(&mut self, loads: &[Load]) -> Option<usize> {
        let mut total = 0;
        let mut ahead: Option<usize> = None;
        for (index, load) in loads.iter().enumerate().filter(|(_, load)| load.free) {
            let weight = i64::from(load.weight);
            total += weight;
            self.turns[index] += weight;
            if ahead.is_none_or(|ahead| self.turns[index] > self.turns[ahead]) {
                ahead = Some(index);
            }
        }
        self.turns[ahead?] -= total;
        ahead
    }
}

/// The replica that this prefix likes best (weighted rendezvous hashing), among those that carry no more than
/// their share and some (consistent hashing with bounded loads, Mirrokni et al.). If a replica goes, only what it
/// had moves.
fn affine(loads: &[Load], prefix: u64) -> Option<usize> {
    // A replica that is neither free nor at work takes no share.
    let present = || loads.iter().filter(|load| load.free || load.in_flight > 0);
    let in_flight: u32 = present().map(|load| load.in_flight).sum();
    let weights: u64 = present().map(|load| u64::from(load.weight)).sum();
    let share = SLACK * (f64::from(in_flight) + 1.0) / weights.max(1) as f64;
    let within = |load: &Load| {
        let bound = (share * f64::from(load.weight)).ceil();
        f64::from(load.in_flight) < bound.max(f64::from(CALM.saturating_mul(load.weight)))
    };
    let liked = |only: &dyn Fn(&Load) -> bool| {
        loads
            .iter()
            .enumerate()
            .filter(|(_, load)| load.free && only(load))
            .map(|(index, load)| (index, liking(prefix, load)))
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(index, _)| index)
    };
    liked(&within).or_else(|| liked(&|_| true))
}

/// Grows with the weight: of two replicas, one with twice the weight is preferred by two thirds of the prefixes.
fn liking(prefix: u64, load: &Load) -> f64 {
    // 53 bits, in the middle of their interval: neither 0 nor 1.
    let hash = mix(prefix ^ load.identity) >> 11;
    let unit = (hash as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(load.weight) / unit.ln()
}

/// The finaliser of SplitMix64: each bit of the input moves half of the output's.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
