//! A run as it is meant: defaults filled in, texts parsed, names known to exist. Only these types travel.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use plugin_api::manifest::SecretSlot;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use url::Url;

use super::raw::{Isolation, Store};
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
    /// Most requests in flight at a backend; at least 1.
    pub concurrency: u32,
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
    /// Most requests in flight; at least 1.
    pub concurrency: u32,
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
