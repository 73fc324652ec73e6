//! The last step before a server runs: the process that becomes it makes sure that it ends with its supervisor.

use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Becomes the command; comes back only if that cannot be.
pub fn become_server(supervisor: u32, command: &[OsString]) -> io::Error {
    // The signal is one that cannot be missed: nobody is left to send a second.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // A supervisor that ended before sends none any more.
    if getppid().map(Pid::as_raw_pid).and_then(|id| u32::try_from(id).ok()) != Some(supervisor) {
        return io::Error::other("its supervisor is gone");
    }
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::other("there is no command");
    };
    Command::new(program).args(arguments).exec()
}
