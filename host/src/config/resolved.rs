//! A run as it is meant: defaults filled in, texts parsed, names known to exist. Only these types travel.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use plugin_api::manifest::SecretSlot;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use url::Url;

use super::raw::{Isolation, Route, Store};
use crate::asset::Asset;
use crate::secret::OriginPattern;
use crate::task::raw::RawTask;

/// What stands before the name of a mock's wire in a `base_url`.
pub(crate) const MOCK: &str = "mock:";

/// A run file as meant. Serialises to what [`super::RunFile::config_blake3`] names: nothing in it depends on the folder it lies in.
#[derive(Clone, Debug, Serialize)]
pub struct RunConfig {
    /// Name of the run.
    pub name: String,
    /// The profile that was taken, if any; what it set is in place.
    pub profile: Option<String>,
    /// Parent folder of run directories, relative to the current directory.
    pub out: PathBuf,
    /// Most samples of each task.
    pub max_samples: Option<u64>,
    /// Settings of the engine.
    pub run: Engine,
    /// In the order of the file; ids are unique.
    pub backends: Vec<BackendConfig>,
    /// In the order of the file; ids are unique.
    pub tasks: Vec<TaskConfig>,
    /// In the order of the file; ids are unique among groups and tasks.
    pub groups: Vec<GroupConfig>,
}

/// Settings of the engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Engine {
    /// Requests in flight at a replica.
    pub concurrency: Concurrency,
    /// Most retries of a sample after its first attempt.
    pub max_retries: u32,
    /// Longest time of one attempt.
    #[serde(rename = "attempt_timeout_ms", serialize_with = "milliseconds")]
    pub attempt_timeout: Duration,
    /// Longest silence of a streamed reply.
    #[serde(rename = "idle_timeout_ms", serialize_with = "milliseconds")]
    pub idle_timeout: Duration,
    /// Longest time to connect.
    #[serde(rename = "connect_timeout_ms", serialize_with = "milliseconds")]
    pub connect_timeout: Duration,
    /// Longest time over all attempts of a sample, but for what a loading server takes.
    #[serde(rename = "sample_timeout_ms", serialize_with = "milliseconds")]
    pub sample_timeout: Duration,
    /// Longest time that a sample waits for a loading server; zero if it is not waited for.
    #[serde(rename = "loading_timeout_ms", serialize_with = "milliseconds")]
    pub loading_timeout: Duration,
    /// How many unscored samples do not make the run fail.
    pub max_unscored: MaxUnscored,
    /// What a finished sample stores.
    pub store: Store,
    /// When the disk must have a finished sample.
    pub sync: SyncPolicy,
    /// Whether a slow request is sent a second time.
    pub hedge: bool,
    /// Whether the response cache is asked and fed.
    pub cache: bool,
    /// Whether the end of the run writes its report.
    pub report: bool,
    /// What may be spent.
    pub budget: Budget,
}

/// Most requests in flight at a replica that can be asked for: more than any server bears, and each takes memory here.
pub const MOST_IN_FLIGHT: u32 = 65_536;

/// Requests in flight at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Concurrency {
    /// Whether what the server bears is looked for; else it is `ceiling` while the server does not complain.
    pub auto: bool,
    /// Fewest; at least 1.
    pub floor: u32,
    /// Most; at least `floor`.
    pub ceiling: u32,
}

/// When the disk must have a finished sample before it counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncPolicy {
    /// Each by itself.
    Every,
    /// All that are finished within this time.
    #[serde(rename = "within_ms", serialize_with = "milliseconds")]
    Within(Duration),
    /// At the end of the run.
    End,
}

/// What a run may spend; none of it is bounded by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// US dollars.
    pub max_usd: Option<f64>,
    /// Tokens, of prompts and generated.
    pub max_tokens: Option<u64>,
    /// Time since the run began or was resumed.
    #[serde(rename = "max_wall_ms", serialize_with = "maybe_milliseconds")]
    pub max_wall: Option<Duration>,
    /// Share of finished samples that may be unscored, 0 to 1.
    pub max_error_rate: Option<f64>,
    /// Finished samples before that is looked at; at least 1.
    pub min_samples: u64,
}

/// How many unscored samples do not make the run fail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxUnscored {
    /// This many.
    Count(u64),
    /// This share of all samples, 0 to 1.
    Share(f64),
}

