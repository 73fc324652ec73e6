//! The part of a journal line that results follow from. Who rebuilds them reads this and not the whole record:
//! documents, prompts and answers are passed over, not copied.

use std::borrow::Cow;

use plugin_api::Changed;
use serde::{Deserialize, de::IgnoredAny};

use super::record::{Status, Timing, Tokens};
use crate::{
    score::{generated::Incident, parts::Parts},
    task::sample::ClusterKey,
};

/// A [`super::record::SampleRecord`], without what was said.
#[derive(Clone, Debug, Deserialize)]
pub struct SampleOutcome<'a> {
    /// Format of the record.
    pub format: u32,
    /// Id of the task.
    #[serde(borrow)]
    pub task: Cow<'a, str>,
    /// Id of the backend that was asked.
    #[serde(borrow)]
    pub backend: Cow<'a, str>,
    /// Which sample.
    #[serde(borrow)]
    pub sample: KeyOutcome<'a>,
    /// `scored`, or why not.
    pub status: Status,
    /// What it contributes to the metrics.
    #[serde(default)]
    pub scores: Option<Parts>,
    /// In what form the question is stored.
    pub question: QuestionOutcome,
    /// What came back.
    #[serde(default)]
    pub response: Option<ResponseOutcome>,
    /// Tokens used.
    pub usage: Tokens,
    /// Times.
    pub timing_ms: Timing,
    /// Id of the backend that answered in place of its own, or was asked last.
    #[serde(borrow, default)]
    pub answered_by: Option<Cow<'a, str>>,
    /// Attempts made, over all requests of the sample.
    pub attempts: u32,
    /// Whether the response cache answered.
    #[serde(default)]
    pub cached: bool,
    /// Parameters that the backend dropped or changed.
    #[serde(default)]
    pub changed: Vec<Changed>,
}

/// Which sample of a task at a backend.
#[derive(Clone, Debug, Deserialize)]
pub struct KeyOutcome<'a> {
    /// The data set's id, or the record's index.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Position of the record in the data set.
    pub index: u64,
    /// Which repeat.
    pub repeat: u32,
    /// BLAKE3 of the canonical record, in hex.
    #[serde(borrow)]
    pub digest: Cow<'a, str>,
    /// Which samples it belongs together with.
    #[serde(borrow, default)]
    pub cluster: Option<Cow<'a, str>>,
}

/// In what form the question is stored, and with it whatever else may quote the data.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionOutcome {
    /// As it is.
    Full(IgnoredAny),
    /// As digests.
    Hash(IgnoredAny),
}

/// What came back, as far as it is counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseOutcome {
    /// Generated text.
    Completion {
        /// One entry a choice.
        choices: Vec<ChoiceOutcome>,
    },
    /// Log-likelihoods.
    Likelihoods {
        /// After the prompt.
        conditional: Vec<LikelihoodOutcome>,
        /// After an empty context.
        #[serde(default)]
        unconditional: Vec<LikelihoodOutcome>,
    },
}

/// A generated choice.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ChoiceOutcome {
    /// What is counted apart.
    #[serde(default)]
    pub incident: Option<Incident>,
}

/// A log-likelihood.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct LikelihoodOutcome {
    /// Whether context and continuation share a token.
    #[serde(default)]
    pub boundary_merged: bool,
}

impl SampleOutcome<'_> {
    /// Attempts beyond the first of each request.
    pub fn retries(&self) -> u32 {
        let twice = matches!(
            &self.response,
            Some(ResponseOutcome::Likelihoods { unconditional, .. }) if !unconditional.is_empty()
        );
        self.attempts.saturating_sub(if twice { 2 } else { 1 })
    }
}

impl SampleOutcome<'_> {
    /// Which samples it belongs together with, if the task says so.
    pub fn cluster(&self) -> Option<ClusterKey> {
        self.sample.cluster.as_deref().and_then(|cluster| match self.question {
            QuestionOutcome::Full(_) => Some(ClusterKey::of(cluster)),
            QuestionOutcome::Hash(_) => ClusterKey::of_hex(cluster),
        })
    }
}

impl KeyOutcome<'_> {
    /// The first 64 bits of the digest; none if it is no digest.
    pub fn short_digest(&self) -> Option<u64> {
        u64::from_str_radix(self.digest.get(..16)?, 16).ok()
    }
}
