//! Leaves the machine's networks behind: a worker gets one of its own, in which there is nothing, not even itself.

#![allow(unsafe_code, reason = "the system's call can take more than networks apart")]

use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities, unshare_unsafe,
};

/// Moves this process to an empty network, if the system lets it. Whether it does.
pub(super) fn leave() -> bool {
    unshare(UnshareFlags::NEWNET) || leave_as_nobody()
}

/// The same for a process without the right to it: among users of its own it has that.
fn leave_as_nobody() -> bool {
    if !unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) {
        return false;
    }
    // It has all others there, too, and needs none.
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets).is_ok()
}

fn unshare(flags: UnshareFlags) -> bool {
    // SAFETY: the call is unsafe because of `UnshareFlags::FILES`, by which a thread gets other open files than the
    // rest of its process. The callers name networks and users alone.
    unsafe { unshare_unsafe(flags) }.is_ok()
}
