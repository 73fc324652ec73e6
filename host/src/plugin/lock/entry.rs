//! What a lock file says, as data. Pure: it knows neither where the file lies nor who wrote it.

use std::collections::{BTreeMap, BTreeSet};

use plugin_api::manifest::Declared;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    asset::Sha256,
    config::Isolation,
    secret::{OriginError, OriginPattern},
};

/// Format of the file.
pub const FORMAT: i64 = 1;

/// All machines, as a lock file names them: a script's files are the same on each.
pub const ANY: &str = "any";

/// This machine, as a lock file names it.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Which machines a lock file names so, in words that go on after "for".
pub fn machines(platform: &str) -> &str {
    if platform == ANY { "all machines" } else { platform }
}

/// A lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockFile {
    /// By the plugin's id.
    pub plugins: BTreeMap<String, Entry>,
}

/// A plugin that is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its file on each platform ([`platform`]), or its one set of files for all of them ([`ANY`]).
    pub files: BTreeMap<String, LockedFile>,
    /// Where its code may run at most. If nothing is said: in the host's own process if it came with the host, in a
    /// worker else.
    pub isolation: Option<Isolation>,
    /// What it may have of what its manifest asks for.
    pub asks: Asks,
    /// Whether it loads although it carries no layout check.
    pub allow_unchecked_layout: bool,
    /// The minisign key that signs its files, in base64: an unsigned file is refused.
    pub signed_by: Option<String>,
}

/// A file by its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedFile {
    /// Version that its manifest names.
    pub version: String,
    /// Digest of its bytes.
    pub sha256: Sha256,
}

/// What a plugin needs of the host beyond being run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Origins that it may send requests to, beside those of the run file.
    pub origins: BTreeSet<OriginPattern>,
    /// Secret slots that its requests may name.
    pub secrets: BTreeSet<String>,
    /// Environment variables whose values it is told.
    pub env: BTreeSet<String>,
}

/// The same as it is recorded and told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AsksRecord {
    /// Origins that requests may go to, beside those of the run file.
    pub origins: BTreeSet<String>,
    /// Secret slots.
    pub secrets: BTreeSet<String>,
    /// Environment variables whose values it is told.
    pub env: BTreeSet<String>,
}

/// What a lock file grants a plugin, as it is recorded and told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantsRecord {
    /// Where its code may run at most, if the lock file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// What of that which its manifest asks for it may have.
    pub asks: AsksRecord,
    /// Whether it loads without a layout check.
    pub allow_unchecked_layout: bool,
    /// The minisign key that must have signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

impl Entry {
    /// What it grants, as it is recorded.
    pub fn record(&self) -> GrantsRecord {
        GrantsRecord {
            isolation: self.isolation,
            asks: self.asks.record(),
            allow_unchecked_layout: self.allow_unchecked_layout,
            signed_by: self.signed_by.clone(),
        }
    }
}

impl Asks {
    /// What a manifest asks for.
    ///
    /// # Errors
    /// One of its origins is none.
    pub fn of(declared: &Declared) -> Result<Self, OriginError> {
        Ok(Self {
            origins: declared.origins.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            secrets: declared.secrets.iter().map(|slot| slot.slot.clone()).collect(),
            env: declared.env.iter().cloned().collect(),
        })
    }

    /// What is in here and not in `other`.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        Self {
            origins: self.origins.difference(&other.origins).cloned().collect(),
            secrets: self.secrets.difference(&other.secrets).cloned().collect(),
            env: self.env.difference(&other.env).cloned().collect(),
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.origins.extend(other.origins.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
        self.env.extend(other.env.iter().cloned());
    }

    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty() && self.secrets.is_empty() && self.env.is_empty()
    }

    /// As it is recorded.
    pub fn record(&self) -> AsksRecord {
        AsksRecord {
            origins: self.origins.iter().map(ToString::to_string).collect(),
            secrets: self.secrets.clone(),
            env: self.env.clone(),
        }
    }
}

/// So many of a kind are counted in words, and not named.
const MANY: usize = 9;

impl AsksRecord {
    /// In words: `origin https://a.org, secret key, variable $HOME`; nothing if it is nothing.
    pub fn in_words(&self) -> Option<String> {
        let each = |list: &BTreeSet<String>, many: &str, word: &dyn Fn(&String) -> String| {
            match list.len() {
                // Nobody would read them here; the lock file has them all.
                beyond @ MANY.. => vec![format!("{beyond} {many}")],
                _ => list.iter().map(word).collect(),
            }
        };
        let all = [
            each(&self.origins, "origins", &|origin| format!("origin {origin}")),
            each(&self.secrets, "secrets", &|slot| format!("secret `{slot}`")),
            each(&self.env, "variables", &|name| format!("variable ${name}")),
        ]
        .concat();
        (!all.is_empty()).then(|| all.join(", "))
    }
}
