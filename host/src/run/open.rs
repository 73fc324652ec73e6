//! From a run file's backends to open ones: plugins loaded, configurations checked, secrets looked up, assets
//! fetched, servers asked who they are. Everything that can fail before the first sample fails here.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use plugin_api::{Answer, Error, ErrorKind, Request, capability::Capability, message::Description};
use serde_json::Value;

use super::{
    backend::{OpenBackend, concurrency},
    backend_error::BackendError,
    executor::ask_backend,
    mock::{self, Mock},
    plan::Offer,
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
    store::manifest::PluginIdentity,
    transport::{Access, Settings, Transport},
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
}

impl Found<'_> {
    /// What the backend can be asked for.
    pub fn offer(&self) -> Offer<'_> {
        Offer { id: &self.config.id, declared: &self.candidate.inspection.manifest.plugin }
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

/// Opens backends.
///
/// # Errors
/// What is wrong in the run file. If none opens, why the first one does not.
pub async fn open(
    run: &RunConfig,
    found: Vec<Found<'_>>,
    around: &Surroundings<'_>,
) -> Result<Opened, BackendError> {
    let redactor = Arc::new(Redactor::new(found.iter().flat_map(|backend| backend.secrets.iter())));
    let transport = Transport::new(Settings {
        connect_timeout: run.run.connect_timeout,
        attempt_timeout: run.run.attempt_timeout,
        idle_timeout: run.run.idle_timeout,
        ..Settings::default()
    })?;
    let mut libraries = Libraries::default();
    let mut backends = Vec::new();
    let mut unopened = Vec::new();
    for backend in found {
        match bring_up(backend, &mut libraries, run, transport.clone(), &redactor, around).await {
            Ok(backend) => backends.push(Arc::new(backend)),
            Err(error) if error.is_configuration() => return Err(error),
            Err(error) => unopened.push(error),
        }
    }
    if backends.is_empty() && !unopened.is_empty() {
        return Err(unopened.swap_remove(0));
    }
    for error in &unopened {
        around.printer.warn(&format!("{error}; the others go on without it"));
    }
    Ok(Opened { backends, plugins: libraries.plugins, unopened, redactor })
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

/// Loads, opens and introduces a backend.
async fn bring_up(
    backend: Found<'_>,
    libraries: &mut Libraries,
    run: &RunConfig,
    transport: Transport,
    redactor: &Arc<Redactor>,
    around: &Surroundings<'_>,
) -> Result<OpenBackend, BackendError> {
    let (library, first) = libraries.get(&backend)?;
    if first && backend.candidate.provenance == Provenance::Directory {
        around.printer.warn(&format!(
            "plugin `{}` ({}) did not come with this host and runs in-process, with the host's own rights",
            backend.candidate.id(),
            backend.candidate.path.display()
        ));
    }
    let opened = open_one(backend, library, run, transport, redactor, around).await?;
    introduce(opened, around.printer).await
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
    Ok(Found { config, candidate, checked, secrets })
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

async fn open_one(
    backend: Found<'_>,
    library: Loaded,
    run: &RunConfig,
    transport: Transport,
    redactor: &Arc<Redactor>,
    around: &Surroundings<'_>,
) -> Result<OpenBackend, BackendError> {
    let Found { config, candidate, checked, secrets } = backend;
    let manifest = candidate.inspection.manifest.clone();
    let declared = &manifest.plugin;
    let env = declared
        .env
        .iter()
        .filter_map(|name| Some((name.clone(), (around.variable)(name)?)))
        .collect();
    let mut assets = BTreeMap::new();
    for (name, wanted) in &config.assets {
        let (asset, cache, progress) =
            (wanted.clone(), around.cache.clone(), Arc::clone(&around.progress));
        let fetch = move || asset::fetch(&asset, cache.as_deref(), &mut |now| progress(now));
        let path = elsewhere(fetch)
            .await?
            .map_err(|source| BackendError::Asset { backend: config.id.clone(), source })?;
        assets.insert(name.clone(), absolute(&path).display().to_string());
    }
    let access = Access {
        grants: checked.grants,
        secrets,
        redactor: Arc::clone(redactor),
        reply_headers: declared.reply_headers.clone(),
    };
    let setup = Setup { config: Value::Object(checked.config), env, assets };
    let calls = config.concurrency.max(1) as usize;
    let (name, limits) = (config.id.clone(), declared.limits);
    let instance =
        elsewhere(move || Instance::open(library, &name, setup, limits, transport, access, calls))
            .await?
            .map_err(|source| BackendError::Open {
                backend: config.id.clone(),
                plugin: config.plugin.clone(),
                source,
            })?;
    Ok(OpenBackend {
        id: config.id.clone(),
        stream: config.stream && declared.capabilities.contains(&Capability::Stream),
        concurrency: concurrency(config.concurrency, &manifest),
        retry: RetryPolicy {
            max_retries: run.run.max_retries,
            attempt_timeout: run.run.attempt_timeout,
            sample_timeout: run.run.sample_timeout,
            loading_timeout: run.run.loading_timeout,
        },
        model: config.model.clone(),
        base_url: config.base_url.clone(),
        description: Description::default(),
        manifest,
        instance,
    })
}

/// Lets the backend prepare and asks it who it is: a server that is down, or is another one than the plugin
/// is for, is found out before the first sample.
async fn introduce(
    mut backend: OpenBackend,
    printer: &Printer,
) -> Result<OpenBackend, BackendError> {
    let not_ready = |error: Error| BackendError::NotReady {
        backend: backend.id.clone(),
        at: backend.base_url.as_ref().map(|url| format!(" ({url})")).unwrap_or_default(),
        hint: match error.kind {
            ErrorKind::Transport | ErrorKind::Timeout if backend.base_url.is_some() => {
                "; is the server running, and is base_url right?"
            }
            ErrorKind::UnexpectedReply => {
                "; is base_url that of a server which this plugin is for?"
            }
            ErrorKind::Loading => "; run.loading_timeout says how long it is waited for",
            _ => "",
        },
        error,
    };
    // A plugin may load a model here, so this takes as long as an attempt at a sample may.
    let policy = RetryPolicy { max_retries: backend.retry.max_retries.min(2), ..backend.retry };
    let told = Cell::new(false);
    let waits = |error: &Error, _: Duration| {
        if error.kind == ErrorKind::Loading && !told.replace(true) {
            let longest = humantime::format_duration(policy.loading_timeout);
            printer.note(&format!(
                "backend `{}`: {}; it is waited for, {longest} at most",
                backend.id, error.message
            ));
        }
    };
    match ask_backend(&backend.instance, Request::Prepare, &policy, &waits).await {
        Ok(_) => {}
        // A plugin without the SDK need not know of it: it has nothing to prepare.
        Err(error) if error.kind == ErrorKind::Unsupported => {}
        Err(error) => return Err(not_ready(error)),
    }
    let described = ask_backend(&backend.instance, Request::Describe, &policy, &waits).await;
    let description = match described {
        Ok(Answer::Description(description)) => description,
        Ok(_) => {
            return Err(not_ready(Error::new(
                ErrorKind::Protocol,
                "it describes itself by another answer",
            )));
        }
        Err(error) if error.kind == ErrorKind::Unsupported => Description::default(),
        Err(error) => return Err(not_ready(error)),
    };
    backend.description = description;
    Ok(backend)
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
