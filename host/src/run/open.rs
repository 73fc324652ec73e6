//! From a run file's backends to open ones: plugins loaded, configurations checked, secrets looked up, assets
//! fetched, servers asked who they are. Everything that can fail before the first sample fails here.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use plugin_api::{
    capability::Capability,
    manifest::{Declared, Manifest},
    message::{Description, OpenHead},
};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    backend::{OpenBackend, Replica, concurrency},
    backend_error::BackendError,
    cached::{self, Told},
    error::RunError,
    found::{Found, FoundServer, find_one, redactor},
    introduce::introduce,
    launch::Servers,
    libraries::Libraries,
    mock::Mock,
    release::{self, BackendNotes, Releasable, release},
    retry::RetryPolicy,
};
use crate::{
    asset::{self, Progress},
    config::{BackendConfig, Concurrency, Route, RunConfig, RunFile},
    plugin::{
        conformance::{Server, Subject},
        discover::{Discovery, Provenance},
        instance::{Home, Instance, Setup},
        lock::{
            open::{self as lock, LockError, Trust},
            verdict::Verdict,
        },
        worker::client::StartError,
    },
    printer::Printer,
    route::router::{ReplicaSettings, Router, RouterSettings},
    secret::Redactor,
    store::{
        cache::ResponseCache,
        ledger::{Holder, Ledger},
        manifest::{LockIdentity, PluginIdentity, RecordingIdentity},
    },
    transport::{Access, Cassette, Settings, Strays, Targets, Transport},
};

/// What the outside gives to opening.
pub struct Surroundings<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What `~` stands for in token files.
    pub home: Option<PathBuf>,
    /// Where fetched assets are kept.
    pub cache: Option<PathBuf>,
    /// Told while assets are fetched.
    pub progress: Arc<dyn Fn(Progress<'_>) + Send + Sync>,
    /// Stands for the servers of backends whose `base_url` names it.
    pub mock: &'a dyn Mock,
    /// Which lock file says what plugins are trusted, unless it is the nearest.
    pub lock: lock::Choice,
    /// Records what is asked and answered, or answers.
    pub cassette: Option<Cassette>,
    /// Is told the secrets, so that it never prints one.
    pub printer: &'a Printer,
}

impl Surroundings<'_> {
    /// What is trusted in the runs of a run file.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub(super) fn trust(&self, file: &RunFile) -> Result<Trust, Arc<LockError>> {
        self.lock.open(&file.folder).map_err(Arc::new)
    }

    /// The recording that answers in the servers' place, if one does.
    pub fn recording(&self) -> Option<RecordingIdentity> {
        let player = self.cassette.as_ref().and_then(Cassette::replay)?;
        let (path, blake3) = (player.path().display().to_string(), player.blake3().to_owned());
        Some(RecordingIdentity { path, blake3 })
    }
}

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
    let mut bringing = bringing(run, ledger, &redactor, around);
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

fn tell(outcome: &release::Outcome, printer: &Printer) {
    outcome.unfreed.iter().for_each(|message| printer.error(message));
    outcome.died.iter().for_each(|remark| printer.warn(&remark.to_string()));
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
    let mut bringing = bringing(run, ledger, redactor, around);
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
    bringing(run, ledger, redactor, around).subject(found).await
}

fn bringing<'a>(
    run: &'a RunConfig,
    ledger: &'a Arc<Ledger>,
    redactor: &'a Arc<Redactor>,
    around: &'a Surroundings<'a>,
) -> Bringing<'a> {
    Bringing {
        run,
        transport: transport(run),
        redactor,
        ledger,
        around,
        libraries: Libraries::default(),
        instances: Vec::new(),
        cache: None,
    }
}

fn transport(run: &RunConfig) -> Transport {
    Transport::new(Settings {
        connect_timeout: run.run.connect_timeout,
        attempt_timeout: run.run.attempt_timeout,
        idle_timeout: run.run.idle_timeout,
        ..Settings::default()
    })
}

/// What it takes to bring backends up, and those that are open so far.
struct Bringing<'a> {
    run: &'a RunConfig,
    transport: Transport,
    redactor: &'a Arc<Redactor>,
    ledger: &'a Arc<Ledger>,
    around: &'a Surroundings<'a>,
    libraries: Libraries,
    /// Open, though not all of them ready.
    instances: Vec<Releasable>,
    cache: Option<Arc<ResponseCache>>,
}

/// What opening a backend takes that is the same at each of its servers.
struct Opening<'a> {
    config: &'a BackendConfig,
    declared: &'a Declared,
    home: Home,
    /// Paths by name.
    assets: BTreeMap<String, String>,
    /// Calls in flight.
    calls: usize,
    strays: Arc<Strays>,
}

