//! Chooses the solved examples that stand before a question.
//!
//! Knows records, not prompts. A drawer has state: with the sampler of lm-evaluation-harness each
//! sample draws anew from one generator, so every sample must draw, in order, even one whose
//! result is already known.

use std::collections::HashMap;

use serde_json::Value;

use super::data::{DataError, DataSet};
use super::raw::{Record, Sampler};
use super::sample::{Digest, Sample, SampleId};
use crate::stats::python_random::{PythonRandom, SampleTooLarge};

/// The most that is held of a pool of examples, in bytes of JSON.
pub const POOL_MAX_BYTES: u64 = 64 << 20;

/// How examples are chosen.
#[derive(Debug, Clone)]
pub struct FewShot {
    /// How many; not 0.
    pub n: usize,
    /// How they are chosen from the pool.
    pub sampler: Sampler,
    /// Seed of the choice.
    pub seed: u64,
    /// Where they come from.
    pub pool: Pool,
}

/// Where examples come from.
#[derive(Debug, Clone)]
pub enum Pool {
    /// Written in the task.
    Inline(Vec<Record>),
    /// Another file.
    File(DataSet),
    /// The samples of the task. With true, records that cannot be read are left out.
    OwnData(DataSet, bool),
}

/// Why there are no examples.
#[derive(Debug, thiserror::Error)]
pub enum FewShotError {
    /// The pool cannot be read.
    #[error("few-shot pool: {0}")]
    Data(#[from] DataError),
    /// The pool is too large to be held.
    #[error(
        "few-shot pool {path} is larger than {POOL_MAX_BYTES} bytes, which is the most that is held in memory; use `sampler = \"first\"` or a smaller file"
    )]
    PoolTooLarge {
        /// The file.
        path: String,
    },
    /// There are fewer examples than asked for.
    #[error(
        "{wanted} few-shot examples are needed beside the sample itself, and the pool {pool} has {available}"
    )]
    TooFew {
        /// The pool.
        pool: String,
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        available: usize,
    },
    /// There are fewer examples that differ from a sample than asked for.
    #[error(
        "sample `{sample}` needs {wanted} few-shot examples, and only {available} of those that can be drawn from the pool {pool} differ from it"
    )]
    TooFewOthers {
        /// The pool.
        pool: String,
        /// The sample.
        sample: SampleId,
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        available: usize,
    },
}

struct Example {
    record: Record,
    digest: Digest,
}

/// Chooses examples for one sample after the other.
pub struct Drawer {
    /// What the pool is called in errors.
    pool: String,
    n: usize,
    examples: Vec<Example>,
    draw: Draw,
}

enum Draw {
    /// The same indices for every sample, in this order, the first n that are not the sample.
    Fixed { order: Vec<usize>, may_lack: bool },
    /// lm-evaluation-harness, with the pool being the samples themselves or not.
    LmEval { random: PythonRandom, own_data: bool },
}

impl Drawer {
    /// Reads the pool and seeds the generator. Where bad records of its own data are left out, only what `is_usable` can
    /// be an example.
    ///
    /// # Errors
    /// [`FewShotError`] when the pool cannot be read or held, or has too few examples.
    pub fn open(
        few_shot: &FewShot,
        is_usable: &dyn Fn(&Record) -> bool,
    ) -> Result<Self, FewShotError> {
        let n = few_shot.n;
        let pool = few_shot.pool.name();
        let (examples, own_data) = match &few_shot.pool {
            Pool::Inline(records) => (records.iter().map(Example::new).collect(), false),
            Pool::File(data) => (read_pool(data, few_shot, None)?, false),
            Pool::OwnData(data, skip_bad) => {
                (read_pool(data, few_shot, skip_bad.then_some(is_usable))?, true)
            }
        };
        let needed = if own_data { n + 1 } else { n };
        if examples.len() < needed {
            let available =
                if own_data { examples.len().saturating_sub(1) } else { examples.len() };
            return Err(FewShotError::TooFew { pool, wanted: n, available });
        }
        let mut random = PythonRandom::new(few_shot.seed);
        let may_lack = matches!(few_shot.pool, Pool::Inline(_));
        let draw = match few_shot.sampler {
            Sampler::First => Draw::Fixed { order: (0..examples.len()).collect(), may_lack },
            Sampler::Random => {
                // One more than needed, to take the place of the sample itself. Where the sample
                // occurs more often than that, the records that were not drawn follow in their order.
                let count = examples.len().min(n + 1);
                let mut order =
                    random.sample(examples.len(), count).map_err(|error| too_few(error, &pool))?;
                let rest: Vec<usize> =
                    (0..examples.len()).filter(|index| !order.contains(index)).collect();
                order.extend(rest);
                Draw::Fixed { order, may_lack }
            }
            Sampler::LmEval => Draw::LmEval { random, own_data },
        };
        Ok(Self { pool, n, examples, draw })
    }

