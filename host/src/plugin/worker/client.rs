//! A backend in a worker, as the host uses it: sessions in, and another worker when one has died.

use std::{
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use plugin_api::{
    Error, ErrorKind,
    manifest::{Limits, Manifest},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    circuit::{Circuit, MOST},
    death::Death,
    link::{Failure, Link, Said, State},
    message::Load,
    output::{self, Written},
    process, program,
    session::Session,
};
use crate::{
    plugin::{
        action::protocol,
        instance::threads,
        load::{LoadError, OpenError},
        script::Copied,
    },
    secret::Redactor,
};

/// Longest time for the backend to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// The same at the end of a run, which gains nothing by it, for a plugin that only translates.
const FINISH_LIMIT: Duration = Duration::from_secs(2);
/// Longest time for the library to load.
const LOAD_LIMIT: Duration = Duration::from_secs(60);

/// The head of the frame that closes the backend.
const CLOSE: &[u8] = br#"{"close":{}}"#;

/// Version of what a script is told and tells.
const PROTOCOL: u32 = 1;

/// A plugin's library that workers load, or a script that they become.
#[derive(Clone)]
pub struct Program {
    name: String,
    code: Code,
    load: Load,
    manifest: Arc<[u8]>,
    computes: bool,
    redactor: Arc<Redactor>,
    written: Written,
}

#[derive(Clone)]
enum Code {
    /// In a sealed file.
    Library(Arc<OwnedFd>),
    /// The files lie there for as long as this does.
    Script { _files: Arc<Copied> },
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
        let load = Load { allow_unchecked_layout, ..load(path, manifest) };
        Self {
            name: name(manifest),
            code: Code::Library(library),
            load,
            manifest: manifest_bytes.into(),
            computes: manifest.plugin.limits.blocking,
            redactor,
            written: output::to_log(&name(manifest)),
        }
    }

    /// The script whose description was read from `path`, and whose files lie in this copy.
    ///
    /// # Errors
    /// There is no such program.
    pub fn of_script(
        path: &Path,
        files: Arc<Copied>,
        manifest: &Manifest,
        redactor: Arc<Redactor>,
    ) -> Result<Self, LoadError> {
        let program = program::find(&files).map_err(|message| LoadError::InWorker {
            message: format!("{}: {message}", path.display()),
        })?;
        Ok(Self {
            name: name(manifest),
            code: Code::Script { _files: files },
            load: Load { script: Some(Box::new(program)), ..load(path, manifest) },
            manifest: Arc::default(),
            computes: manifest.plugin.limits.blocking,
            redactor,
            written: output::to_log(&name(manifest)),
        })
    }

    /// Lets it read these files.
    #[must_use]
    pub fn reading(mut self, assets: Vec<String>) -> Self {
        self.load.assets = assets;
        self
    }

    /// Lets every step's CPU time be told, and the threads that are left, and hands this what the plugin writes, line by
    /// line, and none at the end of what one worker writes.
    #[must_use]
    pub fn watched(mut self, written: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        self.load.measure = true;
        self.written = Arc::new(written);
        self
    }
}

fn name(manifest: &Manifest) -> String {
    format!("plugin `{}` {}", manifest.plugin.id, manifest.version)
}

