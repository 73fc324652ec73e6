//! A flipped sample as people read it: what was right, and what either side answered.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    report::answer::InWords,
    score::metric::Metric,
    store::{
        outcome::SampleOutcome,
        record::SampleRecord,
        stored_run::{ReadError, StoredSamples},
    },
};

/// A flipped sample in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FlipText {
    /// Id of the sample.
    pub sample: String,
    /// What is right.
    pub target: String,
    /// What the baseline answered.
    pub baseline: String,
    /// What the candidate answered.
    pub candidate: String,
}

/// One side of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FlipSide {
    pub(super) sample: String,
    pub(super) target: String,
    pub(super) answer: String,
}

/// The id of the sample of a line.
pub(super) fn id_of(samples: &StoredSamples, line: u32) -> Result<String, ReadError> {
    let mut buffer = Vec::new();
    let line = samples.line(line as usize, &mut buffer)?;
    Ok(samples.parse::<SampleOutcome<'_>>(line)?.sample.id.into_owned())
}

/// Reads one side, with the answer as a metric takes it.
pub(super) fn read(
    samples: &StoredSamples,
    line: u32,
    metric: Metric,
) -> Result<FlipSide, ReadError> {
    let mut buffer = Vec::new();
    let line = samples.line(line as usize, &mut buffer)?;
    let record: SampleRecord = samples.parse(line)?;
    let InWords { target, answer } = InWords::of(&record, Some(metric));
    Ok(FlipSide { sample: record.sample.id, target, answer })
}
