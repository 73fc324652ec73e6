//! What the lock file says of a file that is inspected.

use std::path::Path;

use plugin_api::manifest::Declared;
use schemars::JsonSchema;
use serde::Serialize;

use super::plugin_lock::words_of;
use crate::{
    asset::Sha256,
    plugin::lock::{
        entry::{Asks, AsksRecord, GrantsRecord},
        open::Choice,
    },
};

/// How a file stands to the lock file.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Standing {
    /// The lock file.
    path: String,
    /// How.
    state: State,
    /// Version and digest of the file that is locked on this machine, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked: Option<[String; 2]>,
    /// What a file of this plugin is granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    granted: Option<GrantsRecord>,
    /// What it asks for, and is not granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<AsksRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The lock file has this very file.
    Locked,
    /// The lock file has another file of this plugin.
    Differs,
    /// The lock file has files of this plugin for other machines only.
    OtherPlatform,
    /// The lock file does not have this plugin.
    Absent,
}

impl Standing {
    /// How a file for this platform stands; none without a lock file.
    pub(super) fn of(
        declared: &Declared,
        sha256: Sha256,
        platform: &str,
        choice: &Choice,
    ) -> anyhow::Result<Option<Self>> {
        let Some(lock) = choice.open(Path::new(""))?.lock else { return Ok(None) };
        let path = lock.path.display().to_string();
        let Some(entry) = lock.file.plugins.get(&declared.id) else {
            let (state, locked, granted, withheld) = (State::Absent, None, None, None);
            return Ok(Some(Self { path, state, locked, granted, withheld }));
        };
        let (state, locked) = match entry.files.get(platform) {
            None => (State::OtherPlatform, None),
            Some(file) if file.sha256 == sha256 => (State::Locked, None),
            Some(file) => (State::Differs, Some([file.version.clone(), file.sha256.to_string()])),
        };
        let withheld = Asks::of(declared)?.beyond(&entry.asks);
        let withheld = (!withheld.is_empty()).then(|| withheld.record());
        Ok(Some(Self { path, state, locked, granted: Some(entry.record()), withheld }))
    }

    /// A sentence or two.
    pub(super) fn in_words(&self) -> String {
        let path = &self.path;
        let mut text = match (self.state, &self.locked) {
            (State::Locked, _) => format!("{path} has this very file"),
            (State::Differs, Some([version, sha256])) => {
                format!("{path} has another file of it: version {version}, SHA-256 {sha256}")
            }
            (State::Differs, None) => format!("{path} has another file of it"),
            (State::OtherPlatform, _) => format!("{path} has it for other machines only"),
            (State::Absent, _) => format!("{path} does not have it"),
        };
        if let Some(granted) = &self.granted {
            text.push_str(&format!("\ngranted: {}", words_of(granted, false)));
        }
        if let Some(withheld) = self.withheld.as_ref().and_then(AsksRecord::in_words) {
            text.push_str(&format!("\nnot granted: {withheld}"));
        }
        text
    }
}
