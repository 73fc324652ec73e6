//! Leaves the machine's networks behind: a worker gets one of its own, in which there is nothing, not even itself.

#![allow(unsafe_code, reason = "the system's call can take more than networks apart")]

use std::fs;

use rustix::{
    io::{self, Errno},
    thread::{UnshareFlags, unshare_unsafe},
};

/// Moves this process to an empty network, if the system lets it. Whether it does.
pub(super) fn leave() -> bool {
    // Who has no right to it has it among users of its own.
    unshare(UnshareFlags::NEWNET).is_ok()
        || unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET).is_ok()
}

/// Whether a worker could do so, asked on a thread that ends with the question. Users of its own only a process of one
/// thread can have, as a worker is one: of these the system does not say more here than that nothing forbids the call.
pub(super) fn could_be_left() -> bool {
    unshare(UnshareFlags::NEWNET).is_ok()
        || unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) == Err(Errno::INVAL)
            && lets_anybody(|path| fs::read_to_string(path).ok())
}

/// Whether who has no rights may make users of its own.
fn lets_anybody(read: impl Fn(&str) -> Option<String>) -> bool {
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    number("/proc/sys/user/max_user_namespaces").is_some_and(|most| most > 0)
        && number("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
        && number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or(0) == 0
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the call is unsafe because of `UnshareFlags::FILES`, by which a thread gets other open files than the
    // rest of its process. The callers name networks and users alone.
    unsafe { unshare_unsafe(flags) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_rights_may_make_users_unless_something_says_no() {
        let most = ("/proc/sys/user/max_user_namespaces", "31000\n");
        let debian = "/proc/sys/kernel/unprivileged_userns_clone";
        let ubuntu = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
        let table: [(&[(&str, &str)], bool); 7] = [
            (&[], false),
            (&[most], true),
            (&[("/proc/sys/user/max_user_namespaces", "0\n")], false),
            (&[most, (debian, "1\n")], true),
            (&[most, (debian, "0\n")], false),
            (&[most, (ubuntu, "0\n")], true),
            (&[most, (ubuntu, "1\n")], false),
        ];
        for (files, expected) in table {
            let read = |path: &str| {
                let found = files.iter().find(|(name, _)| *name == path);
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(lets_anybody(read), expected, "{files:?}");
        }
    }
}
