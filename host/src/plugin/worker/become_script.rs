//! The last thing that a script's worker does: it becomes the script. All that it gave up stays given up.

use std::{
    io,
    os::unix::{net::UnixStream, process::CommandExt},
    process::Command,
};

use super::message::Program;

/// Becomes this program, whose standard input and output are the way to the host. Returns only if that fails.
pub(super) fn become_script(program: &Program, socket: &UnixStream) -> io::Error {
    let streams =
        rustix::stdio::dup2_stdin(socket).and_then(|()| rustix::stdio::dup2_stdout(socket));
    if let Err(error) = streams {
        return error.into();
    }
    // The environment and all limits are this process's own; no other descriptor outlives it.
    Command::new(&program.path).args(&program.arguments).current_dir(&program.folder).exec()
}