impl Bringing<'_> {
    /// Brings backends up. One whose plugin or server fails does not keep the others.
    ///
    /// # Errors
    /// What is wrong in the run file.
    async fn all(
        &mut self,
        found: Vec<Found<'_>>,
        servers: &Servers,
    ) -> Result<Vec<Result<OpenBackend, BackendError>>, BackendError> {
        let mut opened = Vec::new();
        for backend in found {
            let before = self.instances.len();
            let backend = self.up(backend, servers).await;
            match backend {
                Err(error) if error.is_configuration() => return Err(error),
                backend => opened.push((before..self.instances.len(), backend)),
            }
        }
        let (ledger, printer, instances) = (self.ledger, self.around.printer, &self.instances);
        let (cache, plugins) = (self.cache.as_ref(), &self.libraries.plugins);
        let introduced = opened.into_iter().map(|(own, backend)| async move {
            let introduced = match backend {
                Ok(backend) => introduce(backend, ledger, printer).await,
                Err(error) => Err(error),
            };
            if introduced.is_err() {
                let own = instances.get(own).unwrap_or_default();
                tell(&release(own, ledger).await, printer);
            }
            introduced.map(|mut backend| {
                backend.cache = cache.and_then(|cache| cached::of(cache, &backend, plugins));
                backend
            })
        });
        Ok(join_all(introduced).await)
    }

    /// Loads and opens a backend, and starts its servers. A recording stands for them, as a mock does.
    async fn up(
        &mut self,
        backend: Found<'_>,
        servers: &Servers,
    ) -> Result<OpenBackend, BackendError> {
        let config = backend.config;
        let is_known = self.libraries.plugins.iter().any(|one| one.id == config.plugin);
        if let Some(warning) = backend.compiler_warning().filter(|_| !is_known) {
            self.around.printer.warn(&warning);
        }
        let mut opened = self.open(backend).await?;
        if self.around.cassette.as_ref().and_then(Cassette::replay).is_some() {
            // Nobody would ask them.
            opened.wait_ready = Duration::ZERO;
            return Ok(opened);
        }
        for (index, replica) in opened.replicas.iter_mut().enumerate() {
            let command = config.replicas.get(index).map_or(&config.launch, |own| &own.launch);
            let base_url = replica.base_url.as_ref();
            replica.launched = servers.start(&replica.holder, command, base_url).await?;
        }
        Ok(opened)
    }

    /// Loads a backend's plugin and opens it, once for each of its servers.
    async fn open(&mut self, backend: Found<'_>) -> Result<OpenBackend, BackendError> {
        let (home, first) = self.libraries.get(&backend, self.redactor)?;
        if first && backend.candidate.provenance == Provenance::Directory {
            self.around.printer.warn(&format!(
                "plugin `{}` ({}) did not come with this host and runs in-process, with the host's own rights",
                backend.candidate.id(),
                backend.candidate.path.display()
            ));
        }
        let Found { config, candidate, verdict, servers, .. } = backend;
        let manifest = candidate.inspection.manifest.clone();
        let [assets, digests] = self.assets(config).await?;
        let concurrency = concurrency(config.concurrency, &manifest);
        let mut replicas = Vec::with_capacity(servers.len());
        let mut told = None;
        let calls = concurrency.ceiling as usize;
        let strays = Arc::default();
        let opening = Opening { config, declared: &manifest.plugin, home, assets, calls, strays };
        for server in servers {
            let (base_url, holder) = (server.base_url.clone(), server.holder.id.clone());
            let own = self.told(&manifest, &verdict, &server);
            told.get_or_insert_with(|| own.clone());
            let instance = self.open_one(&opening, server, own).await?;
            self.libraries.confined(candidate.id(), instance.confined());
            self.instances.push((holder.clone(), Arc::clone(&instance)));
            replicas.push(Replica { holder, base_url, instance, launched: None });
        }
        let engine = &self.run.run;
        Ok(OpenBackend {
            id: config.id.clone(),
            stream: config.stream && manifest.plugin.capabilities.contains(&Capability::Stream),
            router: Router::new(router_settings(config, &replicas, concurrency)),
            replicas,
            wait_ready: config.wait_ready,
            retry: RetryPolicy {
                max_retries: engine.max_retries,
                attempt_timeout: engine.attempt_timeout,
                sample_timeout: engine.sample_timeout,
                loading_timeout: engine.loading_timeout,
            },
            hedge: engine.hedge.then(Mutex::default),
            by_prefix: config.route == Route::Prefix && config.replicas.len() > 1,
            counts_tokens: config.tpm.is_some(),
            model: config.model.clone(),
            fallback: config.fallback.clone(),
            assets: digests,
            told: told.unwrap_or_default(),
            description: Description::default(),
            cache: None,
            manifest,
        })
    }

    /// What a plugin is told when it is opened for this server.
    fn told(&self, manifest: &Manifest, verdict: &Verdict, server: &FoundServer) -> Told {
        let variable = self.around.variable;
        let names = manifest.plugin.env.iter().filter(|name| verdict.allows_variable(name));
        let env = names.filter_map(|name| Some((name.clone(), variable(name)?))).collect();
        Told { config: Value::Object(server.checked.config.clone()), env }
    }

    /// The paths of a backend's assets and their SHA-256, by name.
    async fn assets(
        &self,
        config: &BackendConfig,
    ) -> Result<[BTreeMap<String, String>; 2], BackendError> {
        let around = self.around;
        let (mut paths, mut digests) = (BTreeMap::new(), BTreeMap::new());
        for (name, wanted) in &config.assets {
            let (asset, cache, progress) =
                (wanted.clone(), around.cache.clone(), Arc::clone(&around.progress));
            let fetch = move || asset::fetch(&asset, cache.as_deref(), &mut |now| progress(now));
            let fetched = elsewhere(fetch)
                .await?
                .map_err(|source| BackendError::Asset { backend: config.id.clone(), source })?;
            paths.insert(name.clone(), absolute(&fetched.path).display().to_string());
            digests.insert(name.clone(), fetched.sha256.to_string());
        }
        Ok([paths, digests])
    }

    /// What a backend may reach at a server, and how it is found again.
    fn access(
        &self,
        config: &BackendConfig,
        declared: &Declared,
        server: FoundServer,
        told: &Told,
        strays: &Arc<Strays>,
    ) -> Result<(Access, Holder), BackendError> {
        let FoundServer { base_url, checked, secrets, holder } = server;
        let base_url = base_url.map(|url| url.to_string());
        let told_url = told.config.get("base_url").and_then(Value::as_str);
        let cassette = self.around.cassette.as_ref();
        if cassette.is_none_or(|cassette| cassette.replay().is_none()) {
            self.transport.prepare(told_url)?;
        }
        let tape = cassette.map(|cassette| cassette.of(&config.id, &secrets, base_url, told_url));
        let access = Access {
            tape,
            grants: checked.grants,
            secrets,
            redactor: Arc::clone(self.redactor),
            // What is no name of a header comes in no reply.
            reply_headers: declared
                .reply_headers
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            targets: Targets::default(),
            strays: Arc::clone(strays),
        };
        Ok((access, holder))
    }

    /// A backend's plugin, to be looked at: its code in a worker to come, what it is opened with, and its server.
    async fn subject(&mut self, backend: Found<'_>) -> Result<Subject, BackendError> {
        let program = self.libraries.program(&backend, self.redactor)?;
        let Found { config, candidate, verdict, mut servers, .. } = backend;
        let manifest = candidate.inspection.manifest.clone();
        let [assets, _] = self.assets(config).await?;
        let missing = || BackendError::Broken("a backend without a server".to_owned());
        let server = servers.pop().ok_or_else(missing)?;
        let told = self.told(&manifest, &verdict, &server);
        let (grants, has_server) = (server.checked.grants.clone(), server.base_url.is_some());
        let (access, _) = self.access(config, &manifest.plugin, server, &told, &Arc::default())?;
        let secrets = access.secrets.present().map(str::to_owned).collect();
        let transport = self.transport.clone();
        Ok(Subject {
            program: program.reading(assets.values().cloned().collect()),
            head: OpenHead { config: told.config, secrets, env: told.env, assets },
            server: has_server.then(|| Server::new(transport, access)),
            manifest,
            grants,
        })
    }

    async fn open_one(
        &self,
        opening: &Opening<'_>,
        server: FoundServer,
        told: Told,
    ) -> Result<Arc<Instance>, BackendError> {
        let &Opening { config, declared, ref home, ref assets, calls, ref strays } = opening;
        let (access, holder) = self.access(config, declared, server, &told, strays)?;
        let (name, limits, transport) =
            (holder.id.clone(), declared.limits, self.transport.clone());
        let notes = Arc::new(BackendNotes { ledger: Arc::clone(self.ledger), holder });
        let Told { config: own_config, env } = told;
        let setup = Setup { config: own_config, env, assets: assets.clone(), notes };
        let home = home.clone();
        let opened = Instance::open(home, &name, setup, limits, transport, access, calls).await;
        opened.map_err(|error| match error {
            StartError::Load(source) => {
                BackendError::Load { plugin: config.plugin.clone(), source }
            }
            StartError::Open(source) => BackendError::Open {
                backend: config.id.clone(),
                plugin: config.plugin.clone(),
                source,
            },
        })
    }
}

fn router_settings(
    config: &BackendConfig,
    replicas: &[Replica],
    concurrency: Concurrency,
) -> RouterSettings {
    let weight = |index: usize| config.replicas.get(index).map_or(1, |replica| replica.weight);
    let replica = |(index, replica): (usize, &Replica)| ReplicaSettings {
        name: replica.name().unwrap_or_else(|| config.id.clone()),
        weight: weight(index),
    };
    RouterSettings {
        replicas: replicas.iter().enumerate().map(replica).collect(),
        concurrency,
        route: config.route,
        eject_after: config.eject_after,
        rpm: config.rpm,
        tpm: config.tpm,
    }
}

/// Runs what blocks (a download, a plugin that loads a model) on a thread of its own, so that an interrupt
/// is heard meanwhile.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BackendError::Broken(error.to_string()))
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
