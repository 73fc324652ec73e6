//! A worker's process: started with nothing of the host's but its rights, heard, and reaped with all that it started.

use std::{
    fs::File,
    io::{self, PipeReader},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Command, ExitStatus},
    sync::Arc,
    thread,
};

use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
        pidfd_send_signal, waitid,
    },
};
use tokio::sync::oneshot;

use super::output::{self, Written};
use crate::{
    launch::{
        link::{THIS_PROGRAM, WORKER},
        log,
    },
    secret::Redactor,
};

/// What a worker keeps of the host's environment.
const KEPT: [&str; 3] = ["LANG", "PATH", "RUST_BACKTRACE"];

/// A process that was started.
pub(super) struct Started {
    /// The way to it.
    pub(super) socket: UnixStream,
    /// To end it by.
    pub(super) process: Process,
    /// How it ended, once it has.
    pub(super) end: oneshot::Receiver<ExitStatus>,
}

/// A process, by a name that no other one gets.
#[derive(Debug)]
pub(super) struct Process(OwnedFd);

impl Process {
    /// Ends it, if it has not ended.
    pub(super) fn kill(&self) {
        // It fails only if it has.
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }
}

/// Starts a worker, for the library in this sealed file or for a script.
///
/// # Errors
/// The system's.
pub(super) async fn start(
    name: &str,
    library: Option<&Arc<OwnedFd>>,
    redactor: &Arc<Redactor>,
    written: &Written,
) -> io::Result<Started> {
    let (own, its) = UnixStream::pair()?;
    let (told, started) = oneshot::channel();
    let (name, library) = (name.to_owned(), library.cloned());
    let (redactor, written) = (Arc::clone(redactor), Arc::clone(written));
    // The thread that starts it lives as long as it: the signal of a parent's death is that of a thread's.
    thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let (end, ended) = oneshot::channel();
        match spawn(&name, library.as_deref(), its, redactor, written) {
            Ok((child, pidfd)) => {
                let copy = pidfd.try_clone();
                let process = Process(pidfd);
                // Whoever wanted it may be gone.
                if told.send(Ok((process, ended))).is_err() {
                    let _ = copy.as_ref().map(|copy| pidfd_send_signal(copy, Signal::KILL));
                }
                let _ = end.send(reap(child, copy.ok().as_ref()));
            }
            Err(error) => drop(told.send(Err(error))),
        }
    })?;
    let (process, end) =
        started.await.map_err(|_| io::Error::other("the thread that starts it is gone"))??;
    Ok(Started { socket: own, process, end })
}

fn spawn(
    name: &str,
    library: Option<&OwnedFd>,
    socket: UnixStream,
    redactor: Arc<Redactor>,
    written: Written,
) -> io::Result<(std::process::Child, OwnedFd)> {
    let (output, writer) = io::pipe()?;
    let kept = KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(THIS_PROGRAM);
    command
        .arg0("host")
        .args([WORKER, &std::process::id().to_string()])
        .env_clear()
        .envs(kept)
        // What it needs it gets in the place of its standard streams: no other descriptor is left open for it.
        .stdout(match library {
            Some(library) => library.try_clone()?,
            // Nothing more is needed: a script's streams are the socket.
            None => OwnedFd::from(socket.try_clone()?),
        })
        .stdin(OwnedFd::from(socket))
        .stderr(OwnedFd::from(writer))
        // Away from the terminal, whose Ctrl-C is the host's to hear, and to be ended with all that it starts.
        .process_group(0);
    let mut child = command.spawn()?;
    drop(command);
    let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.into());
        }
    };
    let name = name.to_owned();
    thread::Builder::new()
        .name("worker output".to_owned())
        .spawn(move || show(&name, output, &redactor, &written))?;
    Ok((child, pidfd))
}

fn show(name: &str, output: PipeReader, redactor: &Redactor, written: &Written) {
    let mut shown = output::shown(name, written);
    // Only writing fails, and this never does.
    let _ = log::copy(output, &mut shown, redactor);
    shown.finish();
    written(None);
}

/// Waits for its end, and ends what it may have started: its group is its own until it is reaped.
fn reap(mut child: std::process::Child, pidfd: Option<&OwnedFd>) -> ExitStatus {
    if let Some(pidfd) = pidfd {
        let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::PidFd(pidfd.as_fd()), end), Err(Errno::INTR)) {}
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    // It fails only for a child that is not one.
    child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0))
}

/// The worker's side: takes its socket and its library out of the standard streams, and puts what belongs there.
///
/// # Errors
/// The system's.
pub(super) fn take_streams() -> io::Result<(UnixStream, OwnedFd)> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let library = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok((socket, library))
}
