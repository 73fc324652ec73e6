//! Where a journal's bytes go: a file, or in tests one that forgets what was never synced.

use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::run_dir::StoreError;

/// Bytes that only grow.
pub trait Storage: Send {
    /// Appends all of it. After an error any part of it may be there.
    ///
    /// # Errors
    /// The storage is full or broken.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// How many bytes there are.
    ///
    /// # Errors
    /// It cannot be told.
    fn length(&self) -> io::Result<u64>;

    /// Cuts off what is beyond this length.
    ///
    /// # Errors
    /// It cannot be cut.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// What makes it durable, to be used from another thread while this one goes on appending.
    ///
    /// # Errors
    /// There is no second handle.
    fn disk(&self) -> io::Result<Box<dyn Disk>>;
}

/// Makes appended bytes durable.
pub trait Disk: Send {
    /// Returns once everything survives a loss of power that was appended before the call.
    ///
    /// # Errors
    /// It does not; nothing is known then of what was appended since the last call that returned well.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file, locked: no two processes append to it.
#[derive(Debug)]
pub struct LockedFile {
    file: File,
    path: PathBuf,
}

/// Why a file cannot be had for this process alone.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{}: another process{} is at work on this run; wait for it, or stop it first",
        path.display(),
        holder.map(|id| format!(" ({id})")).unwrap_or_default()
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// The process, if the system tells.
        holder: Option<u32>,
    },
    /// The system does not let it be opened or locked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LockedFile {
    /// Opens a file for reading and appending, makes it if it is not there, and locks it until all handles of it
    /// are closed, as they are when the process ends in whatever way.
    ///
    /// # Errors
    /// Another process has locked it, or it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, LockError> {
        let failed =
            |action, source| LockError::Store(StoreError { path: path.to_owned(), action, source });
        let file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(|source| failed("open this file", source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path: path.to_owned() }),
            Err(TryLockError::WouldBlock) => {
                Err(LockError::Held { path: path.to_owned(), holder: holder(&file) })
            }
            Err(TryLockError::Error(source)) => Err(failed("lock this file", source)),
        }
    }

    /// A second handle of the same file and the same lock, which is free when both are closed.
    ///
    /// # Errors
    /// The system gives no handle.
    pub fn try_clone(&self) -> Result<Self, StoreError> {
        let path = self.path.clone();
        let cloned = self.file.try_clone();
        let file = cloned.map_err(|source| StoreError {
            path: path.clone(),
            action: "open this file once more",
            source,
        })?;
        Ok(Self { file, path })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The process that holds the lock of a file, as the kernel lists it.
fn holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let name = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let id = fields.by_ref().find(|field| *field == "FLOCK").and_then(|_| fields.nth(2))?;
        (fields.next() == Some(&name)).then(|| id.parse().ok())?
    })
}

impl Storage for LockedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn disk(&self) -> io::Result<Box<dyn Disk>> {
        let path = std::path::absolute(&self.path)?;
        Ok(Box::new(FileDisk { file: self.file.try_clone()?, unsynced_names: Some(path) }))
    }
}

struct FileDisk {
    file: File,
    /// The file's path, until its name is durable and that of its folder: a file without a name is lost.
    unsynced_names: Option<PathBuf>,
}

impl Disk for FileDisk {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if let Some(path) = &self.unsynced_names {
            for folder in path.ancestors().skip(1).take(2) {
                // A folder may be one that this user can write into and not open.
                if let Ok(folder) = File::open(folder) {
                    folder.sync_all()?;
                }
            }
            self.unsynced_names = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_for_one_and_free_again_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut first = LockedFile::open(&path).unwrap();
        first.append(b"a\n").unwrap();
        let disk = first.disk().unwrap();
        let held = first.try_clone().unwrap();
        let error = LockedFile::open(&path).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        if let LockError::Held { holder: Some(holder), .. } = error {
            assert_eq!(holder, std::process::id());
        }
        drop(first);
        assert!(LockedFile::open(&path).is_err(), "the thread that syncs is at work still");
        drop(disk);
        assert!(LockedFile::open(&path).is_err(), "the run is not over");
        drop(held);
        assert_eq!(LockedFile::open(&path).unwrap().length().unwrap(), 2);
    }
}