/// A backend. `config` is not checked yet: that needs the plugin's manifest.
#[derive(Clone, Debug, Serialize)]
pub struct BackendConfig {
    /// Name in results.
    pub id: String,
    /// Id of the plugin.
    pub plugin: String,
    /// The model as results name it.
    pub model: Option<String>,
    /// Where the server is.
    pub base_url: Option<BaseUrl>,
    /// Further origins that requests may go to.
    pub origins: Vec<OriginPattern>,
    /// Slots that may be sent to the origin of `base_url`.
    pub secrets: Vec<String>,
    /// Read replies as they are generated.
    pub stream: bool,
    /// Requests in flight at a replica.
    pub concurrency: Concurrency,
    /// Most requests a minute, over all replicas.
    pub rpm: Option<u32>,
    /// Most tokens a minute, over all replicas.
    pub tpm: Option<u64>,
    /// Its servers, if it names several; then there is no `base_url`.
    pub replicas: Vec<ReplicaConfig>,
    /// Which replica is asked.
    pub route: Route,
    /// Failures in a row after which a replica is left alone; at least 1.
    pub eject_after: u32,
    /// Longest wait for a server when the run begins; zero if it must be up.
    #[serde(rename = "wait_ready_ms", serialize_with = "milliseconds")]
    pub wait_ready: Duration,
    /// A command that serves the model; empty if there is none.
    pub launch: Vec<String>,
    /// Ids of backends that are asked what this one cannot answer; each exists and is another one.
    pub fallback: Vec<String>,
    /// Where the plugin runs, if the run file says.
    pub isolation: Option<Isolation>,
    /// Load the plugin although it carries no layout check.
    pub allow_unchecked_layout: bool,
    /// The plugin's own configuration as typed; `RunFile::check_backend` makes it what `open` is given.
    pub config: Map<String, Value>,
    /// Secret slots beside those of the manifest; their origins can be read.
    pub slots: Vec<SecretSlot>,
    /// Files that the plugin is given by path.
    pub assets: BTreeMap<String, Asset>,
}

/// A server of a backend.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaConfig {
    /// Where it is.
    pub base_url: BaseUrl,
    /// Its share against the others'; at least 1.
    pub weight: u32,
    /// A command that serves it; empty if there is none.
    pub launch: Vec<String>,
}

/// Where a backend's server is. As text it is what the run file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseUrl {
    /// At this URL, whose origin is one that the host uses.
    Server(Url),
    /// In this host, for this run: a mock that speaks the wire of this name (`mock:tgi`).
    Mock(String),
}

/// A task and the backends that it runs on.
#[derive(Clone, Debug, Serialize)]
pub struct TaskConfig {
    /// Name in results.
    pub id: String,
    /// Most samples; the smaller of the run's and the task's.
    pub max_samples: Option<u64>,
    /// Ids of backends, in their order in the file.
    pub backends: Vec<String>,
    /// The task as typed, file and overrides merged, with the run's seed where it has none.
    pub task: RawTask,
    /// What the paths in `task` are relative to.
    #[serde(skip)]
    pub base_dir: PathBuf,
}

/// Tasks that are reported together.
#[derive(Clone, Debug, Serialize)]
pub struct GroupConfig {
    /// Name in results.
    pub id: String,
    /// Ids of its tasks; each exists.
    pub tasks: Vec<String>,
    /// The metric that is averaged; all that the tasks share if none. It exists.
    pub metric: Option<String>,
}

/// Keys of a backend that say how fast and how patiently it is asked, and of nothing that it answers.
const PACE: [&str; 7] =
    ["concurrency", "eject_after", "isolation", "route", "rpm", "tpm", "wait_ready_ms"];

impl RunConfig {
    /// What of it may change a result, as JSON.
    pub fn decisive(&self) -> Value {
        decisive_of(serde_json::to_value(self).unwrap_or_default())
    }
}

impl BackendConfig {
    /// Where its servers are: at least one, which is none for a backend that has no server.
    pub fn servers(&self) -> Vec<Option<&BaseUrl>> {
        match self.replicas.as_slice() {
            [] => vec![self.base_url.as_ref()],
            replicas => replicas.iter().map(|replica| Some(&replica.base_url)).collect(),
        }
    }
}

/// What [`RunConfig::decisive`] keeps of a configuration that is JSON already.
pub fn decisive_of(mut value: Value) -> Value {
    let Some(map) = value.as_object_mut() else { return value };
    map.remove("out");
    if let Some(engine) = map.get_mut("run").and_then(Value::as_object_mut) {
        engine.retain(|key, _| key == "store");
    }
    for backend in map.get_mut("backends").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(backend) = backend.as_object_mut() {
            backend.retain(|key, _| !PACE.contains(&key.as_str()));
        }
    }
    value
}

impl BaseUrl {
    /// What the wire of a mock is called; none for a server of its own.
    pub fn mock(&self) -> Option<&str> {
        match self {
            Self::Server(_) => None,
            Self::Mock(flavor) => Some(flavor),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(url) => url.fmt(f),
            Self::Mock(flavor) => write!(f, "{MOCK}{flavor}"),
        }
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl MaxUnscored {
    /// Whether a run with this many unscored samples out of `total` is still good.
    pub fn allows(self, unscored: u64, total: u64) -> bool {
        match self {
            Self::Count(count) => unscored <= count,
            Self::Share(share) => unscored as f64 <= share * total as f64,
        }
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[allow(clippy::ref_option, reason = "the signature that serde asks for")]
fn maybe_milliseconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}
