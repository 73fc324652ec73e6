//! Finds plugin files: which folders, which files in them, and why one is passed over. A file that is
//! refused never stops the others, and no code of any of them runs here.
//!
//! At discovery only headers and the manifest are read. [`Candidate::read_verified`] reads a file that
//! is about to be opened once more, whole, inspects those very bytes and hands them to the loader: what
//! was inspected is what is loaded. Their digest is what the lock file is compared with.

mod folders;
mod guarded;
mod permission;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use object::ReadCache;
use thiserror::Error;

use super::{
    inspect::{self, Inspection},
    lock::entry::{ANY, platform},
    script::{self, Script, is_script},
};
use crate::asset::Sha256;
use permission::Accounts;

pub use folders::{Provenance, SearchDirectory, SearchError, search_path};
pub use guarded::open_guarded;
pub use permission::PermissionRefusal;
pub use scripts::inspect_script;

/// The plugins that the host's own build makes.
pub(crate) const BUNDLED: [&str; 6] =
    ["custom", "huggingface", "litellm", "local", "sglang", "tgi"];

/// Largest plugin file, in bytes.
pub const MAX_PLUGIN_BYTES: u64 = 512 << 20;

/// A plugin that may be opened.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// Where it was found.
    pub provenance: Provenance,
    /// What it says of itself.
    pub inspection: Inspection,
    /// How it is run, if it is a script and not a library.
    pub script: Option<Script>,
    /// Size in bytes, at discovery.
    pub len: u64,
    /// Device and inode: one file is loaded once, whatever its names.
    pub identity: (u64, u64),
}

/// The bytes of a plugin, inspected.
#[derive(Debug)]
pub struct VerifiedBytes {
    /// The whole file; of a script, the digests of its files ([`script::Files::sums`]).
    pub bytes: Vec<u8>,
    /// Their digest.
    pub sha256: Sha256,
    /// A script's files.
    pub script: Option<script::Files>,
}

/// A file that is not used, and why.
#[derive(Debug)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: Refusal,
}

/// Why a file is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Somebody else could have changed it.
    #[error(transparent)]
    Permission(#[from] PermissionRefusal),
    /// Not a file: a folder, a pipe, a device.
    #[error("not a regular file")]
    NotAFile,
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// Beyond [`MAX_PLUGIN_BYTES`].
    #[error("{0} bytes; the most that a plugin may have is {MAX_PLUGIN_BYTES}")]
    TooLarge(u64),
    /// A file of a script.
    #[error(
        "larger than 16 MiB, the most that a file of a script may have; data belongs into an asset"
    )]
    ScriptTooLarge,
    /// Not a plugin that this host can load.
    #[error(transparent)]
    Inspect(#[from] inspect::Refusal),
    /// Not a script that this host can run.
    #[error(transparent)]
    Script(#[from] script::Refusal),
    /// Another file has the same id; neither is used.
    #[error("has the id `{id}`, as {} has; remove one of them", other.display())]
    DuplicateId {
        /// The id.
        id: String,
        /// The other file.
        other: PathBuf,
    },
    /// The manifest is another one than at discovery.
    #[error("changed since it was discovered")]
    Changed,
}

/// A file that was met under a second name, and passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTwice {
    /// The name that is passed over.
    pub path: PathBuf,
    /// The name that was met first.
    pub first: PathBuf,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Plugins, in the order of folders and names; ids are unique.
    pub plugins: Vec<Candidate>,
    /// What is not used, in the same order.
    pub refused: Vec<Refused>,
    /// Links and repeated folders; worth a note, not a warning.
    pub seen_twice: Vec<SeenTwice>,
}

/// Looks through the folders, not into folders below them. Never fails: what cannot be used is listed.
pub fn discover(directories: &[SearchDirectory]) -> Discovery {
    let accounts = Accounts::of_system();
    let mut discovery = Discovery::default();
    let mut seen = BTreeMap::new();
    for directory in directories {
        search(directory, &accounts, &mut seen, &mut discovery);
    }
    refuse_duplicates(&mut discovery);
    discovery
}