fn load(path: &Path, manifest: &Manifest) -> Load {
    let limits: Limits = manifest.plugin.limits;
    Load {
        path: path.display().to_string(),
        abi: manifest.abi.into(),
        allow_unchecked_layout: false,
        threads: limits.blocking.then(|| threads(limits)),
        assets: Vec::new(),
        measure: false,
        script: None,
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
    /// How earlier ones died, if nobody was told of it, or is yet to be: nothing may have been asked of them then.
    untold: Mutex<Vec<Death>>,
    deaths: Arc<Deaths>,
    confined: Vec<String>,
}

#[derive(Default)]
struct Deaths {
    circuit: Mutex<Circuit>,
    /// Why no other worker is started.
    broken: OnceLock<String>,
    /// Set when the backend is closed: a death is its doing then, and no other worker is wanted.
    is_closing: AtomicBool,
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
        Ok(Self { program, open, link, untold: Mutex::default(), deaths, confined })
    }

    /// Begins a session, in another worker if the last one has died.
    ///
    /// # Errors
    /// No other one can be started.
    pub async fn begin(&self, token: u64) -> Result<Session, Error> {
        let mut link = self.link.lock().await;
        if let Some(death) = link.inner().death().cloned() {
            if let Some(broken) = self.deaths.broken.get() {
                death.tell();
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
            let mut untold = lock(&self.untold);
            untold.push(death);
            untold.retain(|death| !death.is_told());
            *link = Arc::new(fresh);
        }
        Ok(Session::new(Arc::clone(&link), token, self.program.computes))
    }

    /// Whether a step of the session of this token still goes on after its end.
    pub async fn goes_on(&self, token: u64) -> bool {
        self.link.lock().await.inner().goes_on(token)
    }

    /// Closes the backend, and gives the number of threads that it leaves behind, if the program is watched.
    ///
    /// # Errors
    /// The worker died of it, or does not answer.
    pub async fn close(&self) -> Result<usize, Error> {
        let link = self.link.lock().await;
        self.deaths.is_closing.store(true, Ordering::Release);
        self.closed(link.inner().ask(CLOSE, b""), CLOSE_LIMIT).await
    }

    /// The same at the end of a run, where a script need not answer: it may just end, since nothing more comes. A worker
    /// that is dead, or has yet to come to the end of a step, is left alone.
    ///
    /// # Errors
    /// As for [`Self::close`]; or a worker has died before, and nobody was told of it.
    pub async fn finish(&self) -> Result<(), Error> {
        let link = self.link.lock().await;
        let inner = link.inner();
        let untold = {
            let earlier = lock(&self.untold);
            let mut deaths = earlier.iter().chain(inner.death());
            deaths.find(|death| !death.is_told()).map_or(Ok(()), |death| Err(death.tell()))
        };
        if inner.death().is_some() || inner.is_busy() {
            return untold;
        }
        self.deaths.is_closing.store(true, Ordering::Release);
        let limit = if self.program.computes { CLOSE_LIMIT } else { FINISH_LIMIT };
        let closed = match self.program.code {
            Code::Library(_) => self.closed(inner.ask(CLOSE, b""), limit).await,
            Code::Script { .. } => self.closed(inner.ask_last(CLOSE), limit).await,
        };
        closed.and(untold)
    }

    async fn closed(
        &self,
        said: impl Future<Output = Said>,
        limit: Duration,
    ) -> Result<usize, Error> {
        let name = &self.program.name;
        match timeout(limit, said).await {
            Ok(Ok(State::Closed(threads))) => Ok(threads),
            Ok(Ok(State::Ended)) => Ok(0),
            Ok(Ok(State::Loaded(_) | State::Opened)) => {
                let breach = "its worker does not say that it closed its backend";
                Err(protocol(format!("{name}: {breach}")))
            }
            Ok(Err(Failure::Died(error))) => Err(error),
            Ok(Err(Failure::Said { message, .. })) => Err(protocol(format!("{name}: {message}"))),
            Err(_) => {
                let limit = humantime::format_duration(limit);
                Err(protocol(format!("{name}: its backend is not closed within {limit}")))
            }
        }
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
    let Program { name, code, load, manifest, computes, redactor, written } = program;
    let library = match code {
        Code::Library(library) => Some(library),
        Code::Script { .. } => None,
    };
    let in_worker = |message: String| LoadError::InWorker { message };
    let not_started = |error: std::io::Error| {
        StartError::Load(in_worker(format!("its worker cannot be started: {error}")))
    };
    let started = process::start(name, library, redactor, written).await.map_err(not_started)?;
    let counted = (name.clone(), Arc::clone(deaths));
    let on_death = move |how: String| counted.1.add(&counted.0, &how);
    let link = Link::new(name, started, Box::new(on_death)).map_err(not_started)?;
    // What would fail alike for every sample is not tried for each.
    let refused = || drop(deaths.add(name, "does not open its backend"));
    let head = serde_json::json!({ "load": load }).to_string();
    let confined = match timeout(LOAD_LIMIT, link.inner().ask(head.as_bytes(), manifest)).await {
        Ok(Ok(State::Loaded(confined))) => confined,
        Ok(Ok(_)) => Vec::new(),
        Ok(Err(Failure::Said { message, .. })) => {
            refused();
            return Err(StartError::Load(in_worker(message)));
        }
        Ok(Err(Failure::Died(error))) => {
            return Err(StartError::Load(in_worker(unnamed(name, error.message))));
        }
        Err(_) => {
            refused();
            let limit = humantime::format_duration(LOAD_LIMIT);
            return Err(StartError::Load(in_worker(format!("it is not loaded within {limit}"))));
        }
    };
    let head = format!(r#"{{"open":{{"protocol":{PROTOCOL}}}}}"#);
    let opening = link.inner().ask(head.as_bytes(), open);
    // One that computes may have a model to load.
    let opened = if *computes { Ok(opening.await) } else { timeout(LOAD_LIMIT, opening).await };
    let error = match opened {
        Ok(Ok(_)) => return Ok((link, confined)),
        Ok(Err(Failure::Said { message, panicked })) => {
            refused();
            if panicked { OpenError::Panicked(message) } else { OpenError::Failed(message) }
        }
        Ok(Err(Failure::Died(error))) => OpenError::Died(unnamed(name, error.message)),
        Err(_) => {
            refused();
            let limit = humantime::format_duration(LOAD_LIMIT);
            OpenError::Failed(format!("it is not open within {limit}"))
        }
    };
    Err(StartError::Open(error))
}

/// A death in words for those who name the plugin themselves, as all do who tell why it does not load or open.
fn unnamed(name: &str, death: String) -> String {
    let rest = death.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
    rest.map(str::to_owned).unwrap_or(death)
}

impl Deaths {
    /// Counts a death, and gives what its sessions are told.
    fn add(&self, name: &str, how: &str) -> Error {
        let mut message = format!("{name}: its worker {how}");
        if self.is_closing.load(Ordering::Acquire) {
            message.push_str(" while its backend was closed");
        } else if lock(&self.circuit).died(Instant::now()) {
            message =
                format!("{message}; it died {MOST} times within a minute and is not started again");
            let _ = self.broken.set(message.clone());
        }
        Error::new(ErrorKind::Crashed, message)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
