//! A backend in a worker, as the host uses it: sessions in, and another worker when one has died.

use std::{
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use plugin_api::{
    Error, ErrorKind,
    manifest::{Limits, Manifest},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    circuit::{Circuit, MOST},
    link::{Failure, Inner, Link},
    message::Load,
    process,
};
use crate::{
    plugin::{
        action::{Pushed, protocol},
        instance::threads,
        load::{LoadError, OpenError, Status},
    },
    secret::Redactor,
};

/// Longest time without an answer while a step is due, for a plugin that only translates: a step of it is a matter of
/// microseconds.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// How long a step may go on after its session has ended, for a plugin that only translates.
const LATE_LIMIT: Duration = Duration::from_secs(1);
/// The same for one that computes, and looks now and then whether it is still wanted.
const LATE_COMPUTING_LIMIT: Duration = Duration::from_secs(10);
/// Longest time for the library to load.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// A plugin's library that workers load.
#[derive(Clone)]
pub struct Program {
    name: String,
    library: Arc<OwnedFd>,
    load: Load,
    manifest: Arc<[u8]>,
    computes: bool,
    redactor: Arc<Redactor>,
}

impl Program {
    /// The library in this sealed file, which was read from `path` and inspected, with this manifest.
    pub fn new(
        path: &Path,
        library: Arc<OwnedFd>,
        manifest: &Manifest,
        manifest_bytes: &[u8],
        allow_unchecked_layout: bool,
        redactor: Arc<Redactor>,
    ) -> Self {
        let limits: Limits = manifest.plugin.limits;
        let load = Load {
            path: path.display().to_string(),
            abi: manifest.abi.into(),
            allow_unchecked_layout,
            threads: limits.blocking.then(|| threads(limits)),
            assets: Vec::new(),
        };
        Self {
            name: format!("plugin `{}` {}", manifest.plugin.id, manifest.version),
            library,
            load,
            manifest: manifest_bytes.into(),
            computes: limits.blocking,
            redactor,
        }
    }
}

impl Program {
    /// Lets it read these files.
    #[must_use]
    pub fn reading(mut self, assets: Vec<String>) -> Self {
        self.load.assets = assets;
        self
    }
}

/// Why a backend does not open in a worker.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library does not load.
    #[error(transparent)]
    Load(LoadError),
    /// The backend does not open.
    #[error(transparent)]
    Open(OpenError),
}

/// A backend in a worker.
pub struct Worker {
    program: Program,
    open: Vec<u8>,
    /// The worker of the moment.
    link: tokio::sync::Mutex<Arc<Link>>,
    deaths: Arc<Deaths>,
    confined: Vec<String>,
}

#[derive(Default)]
struct Deaths {
    circuit: Mutex<Circuit>,
    /// Why no other worker is started.
    broken: OnceLock<String>,
}

impl Worker {
    /// Starts a worker and opens the backend in it; `open` is the JSON of an `OpenHead`.
    ///
    /// # Errors
    /// The plugin's own words, or how the worker died.
    pub async fn start(program: Program, open: Vec<u8>) -> Result<Self, StartError> {
        let deaths = Arc::<Deaths>::default();
        let (link, confined) = start(&program, &open, &deaths).await?;
        let link = tokio::sync::Mutex::new(Arc::new(link));
        Ok(Self { program, open, link, deaths, confined })
    }

    /// Begins a session, in another worker if the last one has died.
    ///
    /// # Errors
    /// No other one can be started.
    pub async fn begin(&self, token: u64) -> Result<Session, Error> {
        let mut link = self.link.lock().await;
        if link.inner().death().is_some() {
            if let Some(broken) = self.deaths.broken.get() {
                return Err(Error::new(ErrorKind::Crashed, broken.clone()));
            }
            let wait = lock(&self.deaths.circuit).wait(Instant::now());
            sleep(wait).await;
            let started = start(&self.program, &self.open, &self.deaths).await;
            let (fresh, _) = started.map_err(|error| {
                let broken = self.deaths.broken.get().cloned();
                let again = || format!("{}: no other worker starts: {error}", self.program.name);
                Error::new(ErrorKind::Crashed, broken.unwrap_or_else(again))
            })?;
            *link = Arc::new(fresh);
        }
        let computes = self.program.computes;
        Ok(Session { link: Arc::clone(&link), token, computes, begun: false })
    }

    /// What keeps it from doing more than it needs, by name.
    pub fn confined(&self) -> &[String] {
        &self.confined
    }

    /// Why nothing can be asked of it any more, if that is so.
    pub fn broken(&self) -> Option<&str> {
        self.deaths.broken.get().map(String::as_str)
    }
}

