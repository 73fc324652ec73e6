//! Which folders plugins are looked for in. Looks into none of them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where a plugin was found; installed ones are trusted to run in-process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Made by the host's own build, and beside its executable.
    Installed,
    /// Anything else.
    Directory,
}

/// A folder to look for plugins in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchDirectory {
    /// The folder.
    pub path: PathBuf,
    /// What its plugins are to be trusted as.
    pub provenance: Provenance,
}

/// A folder that was asked for and cannot be searched.
#[derive(Debug, Error)]
pub enum SearchError {
    /// Not there, not a folder, or not readable.
    #[error("cannot search {} (from {from}): {reason}", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// `--plugin-dir` or `HOST_PLUGIN_DIR`.
        from: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// The folders to search: those of `--plugin-dir`, those of `HOST_PLUGIN_DIR` (a list separated by
/// `:`), and the one of the executable.
///
/// # Errors
/// If one that the user named is no folder.
pub fn search_path(
    flags: &[PathBuf],
    variable: Option<&OsStr>,
    executable: Option<&Path>,
) -> Result<Vec<SearchDirectory>, SearchError> {
    let listed: Vec<PathBuf> = variable
        .map(|list| {
            std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
        })
        .unwrap_or_default();
    let named = flags
        .iter()
        .map(|path| (path, "--plugin-dir"))
        .chain(listed.iter().map(|path| (path, "HOST_PLUGIN_DIR")));
    let beside = executable.and_then(Path::parent);
    let mut directories = Vec::new();
    for (path, from) in named {
        let wrong = |reason: String| SearchError::Directory { path: path.clone(), from, reason };
        let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if !metadata.is_dir() {
            return Err(wrong("not a directory".into()));
        }
        // Naming the executable's folder takes no trust from what is installed there.
        let installed = beside.is_some_and(|beside| {
            std::fs::canonicalize(beside).ok() == std::fs::canonicalize(path).ok()
        });
        let provenance = if installed { Provenance::Installed } else { Provenance::Directory };
        directories.push(SearchDirectory { path: path.clone(), provenance });
    }
    if let Some(parent) = beside {
        directories
            .push(SearchDirectory { path: parent.to_owned(), provenance: Provenance::Installed });
    }
    Ok(directories)
}
