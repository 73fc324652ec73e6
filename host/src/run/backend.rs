//! A configured backend as the run uses it: its open plugin and its bounds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use plugin_api::{manifest::Manifest, message::Description};

use super::{cached::Told, hedge::Hedge, plan::Offer, retry::RetryPolicy};
use crate::{
    config::{BaseUrl, Concurrency},
    launch::server::Launched,
    plugin::instance::{Instance, threads},
    route::router::Router,
    store::cache::BackendCache,
};

/// A backend that is open.
#[derive(Debug)]
pub struct OpenBackend {
    /// Its id in the run file.
    pub id: String,
    /// Its plugin's manifest.
    pub manifest: Manifest,
    /// Its servers: one or more.
    pub replicas: Vec<Replica>,
    /// Says which of them is asked, and when.
    pub router: Arc<Router>,
    /// Longest wait for its servers before they are asked anything.
    pub wait_ready: Duration,
    /// Whether replies are read as they are generated.
    pub stream: bool,
    /// Retries and deadlines.
    pub retry: RetryPolicy,
    /// After which time a request is sent a second time; none if that is not wanted.
    pub hedge: Option<Mutex<Hedge>>,
    /// Whether the router wants to know how a prompt begins.
    pub by_prefix: bool,
    /// Whether the router wants to know how many tokens a request may take.
    pub counts_tokens: bool,
    /// The model, as the run file names it.
    pub model: Option<String>,
    /// Ids of the backends that are asked what this one cannot answer, in order.
    pub fallback: Vec<String>,
    /// SHA-256 of each asset that it was given, by name.
    pub assets: BTreeMap<String, String>,
    /// What its plugin was told.
    pub told: Told,
    /// What it says of itself.
    pub description: Description,
    /// Its part of the response cache, if the run uses that.
    pub cache: Option<BackendCache>,
}

/// A backend at one of its servers.
#[derive(Debug)]
pub struct Replica {
    /// Under which name its outside resources are noted.
    pub holder: String,
    /// Where it is, as the run file says; none if the backend has no server.
    pub base_url: Option<BaseUrl>,
    /// The plugin's side.
    pub instance: Arc<Instance>,
    /// The server, if the host started it.
    pub launched: Option<Arc<Launched>>,
}

impl Replica {
    /// What it is called in results and messages.
    pub fn name(&self) -> Option<String> {
        self.base_url.as_ref().map(ToString::to_string)
    }
}

impl OpenBackend {
    /// Why nothing can be asked of it any more, if its plugin has died too often at each of its servers.
    pub fn broken(&self) -> Option<&str> {
        let mut broken = self.replicas.iter().map(|replica| replica.instance.broken());
        let first = broken.next()??;
        broken.all(|other| other.is_some()).then_some(first)
    }

    /// What it can be asked for.
    pub fn offer(&self) -> Offer<'_> {
        Offer { id: &self.id, declared: &self.manifest.plugin, lacks: &self.description.lacks }
    }

    /// Whether the mock answers in place of a model.
    pub fn is_mock(&self) -> bool {
        let is_mock = |base_url: &BaseUrl| base_url.mock().is_some();
        self.replicas.iter().any(|replica| replica.base_url.as_ref().is_some_and(is_mock))
    }

    /// The model as results name it.
    pub fn model(&self) -> Option<String> {
        self.model.clone().or_else(|| self.description.model.clone())
    }
}

/// Sessions in flight at a replica: what the run file says, within what the plugin allows.
pub fn concurrency(configured: Concurrency, manifest: &Manifest) -> Concurrency {
    let limits = manifest.plugin.limits;
    let allowed = match limits.max_concurrency {
        _ if limits.blocking => u32::try_from(threads(limits)).unwrap_or(u32::MAX),
        0 => configured.ceiling,
        bound => bound,
    };
    let ceiling = configured.ceiling.min(allowed);
    // What computes in this process is limited by its threads, not by how it answers.
    let auto = configured.auto && !limits.blocking;
    Concurrency { auto, floor: configured.floor.min(ceiling), ceiling }
}
