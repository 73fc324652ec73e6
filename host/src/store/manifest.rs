//! `manifest.json`, format 1: the exact bytes that produced a run. Written before the first request.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use plugin_api::message::Description;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{Isolation, Kept},
    plugin::lock::entry::GrantsRecord,
};

/// Format of this file.
pub const FORMAT: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunManifest {
    /// Format of this file.
    pub format: u32,
    /// Id of the run, the name of its directory.
    pub id: String,
    /// Name from the run file.
    pub name: String,
    /// RFC 3339.
    pub started: String,
    /// Version of the host.
    pub host_version: String,
    /// Digest of the run file as meant.
    pub config_blake3: String,
    /// The run file as meant.
    pub config: Value,
    /// The plugins used.
    pub plugins: Vec<PluginIdentity>,
    /// The lock file, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins_lock: Option<LockIdentity>,
    /// What the backends say of themselves.
    pub backends: Vec<BackendIdentity>,
    /// The files that samples were read from.
    pub data: Vec<DataIdentity>,
    /// The recording that answered, if no server was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingIdentity>,
    /// The run file as typed, with everything filled in: what `host resume` goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_file: Option<Kept>,
    /// Each time that the run was taken up again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumption>,
}

/// A run that was taken up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumption {
    /// RFC 3339.
    pub at: String,
    /// Version of the host.
    pub host_version: String,
    /// What had changed of what decides results, and was accepted: a line for each, with what it was and what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
}

/// A plugin as it was loaded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PluginIdentity {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The file.
    pub path: String,
    /// SHA-256 of the bytes that ran.
    pub sha256: String,
    /// Version of the SDK that built it.
    pub sdk: String,
    /// The compiler that built it.
    pub rustc: String,
    /// Where its code ran: `in-process`, `worker`, or both if its backends differ.
    pub isolation: String,
    /// What kept its worker from doing more than it needs, by name; what the kernel does not have is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sandbox: Vec<String>,
    /// Whether it was installed with the host.
    pub installed: bool,
    /// What the lock file grants it, if it has an entry there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<GrantsRecord>,
}

/// The lock file that said which plugins are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockIdentity {
    /// The file.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

impl PluginIdentity {
    /// Its code runs there, too.
    pub fn runs(&mut self, isolation: Isolation) {
        let name = match isolation {
            Isolation::InProcess => "in-process",
            Isolation::Worker => "worker",
        };
        if self.isolation.is_empty() {
            self.isolation.push_str(name);
        } else if self.isolation != name {
            "in-process and worker".clone_into(&mut self.isolation);
        }
    }
}

impl RunManifest {
    /// Ids of the backends for which the mock answers.
    pub fn mocks(&self) -> Vec<String> {
        let mocks = self.backends.iter().filter(|backend| backend.mock);
        mocks.map(|backend| backend.id.clone()).collect()
    }
}

/// A backend as it describes itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackendIdentity {
    /// Its id in the run file.
    pub id: String,
    /// Id of its plugin.
    pub plugin: String,
    /// Whether the host's mock answered for it: no model was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mock: bool,
    /// SHA-256 of each file that it was given, by the name that the plugin knows it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub assets: BTreeMap<String, String>,
    /// What the plugin could tell of model and engine.
    #[schemars(with = "Value")]
    pub description: Description,
}

/// A recording that answered in the servers' place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecordingIdentity {
    /// The file.
    pub path: String,
    /// BLAKE3 of its bytes.
    pub blake3: String,
}

/// A data file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DataIdentity {
    /// Id of the task.
    pub task: String,
    /// The file.
    pub path: String,
    /// BLAKE3 of its bytes.
    pub blake3: String,
}

/// BLAKE3 of a file, read in pieces, and how many lines it has that are not empty.
///
/// # Errors
/// The file cannot be read.
pub fn file_digest(path: &Path) -> io::Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; 256 * 1024];
    let (mut lines, mut is_begun) = (0, false);
    loop {
        let read = file.read(&mut piece)?;
        let Some(read @ [_, ..]) = piece.get(..read) else { break };
        hasher.update(read);
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', read) {
            lines += u64::from(is_begun || end > from);
            (from, is_begun) = (end + 1, false);
        }
        is_begun |= from < read.len();
    }
    Ok((hasher.finalize().to_hex().to_string(), lines + u64::from(is_begun)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_not_empty_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d");
        for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("\n\na\n\nb", 2), ("a\nb\n", 2)] {
            std::fs::write(&path, text).unwrap();
            let expected = blake3::hash(text.as_bytes()).to_hex().to_string();
            assert_eq!(file_digest(&path).unwrap(), (expected, lines), "{text:?}");
        }
        let long = format!("{}\n", "x".repeat(300_000)).repeat(3);
        std::fs::write(&path, &long).unwrap();
        assert_eq!(file_digest(&path).unwrap().1, 3);
    }
}
