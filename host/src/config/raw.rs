//! A run file as typed, apart from its tasks. The documentation here becomes the descriptions of the
//! JSON Schema, so it is written for the person who writes the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Map, Number, Value};

/// A run: which tasks, on which backends.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawRun {
    /// Name of the run; the name of the file without its extension by default.
    pub name: Option<String>,
    /// Parent folder of run directories, relative to the current directory; `runs` by default.
    pub out: Option<PathBuf>,
    /// Folder that the paths in this file are relative to, itself relative to the file; the file's own folder by default.
    /// The run files of a sweep name that of their template.
    #[allow(
        dead_code,
        reason = "it is taken from the tree before anything else is read; the schema must know it"
    )]
    pub folder: Option<PathBuf>,
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
    /// Most requests in flight at a replica; 32 by default. Fewer are sent while a server says that it is overloaded.
    /// `"auto"` begins low and looks for what the server bears.
    pub concurrency: Option<RawConcurrency>,
    /// Fewest requests in flight at a replica, however overloaded it says it is; 1 by default.
    #[schemars(range(min = 1))]
    pub min_concurrency: Option<u32>,
    /// Most requests in flight at a replica under `concurrency = "auto"`; 256 by default.
    #[schemars(range(min = 1))]
    pub max_concurrency: Option<u32>,
    /// Most retries of a request after its first attempt; 15 by default. 0 asks once, whatever happens, also a
    /// server that is loading. `sample_timeout` bounds them, too.
    pub max_retries: Option<u32>,
    /// Longest time of one attempt; `"120s"` by default.
    pub attempt_timeout: Option<String>,
    /// Longest silence of a streamed reply; `"60s"` by default.
    pub idle_timeout: Option<String>,
    /// Longest time to connect; `"10s"` by default.
    pub connect_timeout: Option<String>,
    /// Longest time over all attempts of a sample; `"15m"` by default. A sample is left unscored that would have to
    /// wait longer because every server asks to be left alone (`Retry-After`).
    pub sample_timeout: Option<String>,
    /// Longest wait for a server that is loading its model, from a sample's first such answer; `"10m"` by default.
    /// Meanwhile no retry is used up and `sample_timeout` stands still. `"0s"` makes it a failure like any other.
    pub loading_timeout: Option<String>,
    /// Unscored samples that do not make the run fail: a count (`5`) or a share (`0.01`); 0 by default.
    #[schemars(range(min = 0))]
    pub max_unscored: Option<Number>,
    /// What a finished sample stores: `full` texts (the default), or their `hash` only.
    pub store: Store,
    /// When the disk must have a finished sample before it counts as done: `"every"` sample by itself, all that are
    /// finished within a time (`"100ms"`, the default), or at the `"end"` of the run.
    pub sync: Option<String>,
    /// Send a request a second time if its reply takes longer than 99 of 100 others did, and take the first reply;
    /// false by default.
    pub hedge: bool,
    /// Answer from the response cache what was asked before, in any run, and keep there what is answered; false by
    /// default.
    pub cache: bool,
    /// Write `report.html` into the run directory when the run ends; true by default. `host report` makes it later, too.
    pub report: Option<bool>,
    /// What may be spent. At the first of these the run stops cleanly, and can be resumed.
    pub budget: RawBudget,
}

/// What a run may spend.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawBudget {
    /// US dollars, as the backends estimate them, over all that the run's samples cost, also before it was resumed.
    #[schemars(range(min = 0))]
    pub max_usd: Option<Number>,
    /// Tokens, of prompts and generated, over all of the run likewise.
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u64>,
    /// Time since the run began or was resumed.
    pub max_wall: Option<String>,
    /// Share of the samples finished since the run began or was resumed that may be unscored, 0.0 to 1.0.
    #[schemars(range(min = 0, max = 1))]
    pub max_error_rate: Option<Number>,
    /// Finished samples before `max_error_rate` is looked at; 50 by default.
    #[schemars(range(min = 1))]
    pub min_samples: Option<u64>,
}

/// A number of requests in flight, or `"auto"`.
#[derive(Clone, Debug)]
pub(crate) enum RawConcurrency {
    Number(u32),
    Text(String),
}

impl<'de> Deserialize<'de> for RawConcurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            other => u32::deserialize(other).map(Self::Number).map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for RawConcurrency {
    fn schema_name() -> Cow<'static, str> {
        "Concurrency".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 1 })
    }
}

/// Which replica of a backend is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// Of two at random, the one with fewer requests in flight for its weight.
    #[default]
    LeastInFlight,
    /// Each in turn, by weight.
    RoundRobin,
    /// The same beginning of a prompt at the same replica, so that its prefix cache hits, unless it is full.
    Prefix,
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
    /// Most requests in flight at a replica, or `"auto"`; the engine's by default.
    pub concurrency: Option<RawConcurrency>,
    /// Fewest requests in flight at a replica; the engine's by default.
    #[schemars(range(min = 1))]
    pub min_concurrency: Option<u32>,
    /// Most requests in flight at a replica under `concurrency = "auto"`; the engine's by default.
    #[schemars(range(min = 1))]
    pub max_concurrency: Option<u32>,
    /// Most requests a minute, over all replicas; no bound by default.
    #[schemars(range(min = 1))]
    pub rpm: Option<u32>,
    /// Most tokens a minute, over all replicas; no bound by default.
    #[schemars(range(min = 1))]
    pub tpm: Option<u64>,
    /// Servers of the same model, between which requests are spread; in place of `base_url`.
    #[serde(default)]
    pub replica: Vec<RawReplica>,
    /// Which replica is asked; `least-in-flight` by default.
    #[serde(default)]
    pub route: Route,
    /// Failures in a row after which a replica is left alone until a probe finds it well; 5 by default.
    #[schemars(range(min = 1))]
    pub eject_after: Option<u32>,
    /// Longest wait for a server that does not answer yet when the run begins; `"0s"` by default: it must be up. With
    /// `launch` it is `"120s"`.
    pub wait_ready: Option<String>,
    /// A command that serves the model, as a program and its arguments: it is started before the run and ended after
    /// it, with its output in the run directory. No shell reads it. It must stay in the foreground, and has this
    /// program's environment and current directory. Beside a mock it is not started.
    #[serde(default)]
    pub launch: Vec<String>,
    /// Ids of backends that are asked, in this order, what this one cannot answer.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// Where the plugin runs. One that came with this host runs `in-process` by default, any other in a `worker`: a
    /// process of its own, unless `plugins.lock` lets it run `in-process`.
    pub isolation: Option<Isolation>,
    /// Load the plugin although it carries no layout check.
    #[serde(default)]
    pub allow_unchecked_layout: bool,
    /// The plugin's own configuration; `host plugin inspect FILE` shows its keys, and `host plugin list` the files.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Secret slots beside those of the plugin's manifest, for a plugin such as `custom` that speaks to any server.
    #[serde(default)]
    pub slot: Vec<RawSlot>,
    /// Files that the plugin is given by path, by the name that it knows them by.
    #[serde(default)]
    pub asset: BTreeMap<String, RawAsset>,
}

/// A server of a backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawReplica {
    /// Where it is.
    pub base_url: String,
    /// Its share of the requests against the others', also of those in flight: `concurrency` is that of the heaviest. 1
    /// by default.
    #[schemars(range(min = 1))]
    pub weight: Option<u32>,
    /// A command that serves it; as the backend's own `launch`.
    #[serde(default)]
    pub launch: Vec<String>,
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
