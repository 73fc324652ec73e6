//! Which results and samples of two runs belong together.

use std::collections::HashMap;

use crate::store::summary::TaskResult;

/// The same task in one run, or in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPair {
    /// Number of the result in the first run.
    pub first: Option<usize>,
    /// Number of the result in the second run.
    pub second: Option<usize>,
}

/// Pairs results by task and backend; what is left of a task, since backends have other names, by position, if both
/// runs have as many of them left. Those without a partner stand by themselves.
pub fn pair_units(first: &[TaskResult], second: &[TaskResult]) -> Vec<UnitPair> {
    let mut taken = vec![false; second.len()];
    let mut take = |at: Option<usize>| {
        if let Some(flag) = at.and_then(|at| taken.get_mut(at)) {
            *flag = true;
        }
        at
    };
    let named: Vec<Option<usize>> = first
        .iter()
        .map(|own| {
            take(
                second
                    .iter()
                    .position(|other| (&own.task, &own.backend) == (&other.task, &other.backend)),
            )
        })
        .collect();
    let left = |taken: &[bool], task: &str| -> Vec<usize> {
        let all = second.iter().zip(taken).enumerate();
        all.filter(|(_, (other, taken))| !**taken && other.task == task).map(|(at, _)| at).collect()
    };
    let mut pairs: Vec<UnitPair> = (0..first.len())
        .zip(&named)
        .map(|(at, partner)| UnitPair { first: Some(at), second: *partner })
        .collect();
    for at in 0..first.len() {
        let Some(task) = first.get(at).map(|own| own.task.clone()) else { continue };
        let open: Vec<usize> = pairs
            .iter()
            .filter(|pair| pair.second.is_none())
            .filter_map(|pair| pair.first)
            .filter(|at| first.get(*at).is_some_and(|own| own.task == task))
            .collect();
        let partners = left(&taken, &task);
        if open.first() != Some(&at) || open.len() != partners.len() {
            continue;
        }
        for (own, partner) in open.iter().zip(&partners) {
            if let (Some(pair), Some(flag)) = (pairs.get_mut(*own), taken.get_mut(*partner)) {
                pair.second = Some(*partner);
                *flag = true;
            }
        }
    }
    let alone = taken.iter().enumerate().filter(|(_, taken)| !**taken);
    pairs.extend(alone.map(|(at, _)| UnitPair { first: None, second: Some(at) }));
    pairs
}

/// Where the samples of a run are, by what identifies them: 12 bytes each.
#[derive(Debug, Default)]
pub struct SampleFinder(HashMap<u64, u32>);

impl SampleFinder {
    /// Adds a sample of a pair of units.
    pub fn add(&mut self, pair: usize, id: &str, repeat: u32, number: usize) {
        if let Ok(number) = u32::try_from(number) {
            self.0.insert(key(pair, id, repeat), number);
        }
    }

    /// Takes the sample out; whatever is left at the end has no partner.
    pub fn take(&mut self, pair: usize, id: &str, repeat: u32) -> Option<usize> {
        self.0.remove(&key(pair, id, repeat)).and_then(|number| usize::try_from(number).ok())
    }

    /// What nobody took, in the order of the journal.
    pub fn left(self) -> Vec<usize> {
        let mut numbers: Vec<usize> =
            self.0.into_values().filter_map(|number| usize::try_from(number).ok()).collect();
        numbers.sort_unstable();
        numbers
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
    fn units_pair_by_name_and_else_by_position() {
        let pairs = |first: &[(&str, &str)], second: &[(&str, &str)]| {
            let pairs = pair_units(&results(first), &results(second));
            pairs.iter().map(|pair| (pair.first, pair.second)).collect::<Vec<_>>()
        };
        let table = [
            (
                pairs(&[("t", "a"), ("t", "b")], &[("t", "b"), ("t", "a")]),
                vec![(Some(0), Some(1)), (Some(1), Some(0))],
            ),
            (
                pairs(&[("t", "a"), ("t", "old")], &[("t", "new"), ("t", "a")]),
                vec![(Some(0), Some(1)), (Some(1), Some(0))],
            ),
            (
                pairs(&[("t", "a"), ("t", "b")], &[("t", "c")]),
                vec![(Some(0), None), (Some(1), None), (None, Some(0))],
            ),
            (pairs(&[("t", "a")], &[("u", "a")]), vec![(Some(0), None), (None, Some(0))]),
            (pairs(&[("t", "a")], &[]), vec![(Some(0), None)]),
        ];
        for (found, expected) in table {
            assert_eq!(found, expected);
        }
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
        assert_eq!(finder.left(), [3, 5]);
    }
}
