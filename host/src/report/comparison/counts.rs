//! How the samples of two sides stand to each other, and whether they were asked the same.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    attempts::{Attempts, pairs},
    difference::{Difference, DifferenceKind, Found},
    flip,
};
use crate::store::stored_run::{ReadError, StoredSamples};

/// How samples stand to each other. Repeats are one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SampleCounts {
    /// Scored on both sides, with equal records: these are compared.
    pub compared: u64,
    /// Scored by the baseline, left unscored by the candidate.
    pub unscored_by_candidate: u64,
    /// The other way round.
    pub unscored_by_baseline: u64,
    /// Unscored on both sides.
    pub unscored_by_both: u64,
    /// Only in the baseline.
    pub only_in_baseline: u64,
    /// Only in the candidate.
    pub only_in_candidate: u64,
    /// Of one id, and with records that differ.
    pub changed: u64,
}

/// Counts how samples stand to each other, and tells what differs in what was asked.
pub(super) fn look(
    task: &str,
    [a, b]: [&Attempts; 2],
    journal: &StoredSamples,
) -> Result<(SampleCounts, Vec<Difference>), ReadError> {
    let mut counts = SampleCounts::default();
    // The first of each kind by its place in the data set: what differs, and the lines.
    let (mut first_changed, mut first_asked) = (None::<First>, None::<First>);
    let mut asked_differently = 0_u64;
    for (left, right) in pairs(a, b) {
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) => (left, right),
            (Some(_), None) => {
                counts.only_in_baseline += 1;
                continue;
            }
            (None, _) => {
                counts.only_in_candidate += 1;
                continue;
            }
        };
        let (Some(own), Some(other)) = (left.first(), right.first()) else { continue };
        let first = |digests: [u64; 2]| First { index: own.index, line: own.line, digests };
        if own.record != other.record {
            counts.changed += 1;
            keep_earlier(&mut first_changed, first([own.record, other.record]));
            continue;
        }
        match (left.is_scored(), right.is_scored()) {
            (true, true) => counts.compared += 1,
            (true, false) => counts.unscored_by_candidate += 1,
            (false, true) => counts.unscored_by_baseline += 1,
            (false, false) => counts.unscored_by_both += 1,
        }
        if own.asked != other.asked {
            asked_differently += 1;
            keep_earlier(&mut first_asked, first([own.asked, other.asked]));
        }
    }
    let both = paired(&counts);
    let mut found = Found::about(Some(task));
    let mut tell = |kind, first: Option<First>, what: &dyn Fn(&str) -> String| {
        let Some(first) = first else { return Ok(()) };
        let id = flip::id_of(journal, first.line)?;
        let [own, other] = first.digests.map(|digest| format!("BLAKE3 {digest:016x}"));
        found.add(kind, &what(&id), &own, &other);
        Ok::<_, ReadError>(())
    };
    tell(DifferenceKind::Records, first_changed, &|id| {
        format!(
            "{} of the samples are other records and not compared, first `{id}`",
            counts.changed
        )
    })?;
    tell(DifferenceKind::Prompts, first_asked, &|id| {
        format!(
            "{asked_differently} of {both} samples were asked with another prompt or options, first `{id}`"
        )
    })?;
    Ok((counts, found.into_all()))
}

/// Samples that are on both sides with equal records.
fn paired(counts: &SampleCounts) -> u64 {
    counts.compared
        + counts.unscored_by_candidate
        + counts.unscored_by_baseline
        + counts.unscored_by_both
}

/// A sample that differs.
#[derive(Clone, Copy)]
struct First {
    index: u32,
    line: u32,
    digests: [u64; 2],
}

fn keep_earlier(kept: &mut Option<First>, one: First) {
    if kept.is_none_or(|kept| one.index < kept.index) {
        *kept = Some(one);
    }
}
