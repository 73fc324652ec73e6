//! A configured backend as the run uses it: its open plugin and its bounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugin_api::{manifest::Manifest, message::Description};

use super::{cached::Told, plan::Offer, retry::RetryPolicy};
use crate::{
    config::BaseUrl,
    plugin::instance::{Instance, threads},
    store::cache::BackendCache,
};

/// A backend that is open.
#[derive(Debug)]
pub struct OpenBackend {
    /// Its id in the run file.
    pub id: String,
    /// Its plugin's manifest.
    pub manifest: Manifest,
    /// The plugin's side.
    pub instance: Arc<Instance>,
    /// Most sessions at once; at least 1.
    pub concurrency: usize,
    /// Whether replies are read as they are generated.
    pub stream: bool,
    /// Retries and deadlines.
    pub retry: RetryPolicy,
    /// The model, as the run file names it.
    pub model: Option<String>,
    /// Where its server is, as the run file says.
    pub base_url: Option<BaseUrl>,
    /// SHA-256 of each asset that it was given, by name.
    pub assets: BTreeMap<String, String>,
    /// What its plugin was told.
    pub told: Told,
    /// What it says of itself.
    pub description: Description,
    /// Its part of the response cache, if the run uses that.
    pub cache: Option<BackendCache>,
}

impl OpenBackend {
    /// What it can be asked for.
    pub fn offer(&self) -> Offer<'_> {
        Offer { id: &self.id, declared: &self.manifest.plugin, lacks: &self.description.lacks }
    }

    /// Whether the mock answers in place of a model.
    pub fn is_mock(&self) -> bool {
        self.base_url.as_ref().is_some_and(|base_url| base_url.mock().is_some())
    }

    /// The model as results name it.
    pub fn model(&self) -> Option<String> {
        self.model.clone().or_else(|| self.description.model.clone())
    }
}

/// Most sessions at once: what the run file says, within what the plugin allows.
pub fn concurrency(configured: u32, manifest: &Manifest) -> usize {
    let limits = manifest.plugin.limits;
    let configured = configured.max(1) as usize;
    let allowed = if limits.blocking {
        threads(limits)
    } else {
        match limits.max_concurrency {
            0 => configured,
            bound => bound as usize,
        }
    };
    configured.min(allowed)
}