    /// The examples of the next sample, which must be given in the order of the data set.
    ///
    /// # Errors
    /// [`FewShotError::TooFewOthers`] when the pool has too little that differs from the sample.
    pub fn draw(&mut self, sample: &Sample) -> Result<Vec<&Record>, FewShotError> {
        let n = self.n;
        let (examples, pool) = (&self.examples, &self.pool);
        let is_other = |index: &usize| examples[*index].digest != sample.digest;
        let chosen: Vec<usize> = match &mut self.draw {
            Draw::Fixed { order, may_lack } => {
                let chosen: Vec<usize> = order.iter().copied().filter(is_other).take(n).collect();
                if chosen.len() < n && !*may_lack {
                    return Err(FewShotError::TooFewOthers {
                        pool: pool.clone(),
                        sample: sample.id.clone(),
                        wanted: n,
                        available: chosen.len(),
                    });
                }
                chosen
            }
            // Its rule: from its own split one more is drawn, the sample is removed, n are kept.
            Draw::LmEval { random, own_data: true } => {
                let drawn =
                    random.sample(examples.len(), n + 1).map_err(|error| too_few(error, pool))?;
                drawn.into_iter().filter(is_other).take(n).collect()
            }
            // From another split it does not look for the sample; here the next record that was not
            // drawn takes its place, so that nothing else of the draw changes.
            Draw::LmEval { random, own_data: false } => {
                let drawn =
                    random.sample(examples.len(), n).map_err(|error| too_few(error, pool))?;
                let mut spare =
                    (0..examples.len()).filter(|index| is_other(index) && !drawn.contains(index));
                let mut chosen = Vec::with_capacity(n);
                for index in &drawn {
                    chosen.extend(if is_other(index) { Some(*index) } else { spare.next() });
                }
                chosen
            }
        };
        Ok(chosen.into_iter().map(|index| &examples[index].record).collect())
    }
}

fn too_few(error: SampleTooLarge, pool: &str) -> FewShotError {
    FewShotError::TooFew {
        pool: pool.to_owned(),
        wanted: error.wanted,
        available: error.population,
    }
}

impl Pool {
    fn name(&self) -> String {
        match self {
            Self::Inline(_) => "`few_shot.examples`".to_owned(),
            Self::File(data) | Self::OwnData(data, _) => data.path.display().to_string(),
        }
    }
}

impl Example {
    fn new(record: &Record) -> Self {
        Self { record: record.clone(), digest: Digest::of(record) }
    }
}

