//! The backends of a run file before anything of them runs: which plugin each is of, whether what the file says fits its
//! manifest, which secrets it has.

use std::{collections::BTreeSet, sync::Arc};

use plugin_api::{capability::Capability, manifest::SecretSlot};

use super::{
    backend_error::BackendError, bring::absolute, change::PluginNow, mock, plan::Offer,
    surroundings::Surroundings,
};
use crate::{
    config::{BackendConfig, BaseUrl, CheckedBackend, Isolation, RunConfig, RunFile, nearest},
    plugin::{
        compiler,
        discover::{Candidate, Discovery, VerifiedBytes},
        lock::{
            open::Trust,
            verdict::{Distrust, Verdict},
        },
    },
    printer::Printer,
    secret::{
        Limits, Lookup, Redactor, Secret, SecretError, Secrets, is_own_word, is_secret_name,
        place_of,
    },
    store::ledger::Holder,
    transport::Cassette,
};

/// A backend on its way: its plugin is known, nothing of it has run.
pub struct Found<'a> {
    pub(super) config: &'a BackendConfig,
    pub(super) candidate: &'a Candidate,
    /// What the lock file says of its plugin.
    pub(super) verdict: Verdict,
    /// Where its plugin's code runs.
    pub(super) isolation: Isolation,
    /// One or more.
    pub(super) servers: Vec<FoundServer>,
}

/// A backend at one of its servers.
pub(super) struct FoundServer {
    pub(super) base_url: Option<BaseUrl>,
    pub(super) checked: CheckedBackend,
    pub(super) secrets: Secrets,
    /// How the backend is found again in another process.
    pub(super) holder: Holder,
}

impl Found<'_> {
    /// What the backend can be asked for, if it lacks this of what its plugin declares.
    pub fn offer_lacking<'a>(&'a self, lacks: &'a [Capability]) -> Offer<'a> {
        Offer { lacks, ..self.offer() }
    }

    /// Its plugin, by its bytes.
    ///
    /// # Errors
    /// The file cannot be used any more.
    pub fn plugin(&self) -> Result<PluginNow, BackendError> {
        let sha256 = self.read()?.sha256.to_string();
        let candidate = self.candidate;
        let version = candidate.inspection.manifest.version.clone();
        Ok(PluginNow { id: candidate.id().to_owned(), version, sha256 })
    }

    /// The bytes of its plugin, which are those that the lock file trusts, if it has any of it.
    ///
    /// # Errors
    /// The file cannot be used any more, or is not the one that is trusted.
    pub(super) fn read(&self) -> Result<VerifiedBytes, BackendError> {
        let candidate = self.candidate;
        let read = candidate.read_verified().map_err(|source| BackendError::Refused {
            plugin: candidate.id().to_owned(),
            path: candidate.path.clone(),
            source,
        })?;
        let checked = self.verdict.check(&read.bytes, read.sha256);
        checked.map_err(|source| distrust(self.config, source))?;
        Ok(read)
    }

    /// What is known against the compiler of its plugin.
    pub(super) fn compiler_warning(&self) -> Option<String> {
        compiler::warning(self.candidate.id(), &self.candidate.inspection.manifest.rustc)
    }

    /// Whether the lock file has its plugin as it is to be on this machine.
    pub(super) fn is_locked(&self) -> bool {
        self.verdict.locked().is_some()
    }

    /// Whether its plugin loads without a layout check.
    pub(super) fn allows_unchecked_layout(&self) -> bool {
        self.config.allow_unchecked_layout || self.verdict.allows_unchecked_layout()
    }

    /// Whether its plugin computes by itself, and has no server to send anything to.
    pub fn computes(&self) -> bool {
        self.candidate.inspection.manifest.plugin.limits.blocking
            && self.servers.iter().all(|server| server.base_url.is_none())
    }

    /// The names of its secrets that were found; a mock needs none.
    pub fn secrets(&self) -> Vec<&str> {
        let first = self.servers.first().map(|server| &server.secrets);
        let found = first.map(|secrets| secrets.iter().map(|(slot, _)| slot).collect());
        found.unwrap_or_default()
    }

    /// Its id in the run file.
    pub fn id(&self) -> &str {
        &self.config.id
    }

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
    find_each(file, discovery, around).into_iter().map(|(_, found)| found).collect()
}

/// The same for each by itself, with its id.
pub fn find_each<'a>(
    file: &'a RunFile,
    discovery: &'a Discovery,
    around: &Surroundings<'_>,
) -> Vec<(&'a str, Result<Found<'a>, BackendError>)> {
    let run = &file.config;
    let asked =
        |config: &BackendConfig| run.tasks.iter().any(|task| task.backends.contains(&config.id));
    let used = |config: &BackendConfig| {
        let stands_in = |other: &BackendConfig| asked(other) && other.fallback.contains(&config.id);
        asked(config) || run.backends.iter().any(stands_in)
    };
    let backends = run.backends.iter().enumerate().filter(|(_, config)| used(config));
    let trust = around.trust(file);
    let mut all = Vec::new();
    for (index, config) in backends {
        let found = match &trust {
            Ok(trust) => find_one(file, index, config, discovery, trust, around),
            Err(error) => Err(BackendError::Lock(Arc::clone(error))),
        };
        for server in found.iter().flat_map(|backend| &backend.servers) {
            around.printer.hide(server.secrets.iter());
        }
        all.push((config.id.as_str(), found));
    }
    all
}

