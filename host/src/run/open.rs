//! From a run file's backends to open ones: plugins loaded, configurations checked, secrets looked up, assets
//! fetched, servers asked who they are. Everything that can fail before the first sample fails here.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use plugin_api::{capability::Capability, message::Description};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    backend::{OpenBackend, concurrency},
    backend_error::BackendError,
    error::RunError,
    introduce::introduce,
    mock::{self, Mock},
    plan::Offer,
    release::{BackendNotes, Releasable, release},
    retry::RetryPolicy,
};
use crate::{
    asset::{self, Progress},
    config::{BackendConfig, CheckedBackend, RunConfig, RunFile, nearest},
    plugin::{
        discover::{Candidate, Discovery, Provenance},
        instance::{Instance, Setup},
        load::Loaded,
    },
    printer::Printer,
    secret::{Lookup, Redactor, Secrets},
    store::{
        ledger::{Holder, Ledger},
        manifest::PluginIdentity,
    },
    transport::{Access, Settings, Targets, Transport},
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
    /// Is told the secrets, so that it never prints one.
    pub printer: &'a Printer,
}

/// Backends that are open, and what hides their secrets.
#[derive(Debug)]
pub struct Opened {
    /// In the order of the run file.
    pub backends: Vec<Arc<OpenBackend>>,
    /// The plugins used, each once.
    pub plugins: Vec<PluginIdentity>,
    /// All that are open, by id, to be released at the end.
    pub instances: Vec<Releasable>,
    /// Why further backends are not open: the fault of their plugin or server, which is not the others'.
    pub unopened: Vec<BackendError>,
    /// Hides every secret of every backend.
    pub redactor: Arc<Redactor>,
}

/// A backend on its way: its plugin is known, nothing of it has run.
pub struct Found<'a> {
    config: &'a BackendConfig,
    candidate: &'a Candidate,
    checked: CheckedBackend,
    secrets: Secrets,
    /// How the backend is found again in another process.
    holder: Holder,
}

impl Found<'_> {
    /// What the backend can be asked for.
    pub fn offer(&self) -> Offer<'_> {
        Offer {
            id: &self.config.id,
            declared: &self.candidate.inspection.manifest.plugin,
            lacks: &[],
        }
    }
}

/// Finds the plugins of the backends that tasks use, and checks what the run file says against their
/// manifests. No code of a plugin runs.
///
/// # Errors
/// What is wrong in the run file, or a secret that is missing.
pub fn find<'a>(
    file: &'a RunFile,
    discovery: &'a Discovery,
    around: &Surroundings<'_>,
) -> Result<Vec<Found<'a>>, BackendError> {
    let run = &file.config;
    let used =
        |config: &BackendConfig| run.tasks.iter().any(|task| task.backends.contains(&config.id));
    let backends = run.backends.iter().enumerate().filter(|(_, config)| used(config));
    let found = backends
        .map(|(index, config)| find_one(file, index, config, discovery, around))
        .collect::<Result<Vec<_>, _>>()?;
    for backend in &found {
        around.printer.hide(backend.secrets.iter());
    }
    Ok(found)
}

