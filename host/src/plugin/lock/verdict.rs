//! What the lock file says of one plugin that is about to be used. Restrictions hold whatever the file's bytes are;
//! rights beyond a stranger's are those of the bytes that were locked.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use plugin_api::manifest::Declared;
use thiserror::Error;

use super::{
    command::{command, typed},
    entry::{ANY, Entry, LockedFile, machines, platform},
    open::{Lock, Trust},
    signature::{self, SignatureError},
};
use crate::{
    asset::Sha256,
    config::Isolation,
    plugin::discover::{Candidate, Provenance},
};

/// What is said of a plugin.
#[derive(Clone, Debug)]
pub struct Verdict {
    id: String,
    file: PathBuf,
    platform: String,
    installed: bool,
    trust: Trust,
    entry: Option<Entry>,
}

/// Why a plugin is not used, or not as it was meant.
#[derive(Debug, Error)]
pub enum Distrust {
    /// Its bytes are not those that were locked.
    #[error(
        "plugin `{id}` ({}) is not the file that {} trusts: its SHA-256 is {found}, the locked one (version {version}) is \
         {expected}; if the change is meant, `{command}` takes it over",
        file.display(), lock.display()
    )]
    Changed {
        /// Id of the plugin.
        id: String,
        /// Its file.
        file: PathBuf,
        /// The lock file.
        lock: PathBuf,
        /// Version that was locked.
        version: String,
        /// Digest that was locked.
        expected: Sha256,
        /// Digest of what is there.
        found: Sha256,
        /// What to do.
        command: String,
    },
    /// It must be signed and is not.
    #[error("plugin `{id}` ({}): {source}", file.display())]
    Signature {
        /// Id of the plugin.
        id: String,
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        source: SignatureError,
    },
    /// Only locked plugins may be used, and it is none.
    #[error(
        "plugin `{id}` ({}): {reason}, and --locked uses only what is locked; `{command}` locks it",
        file.display()
    )]
    Unlocked {
        /// Id of the plugin.
        id: String,
        /// Its file.
        file: PathBuf,
        /// What is missing.
        reason: String,
        /// What to do.
        command: String,
    },
    /// The host's own process is not for it.
    #[error(
        "isolation = \"in-process\": plugin `{id}` ({}) {reason}; leave it out, and it runs in a worker, or grant it: \
         `{command}`",
        file.display()
    )]
    InProcess {
        /// Id of the plugin.
        id: String,
        /// Its file.
        file: PathBuf,
        /// Why not.
        reason: String,
        /// What to do.
        command: String,
    },
    /// A secret that it cannot do without, or that the run file wants it to have, is not granted.
    #[error(
        "plugin `{id}` needs the secret `{slot}`, which {} does not grant it; add it to `secrets` in [plugin.{id}] there",
        lock.display()
    )]
    Secret {
        /// Id of the plugin.
        id: String,
        /// The slot.
        slot: String,
        /// The lock file.
        lock: PathBuf,
    },
}

impl Trust {
    /// What is said of a plugin.
    pub fn of(&self, candidate: &Candidate) -> Verdict {
        let entry = self.lock.as_ref().and_then(|lock| lock.file.plugins.get(candidate.id()));
        Verdict {
            id: candidate.id().to_owned(),
            file: candidate.path.clone(),
            platform: candidate.platform(),
            installed: candidate.provenance == Provenance::Installed,
            trust: self.clone(),
            entry: entry.cloned(),
        }
    }
}

impl Verdict {
    /// The lock file that says it.
    pub fn lock(&self) -> Option<&Arc<Lock>> {
        self.trust.lock.as_ref()
    }

    /// The plugin's entry.
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Whether a plugin may only be used if the lock file has it.
    pub fn is_strict(&self) -> bool {
        self.trust.locked
    }

    /// The file that is locked for this machine.
    pub fn locked(&self) -> Option<&LockedFile> {
        let files = &self.entry.as_ref()?.files;
        let is_script = self.platform == ANY;
        // A script may have been locked for this machine alone, which must not free it of its digest.
        files.get(&self.platform).or_else(|| files.get(&platform()).filter(|_| is_script))
    }

    /// Refuses what is not locked, if only that may be used.
    ///
    /// # Errors
    /// [`Distrust::Unlocked`].
    pub fn must_be_locked(&self) -> Result<(), Distrust> {
        if !self.trust.locked || self.locked().is_some() {
            return Ok(());
        }
        let lock = self.trust.path.display();
        let reason = match (&self.trust.lock, &self.entry) {
            (None, _) => format!("there is no lock file ({lock}, or one above it)"),
            (Some(_), None) => format!("{lock} has no entry for it"),
            (Some(_), Some(_)) => {
                format!("{lock} has no file of it for {}", machines(&self.platform))
            }
        };
        let (id, file) = (self.id.clone(), self.file.clone());
        Err(Distrust::Unlocked { id, file, reason, command: self.command(None) })
    }

