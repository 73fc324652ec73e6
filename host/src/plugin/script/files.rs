//! The files of a script: read once, digested, and from then on the plugin.

use std::path::Path;

use super::described::{self, Described, Refusal, Script};
use crate::{
    asset::Sha256,
    plugin::{discover::Refusal as FileRefusal, inspect::Inspection},
};

/// Longest description, in bytes.
const MAX_DESCRIPTION: usize = 1 << 20;

/// A file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFile {
    /// Relative to the plugin's folder.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Whether its owner may run it.
    pub is_executable: bool,
}

/// All files of a script in memory, the description first.
#[derive(Clone, Debug)]
pub struct Files {
    /// What it says of itself.
    pub inspection: Inspection,
    /// How it is run.
    pub script: Script,
    /// The description, and the others by name.
    pub files: Vec<ReadFile>,
}

impl Files {
    /// Reads a script whose description is this file, and every file that it names by `read`.
    ///
    /// # Errors
    /// What is wrong with the description, or with which file.
    pub fn read(
        description: ReadFile,
        read: impl Fn(&str) -> Result<ReadFile, FileRefusal>,
    ) -> Result<Self, Refusal> {
        let Described { mut manifest, script, schema_file } = described(&description.bytes)?;
        let named = |name: &String| {
            read(name).map_err(|source| Refusal::File { name: name.clone(), source: source.into() })
        };
        let mut files = vec![description];
        for name in &script.files {
            files.push(named(name)?);
        }
        if let Some(name) = schema_file {
            let file = files.iter().skip(1).find(|file| file.name == name);
            let bytes = file.map(|file| file.bytes.as_slice()).unwrap_or_default();
            manifest.config_schema = serde_json::from_slice(bytes).map_err(|error| {
                Refusal::Value { key: "config_schema", message: format!("{name}: {error}") }
            })?;
        }
        let unwritable = |error: serde_json::Error| Refusal::Value {
            key: "config_schema",
            message: error.to_string(),
        };
        let manifest_bytes = serde_json::to_vec(&manifest).map_err(unwritable)?;
        Ok(Self { inspection: Inspection { manifest, manifest_bytes }, script, files })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.bytes.len()).sum()
    }

    /// What names exactly these files: the lines that `sha256sum` writes of them, the description first. Their digest is
    /// the script's, and they are what its author signs.
    pub fn sums(&self) -> String {
        sums(&self.files)
    }
}

fn sums(files: &[ReadFile]) -> String {
    files.iter().map(|file| format!("{}  {}\n", Sha256::of(&file.bytes), file.name)).collect()
}

fn described(bytes: &[u8]) -> Result<Described, Refusal> {
    let damaged = |message: String| Refusal::Toml { line: 1, message };
    if bytes.len() > MAX_DESCRIPTION {
        return Err(damaged(format!("longer than {MAX_DESCRIPTION} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
    described::read(text)
}

/// The name of a description by which it is digested.
pub fn own_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
