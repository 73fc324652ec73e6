//! `summary.json`, format 1: the results, all of which follow from the journal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Format of this file.
pub const FORMAT: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Format of this file.
    pub format: u32,
    /// Which run.
    pub run: RunIdentity,
    /// One entry a task and backend, in the order of the run file.
    pub results: Vec<TaskResult>,
    /// Averages over tasks, one entry a group, backend and metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupResult>,
}

/// Which run, and how it ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunIdentity {
    /// Id, the name of the run directory.
    pub id: String,
    /// Name from the run file.
    pub name: String,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub finished: String,
    /// Whether every sample was asked: `complete`, `interrupted`, `spent` or `failed`.
    pub state: State,
    /// Version of the host.
    pub host_version: String,
    /// Digest of the run file as meant.
    pub config_blake3: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Every sample was asked.
    Complete,
    /// The user stopped it.
    Interrupted,
    /// A budget was spent.
    Spent,
    /// An error stopped it.
    Failed,
}

/// One task at one backend.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TaskResult {
    /// Id of the task.
    pub task: String,
    /// Id of the backend.
    pub backend: String,
    /// The model: as the run file says, else as the backend describes itself.
    pub model: Option<String>,
    /// Whether the host's mock answered for the backend, or for one of its samples in its place: no model was asked, so
    /// its metrics measure nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mock: bool,
    /// Whether the task was asked in its generative form because the backend has no log-likelihood.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// How many samples.
    pub samples: Counts,
    /// Samples whose answer came from the response cache; they are in no latency and cost nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// Attempts at samples that are unscored, by reason.
    pub unscored_reasons: BTreeMap<String, u64>,
    /// Samples that another backend answered in place of this one, by its id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answered_by: BTreeMap<String, u64>,
    /// What the model did that is counted apart, graded or not, by choice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub incidents: BTreeMap<String, u64>,
    /// Parameters that the backend dropped or changed, by parameter, with the number of samples.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed_parameters: BTreeMap<String, u64>,
    /// Likelihoods whose context and continuation share a token.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub boundary_merged: u64,
    /// Metrics over scored samples, by name.
    pub metrics: BTreeMap<String, MetricEntry>,
    /// Tokens used.
    pub tokens: TokenCounts,
    /// What they cost; absent if the backend knows no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Latency of samples that were asked and are scored.
    pub latency_ms: Latency,
    /// Finished samples a second, from the first start to the last end.
    pub samples_per_second: f64,
    /// Attempts beyond the first.
    pub retries: u64,
}

/// How many samples. Each repeat counts, as it does in a sample's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Finished, scored or not.
    pub total: u64,
    /// With a score.
    pub scored: u64,
    /// Without; [`TaskResult::unscored_reasons`] says why, and adds up to this.
    pub unscored: u64,
    /// Records left out because of `on_bad_sample = "skip"`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricEntry {
    /// Over the scored samples.
    pub value: f64,
    /// Standard error; none where there is no estimate.
    pub stderr: Option<f64>,
    /// Clusters of samples that the standard error is by, where the task says which belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_clusters: Option<u64>,
    /// If everything unscored were wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unscored_wrong: Option<f64>,
    /// If everything unscored were right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unscored_right: Option<f64>,
}

/// Tokens used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCounts {
    /// Of prompts.
    pub prompt: u64,
    /// Generated, reasoning included.
    pub completion: u64,
    /// Of prompts, from a cache, as far as the backend says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Generated as reasoning, as far as the backend says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

/// What the answers cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// US dollars.
    pub usd: f64,
    /// Always true: the vendor's bill is the truth, this is tokens times listed prices.
    pub estimate: bool,
    /// Samples whose cost is known and in `usd`.
    pub priced_samples: u64,
    /// Name of the price table, as the backend gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// An average over tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupResult {
    /// Id of the group.
    pub group: String,
    /// Id of the backend.
    pub backend: String,
    /// Name of the metric.
    pub metric: String,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// Each sample weighs the same.
    pub by_sample: MetricEntry,
    /// Each task weighs the same.
    pub by_task: MetricEntry,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}