/// What hides the secrets of these backends.
pub fn redactor(found: &[Found<'_>]) -> Arc<Redactor> {
    let servers = found.iter().flat_map(|backend| &backend.servers);
    Arc::new(Redactor::new(servers.flat_map(|server| server.secrets.iter())))
}

/// Finds a backend's plugin and checks what the run file says against its manifest.
///
/// # Errors
/// As for [`find`].
pub fn find_one<'a>(
    file: &RunFile,
    index: usize,
    config: &'a BackendConfig,
    discovery: &'a Discovery,
    trust: &Trust,
    around: &Surroundings<'_>,
) -> Result<Found<'a>, BackendError> {
    let candidate = discovery
        .plugins
        .iter()
        .find(|candidate| candidate.id() == config.plugin)
        .ok_or_else(|| unknown_plugin(config, discovery))?;
    if candidate.script.is_some() && config.isolation == Some(Isolation::InProcess) {
        let (backend, plugin) = (config.id.clone(), config.plugin.clone());
        return Err(BackendError::ScriptInProcess { backend, plugin });
    }
    let manifest = &candidate.inspection.manifest;
    if let Some(name) = manifest.plugin.env.iter().find(|name| is_secret_name(name)) {
        let (backend, plugin) = (config.id.clone(), config.plugin.clone());
        let (path, name) = (candidate.path.clone(), name.clone());
        return Err(BackendError::AsksForSecret { backend, plugin, path, name });
    }
    let verdict = trust.of(candidate);
    let refused = |source| distrust(config, source);
    verdict.must_be_locked().map_err(refused)?;
    let isolation = match candidate.script {
        // Whatever it is granted.
        Some(_) => Isolation::Worker,
        None => verdict.isolation(config.isolation).map_err(refused)?,
    };
    let withheld = verdict.withheld(&manifest.plugin, &config.secrets).map_err(refused)?;
    let servers = config.servers().into_iter().enumerate().map(|(server, base_url)| {
        let mock = mock::url(around.mock, &config.id, base_url)?;
        let (declared, schema) = (&manifest.plugin, &manifest.config_schema);
        let checked = file.check_backend(index, server, declared, schema, mock.as_ref())?;
        let checked = within_lock(checked, &verdict, &withheld);
        let cassette = around.cassette.as_ref();
        let replayed = cassette.and_then(|one| one.placeholders(&config.id, &checked.slots));
        let secrets = if let Some(placeholders) = replayed {
            placeholders
        } else if mock.is_some() {
            Secrets::placeholders(&checked.slots)
        } else if cassette.is_some_and(Cassette::is_look) {
            // Nothing is sent: what a plugin asks may depend on which secrets there are, and not on what they are.
            let lookup = Lookup { variable: around.variable, home: around.home.as_deref() };
            let is_there = |slot: &&SecretSlot| {
                !slot.optional || matches!(place_of(slot, &lookup), Ok(Some(_)))
            };
            Secrets::placeholders(
                &checked.slots.iter().filter(is_there).cloned().collect::<Vec<_>>(),
            )
        } else {
            let lookup = Lookup { variable: around.variable, home: around.home.as_deref() };
            resolve(config, &checked.slots, &lookup, &file.config, around.printer)
                .map_err(|source| BackendError::Secret { backend: config.id.clone(), source })?
        };
        let holder = Holder {
            id: match config.replicas.as_slice() {
                [] | [_] => config.id.clone(),
                _ => format!("{}#{server}", config.id),
            },
            table: file.backend_table(index, server, schema),
            folder: absolute(&file.folder),
        };
        Ok(FoundServer { base_url: base_url.cloned(), checked, secrets, holder })
    });
    let servers = servers.collect::<Result<_, BackendError>>()?;
    let found = Found { config, candidate, verdict, isolation, servers };
    if found.verdict.is_strict() {
        // Before anything else is opened, and once more where it is.
        found.read()?;
    }
    Ok(found)
}

/// The secrets of a backend. Those that would spoil what the host writes by being hidden there are taken for
/// placeholders, and told.
fn resolve(
    config: &BackendConfig,
    slots: &[SecretSlot],
    lookup: &Lookup<'_>,
    run: &RunConfig,
    printer: &Printer,
) -> Result<Secrets, SecretError> {
    let mut secrets = Secrets::resolve(slots, lookup)?;
    let values = || serde_json::to_value(run).unwrap_or_default();
    let is_own = |secret: &Secret| is_own_word(secret, values);
    for SecretSlot { slot, .. } in slots {
        if secrets.get(slot).is_some_and(is_own) {
            secrets.take_for_placeholder(slot);
            printer.warn(&format!(
                "backend `{}`: the secret `{slot}` is a word that the run file or the host's own files hold as well; it is \
                 taken for a placeholder and not hidden",
                config.id
            ));
        }
    }
    Ok(secrets)
}

/// What a backend may reach and send, within what the lock file grants its plugin.
fn within_lock(
    mut checked: CheckedBackend,
    verdict: &Verdict,
    withheld: &BTreeSet<String>,
) -> CheckedBackend {
    if let (Some(lock), Some(entry)) = (verdict.lock(), verdict.entry()) {
        checked.slots.retain(|slot| !withheld.contains(&slot.slot));
        let (origins, withheld) = (entry.asks.origins.clone(), withheld.clone());
        let limits = Limits { path: lock.path.clone(), origins, withheld };
        checked.grants = checked.grants.within(limits);
    }
    checked
}

fn distrust(config: &BackendConfig, source: Distrust) -> BackendError {
    BackendError::Distrust { backend: config.id.clone(), source }
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