/// What hides the secrets of these backends.
pub fn redactor(found: &[Found<'_>]) -> Arc<Redactor> {
    Arc::new(Redactor::new(found.iter().flat_map(|backend| backend.secrets.iter())))
}

/// Opens backends. Whatever the way out, a backend that is not part of the result holds nothing any more that
/// could be freed.
///
/// # Errors
/// What is wrong in the run file. If none opens, why the first one does not. [`RunError::Stopped`] once `stop`
/// turns true.
pub async fn open(
    run: &RunConfig,
    found: Vec<Found<'_>>,
    ledger: &Arc<Ledger>,
    redactor: Arc<Redactor>,
    around: &Surroundings<'_>,
    stop: &watch::Sender<bool>,
) -> Result<Opened, RunError> {
    let mut bringing = Bringing {
        run,
        transport: transport(run)?,
        redactor: &redactor,
        ledger,
        around,
        libraries: Libraries::default(),
        instances: Vec::new(),
    };
    let mut backends = Vec::new();
    let mut unopened = Vec::new();
    for backend in found {
        let before = bringing.instances.len();
        let brought = tokio::select! {
            // After a stop nothing more is begun.
            biased;
            () = stopped(stop) => Err(RunError::Stopped),
            brought = bringing.up(backend) => brought.map_err(RunError::from),
        };
        match brought {
            Ok(backend) => backends.push(Arc::new(backend)),
            Err(RunError::Backend(error)) if !error.is_configuration() => {
                tell(release(&bringing.instances[before..], ledger).await, around.printer);
                unopened.push(error);
            }
            Err(error) => {
                tell(release(&bringing.instances, ledger).await, around.printer);
                return Err(error);
            }
        }
    }
    let Bringing { libraries, instances, .. } = bringing;
    if backends.is_empty() && !unopened.is_empty() {
        return Err(unopened.swap_remove(0).into());
    }
    for error in &unopened {
        around.printer.warn(&format!("{error}; the others go on without it"));
    }
    Ok(Opened { backends, plugins: libraries.plugins, instances, unopened, redactor })
}

fn tell(unfreed: Vec<String>, printer: &Printer) {
    unfreed.iter().for_each(|message| printer.error(message));
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
    let found = file
        .config
        .backends
        .iter()
        .enumerate()
        .map(|(index, config)| find_one(file, index, config, discovery, around))
        .collect::<Result<Vec<_>, _>>()?;
    for backend in &found {
        around.printer.hide(backend.secrets.iter());
    }
    let redactor = redactor(&found);
    let mut bringing = Bringing {
        run: &file.config,
        transport: transport(&file.config)?,
        redactor: &redactor,
        ledger,
        around,
        libraries: Libraries::default(),
        instances: Vec::new(),
    };
    for backend in found {
        bringing.open(backend).await?;
    }
    let instance = bringing.instances.pop().map(|(_, instance)| instance);
    instance.ok_or_else(|| RunError::Internal("no backend to release".to_owned()))
}

fn transport(run: &RunConfig) -> Result<Transport, BackendError> {
    Ok(Transport::new(Settings {
        connect_timeout: run.run.connect_timeout,
        attempt_timeout: run.run.attempt_timeout,
        idle_timeout: run.run.idle_timeout,
        ..Settings::default()
    })?)
}

/// The plugins that are loaded, each once.
#[derive(Default)]
struct Libraries {
    loaded: HashMap<String, Loaded>,
    plugins: Vec<PluginIdentity>,
}

impl Libraries {
    /// The plugin of a backend, and whether this is its first use.
    fn get(&mut self, backend: &Found<'_>) -> Result<(Loaded, bool), BackendError> {
        if let Some(library) = self.loaded.get(backend.candidate.id()) {
            return Ok((*library, false));
        }
        let (library, identity) = load(backend)?;
        self.loaded.insert(backend.candidate.id().to_owned(), library);
        self.plugins.push(identity);
        Ok((library, true))
    }
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
}

impl Bringing<'_> {
    /// Loads, opens and introduces a backend.
    async fn up(&mut self, backend: Found<'_>) -> Result<OpenBackend, BackendError> {
        let opened = self.open(backend).await?;
        introduce(opened, self.ledger, self.around.printer).await
    }

    /// Loads and opens a backend.
    async fn open(&mut self, backend: Found<'_>) -> Result<OpenBackend, BackendError> {
        let (library, first) = self.libraries.get(&backend)?;
        if first && backend.candidate.provenance == Provenance::Directory {
            self.around.printer.warn(&format!(
                "plugin `{}` ({}) did not come with this host and runs in-process, with the host's own rights",
                backend.candidate.id(),
                backend.candidate.path.display()
            ));
        }
        let opened = self.open_one(backend, library).await?;
        self.instances.push((opened.id.clone(), Arc::clone(&opened.instance)));
        Ok(opened)
    }

    async fn open_one(
        &self,
        backend: Found<'_>,
        library: Loaded,
    ) -> Result<OpenBackend, BackendError> {
        let Found { config, candidate, checked, secrets, holder } = backend;
        let (run, around, transport) = (self.run, self.around, self.transport.clone());
        let manifest = candidate.inspection.manifest.clone();
        let declared = &manifest.plugin;
        let env = declared
            .env
            .iter()
            .filter_map(|name| Some((name.clone(), (around.variable)(name)?)))
            .collect();
        let (mut assets, mut digests) = (BTreeMap::new(), BTreeMap::new());
        for (name, wanted) in &config.assets {
            let (asset, cache, progress) =
                (wanted.clone(), around.cache.clone(), Arc::clone(&around.progress));
            let fetch = move || asset::fetch(&asset, cache.as_deref(), &mut |now| progress(now));
            let fetched = elsewhere(fetch)
                .await?
                .map_err(|source| BackendError::Asset { backend: config.id.clone(), source })?;
            assets.insert(name.clone(), absolute(&fetched.path).display().to_string());
            digests.insert(name.clone(), fetched.sha256.to_string());
        }
        let access = Access {
            grants: checked.grants,
            secrets,
            redactor: Arc::clone(self.redactor),
            reply_headers: declared.reply_headers.clone(),
            targets: Targets::default(),
        };
        let notes = Arc::new(BackendNotes { ledger: Arc::clone(self.ledger), holder });
        let setup = Setup { config: Value::Object(checked.config), env, assets, notes };
        let calls = config.concurrency.ceiling as usize;
        let (name, limits) = (config.id.clone(), declared.limits);
        let instance = elsewhere(move || {
            Instance::open(library, &name, setup, limits, transport, access, calls)
        })
        .await?
        .map_err(|source| BackendError::Open {
            backend: config.id.clone(),
            plugin: config.plugin.clone(),
            source,
        })?;
        Ok(OpenBackend {
            id: config.id.clone(),
            stream: config.stream && declared.capabilities.contains(&Capability::Stream),
            concurrency: concurrency(config.concurrency.ceiling, &manifest),
            retry: RetryPolicy {
                max_retries: run.run.max_retries,
                attempt_timeout: run.run.attempt_timeout,
                sample_timeout: run.run.sample_timeout,
                loading_timeout: run.run.loading_timeout,
            },
            model: config.model.clone(),
            base_url: config.base_url.clone(),
            assets: digests,
            description: Description::default(),
            manifest,
            instance,
        })
    }
}

