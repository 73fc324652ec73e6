//! What the host tells a backend when it opens, and the log.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{abi::HostRef, message::OpenHead};

/// How grave a log line is.
///
/// ```
/// use plugin_api::{Host, Level};
///
/// fn warn(host: &Host) {
///     host.log(Level::Warn, "the server does not say which model it serves");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is not as it should be.
    Warn = 2,
    /// Worth knowing.
    Info = 3,
    /// For the author.
    Debug = 4,
    /// For the author, at length.
    Trace = 5,
}

/// The host, as one instance of a backend sees it. Cheap to clone.
///
/// ```
/// use plugin_api::{Error, ErrorKind, Host, Result};
///
/// fn need_key(host: &Host) -> Result<()> {
///     if host.has_secret("api_key") || host.env("ACME_REGION") == Some("local") {
///         return Ok(());
///     }
///     Err(Error::new(ErrorKind::Unauthorized, "set ACME_API_KEY"))
/// }
///
/// /// The only file that a backend may read is one that the run file names.
/// fn model(host: &Host) -> Result<&std::path::Path> {
///     let missing = "name the model's file in [backend.asset.model]";
///     host.asset("model").ok_or_else(|| Error::new(ErrorKind::InvalidRequest, missing))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Host {
    table: Option<HostRef>,
    granted: Arc<Granted>,
}

#[derive(Debug, Default)]
struct Granted {
    secrets: Vec<String>,
    env: BTreeMap<String, String>,
    assets: BTreeMap<String, String>,
}

impl Host {
    pub(crate) fn new(table: Option<HostRef>, open: OpenHead) -> Self {
        let granted = Granted { secrets: open.secrets, env: open.env, assets: open.assets };
        Self { table, granted: Arc::new(granted) }
    }

    /// Whether the host has a secret for this slot. Its value never enters the plugin.
    pub fn has_secret(&self, slot: &str) -> bool {
        self.granted.secrets.iter().any(|known| known == slot)
    }

    /// The value of an environment variable that the manifest names.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.granted.env.get(name).map(String::as_str)
    }

    /// The path of an asset that the run file names; the host has checked its content.
    pub fn asset(&self, name: &str) -> Option<&Path> {
        self.granted.assets.get(name).map(Path::new)
    }

    /// Writes a line to the host's log.
    pub fn log(&self, level: Level, text: &str) {
        if let Some(table) = self.table {
            table.log(level as u32, text);
        }
    }

    pub(crate) fn table(&self) -> Option<HostRef> {
        self.table
    }
}
