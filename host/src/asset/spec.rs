//! What an asset is and where it may be had. Says nothing of how.

use std::path::PathBuf;

use serde::Serialize;

use super::Sha256;

/// A file, known by its contents or by where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asset {
    /// Name of the file in the cache; no folder.
    pub name: String,
    /// What its contents must hash to. None if it is taken as it is, which only a local file may be.
    pub sha256: Option<Sha256>,
    /// Where to look, in this order. Not part of what an asset is, so not of a configuration's digest.
    #[serde(skip)]
    pub sources: Vec<Source>,
}

/// One place to have an asset from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A local file, used in place.
    Path(PathBuf),
    /// A member of a wheel that the user's Python installer downloads.
    Wheel {
        /// Name of the package.
        name: String,
        /// Its version.
        version: String,
        /// Path inside the wheel.
        member: String,
    },
}