/// Finds a backend's plugin and checks what the run file says against its manifest.
fn find_one<'a>(
    file: &RunFile,
    index: usize,
    config: &'a BackendConfig,
    discovery: &'a Discovery,
    around: &Surroundings<'_>,
) -> Result<Found<'a>, BackendError> {
    let candidate = discovery
        .plugins
        .iter()
        .find(|candidate| candidate.id() == config.plugin)
        .ok_or_else(|| unknown_plugin(config, discovery))?;
    if config.isolation == Some(crate::config::Isolation::Worker) {
        return Err(BackendError::Isolation { backend: config.id.clone() });
    }
    let manifest = &candidate.inspection.manifest;
    let mock = mock::url(around.mock, config)?;
    let checked =
        file.check_backend(index, &manifest.plugin, &manifest.config_schema, mock.as_ref())?;
    let secrets = if mock.is_some() {
        Secrets::placeholders(&checked.slots)
    } else {
        let lookup = Lookup { variable: around.variable, home: around.home.as_deref() };
        Secrets::resolve(&checked.slots, &lookup)
            .map_err(|source| BackendError::Secret { backend: config.id.clone(), source })?
    };
    let holder = Holder {
        id: config.id.clone(),
        table: file.backend_table(index, &manifest.config_schema),
        folder: absolute(&file.folder),
    };
    Ok(Found { config, candidate, checked, secrets, holder })
}

fn unknown_plugin(config: &BackendConfig, discovery: &Discovery) -> BackendError {
    let ids: Vec<&str> = discovery.plugins.iter().map(Candidate::id).collect();
    let mut hint = match nearest(&config.plugin, ids.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if ids.is_empty() => {
            "; no plugin was found at all: name their folder by --plugin-dir".to_owned()
        }
        None => format!("; there are: {}", ids.join(", ")),
    };
    for refused in &discovery.refused {
        hint.push_str(&format!("\n  not used: {}: {}", refused.path.display(), refused.reason));
    }
    BackendError::UnknownPlugin { backend: config.id.clone(), plugin: config.plugin.clone(), hint }
}

fn load(backend: &Found<'_>) -> Result<(Loaded, PluginIdentity), BackendError> {
    let candidate = backend.candidate;
    let bytes = candidate.read_verified().map_err(|source| BackendError::Refused {
        plugin: candidate.id().to_owned(),
        path: candidate.path.clone(),
        source,
    })?;
    let library = Loaded::open(
        &candidate.path,
        &bytes.bytes,
        &candidate.inspection.manifest_bytes,
        candidate.inspection.manifest.abi,
        backend.config.allow_unchecked_layout,
    )
    .map_err(|source| BackendError::Load { plugin: candidate.id().to_owned(), source })?;
    let manifest = &candidate.inspection.manifest;
    let identity = PluginIdentity {
        id: candidate.id().to_owned(),
        version: manifest.version.clone(),
        path: candidate.path.display().to_string(),
        sha256: bytes.sha256.to_string(),
        sdk: manifest.sdk.clone(),
        rustc: manifest.rustc.clone(),
        isolation: "in-process".to_owned(),
        installed: candidate.provenance == Provenance::Installed,
    };
    Ok((library, identity))
}

/// Runs what blocks (a download, a plugin that loads a model) on a thread of its own, so that an interrupt
/// is heard meanwhile.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BackendError::Broken(error.to_string()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
