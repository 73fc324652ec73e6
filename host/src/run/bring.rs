//! Brings backends up: loads their plugins, fetches their assets, opens them at each of their servers.

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

use super::{
    backend::{OpenBackend, Replica, concurrency},
    backend_error::BackendError,
    cached::{self, Told},
    found::{Found, FoundServer},
    introduce::introduce,
    launch::Servers,
    libraries::Libraries,
    release::{self, BackendNotes, Releasable, release},
    retry::RetryPolicy,
    surroundings::Surroundings,
};
use crate::{
    asset,
    config::{BackendConfig, Concurrency, Route, RunConfig},
    plugin::{
        conformance::{Server, Subject},
        discover::Provenance,
        instance::{Home, Instance, Setup},
        lock::verdict::Verdict,
        worker::client::StartError,
    },
    printer::Printer,
    route::router::{ReplicaSettings, Router, RouterSettings},
    secret::Redactor,
    store::{
        cache::ResponseCache,
        ledger::{Holder, Ledger},
    },
    transport::{Access, Cassette, Settings, Strays, Targets, Transport},
};

fn transport(run: &RunConfig) -> Transport {
    Transport::new(Settings {
        connect_timeout: run.run.connect_timeout,
        attempt_timeout: run.run.attempt_timeout,
        idle_timeout: run.run.idle_timeout,
        ..Settings::default()
    })
}

/// What it takes to bring backends up, and those that are open so far.
pub(super) struct Bringing<'a> {
    run: &'a RunConfig,
    transport: Transport,
    redactor: &'a Arc<Redactor>,
    ledger: &'a Arc<Ledger>,
    around: &'a Surroundings<'a>,
    pub(super) libraries: Libraries,
    /// Open, though not all of them ready.
    pub(super) instances: Vec<Releasable>,
    /// Answers of earlier runs, if this one takes them.
    pub(super) cache: Option<Arc<ResponseCache>>,
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

impl<'a> Bringing<'a> {
    /// With none open.
    pub(super) fn new(
        run: &'a RunConfig,
        ledger: &'a Arc<Ledger>,
        redactor: &'a Arc<Redactor>,
        around: &'a Surroundings<'a>,
    ) -> Self {
        Self {
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

    /// Brings backends up. One whose plugin or server fails does not keep the others.
    ///
    /// # Errors
    /// What is wrong in the run file.
    pub(super) async fn all(
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
    pub(super) async fn open(&mut self, backend: Found<'_>) -> Result<OpenBackend, BackendError> {
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
    pub(super) async fn subject(&mut self, backend: Found<'_>) -> Result<Subject, BackendError> {
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

/// What could not be freed, and what died of it.
pub(super) fn tell(outcome: &release::Outcome, printer: &Printer) {
    outcome.unfreed.iter().for_each(|message| printer.error(message));
    outcome.died.iter().for_each(|remark| printer.warn(&remark.to_string()));
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
