//! The response cache of a run: whether there is one, and what its backends are called in it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    backend::{OpenBackend, Replica},
    surroundings::Surroundings,
};
use crate::{
    config::RunConfig,
    secret::Redactor,
    store::{
        cache::{BackendCache, Decisive, Identity, ResponseCache},
        manifest::PluginIdentity,
    },
};

/// What a backend's plugin was told when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its configuration.
    pub config: Value,
    /// Values of the environment variables that its manifest names.
    pub env: BTreeMap<String, String>,
}

/// The cache, if the run file wants one and there is a place for it.
pub fn open(
    run: &RunConfig,
    around: &Surroundings<'_>,
    redactor: &Arc<Redactor>,
) -> Option<Arc<ResponseCache>> {
    if !run.run.cache {
        return None;
    }
    let printer = around.printer.clone();
    if around.cassette.is_some() {
        // What the cache answers would be missing in a recording, and what a recording says is no server's word.
        printer.warn("the response cache is not used while a run is recorded or replayed");
        return None;
    }
    let Some(folder) = &around.cache else {
        printer.warn(
            "the response cache is not used: there is no folder for it; set HOST_CACHE_DIR or HOME",
        );
        return None;
    };
    let warn = move |text: &str| printer.warn(text);
    Some(ResponseCache::open(folder, Arc::clone(redactor), warn))
}

/// A backend's own part of the cache. `backend` has said who it is.
pub fn of(
    cache: &Arc<ResponseCache>,
    backend: &OpenBackend,
    plugins: &[PluginIdentity],
) -> Option<BackendCache> {
    let plugin = plugins.iter().find(|plugin| plugin.id == backend.manifest.plugin.id)?;
    let servers: Vec<String> = backend.replicas.iter().filter_map(Replica::name).collect();
    Some(cache.of(Identity::new(&Decisive {
        backend: &backend.id,
        plugin: &plugin.id,
        plugin_sha256: &plugin.sha256,
        model: backend.model.as_deref(),
        servers: &servers,
        config: &backend.told.config,
        env: &backend.told.env,
        assets: &backend.assets,
        description: &backend.description,
        is_mock: backend.is_mock(),
    })))
}
