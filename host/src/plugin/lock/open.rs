//! Which lock file counts, and what it says. It grants rights, so that nobody else may have been able to write it.

use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::entry::LockFile;
use crate::{
    asset::Sha256,
    config::ConfigError,
    plugin::discover::{Refusal, open_guarded},
};

/// What the file is called where it is looked for.
pub const NAME: &str = "plugins.lock";
/// Largest lock file, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// Which lock file is meant, and how strictly.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// This one, in place of the nearest.
    pub named: Option<PathBuf>,
    /// Whether a plugin may only be used if the lock file has it.
    pub locked: bool,
}

/// A lock file that was read.
#[derive(Debug)]
pub struct Lock {
    /// Where it is.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// What it says.
    pub file: LockFile,
}

/// What is trusted.
#[derive(Clone, Debug)]
pub struct Trust {
    /// By this file, if there is one.
    pub lock: Option<Arc<Lock>>,
    /// Where it is, or would be written.
    pub path: PathBuf,
    /// Whether a plugin may only be used if the lock file has it.
    pub locked: bool,
    /// Whether nobody is asked: what is looked at runs in a worker in any case.
    pub unasked: bool,
}

/// Why a lock file cannot be used.
#[derive(Debug, Error)]
pub enum LockError {
    /// The one that is named is not there.
    #[error(
        "{path}: there is no such lock file; `host plugin lock --lock {path} --with RUN_FILE` writes one",
        path = .0.display()
    )]
    Absent(PathBuf),
    /// Somebody else could have written it, or it cannot be read.
    #[error("{}: {reason}; it says which plugins are trusted, and is not believed", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Refusal,
    },
    /// It is no text, or too long.
    #[error("{}: {reason}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What is wrong in it.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

impl Choice {
    /// Where the lock file is: the one that is named, else the nearest in `folder` or above it. None if there is none.
    pub fn locate(&self, folder: &Path) -> Option<PathBuf> {
        if let Some(named) = &self.named {
            return Some(named.clone());
        }
        let folder = absolute(folder);
        // A link that leads nowhere is told, and not passed over: somebody meant something by it.
        folder
            .ancestors()
            .map(|folder| folder.join(NAME))
            .find(|path| path.symlink_metadata().is_ok())
    }

    /// Reads the lock file that counts for what lies in `folder`.
    ///
    /// # Errors
    /// It is not to be believed, or not to be read.
    pub fn open(&self, folder: &Path) -> Result<Trust, LockError> {
        let locked = self.locked;
        Ok(match self.locate(folder) {
            Some(path) => {
                Trust { lock: Some(Arc::new(Lock::read(&path)?)), path, locked, unasked: false }
            }
            None => Trust { lock: None, path: absolute(folder).join(NAME), locked, unasked: false },
        })
    }
}

impl Trust {
    /// Of a plugin that runs in a worker whoever trusts it.
    pub fn unasked() -> Self {
        Self { lock: None, path: NAME.into(), locked: false, unasked: true }
    }
}

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// As [`Choice::open`].
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let refused = |reason| LockError::Refused { path: path.to_owned(), reason };
        let wrong = |reason: String| LockError::Text { path: path.to_owned(), reason };
        let file = open_guarded(path).map_err(|reason| match reason {
            Refusal::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                LockError::Absent(path.to_owned())
            }
            reason => refused(reason),
        })?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| refused(error.into()))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(wrong(format!("more than {MOST_BYTES} bytes are no lock file")));
        }
        let text = str::from_utf8(&bytes).map_err(|error| wrong(format!("no text: {error}")))?;
        let file = LockFile::parse(path, text)?;
        Ok(Self { path: path.to_owned(), sha256: Sha256::of(&bytes), file })
    }
}

/// A folder from the root on. The current folder's own name is empty.
pub fn absolute(folder: &Path) -> PathBuf {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // What is left by `..` is not above.
    let leaves = path.components().any(|part| part == Component::ParentDir);
    let real = leaves.then(|| path.canonicalize().ok()).flatten();
    real.unwrap_or_else(|| path.components().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_nearest_one_counts_and_a_named_one_before_it() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let choice = Choice::default();
        let outside = choice.locate(root.path());
        assert_eq!(choice.locate(&deep), outside);
        let write = |path: PathBuf| {
            std::fs::write(&path, "format = 1\n").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            path
        };
        let above = write(root.path().join(NAME));
        assert_eq!(choice.locate(&deep), Some(above.clone()));
        assert_eq!(choice.locate(&deep.join(".")), Some(above));
        let beside = root.path().join("c");
        std::fs::create_dir(&beside).unwrap();
        let left = write(root.path().join("a").join(NAME));
        assert_ne!(choice.locate(&root.path().join("a/../c")), Some(left.clone()));
        std::fs::remove_file(left).unwrap();
        let own = write(deep.join(NAME));
        assert_eq!(choice.locate(&deep), Some(own.clone()));
        let trust = choice.open(&deep).unwrap();
        assert_eq!(trust.lock.unwrap().sha256, Sha256::of(b"format = 1\n"));
        let named = Choice { named: Some(root.path().join("absent")), locked: true };
        assert!(matches!(named.open(&deep), Err(LockError::Absent(_))));
    }

    #[test]
    fn one_that_others_could_have_written_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(NAME);
        std::fs::write(&path, "format = 1\n").unwrap();
        let set = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        set(0o644);
        assert!(Lock::read(&path).is_ok());
        set(0o646);
        let error = Lock::read(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{}: it is writable by everybody; `chmod o-w` it; it says which plugins are trusted, and is not believed",
                path.display()
            )
        );
        set(0o644);
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let error = Lock::read(&path).unwrap_err().to_string();
        assert!(error.contains("the folder") && error.contains("writable by everybody"), "{error}");
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::rename(&path, elsewhere.path().join("other")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("other"), &path).unwrap();
        let error = Lock::read(&path).unwrap_err().to_string();
        assert!(error.contains("a link that leads out of its folder"), "{error}");
    }
}
