//! A launched server as the host sees it: alive as long as this is, and what is known of its end.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};
use zeroize::Zeroizing;

use super::{
    link::{Begin, Ended, SUPERVISE, THIS_PROGRAM},
    supervisor::{GRACE, in_words},
};
use crate::secret::Redactor;

/// Longest wait for a supervisor to end its server and itself: its own bounds, and some.
const END: Duration = GRACE.saturating_add(Duration::from_secs(10));
/// How much of the end of a log is shown.
const SHOWN_LINES: usize = 10;
const SHOWN_BYTES: u64 = 4096;

/// A server that was started. Dropping it ends the server, without waiting for that.
#[derive(Debug)]
pub struct Launched {
    name: String,
    log: PathBuf,
    supervisor: UnixStream,
    fate: watch::Receiver<Fate>,
}

/// What has become of it.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// How the server ended, once it has.
    end: Option<String>,
    /// How its supervisor ended, once it has: well, or in these words.
    gone: Option<Result<(), String>>,
}

impl Launched {
    /// Starts a server. Its output is appended to the file `log`, but for the secrets that `redactor` knows.
    ///
    /// # Errors
    /// The supervisor cannot be started. That the command cannot be is told as its end.
    pub fn start(
        name: &str,
        command: &[String],
        log: PathBuf,
        redactor: &Redactor,
    ) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        let (own, its) = UnixStream::pair()?;
        let child = Command::new(THIS_PROGRAM)
            .arg0("host")
            .args([SUPERVISE, "--"])
            .args(command)
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()?;
        let (sender, fate) = watch::channel(Fate::default());
        let said = own.try_clone()?;
        let launched = Self { name: name.to_owned(), log, supervisor: own, fate };
        thread::Builder::new()
            .name(format!("launch {name}"))
            .spawn(move || listen(child, said, &sender))?;
        launched.begin(redactor)?;
        Ok(launched)
    }

    fn begin(&self, redactor: &Redactor) -> io::Result<()> {
        let hidden = redactor.pairs().map(|(from, to)| (from.to_owned(), to.to_owned()));
        let mut line = Zeroizing::new(serde_json::to_vec(&Begin { hidden: hidden.collect() })?);
        line.push(b'\n');
        (&self.supervisor).write_all(&line)
    }

    /// What it was started for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that its output goes to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until the server has ended by itself, and says how, as a predicate: `ended with exit status 1`.
    pub async fn ended(&self) -> String {
        let mut fate = self.fate.clone();
        let known = fate.wait_for(|fate| fate.end.is_some()).await;
        // The listener says how before it ends, unless it is broken off with the whole host.
        known.ok().and_then(|fate| fate.end.clone()).unwrap_or_else(|| "is lost".to_owned())
    }

    /// Ends the server and waits until nothing is left of it.
    ///
    /// # Errors
    /// What may be left, and why.
    pub async fn end(&self) -> Result<(), String> {
        self.let_go();
        let mut fate = self.fate.clone();
        match timeout(END, fate.wait_for(|fate| fate.gone.is_some())).await {
            Ok(Ok(fate)) => fate.gone.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err("nothing is known of its supervisor".to_owned()),
            Err(_) => Err(format!("it goes on after {}", humantime::format_duration(END))),
        }
    }

    fn let_go(&self) {
        // It fails only if the supervisor is gone.
        let _ = self.supervisor.shutdown(Shutdown::Write);
    }

    /// The last lines of its log, as an addition to a message.
    pub fn last_words(&self) -> String {
        let log = self.log.display();
        match end_of(&self.log) {
            Ok(end) if end.is_empty() => format!("; {log} is empty"),
            Ok(end) => format!("; the end of {log}:{end}"),
            Err(error) => format!("; {log} cannot be read: {error}"),
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // The listener holds the socket, too.
        self.let_go();
    }
}

/// Hears what the supervisor says until it has ended.
fn listen(mut supervisor: Child, said: UnixStream, fate: &watch::Sender<Fate>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Ok(Ended { how }) = serde_json::from_str(&line) {
            fate.send_modify(|fate| fate.end = Some(how));
        }
    }
    let gone = match supervisor.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("its supervisor ended with {}", in_words(status))),
        Err(error) => Err(error.to_string()),
    };
    fate.send_modify(|fate| {
        let why = gone.as_ref().err().map(|how| format!(": {how}")).unwrap_or_default();
        fate.end.get_or_insert_with(|| format!("was ended together with its supervisor{why}"));
        fate.gone = Some(gone);
    });
}

/// The last lines of a file, each after a line break and two spaces.
fn end_of(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_BYTES)))?;
    let mut end = Vec::new();
    file.take(SHOWN_BYTES).read_to_end(&mut end)?;
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = lines.len().saturating_sub(SHOWN_LINES);
    Ok(lines.iter().skip(shown).map(|line| format!("\n  {line}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let end = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            end_of(file.path()).unwrap()
        };
        assert_eq!(end(""), "");
        assert_eq!(end("one\ntwo\n\n"), "\n  one\n  two");
        let many: String = (0..100).map(|line| format!("{line}\n")).collect();
        let last: String = (90..100).map(|line| format!("\n  {line}")).collect();
        assert_eq!(end(&many), last);
        assert_eq!(end(&"x".repeat(5000)), format!("\n  {}", "x".repeat(4096)));
    }
}