/// The first path of every file that was met, by device and inode.
type Seen = BTreeMap<(u64, u64), PathBuf>;

fn search(
    directory: &SearchDirectory,
    accounts: &Accounts,
    seen: &mut Seen,
    discovery: &mut Discovery,
) {
    let installed = directory.provenance == Provenance::Installed;
    let root = match std::fs::canonicalize(&directory.path) {
        Ok(root) => root,
        Err(error) => {
            return discovery
                .refused
                .push(Refused { path: directory.path.clone(), reason: error.into() });
        }
    };
    let directory_refusal = || accounts.check(&root).err();
    if let (false, Some(reason)) = (installed, directory_refusal()) {
        return discovery
            .refused
            .push(Refused { path: directory.path.clone(), reason: reason.into() });
    }
    let names = match plugin_names(&root) {
        Ok(names) => names,
        Err(error) => {
            return discovery
                .refused
                .push(Refused { path: directory.path.clone(), reason: error.into() });
        }
    };
    for name in names {
        let path = directory.path.join(name);
        let (identity, checked) = examine(&path, &root, accounts);
        if let (
            true,
            Err(Refusal::Inspect(
                inspect::Refusal::NotElf | inspect::Refusal::NoManifest | inspect::Refusal::Empty,
            )),
        ) = (installed, &checked)
        {
            continue; // Other programs keep their libraries there.
        }
        if let Some(first) = identity.and_then(|identity| seen.get(&identity)) {
            discovery.seen_twice.push(SeenTwice { path, first: first.clone() });
            continue;
        }
        if let Some(identity) = identity {
            seen.insert(identity, path.clone());
        }
        let checked = match directory_refusal() {
            Some(reason) if installed => Err(reason.into()),
            _ => checked,
        };
        match checked {
            Ok((inspection, script, len, identity)) => {
                // Lying beside the executable is not enough: what the host's own build makes is known by name.
                let bundled =
                    script.is_none() && BUNDLED.contains(&inspection.manifest.plugin.id.as_str());
                let provenance = if bundled { directory.provenance } else { Provenance::Directory };
                discovery.plugins.push(Candidate {
                    path,
                    provenance,
                    inspection,
                    script,
                    len,
                    identity,
                });
            }
            Err(reason) => discovery.refused.push(Refused { path, reason }),
        }
    }
}

/// Sorted, so that two machines with the same files behave alike.
fn plugin_names(root: &Path) -> std::io::Result<BTreeSet<std::ffi::OsString>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name();
        let name_of = Path::new(&name);
        let is_library = name_of.extension() == Some(OsStr::new(&std::env::consts::DLL_EXTENSION));
        if is_library || is_script(name_of) {
            names.insert(name);
        }
    }
    Ok(names)
}

type Examined = (Inspection, Option<Script>, u64, (u64, u64));

/// The file's identity, if it could be had, and what came of looking into it.
fn examine(
    path: &Path,
    root: &Path,
    accounts: &Accounts,
) -> (Option<(u64, u64)>, Result<Examined, Refusal>) {
    let file = match open(path, root) {
        Ok(file) => file,
        Err(reason) => return (None, Err(reason)),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => return (None, Err(error.into())),
    };
    let identity = (metadata.dev(), metadata.ino());
    let checked = check_file(&metadata, accounts).and_then(|()| {
        if is_script(path) {
            let files = scripts::read(path, file, root, Some(accounts))?;
            return Ok((files.inspection, Some(files.script), metadata.len(), identity));
        }
        let cache = ReadCache::new(file);
        Ok((inspect::inspect_data(&cache)?, None, metadata.len(), identity))
    });
    (Some(identity), checked)
}