/// A worker with an open backend, and what confines it.
async fn start(
    program: &Program,
    open: &[u8],
    deaths: &Arc<Deaths>,
) -> Result<(Link, Vec<String>), StartError> {
    let Program { name, library, load, manifest, redactor, .. } = program;
    let in_worker = |message: String| LoadError::InWorker { message };
    let not_started = |error: std::io::Error| {
        StartError::Load(in_worker(format!("its worker cannot be started: {error}")))
    };
    let started = process::start(name, library, redactor).await.map_err(not_started)?;
    let counted = (name.clone(), Arc::clone(deaths));
    let on_death = move |how: String| counted.1.add(&counted.0, &how);
    let link = Link::new(started, Box::new(on_death)).map_err(not_started)?;
    // What would fail alike for every sample is not tried for each.
    let refused = || drop(deaths.add(name, "does not open its backend"));
    let head = serde_json::json!({ "load": load }).to_string();
    let confined = match timeout(LOAD_LIMIT, link.inner().begin(head.as_bytes(), manifest)).await {
        Ok(Ok(confined)) => confined,
        Ok(Err(Failure::Said { message, .. })) => {
            refused();
            return Err(StartError::Load(in_worker(message)));
        }
        Ok(Err(Failure::Died(error))) => {
            return Err(StartError::Load(in_worker(error.message)));
        }
        Err(_) => {
            let limit = humantime::format_duration(LOAD_LIMIT);
            return Err(StartError::Load(in_worker(format!("it is not loaded within {limit}"))));
        }
    };
    let error = match link.inner().begin(br#"{"open":{}}"#, open).await {
        Ok(_) => return Ok((link, confined)),
        Err(Failure::Said { message, panicked }) => {
            refused();
            if panicked { OpenError::Panicked(message) } else { OpenError::Failed(message) }
        }
        Err(Failure::Died(error)) => OpenError::Failed(error.message),
    };
    Err(StartError::Open(error))
}

impl Deaths {
    /// Counts a death, and gives what its sessions are told.
    fn add(&self, name: &str, how: &str) -> Error {
        let mut message = format!("{name}: its worker {how}");
        if lock(&self.circuit).died(Instant::now()) {
            message =
                format!("{message}; it died {MOST} times within a minute and is not started again");
            let _ = self.broken.set(message.clone());
        }
        Error::new(ErrorKind::Crashed, message)
    }
}

/// One session in a worker; ended when dropped.
pub struct Session {
    link: Arc<Link>,
    token: u64,
    computes: bool,
    begun: bool,
}

impl Session {
    /// Gives the session one event; what it pushes is appended to `pushed`.
    ///
    /// # Errors
    /// The worker died, or the session did not begin.
    pub async fn step(
        &mut self,
        head: &[u8],
        body: &[u8],
        pushed: &mut Vec<Pushed>,
    ) -> Result<Status, Error> {
        let begin = if self.begun { "" } else { r#""begin":true,"# };
        self.begun = true;
        let before = format!(r#"{{"step":{{"session":"{}",{begin}"event":"#, self.token);
        let inner = self.link.inner();
        let mut answer = inner.step(self.token, &[before.as_bytes(), head, b"}}"], body)?;
        let answer = if self.computes {
            answer.await
        } else {
            loop {
                let answered = inner.answered();
                match timeout(STEP_LIMIT, &mut answer).await {
                    Ok(answer) => break answer,
                    Err(_) if inner.answered() == answered => is_stuck(inner, STEP_LIMIT),
                    Err(_) => {}
                }
            }
        };
        let (mut did, status) =
            answer.unwrap_or_else(|_| Err(protocol("the worker forgot the session")))?;
        if pushed.is_empty() {
            *pushed = did;
        } else {
            pushed.append(&mut did);
        }
        Ok(status)
    }

    /// Waits until its worker is dead, and says why.
    pub async fn dies(&self) -> Error {
        self.link.inner().dies().await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let inner = self.link.inner();
        if !self.begun || !inner.end(self.token) {
            return;
        }
        // Its step goes on: for a while that is no fault.
        let (late, computes, token) = (Arc::clone(inner), self.computes, self.token);
        let answered = inner.answered();
        inner.runtime().spawn(async move {
            let limit = if computes { LATE_COMPUTING_LIMIT } else { LATE_LIMIT };
            sleep(limit).await;
            // Those of a plugin that only translates come one after the other, so that others may be before it.
            let is_late = late.goes_on(token) && (computes || late.answered() == answered);
            if is_late && late.death().is_none() {
                is_stuck(&late, limit);
            }
        });
    }
}

fn is_stuck(worker: &Inner, limit: Duration) {
    let limit = humantime::format_duration(limit);
    worker.kill(&format!("was stuck in a step for more than {limit} and was ended"));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
