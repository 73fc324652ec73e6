//! The hidden commands by which a run starts what it needs beside itself: a server, or a worker for a plugin.

use std::{env, ffi::OsString, io, path::Path};

use super::run::asked_to_stop;
use crate::{
    launch::{become_server, link::WORKER, supervisor},
    plugin::worker::serve::serve,
    printer::{Mode, Printer},
    run::error::exit,
};

/// What a shell exits with when it does not find a command.
const NOT_FOUND: u8 = 127;
/// The same when it cannot run one.
const NOT_RUN: u8 = 126;

/// Supervises a server until nothing of it is left.
pub(super) fn supervise(command: &[OsString], printer: &Printer) -> u8 {
    match supervisor::supervise(command, asked_to_stop()) {
        Ok(()) => exit::DONE,
        Err(error) => {
            printer.error(&format!("supervisor: {error}"));
            exit::INTERNAL
        }
    }
}

/// Runs a plugin, if it was a host that started this, and it said so: `__worker PROCESS`. What is said here of a failure
/// is what that host shows.
///
/// It is no subcommand. Many workers may be started, each to serve within milliseconds and to be small, and to build the
/// whole command line would take more of both than all that a worker needs.
pub(super) fn worker() -> Option<u8> {
    let mut typed = env::args_os().skip(1);
    if typed.next()? != WORKER {
        return None;
    }
    let host = typed.next()?.to_str()?.parse().ok()?;
    let Err(error) = serve(host) else { return Some(exit::DONE) };
    Printer::new(Mode::Default).error(&format!("worker: {error}"));
    Some(exit::INTERNAL)
}

/// Becomes the server. What it says of a failure goes to the server's log.
pub(super) fn become_server(supervisor: u32, command: &[OsString], printer: &Printer) -> u8 {
    let error = become_server::become_server(supervisor, command);
    let program = command.first().map(Path::new).unwrap_or(Path::new("")).display();
    printer.error(&format!("cannot start `{program}`: {error}"));
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN }
}