fn check_file(metadata: &std::fs::Metadata, accounts: &Accounts) -> Result<(), Refusal> {
    if !metadata.is_file() {
        return Err(Refusal::NotAFile);
    }
    accounts.check_metadata(metadata)?;
    if metadata.len() > MAX_PLUGIN_BYTES {
        return Err(Refusal::TooLarge(metadata.len()));
    }
    Ok(())
}

/// Opens the file that `path` leads to, which must lie in `root`. Does not wait for a pipe's writer.
fn open(path: &Path, root: &Path) -> Result<File, Refusal> {
    let target = std::fs::canonicalize(path)?;
    if target.parent() != Some(root) {
        return Err(PermissionRefusal::LeadsOut(target).into());
    }
    open_target(&target)
}

fn open_target(target: &Path) -> Result<File, Refusal> {
    if !std::fs::metadata(target)?.is_file() {
        return Err(Refusal::NotAFile);
    }
    let flags = i32::try_from((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits())
        .unwrap_or_default();
    Ok(OpenOptions::new().read(true).custom_flags(flags).open(target)?)
}

/// Of two files with one id neither is used: which one was meant cannot be known.
fn refuse_duplicates(discovery: &mut Discovery) {
    let mut by_id: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for plugin in &discovery.plugins {
        by_id
            .entry(plugin.inspection.manifest.plugin.id.clone())
            .or_default()
            .push(plugin.path.clone());
    }
    let (kept, duplicates): (Vec<_>, Vec<_>) = std::mem::take(&mut discovery.plugins)
        .into_iter()
        .partition(|plugin| by_id.get(plugin.id()).is_none_or(|paths| paths.len() == 1));
    discovery.plugins = kept;
    for plugin in duplicates {
        let id = plugin.id().to_owned();
        let other = by_id
            .get(&id)
            .and_then(|paths| paths.iter().find(|path| **path != plugin.path))
            .cloned()
            .unwrap_or_default();
        discovery
            .refused
            .push(Refused { path: plugin.path, reason: Refusal::DuplicateId { id, other } });
    }
}

impl Discovery {
    /// The JSON Schema of the configuration of the plugin of this id.
    pub fn config_schema(&self, id: &str) -> Option<&serde_json::Value> {
        let plugin = self.plugins.iter().find(|plugin| plugin.id() == id)?;
        Some(&plugin.inspection.manifest.config_schema)
    }
}

impl Candidate {
    /// The id by which run files name it.
    pub fn id(&self) -> &str {
        &self.inspection.manifest.plugin.id
    }

    /// Which machines its file is for, as a lock file names them.
    pub fn platform(&self) -> String {
        self.script.as_ref().map_or_else(platform, |_| ANY.to_owned())
    }

    /// Reads the whole file once, with every check made again on what was read: the bytes to load.
    ///
    /// # Errors
    /// If the file cannot be read any more, or is another one than was discovered.
    pub fn read_verified(&self) -> Result<VerifiedBytes, Refusal> {
        let root = self.path.parent().unwrap_or(Path::new("."));
        let root =
            std::fs::canonicalize(if root.as_os_str().is_empty() { Path::new(".") } else { root })?;
        let accounts = Accounts::of_system();
        accounts.check(&root)?;
        let file = open(&self.path, &root)?;
        let metadata = file.metadata()?;
        check_file(&metadata, &accounts)?;
        if self.script.is_some() {
            let files = scripts::read(&self.path, file, &root, Some(&accounts))?;
            if files.inspection != self.inspection || Some(&files.script) != self.script.as_ref() {
                return Err(Refusal::Changed);
            }
            return Ok(files.into());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.take(MAX_PLUGIN_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_PLUGIN_BYTES {
            return Err(Refusal::TooLarge(bytes.len() as u64));
        }
        if inspect::inspect(&bytes)? != self.inspection {
            return Err(Refusal::Changed);
        }
        let sha256 = Sha256::of(&bytes);
        Ok(VerifiedBytes { bytes, sha256, script: None })
    }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
