//! One configured backend, ready for sessions: the plugin's side, its threads, and what it may reach.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use plugin_api::{Error, manifest::Limits, message::OpenHead};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{
    action::HttpCall,
    load::{self, Backend, Loaded, OpenError},
    pool::Pool,
    worker::{
        client::{Program, StartError, Worker},
        session,
    },
};
use crate::transport::{Access, Response, Transport, TransportError};

static LAST_INSTANCE: AtomicU64 = AtomicU64::new(0);

/// A configured backend.
pub struct Instance {
    side: Side,
    transport: Transport,
    access: Access,
    /// Calls in flight, however many a session makes at once.
    places: Arc<Semaphore>,
    /// How many those are, taken ones included.
    allowed: AtomicUsize,
    notes: Arc<dyn Notes>,
}

/// Where a plugin's code is to run.
#[derive(Clone)]
pub enum Home {
    /// In this process.
    Here(Loaded),
    /// In a worker for each backend.
    Worker(Program),
}

/// Where it runs.
enum Side {
    Here { backend: Arc<Backend>, pool: Option<Pool> },
    Worker(Box<Worker>),
}

/// A session, wherever it runs.
pub(super) enum Session {
    /// In this process.
    Here(load::Session),
    /// In a worker.
    Worker(session::Session),
}

/// Where a backend's outside resources are written down. Both block until the disk has it.
pub trait Notes: std::fmt::Debug + Send + Sync {
    /// A resource is about to be made.
    ///
    /// # Errors
    /// It cannot be written down.
    fn hold(&self, name: &str, note: Value) -> Result<(), String>;

    /// A resource is freed.
    ///
    /// # Errors
    /// It cannot be written down.
    fn free(&self, name: &str) -> Result<(), String>;
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("pool", &self.pool()).finish_non_exhaustive()
    }
}

/// What `open` passes to the plugin.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The backend's configuration.
    pub config: Value,
    /// Values of the environment variables that the manifest names.
    pub env: BTreeMap<String, String>,
    /// Paths of the assets.
    pub assets: BTreeMap<String, String>,
    /// Where its outside resources are written down.
    pub notes: Arc<dyn Notes>,
}

impl Instance {
    /// Opens a backend of a plugin.
    ///
    /// # Errors
    /// The plugin's own words, or that it panicked; that the system gives no threads for one that computes; that its
    /// library does not load in a worker.
    pub async fn open(
        home: Home,
        name: &str,
        setup: Setup,
        limits: Limits,
        transport: Transport,
        access: Access,
        concurrency: usize,
    ) -> Result<Arc<Self>, StartError> {
        let assets: Vec<String> = setup.assets.values().cloned().collect();
        let head = OpenHead {
            config: setup.config,
            secrets: access.secrets.present().map(str::to_owned).collect(),
            env: setup.env,
            assets: setup.assets,
        };
        let failed = |message: String| StartError::Open(OpenError::Failed(message));
        let head = serde_json::to_vec(&head).map_err(|error| failed(error.to_string()))?;
        let side = match home {
            Home::Worker(program) => {
                let program = program.reading(assets);
                Side::Worker(Box::new(Worker::start(program, head).await?))
            }
            Home::Here(loaded) => {
                let pool = limits.blocking.then(|| Pool::new(name, threads(limits))).transpose();
                let pool = pool.map_err(|error| failed(format!("no threads for it: {error}")))?;
                let number = LAST_INSTANCE.fetch_add(1, Ordering::Relaxed) + 1;
                // On a thread of its own, so that an interrupt is heard while a plugin loads a model.
                let open = move || loaded.open_backend(&head, number);
                let opened = tokio::task::spawn_blocking(open).await;
                let opened = opened.map_err(|error| failed(error.to_string()))?;
                Side::Here { backend: Arc::new(opened.map_err(StartError::Open)?), pool }
            }
        };
        Ok(Arc::new(Self {
            side,
            transport,
            access,
            places: Arc::new(Semaphore::new(concurrency)),
            allowed: AtomicUsize::new(concurrency),
            notes: setup.notes,
        }))
    }

    /// From now on at least so many calls may be in flight.
    pub fn allow(&self, calls: usize) {
        let before = self.allowed.fetch_max(calls, Ordering::Relaxed);
        self.places.add_permits(calls.saturating_sub(before));
    }

    /// Begins a session.
    ///
    /// # Errors
    /// The plugin's own words, or that its worker is gone for good.
    pub(super) async fn begin(&self, token: u64) -> Result<Session, Error> {
        match &self.side {
            Side::Here { backend, .. } => backend.begin(token).map(Session::Here),
            Side::Worker(worker) => worker.begin(token).await.map(Session::Worker),
        }
    }

    /// What keeps its plugin from doing more than it needs, by name; nothing in this process.
    pub fn confined(&self) -> &[String] {
        match &self.side {
            Side::Here { .. } => &[],
            Side::Worker(worker) => worker.confined(),
        }
    }

    /// Why nothing can be asked of it any more, if that is so.
    pub fn broken(&self) -> Option<&str> {
        match &self.side {
            Side::Here { .. } => None,
            Side::Worker(worker) => worker.broken(),
        }
    }

    /// Closes the backend at the end of a run, if that can go wrong without taking this process along. One in this
    /// process is closed when it is dropped.
    ///
    /// # Errors
    /// Its worker died of it, or is not done in time.
    pub async fn close(&self) -> Result<(), Error> {
        match &self.side {
            Side::Here { .. } => Ok(()),
            Side::Worker(worker) => worker.finish().await,
        }
    }

    /// Where its requests were to go that must not, of all instances of its backend; each origin once.
    pub fn strays(&self) -> Vec<String> {
        self.access.strays.take()
    }

    pub(super) fn notes(&self) -> &Arc<dyn Notes> {
        &self.notes
    }

    pub(super) fn pool(&self) -> Option<&Pool> {
        match &self.side {
            Side::Here { pool, .. } => pool.as_ref(),
            Side::Worker(_) => None,
        }
    }

    /// Sends a call once there is a place for it; the place is held until the reply is read.
    ///
    /// # Errors
    /// See [`Transport::send`].
    pub(super) async fn send(&self, call: HttpCall) -> Result<Response, TransportError> {
        // The semaphore is never closed, so a place always comes.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let mut response = match &self.access.tape {
            None => self.transport.send(call, &self.access).await?,
            // Boxed: it would make the future of every request as large.
            Some(tape) => Box::pin(tape.send(&self.transport, call, &self.access)).await?,
        };
        response.body.hold(place);
        Ok(response)
    }
}

/// Threads of a plugin that computes: what it asks for, else one a core.
pub fn threads(limits: Limits) -> usize {
    match limits.max_concurrency {
        0 => thread::available_parallelism().map_or(1, usize::from),
        bound => bound as usize,
    }
}

/// Why a backend did not open, also where its plugin does not say.
pub(crate) fn reason(error: &OpenError) -> String {
    let words = error.to_string();
    if words.trim().is_empty() { "it gives no reason".to_owned() } else { words }
}
