//! How often a worker may die: when the next one is started, and when none is any more. Knows no clock but its caller's.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Deaths within [`WINDOW`] after which no other worker is started.
pub const MOST: usize = 3;
/// The time in which deaths are counted.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Wait after the first death; four times as long after the next.
const BASE: Duration = Duration::from_millis(100);

/// The latest deaths of a backend's workers.
#[derive(Debug, Default)]
pub struct Circuit {
    deaths: VecDeque<Instant>,
}

impl Circuit {
    /// A worker died. Whether that was one too many.
    pub fn died(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.deaths.push_back(now);
        self.deaths.len() >= MOST
    }

    /// How long to wait from `now` before another one is started.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.forget(now);
        let Some(last) = self.deaths.back() else { return Duration::ZERO };
        let before = u32::try_from(self.deaths.len() - 1).unwrap_or(u32::MAX);
        let wait = BASE.saturating_mul(4_u32.saturating_pow(before));
        (*last + wait).saturating_duration_since(now)
    }

    fn forget(&mut self, now: Instant) {
        while self.deaths.front().is_some_and(|death| now.duration_since(*death) >= WINDOW) {
            self.deaths.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn three_deaths_in_a_minute_are_too_many() {
        let start = Instant::now();
        for (deaths, broken) in [
            (&[0, 0, 0][..], true),
            (&[0, 30, 59], true),
            (&[0, 30, 60], false),
            (&[0, 30, 60, 89], true),
            (&[0, 60, 120, 180], false),
        ] {
            let mut circuit = Circuit::default();
            let last = deaths.iter().map(|at| circuit.died(start + seconds(*at))).last();
            assert_eq!(last, Some(broken), "{deaths:?}");
        }
    }

    #[test]
    fn the_wait_grows_with_each_death_and_is_over_in_time() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        assert_eq!(circuit.wait(start), Duration::ZERO);
        circuit.died(start);
        assert_eq!(circuit.wait(start), BASE);
        assert_eq!(circuit.wait(start + BASE / 4), BASE * 3 / 4);
        assert_eq!(circuit.wait(start + seconds(1)), Duration::ZERO);
        circuit.died(start + seconds(1));
        assert_eq!(circuit.wait(start + seconds(1)), 4 * BASE);
        assert_eq!(circuit.wait(start + seconds(70)), Duration::ZERO);
    }
}
