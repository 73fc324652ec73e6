//! The plugins of a run, each read once from its file and loaded into this process at most once.

use std::{
    collections::{HashMap, hash_map::Entry},
    os::fd::OwnedFd,
    sync::Arc,
};

use super::{backend_error::BackendError, found::Found};
use crate::{
    config::Isolation,
    plugin::{
        discover::{Candidate, Provenance},
        instance::Home,
        load::{LoadError, Loaded, sealed},
        worker::client::Program,
    },
    secret::Redactor,
    store::manifest::PluginIdentity,
};

/// The plugins that are in use. Each is read once: all its backends run the same bytes, whatever becomes of the file.
#[derive(Default)]
pub(super) struct Libraries {
    read: HashMap<String, Library>,
    pub(super) plugins: Vec<PluginIdentity>,
}

/// A plugin's verified bytes.
struct Library {
    /// Sealed.
    copy: Arc<OwnedFd>,
    /// Loaded into this process, at most once.
    loaded: Option<Loaded>,
}

impl Libraries {
    /// Where the plugin of a backend is to run, and whether it is loaded into this process by that.
    pub(super) fn get(
        &mut self,
        backend: &Found<'_>,
        redactor: &Arc<Redactor>,
    ) -> Result<(Home, bool), BackendError> {
        let (candidate, config) = (backend.candidate, backend.config);
        let isolation = backend.isolation();
        let library = read_once(&mut self.read, &mut self.plugins, candidate)?;
        if let Some(identity) = self.plugins.iter_mut().find(|one| one.id == candidate.id()) {
            identity.runs(isolation);
        }
        let (path, copy) = (&candidate.path, &library.copy);
        let (inspection, unchecked) = (&candidate.inspection, config.allow_unchecked_layout);
        if isolation == Isolation::Worker {
            return Ok((Home::Worker(library.program(candidate, unchecked, redactor)), false));
        }
        if let Some(loaded) = library.loaded {
            return Ok((Home::Here(loaded), false));
        }
        let failed = |source| BackendError::Load { plugin: candidate.id().to_owned(), source };
        let copied = copy.try_clone();
        let copy =
            copied.map_err(|source| failed(LoadError::Copy { path: path.clone(), source }))?;
        let abi = inspection.manifest.abi;
        let loaded = Loaded::open(path, copy, &inspection.manifest_bytes, abi, unchecked);
        let loaded = *library.loaded.insert(loaded.map_err(failed)?);
        Ok((Home::Here(loaded), true))
    }

    /// The plugin of a backend, to be run in a worker whatever the run file says.
    pub(super) fn program(
        &mut self,
        backend: &Found<'_>,
        redactor: &Arc<Redactor>,
    ) -> Result<Program, BackendError> {
        let candidate = backend.candidate;
        let library = read_once(&mut self.read, &mut self.plugins, candidate)?;
        Ok(library.program(candidate, backend.config.allow_unchecked_layout, redactor))
    }

    /// Notes what confines a worker of this plugin.
    pub(super) fn confined(&mut self, id: &str, by: &[String]) {
        if let Some(identity) = self.plugins.iter_mut().find(|one| one.id == id)
            && !by.is_empty()
        {
            by.clone_into(&mut identity.sandbox);
        }
    }
}

impl Library {
    fn program(&self, candidate: &Candidate, unchecked: bool, redactor: &Arc<Redactor>) -> Program {
        let inspection = &candidate.inspection;
        let (manifest, bytes) = (&inspection.manifest, &inspection.manifest_bytes);
        let (copy, redactor) = (Arc::clone(&self.copy), Arc::clone(redactor));
        Program::new(&candidate.path, copy, manifest, bytes, unchecked, redactor)
    }
}

/// Reads a plugin unless it was read before.
fn read_once<'a>(
    known: &'a mut HashMap<String, Library>,
    plugins: &mut Vec<PluginIdentity>,
    candidate: &Candidate,
) -> Result<&'a mut Library, BackendError> {
    match known.entry(candidate.id().to_owned()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(place) => {
            let (library, identity) = read(candidate)?;
            plugins.push(identity);
            Ok(place.insert(library))
        }
    }
}

/// Reads a plugin once. None of its code runs.
fn read(candidate: &Candidate) -> Result<(Library, PluginIdentity), BackendError> {
    let bytes = candidate.read_verified().map_err(|source| BackendError::Refused {
        plugin: candidate.id().to_owned(),
        path: candidate.path.clone(),
        source,
    })?;
    let copy = sealed(&candidate.path, &bytes.bytes)
        .map_err(|source| BackendError::Load { plugin: candidate.id().to_owned(), source })?;
    let library = Library { copy: Arc::new(copy), loaded: None };
    let manifest = &candidate.inspection.manifest;
    let identity = PluginIdentity {
        id: candidate.id().to_owned(),
        version: manifest.version.clone(),
        path: candidate.path.display().to_string(),
        sha256: bytes.sha256.to_string(),
        sdk: manifest.sdk.clone(),
        rustc: manifest.rustc.clone(),
        isolation: String::new(),
        sandbox: Vec::new(),
        installed: candidate.provenance == Provenance::Installed,
    };
    Ok((library, identity))
}
