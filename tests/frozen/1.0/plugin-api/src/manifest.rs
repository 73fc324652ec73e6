//! What a plugin says of itself in a link section of its file, readable without running any of its code.
//!
//! The export macro writes [`Manifest`] at compile time: versions, licence and compiler come from the
//! build, [`Declared`] is the author's `plugin.json`, and the schema is `config.schema.json` beside it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capability::Capability;

/// The JSON of the manifest section.
///
/// ```
/// use plugin_api::manifest::Manifest;
///
/// let json = r#"{"format":1,"version":"0.1.0","abi":{"major":1,"minor":0},"plugin":{"id":"acme"}}"#;
/// let manifest: Manifest = plugin_api::serde_json::from_str(json)?;
/// assert_eq!((manifest.plugin.id.as_str(), manifest.layout_check), ("acme", false));
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this record; 1.
    pub format: u32,
    /// Version of the plugin.
    pub version: String,
    /// The ABI that it needs.
    pub abi: AbiFloor,
    /// Version of the SDK that built it; empty for a plugin written without it.
    #[serde(default)]
    pub sdk: String,
    /// The compiler, as it names itself; empty if unknown.
    #[serde(default)]
    pub rustc: String,
    /// SPDX expression of its licence.
    #[serde(default)]
    pub license: String,
    /// Where to read more.
    #[serde(default)]
    pub homepage: String,
    /// Whether the library carries the layout of the leaf types.
    #[serde(default)]
    pub layout_check: bool,
    /// The author's own part.
    pub plugin: Declared,
    /// JSON Schema of the backend's configuration.
    #[serde(default)]
    pub config_schema: Value,
}

/// Major, and the lowest minor that the plugin needs.
///
/// ```
/// use plugin_api::{abi, manifest::AbiFloor, version::ABI_MINOR_NEEDED};
///
/// let floor = AbiFloor { major: abi::ABI_MAJOR, minor: ABI_MINOR_NEEDED };
/// assert!(floor.minor <= abi::ABI_MINOR);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbiFloor {
    /// Must equal the host's.
    pub major: u32,
    /// A floor: the host's may be higher.
    pub minor: u32,
}

/// The part of a manifest that the author writes, in `plugin.json`.
///
/// ```
/// use plugin_api::{capability::Capability, manifest::Declared};
///
/// let declared: Declared = plugin_api::serde_json::from_str(
///     r#"{ "id": "acme", "capabilities": ["generate"], "origins": ["https://api.acme.test"] }"#,
/// )?;
/// assert_eq!(declared.capabilities, [Capability::Generate]);
/// assert_eq!(declared.limits.max_batch, 1);
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// The name by which run files call the plugin: lower-case letters, digits, `-` and `_`.
    pub id: String,
    /// What the backend can do.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Secrets that its requests need.
    #[serde(default)]
    pub secrets: Vec<SecretSlot>,
    /// Environment variables whose values the host passes to `open`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Origins that its requests go to, beside those that the run file names: `scheme://host[:port]`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Bounds that the host keeps.
    #[serde(default)]
    pub limits: Limits,
    /// Reply headers that the backend reads, in lower case. Others are not passed on.
    #[serde(default)]
    pub reply_headers: Vec<String>,
}

/// A secret that the host fills into header values; the plugin never sees it.
///
/// ```
/// use plugin_api::manifest::SecretSlot;
///
/// let slot: SecretSlot = plugin_api::serde_json::from_str(
///     r#"{ "slot": "api_key", "env": ["ACME_API_KEY"], "origins": ["https://*.acme.test"] }"#,
/// )?;
/// assert!(!slot.optional);
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSlot {
    /// Name of the slot in header parts.
    pub slot: String,
    /// Environment variables to look in, in this order.
    #[serde(default)]
    pub env: Vec<String>,
    /// Files to look in after those, in this order; the first line is the secret. A path may begin with `~/`, the
    /// user's home, or with one environment variable (`$NAME` or `$NAME/…`); where that is unset or empty, the
    /// entry is skipped.
    #[serde(default)]
    pub files: Vec<String>,
    /// Whether the backend works without it.
    #[serde(default)]
    pub optional: bool,
    /// Where the secret may go: `scheme://host[:port]`, the host may begin with `*.`.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// Bounds on what the host asks of one instance of a backend.
///
/// ```
/// use plugin_api::manifest::Limits;
///
/// let limits: Limits = plugin_api::serde_json::from_str(r#"{ "max_batch": 16 }"#)?;
/// assert_eq!(limits, Limits { max_batch: 16, ..Limits::default() });
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Most items in one session.
    pub max_batch: u32,
    /// Most sessions at once; 0 is no bound. For a blocking plugin, the size of its thread pool.
    pub max_concurrency: u32,
    /// Whether a step computes for long: it then runs on threads of its own.
    pub blocking: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_batch: 1, max_concurrency: 0, blocking: false }
    }
}