/// The records that may be examples; with `or_skip` without those that are bad.
fn read_pool(
    data: &DataSet,
    few_shot: &FewShot,
    or_skip: Option<&dyn Fn(&Record) -> bool>,
) -> Result<Vec<Example>, FewShotError> {
    let mut examples = Vec::new();
    let mut bytes = 0u64;
    let mut equal: HashMap<Digest, usize> = HashMap::new();
    let mut most_equal = 0;
    for item in data.open()? {
        let sample = match item {
            Ok((_, sample)) => sample,
            Err(error) if or_skip.is_some() && error.spoils_one_record() => continue,
            Err(error) => return Err(error.into()),
        };
        if or_skip.is_some_and(|is_usable| !is_usable(&sample.record)) {
            continue;
        }
        if few_shot.sampler == Sampler::First {
            // However often a record stands in the file, no more than n of it can be taken.
            let count = equal.entry(sample.digest).or_default();
            if *count == few_shot.n {
                continue;
            }
            *count += 1;
            most_equal = most_equal.max(*count);
        }
        bytes += Value::Object(sample.record.clone()).to_string().len() as u64;
        if bytes > POOL_MAX_BYTES {
            return Err(FewShotError::PoolTooLarge { path: data.path.display().to_string() });
        }
        examples.push(Example { record: sample.record, digest: sample.digest });
        // Enough for any sample: n remain when all that equal it are left out.
        if few_shot.sampler == Sampler::First && examples.len() - most_equal >= few_shot.n {
            break;
        }
    }
    Ok(examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::raw::DataFormat;
    use serde_json::json;

    fn record(i: usize) -> Record {
        json!({"i": i}).as_object().unwrap().clone()
    }

    fn draws(
        sampler: Sampler,
        seed: u64,
        n: usize,
        pool: Pool,
        samples: &[usize],
    ) -> Vec<Vec<u64>> {
        let mut drawer = Drawer::open(&FewShot { n, sampler, seed, pool }, &|_| true).unwrap();
        let mut draw = |i: usize| -> Vec<u64> {
            let drawn = drawer.draw(&sample(i)).unwrap();
            drawn.iter().map(|r| r["i"].as_u64().unwrap()).collect()
        };
        samples.iter().map(|i| draw(*i)).collect()
    }

    fn inline(count: usize) -> Pool {
        Pool::Inline((0..count).map(record).collect())
    }

    fn sample(i: usize) -> Sample {
        let record = record(i);
        let digest = Digest::of(&record);
        Sample { id: SampleId(format!("s{i}")), index: 0, record, digest, cluster: None }
    }

    fn own(count: usize) -> (tempfile::TempDir, Pool) {
        own_of(&(0..count).collect::<Vec<_>>())
    }

    fn own_of(records: &[usize]) -> (tempfile::TempDir, Pool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.jsonl");
        let lines: String = records.iter().map(|i| format!("{{\"i\":{i}}}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        let data = DataSet {
            path,
            format: DataFormat::Jsonl,
            labels: None,
            id_field: None,
            cluster_field: None,
        };
        (folder, Pool::OwnData(data, false))
    }

    #[test]
    fn lm_eval_draws_are_its_own() {
        assert_eq!(draws(Sampler::LmEval, 1234, 3, inline(10), &[90, 91]), [[7, 1, 0], [1, 0, 9]]);
        let table = draws(Sampler::LmEval, 1234, 5, inline(100), &[900, 901]);
        assert_eq!(table, [[99, 56, 14, 0, 11], [74, 4, 85, 88, 10]]);
    }

    #[test]
    fn lm_eval_removes_the_sample_from_its_own_split() {
        // n + 1 = 3 are drawn: 7 1 0, then 1 0 9; the sample is removed, the first two are kept.
        let (_folder, pool) = own(10);
        assert_eq!(draws(Sampler::LmEval, 1234, 2, pool, &[1, 5]), [[7, 0], [1, 0]]);
    }

    #[test]
    fn the_sample_is_never_among_its_examples() {
        assert_eq!(draws(Sampler::LmEval, 1234, 3, inline(10), &[1, 5]), [[7, 2, 0], [1, 0, 9]]);
        assert_eq!(draws(Sampler::First, 0, 2, inline(4), &[0, 1, 3]), [[1, 2], [0, 2], [0, 1]]);
        let (_folder, pool) = own(4);
        assert_eq!(draws(Sampler::First, 0, 3, pool, &[0, 3]), [[1, 2, 3], [0, 1, 2]]);
        let (_folder, pool) = own(8);
        for drawn in
            draws(Sampler::Random, 7, 5, pool, &[0, 1, 2, 3, 4, 5, 6, 7]).iter().enumerate()
        {
            assert!(drawn.1.len() == 5 && !drawn.1.contains(&(drawn.0 as u64)));
        }
    }

    #[test]
    fn a_random_choice_is_the_same_for_every_sample() {
        let drawn = draws(Sampler::Random, 1234, 3, inline(100), &[500, 501]);
        assert_eq!(drawn[0], drawn[1]);
        assert_eq!(drawn[0], [99, 56, 14]);
    }

    #[test]
    fn records_that_occur_several_times_leave_enough_others() {
        let table: [(usize, &[usize], usize, &[u64]); 5] = [
            (2, &[7, 7, 7, 7, 1, 2, 3], 7, &[1, 2]),
            (2, &[7, 7, 7, 7, 1, 2, 3], 1, &[7, 7]),
            (2, &[1, 7, 7, 2, 7, 3], 7, &[1, 2]),
            (1, &[7, 7, 1], 7, &[1]),
            (3, &[7, 7, 1, 7, 2], 2, &[7, 7, 1]),
        ];
        for (n, records, i, expected) in table {
            let (_folder, pool) = own_of(records);
            assert_eq!(draws(Sampler::First, 0, n, pool, &[i]), [expected], "{records:?} {i}");
        }
        let mut records = vec![7; 50];
        records.extend([1, 2]);
        let (_folder, pool) = own_of(&records);
        let mut drawn = draws(Sampler::Random, 1234, 2, pool, &[7]).remove(0);
        drawn.sort_unstable();
        assert_eq!(drawn, [1, 2]);
    }

    #[test]
    fn only_as_much_of_a_pool_is_held_as_can_be_taken() {
        let mut records = vec![7; 50];
        records.extend(0..50);
        let (_folder, pool) = own_of(&records);
        let few_shot = FewShot { n: 2, sampler: Sampler::First, seed: 0, pool };
        assert_eq!(Drawer::open(&few_shot, &|_| true).unwrap().examples.len(), 4);
    }

    #[test]
    fn a_sample_that_the_pool_holds_nothing_beside_is_named_with_it() {
        let (_folder, pool) = own_of(&[7, 7, 7, 1]);
        let mut drawer =
            Drawer::open(&FewShot { n: 2, sampler: Sampler::First, seed: 0, pool }, &|_| true)
                .unwrap();
        let error = drawer.draw(&sample(7)).unwrap_err().to_string();
        assert!(error.contains("sample `s7`") && error.contains("d.jsonl"), "{error}");
    }

    #[test]
    fn too_small_a_pool_is_refused() {
        let (_folder, pool) = own(3);
        let error =
            Drawer::open(&FewShot { n: 3, sampler: Sampler::First, seed: 0, pool }, &|_| true)
                .err()
                .unwrap();
        assert!(matches!(error, FewShotError::TooFew { wanted: 3, available: 2, .. }));
    }
}
