//! The supervisor: starts the server, writes its log, tells the host when it has ended, and ends whatever is left of
//! it when the host wants that or is gone.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, PipeWriter, Write},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, setsid};
use tokio::{io::AsyncReadExt, sync::oneshot, time::timeout};

use super::{
    family::{Family, Nursery},
    link::{BECOME, Begin, Ended, THIS_PROGRAM},
    log,
};
use crate::secret::Redactor;

/// How long a server may take to end once it is asked to.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long the last words of a server may take from its pipe into the log.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the command until it ends or the host at the other side of standard input wants that; `asked_to_stop` is a
/// signal to this process. Its output goes to where this process's errors go. Comes back when nothing of it is left.
///
/// # Errors
/// The server cannot be started, or ended.
pub fn supervise(
    command: &[OsString],
    asked_to_stop: impl Future<Output = bool>,
) -> io::Result<()> {
    // Away from the terminal, whose Ctrl-C is the host's to hear. It fails for one that is so already.
    let _ = setsid();
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut begin = String::new();
    BufReader::new(&socket).read_line(&mut begin)?;
    if begin.is_empty() {
        return Ok(());
    }
    let begin: Begin = serde_json::from_str(&begin)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let nursery = Nursery::new()?;
        let (output, writer) = io::pipe()?;
        let logged = write_log(output, Redactor::from_pairs(begin.hidden))?;
        // From this thread, which lives as long as the process: see `become_server`.
        let family = nursery.of(start(command, writer)?);
        attend(family, logged, socket, asked_to_stop).await
    })
}

async fn attend(
    mut family: Family,
    mut logged: oneshot::Receiver<()>,
    socket: UnixStream,
    asked_to_stop: impl Future<Output = bool>,
) -> io::Result<()> {
    let mut host = socket.try_clone()?;
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    let mut nothing = [0];
    let ended = tokio::select! {
        end = family.server_ends() => Some(end),
        _ = socket.read(&mut nothing) => None,
        true = asked_to_stop => None,
    };
    let mut is_logged = false;
    if let Some(end) = ended {
        // What it said last is what the host will want to show. A process that it left may hold the pipe, though.
        is_logged = timeout(LAST_WORDS, &mut logged).await.is_ok();
        tell(&mut host, end);
    }
    let are_ended = family.end(GRACE).await;
    if !is_logged {
        let _ = timeout(LAST_WORDS, logged).await;
    }
    if are_ended {
        return Ok(());
    }
    Err(io::Error::other("some processes of the server do not end"))
}

/// The host may be gone; then nobody wants to know.
fn tell(host: &mut UnixStream, end: ExitStatus) {
    let how = format!("ended with {}", in_words(end));
    if let Ok(line) = serde_json::to_string(&Ended { how }) {
        let _ = host.set_nonblocking(false).and_then(|()| writeln!(host, "{line}"));
    }
}

/// As in `exit status 1`, `signal 9 (SIGKILL)`.
pub(crate) fn in_words(end: ExitStatus) -> String {
    end.to_string().replacen(": ", " ", 1)
}

/// Writes the log on a thread of its own, which says when there is nothing more.
fn write_log(output: io::PipeReader, redactor: Redactor) -> io::Result<oneshot::Receiver<()>> {
    let log = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name("log".to_owned()).spawn(move || {
        // There is nowhere to say that the log cannot be written.
        let _ = log::copy(output, log, &redactor);
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// Starts what becomes the server, as the leader of a process group.
#[allow(clippy::zombie_processes, reason = "the family reaps it")]
fn start(command: &[OsString], output: PipeWriter) -> io::Result<Pid> {
    let errors = output.try_clone()?;
    let child = Command::new(THIS_PROGRAM)
        .arg0("host")
        .args([BECOME, "--supervisor", &std::process::id().to_string(), "--"])
        .args(command)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()?;
    Ok(Pid::from_child(&child))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_end_is_said_in_words() {
        for (raw, expected) in
            [(0, "exit status 0"), (1 << 8, "exit status 1"), (9, "signal 9 (SIGKILL)")]
        {
            assert_eq!(in_words(ExitStatus::from_raw(raw)), expected);
        }
    }
}