    /// Checks the bytes that were read from its file.
    ///
    /// # Errors
    /// They are others than were locked, or not signed as they should be.
    pub fn check(&self, bytes: &[u8], sha256: Sha256) -> Result<(), Distrust> {
        if let Some(locked) = self.locked().filter(|locked| locked.sha256 != sha256) {
            return Err(Distrust::Changed {
                id: self.id.clone(),
                file: self.file.clone(),
                lock: self.trust.path.clone(),
                version: locked.version.clone(),
                expected: locked.sha256,
                found: sha256,
                command: self.command(None),
            });
        }
        let Some(key) = self.entry.as_ref().and_then(|entry| entry.signed_by.as_deref()) else {
            return Ok(());
        };
        signature::verify(&self.file, bytes, key).map_err(|source| {
            let (id, file) = (self.id.clone(), self.file.clone());
            Distrust::Signature { id, file, source }
        })
    }

    /// Where its code runs, if the run file asks for this.
    ///
    /// # Errors
    /// The run file asks for the host's process, and that is not granted.
    pub fn isolation(&self, asked: Option<Isolation>) -> Result<Isolation, Distrust> {
        let granted = self.entry.as_ref().and_then(|entry| entry.isolation);
        let most = match granted {
            Some(Isolation::InProcess) if self.installed || self.locked().is_some() => {
                Isolation::InProcess
            }
            None if self.installed => Isolation::InProcess,
            _ => Isolation::Worker,
        };
        match asked {
            _ if self.trust.unasked => Ok(Isolation::Worker),
            Some(Isolation::InProcess) if most == Isolation::Worker => {
                let lock = self.trust.path.display();
                let reason = match (&self.trust.lock, &self.entry) {
                    (None, _) => {
                        format!(
                            "did not come with this host, and there is no lock file ({lock}, or one above it) that would allow it"
                        )
                    }
                    (Some(_), None) => {
                        format!("did not come with this host, and {lock} has no entry for it")
                    }
                    (Some(_), Some(_)) if granted == Some(Isolation::InProcess) => {
                        format!("is not locked for {} in {lock}", machines(&self.platform))
                    }
                    (Some(_), Some(_)) => format!("is to run in a worker, says {lock}"),
                };
                Err(Distrust::InProcess {
                    id: self.id.clone(),
                    file: self.file.clone(),
                    reason,
                    command: self.command(Some("in-process")),
                })
            }
            Some(asked) => Ok(asked),
            None => Ok(most),
        }
    }

    /// Whether it loads without a layout check.
    pub fn allows_unchecked_layout(&self) -> bool {
        self.locked().is_some()
            && self.entry.as_ref().is_some_and(|entry| entry.allow_unchecked_layout)
    }

    /// Whether it is told the value of this environment variable, which its manifest names.
    pub fn allows_variable(&self, name: &str) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.asks.env.contains(name))
    }

    /// The slots of its manifest that it may not have. `wanted` are those that the run file wants it to have.
    ///
    /// # Errors
    /// It cannot do without one of them, or the run file wants it to have one.
    pub fn withheld(
        &self,
        declared: &Declared,
        wanted: &[String],
    ) -> Result<BTreeSet<String>, Distrust> {
        let Some(entry) = &self.entry else { return Ok(BTreeSet::new()) };
        let is_withheld = |slot: &str| !entry.asks.secrets.contains(slot);
        let withheld = declared.secrets.iter().filter(|slot| is_withheld(&slot.slot));
        let needed = withheld.clone().find(|slot| !slot.optional || wanted.contains(&slot.slot));
        match needed {
            None => Ok(withheld.map(|slot| slot.slot.clone()).collect()),
            Some(slot) => Err(Distrust::Secret {
                id: self.id.clone(),
                slot: slot.slot.clone(),
                lock: self.trust.path.clone(),
            }),
        }
    }

    /// The command that locks it as it is now, and where this lock file is read.
    fn command(&self, grant: Option<&str>) -> String {
        let folder = self.file.parent().filter(|_| !self.installed);
        let mut command = command(&self.id, grant, folder);
        command.push_str(&format!(" --lock {}", typed(&self.trust.path)));
        command
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
