//! The plugins of a run, each read once from its file, and each library loaded into this process at most once.

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
        script::Copied,
        worker::client::Program,
    },
    secret::Redactor,
    store::manifest::{LockIdentity, PluginIdentity},
};

/// The plugins that are in use. Each is read once: all its backends run the same bytes, whatever becomes of the file.
#[derive(Default)]
pub(super) struct Libraries {
    read: HashMap<String, Code>,
    pub(super) plugins: Vec<PluginIdentity>,
    /// The lock file that was looked into.
    pub(super) lock: Option<LockIdentity>,
}

/// A plugin's verified bytes, out of reach of whoever changes its files.
enum Code {
    Library {
        /// Sealed.
        copy: Arc<OwnedFd>,
        /// Loaded into this process, at most once.
        loaded: Option<Loaded>,
    },
    /// In a folder of this process.
    Script(Arc<Copied>),
}

impl Libraries {
    /// Where the plugin of a backend is to run, and whether it is loaded into this process by that.
    pub(super) fn get(
        &mut self,
        backend: &Found<'_>,
        redactor: &Arc<Redactor>,
    ) -> Result<(Home, bool), BackendError> {
        let (candidate, isolation) = (backend.candidate, backend.isolation);
        let unchecked = backend.allows_unchecked_layout();
        let code = read_once(&mut self.read, &mut self.plugins, backend)?;
        self.lock = lock_identity(backend);
        if let Some(identity) = self.plugins.iter_mut().find(|one| one.id == candidate.id()) {
            identity.runs(isolation);
        }
        let (path, inspection) = (&candidate.path, &candidate.inspection);
        let (copy, loaded) = match code {
            Code::Library { copy, loaded } if isolation == Isolation::InProcess => (copy, loaded),
            _ => {
                let program = code.program(candidate, unchecked, redactor)?;
                return Ok((Home::Worker(program), false));
            }
        };
        if let Some(loaded) = *loaded {
            return Ok((Home::Here(loaded), false));
        }
        let failed = |source| BackendError::Load { plugin: candidate.id().to_owned(), source };
        let copied = copy.try_clone();
        let copy =
            copied.map_err(|source| failed(LoadError::Copy { path: path.clone(), source }))?;
        let abi = inspection.manifest.abi;
        let opened = Loaded::open(path, copy, &inspection.manifest_bytes, abi, unchecked);
        let opened = *loaded.insert(opened.map_err(failed)?);
        Ok((Home::Here(opened), true))
    }

    /// The plugin of a backend, to be run in a worker whatever the run file says.
    pub(super) fn program(
        &mut self,
        backend: &Found<'_>,
        redactor: &Arc<Redactor>,
    ) -> Result<Program, BackendError> {
        let candidate = backend.candidate;
        let code = read_once(&mut self.read, &mut self.plugins, backend)?;
        code.program(candidate, backend.allows_unchecked_layout(), redactor)
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

impl Code {
    /// It, as workers run it.
    fn program(
        &self,
        candidate: &Candidate,
        unchecked: bool,
        redactor: &Arc<Redactor>,
    ) -> Result<Program, BackendError> {
        let (path, inspection) = (&candidate.path, &candidate.inspection);
        let (manifest, bytes) = (&inspection.manifest, &inspection.manifest_bytes);
        let redactor = Arc::clone(redactor);
        match self {
            Self::Library { copy, .. } => {
                Ok(Program::new(path, Arc::clone(copy), manifest, bytes, unchecked, redactor))
            }
            Self::Script(files) => Program::of_script(path, Arc::clone(files), manifest, redactor)
                .map_err(|source| BackendError::Load { plugin: candidate.id().to_owned(), source }),
        }
    }
}

/// Reads a plugin unless it was read before.
fn read_once<'a>(
    known: &'a mut HashMap<String, Code>,
    plugins: &mut Vec<PluginIdentity>,
    backend: &Found<'_>,
) -> Result<&'a mut Code, BackendError> {
    match known.entry(backend.candidate.id().to_owned()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(place) => {
            let (code, identity) = read(backend)?;
            plugins.push(identity);
            Ok(place.insert(code))
        }
    }
}

/// The lock file that a backend's plugin was looked up in.
fn lock_identity(backend: &Found<'_>) -> Option<LockIdentity> {
    let lock = backend.verdict.lock()?;
    let (path, sha256) = (lock.path.display().to_string(), lock.sha256.to_string());
    Some(LockIdentity { path, sha256 })
}

/// Reads a plugin once. None of its code runs.
fn read(backend: &Found<'_>) -> Result<(Code, PluginIdentity), BackendError> {
    let (bytes, candidate) = (backend.read()?, backend.candidate);
    let path = &candidate.path;
    let failed = |source| BackendError::Load { plugin: candidate.id().to_owned(), source };
    let code = match &bytes.script {
        Some(files) => {
            let uncopied = |source| LoadError::CopyScript { path: path.clone(), source };
            Code::Script(Arc::new(Copied::new(files).map_err(uncopied).map_err(failed)?))
        }
        None => {
            let copy = sealed(path, &bytes.bytes).map_err(failed)?;
            Code::Library { copy: Arc::new(copy), loaded: None }
        }
    };
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
        granted: backend.verdict.entry().map(|entry| entry.record()),
    };
    Ok((code, identity))
}
