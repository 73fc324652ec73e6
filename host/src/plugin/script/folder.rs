//! Temporary folders of which none is left for good: each is locked for as long as its process lives, and whoever makes
//! another one removes those that nobody locks any more, which is what a killed process leaves.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, openat},
    io::Errno,
    process::geteuid,
};
use tempfile::TempDir;

/// What the names of these folders begin with. None without a lock may ever have begun so.
const PREFIX: &str = "host-script-copy-";
/// How many folders may be taken for left ones by somebody else in the moment before they are locked.
const ATTEMPTS: usize = 16;

/// A folder that only this user enters; gone with all that lies in it when this is dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    // Dropped first, so that nobody else removes it at the same time.
    folder: TempDir,
    /// Where the file system has locks.
    _lock: Option<OwnedFd>,
}

impl PrivateFolder {
    /// Removes what killed processes left below `parent`, and makes a folder there.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        for _ in 0..ATTEMPTS {
            let private = Permissions::from_mode(0o700);
            let folder =
                tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(parent)?;
            match locked(folder.path()) {
                Locked::Own(lock) => {
                    // Between its making and this lock somebody else may have had the lock, and removed it.
                    if is_still(folder.path(), &lock) {
                        return Ok(Self { folder, _lock: Some(lock) });
                    }
                }
                Locked::Elsewhere => {}
                Locked::Never => return Ok(Self { folder, _lock: None }),
            }
        }
        Err(io::Error::other("every new folder is removed at once by somebody else"))
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Who has a folder's lock.
enum Locked {
    Own(OwnedFd),
    /// Somebody else, or it is gone.
    Elsewhere,
    /// It cannot be opened, or its file system has no locks.
    Never,
}

fn locked(folder: &Path) -> Locked {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(CWD, folder, flags, Mode::empty()) {
        Ok(opened) => opened,
        // Whoever had its lock has removed it.
        Err(Errno::NOENT) => return Locked::Elsewhere,
        Err(_) => return Locked::Never,
    };
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Locked::Own(opened),
        Err(Errno::WOULDBLOCK) => Locked::Elsewhere,
        Err(_) => Locked::Never,
    }
}

/// Whether what was opened is what lies there still.
fn is_still(folder: &Path, opened: &OwnedFd) -> bool {
    let of_opened = opened.try_clone().map(File::from).and_then(|opened| opened.metadata());
    let (Ok(own), Ok(there)) = (of_opened, fs::symlink_metadata(folder)) else { return false };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

/// Removes this user's folders that nobody locks. What cannot be removed stays: it is in nobody's way.
fn sweep(parent: &Path) {
    let user = geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_one || !entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == user) {
            continue;
        }
        // Held until it is removed.
        if let Locked::Own(_lock) = locked(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        let names = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path();
        let living = PrivateFolder::new(parent).unwrap();
        fs::write(living.path().join("a.py"), "").unwrap();
        let left = parent.join(format!("{PREFIX}left"));
        fs::create_dir_all(left.join("below")).unwrap();
        fs::write(left.join("below/a.py"), "").unwrap();
        fs::set_permissions(left.join("below/a.py"), Permissions::from_mode(0o400)).unwrap();
        fs::create_dir(parent.join("host-script-other")).unwrap();
        fs::write(parent.join(format!("{PREFIX}file")), "").unwrap();
        std::os::unix::fs::symlink("host-script-other", parent.join(format!("{PREFIX}link")))
            .unwrap();
        let other = PrivateFolder::new(parent).unwrap();
        assert!(!left.exists());
        assert!(living.path().join("a.py").exists());
        drop((living, other));
        let rest = [format!("{PREFIX}file"), format!("{PREFIX}link"), "host-script-other".into()];
        assert_eq!(names(parent), rest);
    }

    #[test]
    fn those_who_make_folders_at_the_same_time_leave_each_other_alone() {
        let parent = tempfile::tempdir().unwrap();
        let work = || {
            for _ in 0..50 {
                let folder = PrivateFolder::new(parent.path()).unwrap();
                fs::write(folder.path().join("a"), "").unwrap();
                sweep(parent.path());
                assert!(folder.path().join("a").exists());
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert_eq!(names(parent.path()), [""; 0]);
    }
}
