//! What a journal says of the samples of some units, as small as it can be: some 50 bytes an attempt and 8 a metric.

use std::{borrow::Cow, cmp::Ordering};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    score::{
        metric::{Aggregation, Metric},
        parts::Parts,
    },
    store::{
        line::Line,
        outcome::KeyOutcome,
        stored_run::{ReadError, StoredSamples},
    },
    task::sample::ClusterKey,
};

/// The part of a journal line that is compared.
#[derive(Deserialize)]
struct ComparedLine<'a> {
    format: u32,
    #[serde(borrow)]
    task: Cow<'a, str>,
    #[serde(borrow)]
    backend: Cow<'a, str>,
    #[serde(borrow)]
    sample: KeyOutcome<'a>,
    #[serde(default)]
    scores: Option<Parts>,
    #[serde(borrow)]
    question: Asked<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked<'a> {
    Full {
        #[serde(borrow)]
        prompt: &'a RawValue,
        #[serde(borrow)]
        form: &'a RawValue,
    },
    Hash {
        #[serde(borrow)]
        blake3: Cow<'a, str>,
    },
}

impl<'a> Line<'a> for ComparedLine<'a> {
    fn format(&self) -> u32 {
        self.format
    }
}

impl Asked<'_> {
    /// The first 64 bits of the digest that `store = "hash"` keeps of what is asked.
    fn digest(&self) -> u64 {
        match self {
            Self::Full { prompt, form } => {
                let mut hasher = blake3::Hasher::new();
                for part in [r#"{"prompt":"#, prompt.get(), r#","form":"#, form.get(), "}"] {
                    hasher.update(part.as_bytes());
                }
                first_64_bits(hasher.finalize().as_bytes())
            }
            Self::Hash { blake3 } => {
                blake3.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
            }
        }
    }
}

fn first_64_bits(digest: &[u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// One attempt at a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// 128 bits of the BLAKE3 of the sample's id.
    key: u128,
    /// First 64 bits of the record's digest.
    pub(super) record: u64,
    /// First 64 bits of the digest of what was asked.
    pub(super) asked: u64,
    /// 64 bits of the cluster's key; 0 for none.
    pub(super) cluster: u64,
    /// Position of the record.
    pub(super) index: u32,
    /// Number of the line among the run's samples.
    pub(super) line: u32,
    repeat: u32,
    /// Position of its values in the columns.
    slot: u32,
    /// Whether it has a score of any kind, wanted here or not.
    is_scored: bool,
}

/// What is read of one task at one backend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Id of the task.
    pub(super) task: String,
    /// Id of the backend.
    pub(super) backend: String,
    /// The metrics; all that are means if none.
    pub(super) metrics: Option<Vec<Metric>>,
}

/// The attempts of one task at one backend, sorted by sample and repeat.
#[derive(Debug)]
pub(super) struct Attempts {
    wanted: Wanted,
    attempts: Vec<Attempt>,
    /// For each metric a value an attempt, NaN where there is none.
    columns: Vec<(Metric, Vec<f64>)>,
}

/// Reads what is wanted of a journal, in the order in which it is wanted.
///
/// # Errors
/// The journal cannot be read.
pub(super) fn read(
    samples: &StoredSamples,
    wanted: Vec<Wanted>,
) -> Result<Vec<Attempts>, ReadError> {
    let nothing = |wanted| Attempts { wanted, attempts: Vec::new(), columns: Vec::new() };
    let mut units: Vec<Attempts> = wanted.into_iter().map(nothing).collect();
    samples.each(|number, line| {
        let line: ComparedLine<'_> = samples.parse(line)?;
        let is_own = |unit: &&mut Attempts| {
            unit.wanted.task == line.task && unit.wanted.backend == line.backend
        };
        if let Some(unit) = units.iter_mut().find(is_own) {
            unit.add(u32::try_from(number).unwrap_or(u32::MAX), &line);
        }
        Ok::<_, ReadError>(())
    })?;
    for unit in &mut units {
        unit.attempts.sort_unstable_by_key(|attempt| (attempt.key, attempt.repeat));
    }
    Ok(units)
}

