//! The handle of a run that goes on: a Unix socket in its directory, on which its owner asks how it stands, holds it, lets
//! it go on, changes how much is in flight, or ends it.
//!
//! One connection is one question: a line of JSON, and a line that answers it. Nobody but the owner of the process is
//! heard, whatever the socket's permissions are.

mod protocol;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc::WeakSender, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    backend::OpenBackend, event::Event, in_flight::Board, pulse::standing, recorder::Note,
    standing::Tracker,
};
use crate::config::{Concurrency, MOST_IN_FLIGHT};

pub use protocol::{Command, Pace, Reply, RunStatus, UnitStatus};

/// Name of the socket in the run directory.
pub const SOCKET: &str = "control.sock";
/// Longest question, in bytes.
const MOST: u64 = 4096;
/// A question must come within this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be seen and changed of a run.
pub struct Controlled {
    /// Id of the run.
    pub run: String,
    /// When this process began it.
    pub began: Instant,
    /// The backends that are asked.
    pub backends: Vec<Arc<OpenBackend>>,
    /// What is finished.
    pub tracker: Arc<Tracker>,
    /// What is in flight.
    pub board: Arc<Board>,
    /// Ends the run.
    pub stop: watch::Sender<bool>,
    /// Where what was changed is noted; it does not keep the recorder alive.
    pub notes: WeakSender<Note>,
}

/// A socket that is listened to; gone when this is dropped.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // Where it cannot be removed, the next process at work here replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens in this directory, which no other process is at work on: what lies there of one that was killed is replaced.
///
/// # Errors
/// The file system has no room for a socket.
pub fn listen(directory: &Path, controlled: Controlled) -> io::Result<Control> {
    let path = directory.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = {
        // A socket's path is short, a run's may be long: this one leads there by the directory's descriptor.
        let folder = fs::File::open(directory)?;
        UnixListener::bind(short(&folder))?
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let controlled = Arc::new(controlled);
    let held = Arc::new(AtomicBool::new(false));
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (controlled, held) = (Arc::clone(&controlled), Arc::clone(&held));
                    tokio::spawn(async move {
                        // Who goes away before the answer does not want it.
                        let _ = timeout(PATIENCE, answer(stream, &controlled, &held)).await;
                    });
                }
                // Too many open files, say: others close some.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(Control { path, task })
}

/// The socket of a directory by a path that is short enough for one.
pub fn short(folder: &fs::File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

async fn answer(
    mut stream: UnixStream,
    controlled: &Controlled,
    held: &AtomicBool,
) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    // The moment between the socket's birth and its permissions is nobody's chance.
    if stream.peer_cred()?.uid() != own {
        return Ok(());
    }
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    BufReader::new(reader.take(MOST)).read_line(&mut line).await?;
    let reply = match serde_json::from_str::<Command>(&line) {
        Ok(command) => controlled.carry_out(&command, held).await,
        Err(error) => Reply::Refused { reason: format!("it is no command of this host: {error}") },
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

impl Controlled {
    async fn carry_out(&self, command: &Command, held: &AtomicBool) -> Reply {
        match command {
            Command::Status => {}
            Command::Pause => {
                self.backends.iter().for_each(|backend| backend.router.hold(true));
                held.store(true, Ordering::Relaxed);
            }
            Command::Resume => {
                self.backends.iter().for_each(|backend| backend.router.hold(false));
                held.store(false, Ordering::Relaxed);
            }
            Command::Set(Pace { concurrency, .. })
                if !(1..=MOST_IN_FLIGHT).contains(concurrency) =>
            {
                let reason = format!(
                    "concurrency must be from 1 to {MOST_IN_FLIGHT}; `pause` holds everything"
                );
                return Reply::Refused { reason };
            }
            Command::Set(Pace { concurrency, backend }) => {
                let is_meant = |id: &str| backend.as_ref().is_none_or(|only| only == id);
                let meant: Vec<_> =
                    self.backends.iter().filter(|backend| is_meant(&backend.id)).collect();
                if meant.is_empty() {
                    let ids: Vec<&str> = self.backends.iter().map(|one| one.id.as_str()).collect();
                    let reason = format!(
                        "the run has no backend `{}`; it has {}",
                        backend.as_deref().unwrap_or_default(),
                        ids.join(", ")
                    );
                    return Reply::Refused { reason };
                }
                let ceiling = *concurrency;
                for backend in meant {
                    backend.router.set_concurrency(Concurrency { auto: false, floor: 1, ceiling });
                    for replica in &backend.replicas {
                        replica.instance.allow(ceiling as usize);
                    }
                }
            }
            Command::Cancel => {
                self.stop.send_replace(true);
            }
        }
        if *command != Command::Status
            && let Some(notes) = self.notes.upgrade()
        {
            let event = Event::Control { command: command.to_string() };
            let _ = notes.send(Note::Event(event)).await;
        }
        Reply::Status(Box::new(self.status(held.load(Ordering::Relaxed))))
    }

    fn status(&self, is_held: bool) -> RunStatus {
        let state = match (*self.stop.borrow(), is_held) {
            (true, _) => "stopping",
            (false, true) => "paused",
            (false, false) => "running",
        };
        RunStatus {
            run: self.run.clone(),
            state: state.to_owned(),
            seconds: self.began.elapsed().as_secs_f64(),
            units: self.tracker.units(),
            backends: self.backends.iter().map(|backend| standing(backend)).collect(),
            slowest: self.board.slowest(Instant::now()),
        }
    }
}
