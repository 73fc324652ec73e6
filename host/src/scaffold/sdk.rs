//! Where a new plugin has its SDK from: a copy beside it, or a checkout elsewhere.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

/// Where the SDK lies in a template.
pub(super) const BESIDE: &str = "sdk/plugin-api";

/// Where the SDK is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// Copied into the plugin's folder.
    Beside,
    /// In this folder, by its absolute path.
    At(String),
}

/// Why a folder cannot be the SDK of a plugin.
#[derive(Debug, Error)]
pub enum SdkError {
    /// It has no manifest to read.
    #[error("--sdk {}: cannot read {FILE} there: {source}; name the folder `plugin-api` of a checkout", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is another package.
    #[error("--sdk {}: its {FILE} is not that of `plugin-api`; name the folder `plugin-api` of a checkout", path.display())]
    NotTheSdk {
        /// The folder.
        path: PathBuf,
    },
    /// A manifest or a Makefile would not mean this folder.
    #[error("--sdk {}: a path with control characters, quotes, `\\`, `#` or `$` cannot stand in the plugin's files", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
    },
}

const FILE: &str = "Cargo.toml";

#[derive(Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

impl Sdk {
    /// The SDK in a folder of the user's.
    ///
    /// # Errors
    /// It is none, or its path cannot be written down.
    pub fn at(path: &Path) -> Result<Self, SdkError> {
        let unreadable = |source| SdkError::Unreadable { path: path.to_owned(), source };
        let text = fs::read_to_string(path.join(FILE)).map_err(unreadable)?;
        let manifest: Option<Manifest> = toml::from_str(&text).ok();
        if manifest.is_none_or(|manifest| manifest.package.name != "plugin-api") {
            return Err(SdkError::NotTheSdk { path: path.to_owned() });
        }
        let absolute = path.canonicalize().map_err(unreadable)?;
        let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\'' | '\\' | '#' | '$');
        match absolute.to_str().filter(|text| text.chars().all(plain)) {
            Some(text) => Ok(Self::At(text.to_owned())),
            None => Err(SdkError::Unwritable { path: path.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sdk_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, manifest: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(FILE), manifest).unwrap();
            Sdk::at(&path)
        };
        let sdk = "[package]\nname = \"plugin-api\"\n";
        let Sdk::At(path) = at("a b", sdk).unwrap() else { panic!("not there") };
        assert!(path.starts_with('/') && path.ends_with("/a b"), "{path}");
        assert!(matches!(at("$HOME", sdk), Err(SdkError::Unwritable { .. })));
        let other = at("other", "[package]\nname = \"host\"\n");
        assert!(matches!(other, Err(SdkError::NotTheSdk { .. })));
        let absent = Sdk::at(&folder.path().join("absent"));
        assert!(matches!(absent, Err(SdkError::Unreadable { .. })));
    }
}