impl Attempts {
    fn add(&mut self, number: u32, line: &ComparedLine<'_>) {
        let sample = &line.sample;
        let id = blake3::hash(sample.id.as_bytes());
        let key = id.as_bytes().iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte));
        let cluster = sample.cluster.as_deref().map(|cluster| match line.question {
            Asked::Full { .. } => ClusterKey::of(cluster),
            Asked::Hash { .. } => ClusterKey::of_hex(cluster).unwrap_or(ClusterKey(0)),
        });
        let slot = self.attempts.len();
        self.attempts.push(Attempt {
            key,
            record: sample.short_digest().unwrap_or(0),
            asked: line.question.digest(),
            cluster: cluster.map_or(0, |ClusterKey(key)| (key >> 64) as u64),
            index: u32::try_from(sample.index).unwrap_or(u32::MAX),
            line: number,
            repeat: sample.repeat,
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            is_scored: line.scores.is_some(),
        });
        for (name, value) in line.scores.iter().flat_map(|parts| &parts.0) {
            let Some(metric) = Metric::from_name(name).filter(|metric| self.wants(*metric)) else {
                continue;
            };
            let column = match self.columns.iter().position(|(own, _)| *own == metric) {
                Some(at) => self.columns.get_mut(at),
                None => {
                    self.columns.push((metric, Vec::new()));
                    self.columns.last_mut()
                }
            };
            if let Some((_, column)) = column {
                column.resize(slot, f64::NAN);
                column.push(*value);
            }
        }
    }

    fn wants(&self, metric: Metric) -> bool {
        matches!(metric.aggregation(), Aggregation::Mean { .. })
            && self.wanted.metrics.as_ref().is_none_or(|metrics| metrics.contains(&metric))
    }

    /// Whether these are of this task at this backend.
    pub(super) fn is_of(&self, task: &str, backend: &str) -> bool {
        self.wanted.task == task && self.wanted.backend == backend
    }

    /// The metrics that some attempt has a value of, in the order in which metrics are shown.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let has = |metric: &Metric| self.columns.iter().any(|(own, _)| own == metric);
        Metric::ALL.into_iter().filter(has).collect()
    }

    /// The attempts at each sample, in the order of keys.
    fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let same = |a: &Attempt, b: &Attempt| a.key == b.key;
        self.attempts.chunk_by(same).map(|attempts| Sample { unit: self, attempts })
    }
}

/// The attempts at one sample; there is at least one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    unit: &'a Attempts,
    attempts: &'a [Attempt],
}

