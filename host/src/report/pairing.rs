//! Which results and samples of two runs belong together.

use std::collections::HashMap;

use super::comparison::pairing::Pair;
use crate::store::summary::TaskResult;

/// The same task in one run, or in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPair {
    /// Number of the result in the first run.
    pub first: Option<usize>,
    /// Number of the result in the second run.
    pub second: Option<usize>,
}

/// Results side by side, as the comparison pairs them: a result may stand beside several of the other run. Those
/// without a partner stand by themselves.
pub fn pair_units(pairs: &[Pair], first: &[TaskResult], second: &[TaskResult]) -> Vec<UnitPair> {
    let at = |results: &[TaskResult], task: &str, backend: &str| {
        results.iter().position(|one| one.task == task && one.backend == backend)
    };
    let (mut units, mut partnered) = (Vec::new(), vec![false; second.len()]);
    for (number, own) in first.iter().enumerate() {
        let is_own = |pair: &&Pair| pair.task == own.task && pair.baseline == own.backend;
        let before = units.len();
        for pair in pairs.iter().filter(is_own) {
            let Some(partner) = at(second, &pair.task, &pair.candidate) else { continue };
            units.push(UnitPair { first: Some(number), second: Some(partner) });
            if let Some(is_partnered) = partnered.get_mut(partner) {
                *is_partnered = true;
            }
        }
        if units.len() == before {
            units.push(UnitPair { first: Some(number), second: None });
        }
    }
    let alone = partnered.iter().enumerate().filter(|(_, is_partnered)| !**is_partnered);
    units.extend(alone.map(|(at, _)| UnitPair { first: None, second: Some(at) }));
    units
}

/// Where the samples of a run are, by what identifies them: 16 bytes each.
#[derive(Debug, Default)]
pub struct SampleFinder(HashMap<u64, (u32, u32)>);

impl SampleFinder {
    /// Adds a sample of a pair of units.
    pub fn add(&mut self, pair: usize, id: &str, repeat: u32, number: usize) {
        if let (Ok(number), Ok(short)) = (u32::try_from(number), u32::try_from(pair)) {
            self.0.insert(key(pair, id, repeat), (number, short));
        }
    }

    /// Takes the sample out; whatever is left at the end has no partner.
    pub fn take(&mut self, pair: usize, id: &str, repeat: u32) -> Option<usize> {
        let (number, _) = self.0.remove(&key(pair, id, repeat))?;
        usize::try_from(number).ok()
    }

    /// What nobody took, with its pair, in the order of the journal.
    pub fn left(self) -> Vec<(usize, usize)> {
        let mut left: Vec<(u32, u32)> = self.0.into_values().collect();
        left.sort_unstable();
        left.into_iter().map(|(number, pair)| (number as usize, pair as usize)).collect()
    }
}

/// The samples that flipped, by pair of units and id.
#[derive(Debug, Default)]
pub struct Flips(HashMap<u64, bool>);

impl Flips {
    /// Adds a sample; whether the second run has it right.
    pub fn add(&mut self, pair: usize, id: &str, gained: bool) {
        self.0.insert(key(pair, id, 0), gained);
    }

    /// Whether the second run has a flipped sample right, whichever its repeat; none if it did not flip.
    pub fn gained(&self, pair: usize, id: &str) -> Option<bool> {
        self.0.get(&key(pair, id, 0)).copied()
    }
}

/// The beginning of a digest: two of a million samples have the same one once in 37 million runs.
fn key(pair: usize, id: &str, repeat: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(pair as u64).to_le_bytes()).update(&repeat.to_le_bytes()).update(id.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(names: &[(&str, &str)]) -> Vec<TaskResult> {
        let one = |(task, backend): &(&str, &str)| {
            serde_json::from_value(serde_json::json!({
                "task": task, "backend": backend, "model": null, "unscored_reasons": {}, "metrics": {},
                "samples": {"total": 0, "scored": 0, "unscored": 0},
                "tokens": {"prompt": 0, "completion": 0},
                "latency_ms": {"p50": 0.0, "p90": 0.0, "p99": 0.0}, "samples_per_second": 0.0,
                "retries": 0,
            }))
            .unwrap()
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn units_stand_beside_those_that_they_are_compared_with() {
        let pair = |(task, baseline, candidate): &(&str, &str, &str)| Pair {
            task: (*task).to_owned(),
            baseline: (*baseline).to_owned(),
            candidate: (*candidate).to_owned(),
        };
        let units =
            |pairs: &[(&str, &str, &str)], first: &[(&str, &str)], second: &[(&str, &str)]| {
                let pairs: Vec<Pair> = pairs.iter().map(pair).collect();
                let units = pair_units(&pairs, &results(first), &results(second));
                units.iter().map(|unit| (unit.first, unit.second)).collect::<Vec<_>>()
            };
        let ab = [("t", "a"), ("t", "b")];
        let table = [
            (
                units(&[("t", "a", "a"), ("t", "b", "b")], &ab, &[("t", "b"), ("t", "a")]),
                vec![(Some(0), Some(1)), (Some(1), Some(0))],
            ),
            // Both stand beside the only one of the other run.
            (
                units(&[("t", "a", "c"), ("t", "b", "c")], &ab, &[("t", "c")]),
                vec![(Some(0), Some(0)), (Some(1), Some(0))],
            ),
            (
                units(&[("t", "c", "a"), ("t", "c", "b")], &[("t", "c")], &ab),
                vec![(Some(0), Some(0)), (Some(0), Some(1))],
            ),
            // What is not compared stands alone, wherever it is.
            (
                units(&[], &ab, &[("t", "c"), ("t", "d")]),
                vec![(Some(0), None), (Some(1), None), (None, Some(0)), (None, Some(1))],
            ),
            (
                units(&[("t", "a", "a"), ("t", "b", "b")], &ab, &[("t", "a")]),
                vec![(Some(0), Some(0)), (Some(1), None)],
            ),
            (units(&[], &[("t", "a")], &[]), vec![(Some(0), None)]),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn flips_are_of_samples_whatever_their_repeats() {
        let mut flips = Flips::default();
        flips.add(1, "7", true);
        assert_eq!(flips.gained(1, "7"), Some(true));
        assert_eq!((flips.gained(0, "7"), flips.gained(1, "8")), (None, None));
    }

    #[test]
    fn a_sample_is_found_by_unit_id_and_repeat() {
        let mut finder = SampleFinder::default();
        finder.add(0, "7", 0, 3);
        finder.add(0, "7", 1, 4);
        finder.add(1, "7", 0, 5);
        assert_eq!(finder.take(0, "7", 1), Some(4));
        assert_eq!(finder.take(0, "7", 1), None);
        assert_eq!(finder.take(0, "8", 0), None);
        assert_eq!(finder.left(), [(3, 0), (5, 1)]);
    }
}
