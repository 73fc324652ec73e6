//! Why a backend does not open, in words that say where to look.

use std::{path::PathBuf, sync::Arc, time::Duration};

use plugin_api::Error;

use super::launch::LaunchError;
use crate::{
    asset::AssetError,
    config::ConfigError,
    plugin::{
        discover::Refusal,
        instance::reason,
        load::{LoadError, OpenError},
        lock::{open::LockError, verdict::Distrust},
    },
    secret::SecretError,
    transport::TransportError,
};

/// Why a backend does not open.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No such plugin.
    #[error("backend `{backend}`: there is no plugin `{plugin}`{hint}")]
    UnknownPlugin {
        /// Id of the backend.
        backend: String,
        /// The plugin as the run file names it.
        plugin: String,
        /// What there is instead.
        hint: String,
    },
    /// Its file is not the one that was discovered any more.
    #[error("plugin `{plugin}` ({}): {source}", path.display())]
    Refused {
        /// Id of the plugin.
        plugin: String,
        /// Its file.
        path: PathBuf,
        /// Why it is not used.
        source: Refusal,
    },
    /// A script can run in no process but its own.
    #[error(
        "backend `{backend}`: isolation = \"in-process\" cannot be had: plugin `{plugin}` is a script, which always runs in a process of its own; leave `isolation` out"
    )]
    ScriptInProcess {
        /// Id of the backend.
        backend: String,
        /// Id of its plugin.
        plugin: String,
    },
    /// It would be told a secret, which no plugin is.
    #[error(
        "backend `{backend}`: plugin `{plugin}` ({}): `env` of its manifest asks for {name}, which is a secret by its name; a secret is a slot, whose value no plugin sees",
        path.display()
    )]
    AsksForSecret {
        /// Id of the backend.
        backend: String,
        /// Id of its plugin.
        plugin: String,
        /// Its file.
        path: PathBuf,
        /// The variable.
        name: String,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Lock(Arc<LockError>),
    /// The lock file says no.
    #[error("backend `{backend}`: {source}")]
    Distrust {
        /// Id of the backend.
        backend: String,
        /// What it says.
        source: Distrust,
    },
    /// The configuration does not fit the plugin.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret is missing or unusable.
    #[error("backend `{backend}`: {source}")]
    Secret {
        /// Id of the backend.
        backend: String,
        /// What is wrong.
        source: SecretError,
    },
    /// An asset cannot be had.
    #[error("backend `{backend}`: {source}")]
    Asset {
        /// Id of the backend.
        backend: String,
        /// What was tried.
        source: AssetError,
    },
    /// The library does not load.
    #[error("plugin `{plugin}`: {source}")]
    Load {
        /// Id of the plugin.
        plugin: String,
        /// Why.
        source: LoadError,
    },
    /// The plugin refuses to open.
    #[error("backend `{backend}` (plugin `{plugin}`) does not open: {}", reason(source))]
    Open {
        /// Id of the backend.
        backend: String,
        /// Id of its plugin.
        plugin: String,
        /// Its own words.
        source: OpenError,
    },
    /// HTTP cannot be set up.
    #[error("HTTP cannot be set up: {0}")]
    Transport(#[from] TransportError),
    /// The mock does not speak this wire.
    #[error("backend `{backend}`: the mock does not speak `{flavor}`; {hint}")]
    UnknownFlavor {
        /// Id of the backend.
        backend: String,
        /// What stands after `mock:`.
        flavor: String,
        /// What it speaks.
        hint: String,
    },
    /// The mock does not start.
    #[error("backend `{backend}`: the mock does not start: {reason}")]
    Mock {
        /// Id of the backend.
        backend: String,
        /// Why.
        reason: String,
    },
    /// A part of the host failed.
    #[error("a part of the host failed: {0}")]
    Broken(String),
    /// The server does not answer as it should.
    #[error("backend `{backend}`{at} is not ready: {error}{hint}")]
    NotReady {
        /// Id of the backend.
        backend: String,
        /// Its server.
        at: String,
        /// What happened.
        error: Error,
        /// What to do.
        hint: &'static str,
    },
    /// Its server is not started.
    #[error("backend `{backend}`: {source}")]
    Launch {
        /// Id of the backend.
        backend: String,
        /// Why.
        source: LaunchError,
    },
    /// The server that was started for it ended before it was of use.
    #[error("backend `{backend}`: its server {end}{log}")]
    ServerEnded {
        /// Id of the backend.
        backend: String,
        /// How, as a predicate.
        end: String,
        /// The last lines of its log.
        log: String,
    },
    /// Its server was not ready in time.
    #[error(
        "backend `{backend}`{at}: its server is not ready within the {} of wait_ready: {error}{log}",
        humantime::format_duration(*waited)
    )]
    NotInTime {
        /// Id of the backend.
        backend: String,
        /// Its server.
        at: String,
        /// For how long it was waited for.
        waited: Duration,
        /// What it said last.
        error: Error,
        /// The last lines of its log.
        log: String,
    },
}

impl BackendError {
    /// Whether the run file is at fault, and not the plugin or its server.
    pub fn is_configuration(&self) -> bool {
        !matches!(
            self,
            Self::Refused { .. }
                | Self::AsksForSecret { .. }
                | Self::Load { .. }
                | Self::Open { .. }
                | Self::NotReady { .. }
                | Self::Launch { .. }
                | Self::ServerEnded { .. }
                | Self::NotInTime { .. }
                | Self::Transport(_)
                | Self::Distrust {
                    source: Distrust::Changed { .. }
                        | Distrust::Signature { .. }
                        | Distrust::Unlocked { .. },
                    ..
                }
        )
    }
}
