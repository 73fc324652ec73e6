//! The process of one cell: `host run` on its run file. It tells its events on stdout, and ends when its standard input
//! does, whether the sweep closes it or is killed.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

use super::{event::Progress, prepare::Prepared, run::Message};
use crate::{launch::link::THIS_PROGRAM, run::error::exit};

/// Name of the file in a cell's folder that its process writes its errors to.
const LOG: &str = "cell.log";

/// A process at work.
#[derive(Debug)]
pub(super) struct Running {
    process: Child,
    leash: Option<ChildStdin>,
    began: Instant,
    units: usize,
    read: usize,
    samples: u64,
    progress: Progress,
    directory: Option<PathBuf>,
    error: Option<String>,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct End {
    /// The exit code; none after a signal.
    pub exit_code: Option<u8>,
    /// What it said was wrong, or what ended it.
    pub error: Option<String>,
    /// The run directory, if it came that far.
    pub directory: Option<PathBuf>,
    /// How far it came.
    pub progress: Progress,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// What of an event a sweep wants to know.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    event: String,
    directory: Option<PathBuf>,
    units: Vec<serde::de::IgnoredAny>,
    done: u64,
    samples: u64,
    status: Value,
    error: Option<String>,
}

impl Running {
    /// Starts the process of a cell. What it says comes as messages under this number.
    pub(super) fn start(
        number: usize,
        cell: &Prepared,
        arguments: &[OsString],
        messages: &Sender<Message>,
    ) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(cell.folder.join(LOG))?;
        let mut process = Command::new(THIS_PROGRAM)
            .arg0("host")
            .args(["--json", "run", "--leash"])
            .args(arguments)
            .arg("--")
            .arg(&cell.file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Away from the terminal's Ctrl-C: the sweep hears it, and ends each cell once.
            .process_group(0)
            .spawn()?;
        let (leash, stdout) = (process.stdin.take(), process.stdout.take());
        let messages = messages.clone();
        thread::Builder::new().name("cell".to_owned()).spawn(move || {
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n')) {
                let said = line.ok().and_then(|line| serde_json::from_slice(&line).ok());
                if let Some(said) = said {
                    let _ = messages.send(Message::Said(number, said));
                }
            }
            let _ = messages.send(Message::Silent(number));
        })?;
        Ok(Self {
            process,
            leash,
            began: Instant::now(),
            units: 0,
            read: 0,
            samples: 0,
            progress: Progress::default(),
            directory: None,
            error: None,
        })
    }

    /// Takes what the process said; how far it is, if that has changed.
    pub(super) fn hear(&mut self, said: Said) -> Option<&Progress> {
        match said.event.as_str() {
            "launch" => {
                self.directory = said.directory;
                self.units = said.units.len();
                self.progress.done = said.done;
            }
            "read" => {
                self.read += 1;
                self.samples += said.samples;
                self.progress.total = (self.read == self.units).then_some(self.samples);
            }
            "sample" => {
                self.progress.done += 1;
                self.progress.unscored += u64::from(said.status.as_str() != Some("scored"));
            }
            "done" => {
                self.error = said.error;
                return None;
            }
            _ => return None,
        }
        Some(&self.progress)
    }

    /// Asks it to end cleanly.
    pub(super) fn let_go(&mut self) {
        self.leash = None;
    }

    /// Asks it to end without waiting for what is in flight; `at_once`, it is killed.
    pub(super) fn press(&mut self, at_once: bool) {
        let signal = if at_once { Signal::KILL } else { Signal::TERM };
        // It is not reaped yet, so that its id is no other's.
        let _ = kill_process(Pid::from_child(&self.process), signal);
    }

    /// Waits for its end, which is near: it has closed its output.
    pub(super) fn end(mut self) -> End {
        let status = self.process.wait();
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (exit_code, crash) = match &status {
            Ok(status) => (code(*status), in_words(*status)),
            Err(error) => (Some(exit::INTERNAL), Some(error.to_string())),
        };
        let error = self.error.or(crash);
        End { exit_code, error, directory: self.directory, progress: self.progress, ms }
    }
}

fn code(status: ExitStatus) -> Option<u8> {
    status.code().map(|code| u8::try_from(code).unwrap_or(exit::INTERNAL))
}

/// What ended a process that did not end itself.
fn in_words(status: ExitStatus) -> Option<String> {
    let signal = status.signal()?;
    Some(format!("its process was ended by signal {signal}; {LOG} in its folder may tell more"))
}
