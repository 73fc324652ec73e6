//! Temporary folders of which none is left for good: each is locked for as long as its process lives, and whoever makes
//! another one removes those that nobody locks any more, which is what a killed process leaves. The lock of a folder
//! holds on its machine alone, also where a network file system shows it to others; so a folder names the boot of the
//! machine that made it, and only those of this boot are removed. What a machine leaves that went down is not.

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
    io::{Errno, retry_on_intr},
    process::geteuid,
};
use tempfile::TempDir;

/// What the names of these folders begin with.
const PREFIX: &str = "host-script-copy-";
/// Which boot of which machine this is, as the kernel names it.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
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
        let own = own_prefix();
        if let Some(own) = &own {
            sweep(parent, own);
        }
        // Nobody removes one that names no boot.
        let prefix = own.as_deref().unwrap_or(PREFIX);
        for _ in 0..ATTEMPTS {
            let private = Permissions::from_mode(0o700);
            let folder =
                tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(parent)?;
            match locked(folder.path())? {
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
    /// Its file system has no locks, so that nobody removes it for want of one.
    Never,
}

/// What the names of the folders of this boot of this machine begin with, where the kernel says which it is.
fn own_prefix() -> Option<String> {
    let boot = fs::read_to_string(BOOT).ok()?;
    let boot = boot.trim();
    let is_one = !boot.is_empty() && boot.chars().all(|it| it.is_ascii_hexdigit() || it == '-');
    is_one.then(|| format!("{PREFIX}{boot}-"))
}

/// Locks a folder, if nobody else has.
///
/// # Errors
/// The system's: out of file descriptors, say. Whether it can be locked is not known then.
fn locked(folder: &Path) -> io::Result<Locked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(CWD, folder, flags, Mode::empty()) {
        Ok(opened) => opened,
        // Whoever had its lock has removed it.
        Err(Errno::NOENT) => return Ok(Locked::Elsewhere),
        Err(error) => return Err(error.into()),
    };
    match retry_on_intr(|| flock(&opened, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(Locked::Own(opened)),
        Err(Errno::WOULDBLOCK) => Ok(Locked::Elsewhere),
        Err(Errno::BADF | Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(Locked::Never),
        Err(error) => Err(error.into()),
    }
}

/// Whether what was opened is what lies there still.
fn is_still(folder: &Path, opened: &OwnedFd) -> bool {
    let of_opened = opened.try_clone().map(File::from).and_then(|opened| opened.metadata());
    let (Ok(own), Ok(there)) = (of_opened, fs::symlink_metadata(folder)) else { return false };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

/// Removes this user's folders of this prefix that nobody locks. What cannot be removed stays: it is in nobody's way.
fn sweep(parent: &Path, prefix: &str) {
    let user = geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(prefix);
        if !is_one || !entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == user) {
            continue;
        }
        // Held until it is removed.
        if let Ok(Locked::Own(_lock)) = locked(&entry.path()) {
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
        let own = own_prefix().unwrap();
        let living = PrivateFolder::new(parent).unwrap();
        fs::write(living.path().join("a.py"), "").unwrap();
        let left = parent.join(format!("{own}left"));
        fs::create_dir_all(left.join("below")).unwrap();
        fs::write(left.join("below/a.py"), "").unwrap();
        fs::set_permissions(left.join("below/a.py"), Permissions::from_mode(0o400)).unwrap();
        // Another machine's looks unlocked from here, and may be in use there.
        let kept = ["another-boot-left", "left"].map(|name| format!("{PREFIX}{name}"));
        for name in kept.iter().map(String::as_str).chain(["host-script-other"]) {
            fs::create_dir(parent.join(name)).unwrap();
        }
        let (file, link) = (format!("{own}file"), format!("{own}link"));
        fs::write(parent.join(&file), "").unwrap();
        std::os::unix::fs::symlink("host-script-other", parent.join(&link)).unwrap();
        let other = PrivateFolder::new(parent).unwrap();
        assert!(!left.exists());
        assert!(living.path().join("a.py").exists());
        drop((living, other));
        let mut rest: Vec<_> =
            kept.into_iter().chain([file, link, "host-script-other".into()]).collect();
        rest.sort();
        assert_eq!(names(parent), rest);
    }

    #[test]
    fn those_who_make_folders_at_the_same_time_leave_each_other_alone() {
        let parent = tempfile::tempdir().unwrap();
        let work = || {
            for _ in 0..50 {
                let folder = PrivateFolder::new(parent.path()).unwrap();
                fs::write(folder.path().join("a"), "").unwrap();
                sweep(parent.path(), &own_prefix().unwrap());
                assert!(folder.path().join("a").exists());
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
        assert_eq!(names(parent.path()), [""; 0]);
    }
}
