//! The servers that a run starts: each before its backend is asked anything, all ended when the run is over.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use url::Url;

use super::{backend_error::BackendError, event::Event, ready::listens, recorder::Note};
use crate::{
    config::BaseUrl,
    launch::server::Launched,
    printer::Printer,
    secret::Redactor,
    store::{StoreError, run_dir::PlannedDir},
};

/// How long the end of a server may take without a word to the user.
const SILENT: Duration = Duration::from_secs(1);

/// Why a server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no place for its log.
    #[error(transparent)]
    Directory(#[from] StoreError),
    /// Its log cannot be made, or the system gives no process.
    #[error("cannot start a server with its output in {}: {source}", log.display())]
    Process {
        /// The file.
        log: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What would be asked is another server.
    #[error(
        "something listens at {0} already, where `launch` is to start a server; stop it, or use it by leaving `launch` out"
    )]
    Taken(Url),
}

/// The servers of a run.
#[derive(Debug)]
pub struct Servers {
    directory: Arc<PlannedDir>,
    redactor: Arc<Redactor>,
    started: Mutex<Vec<Arc<Launched>>>,
}

impl Servers {
    /// None yet. The first makes the run directory, for its log.
    pub fn new(directory: Arc<PlannedDir>, redactor: Arc<Redactor>) -> Self {
        Self { directory, redactor, started: Mutex::default() }
    }

    /// Starts the server of a backend, or of its replica; `name` is the backend's id, with a number for a replica.
    /// None if there is no command, or if a mock stands for the server.
    ///
    /// # Errors
    /// [`BackendError::Launch`].
    pub async fn start(
        &self,
        name: &str,
        command: &[String],
        base_url: Option<&BaseUrl>,
    ) -> Result<Option<Arc<Launched>>, BackendError> {
        if command.is_empty() || base_url.is_some_and(|url| url.mock().is_some()) {
            return Ok(None);
        }
        let launch = async {
            if let Some(BaseUrl::Server(url)) = base_url
                && is_here(url)
                && listens(url).await.is_ok()
            {
                return Err(LaunchError::Taken(url.clone()));
            }
            let log = self.directory.make()?.path().join(log_name(name));
            Launched::start(name, command, log.clone(), &self.redactor)
                .map_err(|source| LaunchError::Process { log, source })
        };
        let launched = launch
            .await
            .map_err(|source| BackendError::Launch { backend: name.to_owned(), source })?;
        let launched = Arc::new(launched);
        self.lock().push(Arc::clone(&launched));
        Ok(Some(launched))
    }

    /// Tells `notes` of each that ends, until the set is dropped.
    pub fn watch(&self, notes: &mpsc::Sender<Note>) -> JoinSet<()> {
        let mut watching = JoinSet::new();
        for server in self.lock().iter() {
            let (server, notes) = (Arc::clone(server), notes.clone());
            watching.spawn(async move {
                let end = server.ended().await;
                let message = format!("its server {end}{}", server.last_words());
                let backend = server.name().to_owned();
                let _ = notes.send(Note::Event(Event::ServerEnded { backend, message })).await;
            });
        }
        watching
    }

    /// Ends all of them and waits until nothing of them is left.
    pub async fn end(&self, printer: &Printer) {
        let servers = std::mem::take(&mut *self.lock());
        join_all(servers.iter().map(|server| end(server, printer))).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Launched>>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end(server: &Launched, printer: &Printer) {
    let mut ending = std::pin::pin!(server.end());
    let ended = match timeout(SILENT, &mut ending).await {
        Ok(ended) => ended,
        Err(_) => {
            printer.note(&format!("backend `{}`: waiting for its server to end", server.name()));
            ending.await
        }
    };
    if let Err(reason) = ended {
        let name = server.name();
        printer.warn(&format!("backend `{name}`: processes of its server may be left: {reason}"));
    }
}

/// Whether a URL is of this machine, where nothing but the server itself can listen.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn log_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    format!("launch-{}.log", name.chars().map(safe).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_lies_in_the_run_directory_whatever_the_backend_is_called() {
        for (name, expected) in [
            ("tgi", "launch-tgi.log"),
            ("tgi#1", "launch-tgi-1.log"),
            ("../a b", "launch-..-a-b.log"),
        ] {
            assert_eq!(log_name(name), expected);
        }
    }

    #[test]
    fn only_this_machine_is_here() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1/v1", true),
            ("http://10.0.0.1:1", false),
            ("https://localhost.example", false),
        ] {
            assert_eq!(is_here(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