impl<'a> Sample<'a> {
    /// The first attempt, which tells what all of them share.
    pub(super) fn first(&self) -> Option<&'a Attempt> {
        self.attempts.first()
    }

    fn key(&self) -> u128 {
        self.first().map_or(0, |attempt| attempt.key)
    }

    /// Whether any attempt has a score.
    pub(super) fn is_scored(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.is_scored)
    }

    /// The attempts that have a value of a metric, with it.
    pub(super) fn values(&self, metric: Metric) -> impl Iterator<Item = (&'a Attempt, f64)> {
        let column = self.unit.columns.iter().find(|(own, _)| *own == metric);
        let value = move |attempt: &Attempt| {
            let (_, column) = column?;
            column.get(attempt.slot as usize).copied().filter(|value| !value.is_nan())
        };
        self.attempts.iter().filter_map(move |attempt| Some((attempt, value(attempt)?)))
    }

    /// The mean of a metric over the attempts that have a value.
    pub(super) fn mean(&self, metric: Metric) -> Option<f64> {
        let (sum, count) = self
            .values(metric)
            .fold((0.0, 0.0), |(sum, count), (_, value)| (sum + value, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }
}

/// The samples of two sides, paired by id: in the order of keys, and none twice.
pub(super) fn pairs<'a>(
    baseline: &'a Attempts,
    candidate: &'a Attempts,
) -> impl Iterator<Item = (Option<Sample<'a>>, Option<Sample<'a>>)> {
    let (mut left, mut right) = (baseline.samples().peekable(), candidate.samples().peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (None, None) => None,
        (Some(_), None) => Some((left.next(), None)),
        (None, Some(_)) => Some((None, right.next())),
        (Some(a), Some(b)) => match a.key().cmp(&b.key()) {
            Ordering::Less => Some((left.next(), None)),
            Ordering::Greater => Some((None, right.next())),
            Ordering::Equal => Some((left.next(), right.next())),
        },
    })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// One attempt: sample, repeat, record, value of the metric if it is scored, cluster.
    pub(in super::super) type Line = (&'static str, u32, u8, Option<f64>, Option<&'static str>);

    /// The attempts of these lines, the first being line 0, with one metric.
    pub(in super::super) fn unit(metric: Metric, lines: &[Line]) -> Attempts {
        let wanted = Wanted { task: "t".to_owned(), backend: "b".to_owned(), metrics: None };
        let mut unit = Attempts { wanted, attempts: Vec::new(), columns: Vec::new() };
        for (number, (id, repeat, record, value, cluster)) in (0..).zip(lines) {
            let index: u32 = id.parse().unwrap();
            let scores = value.map(|value| json!({ metric.name(): value, "words": 3.0 }));
            let line = json!({
                "format": 1, "task": "t", "backend": "b", "scores": scores,
                "sample": {
                    "id": id, "index": index, "repeat": repeat, "digest": format!("{record:016x}{:048}", 0),
                    "cluster": cluster.map(|one| blake3::hash(one.as_bytes()).to_hex().to_string()),
                },
                "question": { "hash": { "blake3": format!("{record:016x}{:048}", 0) } },
            });
            unit.add(number, &serde_json::from_str(&line.to_string()).unwrap());
        }
        unit.attempts.sort_unstable_by_key(|attempt| (attempt.key, attempt.repeat));
        unit
    }

    #[test]
    fn an_attempt_is_as_small_as_is_said() {
        assert!(size_of::<Attempt>() <= 64);
    }

    /// A sample's place and mean, on a side that has it.
    type Met = Option<(u32, Option<f64>)>;

    #[test]
    fn samples_meet_by_id_whatever_their_order_and_values_stay_with_theirs() {
        let own = unit(
            Metric::Acc,
            &[("2", 1, 1, Some(1.0), None), ("0", 0, 1, None, None), ("2", 0, 1, Some(0.0), None)],
        );
        let other =
            unit(Metric::Acc, &[("1", 0, 1, Some(1.0), None), ("2", 0, 1, Some(1.0), None)]);
        assert_eq!(own.metrics(), [Metric::Acc], "words are no metric that is a mean");
        let mut met: Vec<[Met; 2]> = pairs(&own, &other)
            .map(|(a, b)| {
                [a, b].map(|one| one.map(|one| (one.first().unwrap().index, one.mean(Metric::Acc))))
            })
            .collect();
        met.sort_by_key(|[a, b]| a.or(*b).unwrap().0);
        let expected = [
            [Some((0, None)), None],
            [None, Some((1, Some(1.0)))],
            [Some((2, Some(0.5))), Some((2, Some(1.0)))],
        ];
        assert_eq!(met, expected);
    }

    #[test]
    fn what_is_asked_has_one_digest_however_it_is_stored() {
        use crate::task::{prompt::Prompt, render::Rendered};
        let form =
            json!({ "rolling": { "text": "tab\t quote \" bell \u{7} \u{2028} \u{1f600} \\" } });
        let rendered = Rendered {
            prompt: Prompt::Text("line\nline \u{0}\u{7f}".to_owned()),
            form: serde_json::from_value(form).unwrap(),
        };
        let hash = blake3::hash(&serde_json::to_vec(&rendered).unwrap());
        #[derive(serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Written<'a> {
            Full {
                document: serde_json::Value,
                prompt: &'a Prompt,
                form: &'a crate::task::render::Form,
            },
        }
        let written = Written::Full {
            document: json!({ "a": 1 }),
            prompt: &rendered.prompt,
            form: &rendered.form,
        };
        // As the journal writes it.
        let written = sonic_rs::to_string(&written).unwrap();
        let full: Asked<'_> = serde_json::from_str(&written).unwrap();
        let hash = Asked::Hash { blake3: hash.to_hex().to_string().into() };
        assert_eq!(full.digest(), hash.digest());
    }
}
