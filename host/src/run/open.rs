//! From a run file's backends to open ones: plugins loaded, configurations checked, secrets looked up, assets
//! fetched, servers asked who they are. Everything that can fail before the first sample fails here.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    backend::OpenBackend,
    backend_error::BackendError,
    bring::{Bringing, tell},
    cached,
    error::RunError,
    found::{Found, find_one, redactor},
    launch::Servers,
    libraries::Libraries,
    release::{Releasable, release},
    surroundings::Surroundings,
};
use crate::{
    config::{RunConfig, RunFile},
    plugin::{conformance::Subject, discover::Discovery, instance::Instance},
    secret::Redactor,
    store::{
        cache::ResponseCache,
        ledger::Ledger,
        manifest::{LockIdentity, PluginIdentity, RecordingIdentity},
    },
};

/// Backends that are open, and what hides their secrets.
#[derive(Debug)]
pub struct Opened {
    /// In the order of the run file.
    pub backends: Vec<Arc<OpenBackend>>,
    /// The plugins used, each once.
    pub plugins: Vec<PluginIdentity>,
    /// The lock file that was looked into, if there is one.
    pub lock: Option<LockIdentity>,
    /// All that are open, by id, to be released at the end.
    pub instances: Vec<Releasable>,
    /// Why further backends are not open: the fault of their plugin or server, which is not the others'.
    pub unopened: Vec<BackendError>,
    /// Hides every secret of every backend.
    pub redactor: Arc<Redactor>,
    /// The response cache, if the run uses it.
    pub cache: Option<Arc<ResponseCache>>,
    /// The recording that answers in the servers' place, if one does.
    pub recording: Option<RecordingIdentity>,
}

/// Opens backends: one after the other, but all are waited for and introduced at once. Whatever the way out, a
/// backend that is not part of the result holds nothing any more that could be freed. Servers that were started are
/// the caller's to end, also after an error.
///
/// # Errors
/// What is wrong in the run file. If none opens, why the first one does not. [`RunError::Stopped`] once `stop`
/// turns true.
pub async fn open(
    run: &RunConfig,
    found: Vec<Found<'_>>,
    ledger: &Arc<Ledger>,
    servers: &Servers,
    redactor: Arc<Redactor>,
    around: &Surroundings<'_>,
    stop: &watch::Sender<bool>,
) -> Result<Opened, RunError> {
    let mut bringing = Bringing::new(run, ledger, &redactor, around);
    bringing.cache = cached::open(run, around, &redactor);
    let brought = tokio::select! {
        // After a stop nothing more is begun.
        biased;
        () = stopped(stop) => Err(RunError::Stopped),
        brought = bringing.all(found, servers) => brought.map_err(RunError::from),
    };
    let brought = match brought {
        Ok(brought) => brought,
        Err(error) => {
            tell(&release(&bringing.instances, ledger).await, around.printer);
            return Err(error);
        }
    };
    let mut backends = Vec::new();
    let mut unopened = Vec::new();
    for backend in brought {
        match backend {
            Ok(backend) => backends.push(Arc::new(backend)),
            Err(error) => unopened.push(error),
        }
    }
    let Bringing { libraries, instances, cache, .. } = bringing;
    if backends.is_empty() && !unopened.is_empty() {
        return Err(unopened.swap_remove(0).into());
    }
    for error in &unopened {
        around.printer.warn(&format!("{error}; the others go on without it"));
    }
    let Libraries { plugins, lock, .. } = libraries;
    let recording = around.recording();
    Ok(Opened { backends, plugins, lock, instances, unopened, redactor, cache, recording })
}

/// Waits for the stop.
async fn stopped(stop: &watch::Sender<bool>) {
    // The sender lives as long as this, so the wait cannot fail.
    let _ = stop.subscribe().wait_for(|stop| *stop).await;
}

/// Opens the one backend of a run file without asking its server anything: what remains to be done is to release
/// it.
///
/// # Errors
/// As for [`open`].
pub async fn alone(
    file: &RunFile,
    ledger: &Arc<Ledger>,
    discovery: &Discovery,
    around: &Surroundings<'_>,
) -> Result<Arc<Instance>, RunError> {
    let trust = around.trust(file).map_err(BackendError::Lock)?;
    let found = file
        .config
        .backends
        .iter()
        .enumerate()
        .map(|(index, config)| find_one(file, index, config, discovery, &trust, around))
        .collect::<Result<Vec<_>, _>>()?;
    for server in found.iter().flat_map(|backend| &backend.servers) {
        around.printer.hide(server.secrets.iter());
    }
    let redactor = redactor(&found);
    let opened = unasked(&file.config, found, ledger, &redactor, around).await?;
    let replica = opened.into_iter().flat_map(|backend| backend.replicas).last();
    let instance = replica.map(|replica| replica.instance);
    instance.ok_or_else(|| RunError::Internal("no backend to release".to_owned()))
}

/// Opens backends, and asks their servers nothing: they are neither waited for nor introduced, and hold nothing.
///
/// # Errors
/// As for [`open`].
pub async fn unasked(
    run: &RunConfig,
    found: Vec<Found<'_>>,
    ledger: &Arc<Ledger>,
    redactor: &Arc<Redactor>,
    around: &Surroundings<'_>,
) -> Result<Vec<OpenBackend>, BackendError> {
    let mut bringing = Bringing::new(run, ledger, redactor, around);
    let mut opened = Vec::with_capacity(found.len());
    for backend in found {
        opened.push(bringing.open(backend).await?);
    }
    Ok(opened)
}

/// A backend's plugin, to be looked at. Nothing of it has run, and nobody is asked anything.
///
/// # Errors
/// As for [`open`].
pub async fn subject(
    run: &RunConfig,
    found: Found<'_>,
    ledger: &Arc<Ledger>,
    redactor: &Arc<Redactor>,
    around: &Surroundings<'_>,
) -> Result<Subject, BackendError> {
    Bringing::new(run, ledger, redactor, around).subject(found).await
}
