//! The rule of secrets and origins: what a backend may reach, and which secret may go along.
//! Pure: it is asked before a request is built, and knows no value of any secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use plugin_api::manifest::Declared;
use thiserror::Error;
use url::Url;

use super::{Origin, OriginError, OriginPattern};

/// What one configured backend may reach. Built from its manifest and its table in the run file.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The origins that the run file allows.
    reachable: Vec<OriginPattern>,
    /// The origins that the manifest asks for.
    asked: Vec<OriginPattern>,
    /// What a lock file makes of what the manifest asks for.
    lock: Option<Limits>,
    /// The origin of `base_url`.
    base: Option<Origin>,
    /// Slot to the origins that its manifest names.
    slots: BTreeMap<String, Vec<OriginPattern>>,
    /// Slots that the run file lets go to `base`.
    granted: BTreeSet<String>,
}

/// What a lock file lets a plugin have of what its manifest asks for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The lock file.
    pub path: PathBuf,
    /// A request that only the manifest allows must go to one of these.
    pub origins: BTreeSet<OriginPattern>,
    /// Slots that the plugin may not have.
    pub withheld: BTreeSet<String>,
}

/// Why the grants of a backend make no sense.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GrantsError {
    /// A manifest with an origin that cannot be read.
    #[error("the manifest of plugin `{plugin}`: {source}")]
    Manifest {
        /// Id of the plugin.
        plugin: String,
        /// What is wrong with the origin.
        source: OriginError,
    },
    /// `secrets = […]` names a slot that nobody declares.
    #[error(
        "`secrets` names the slot `{slot}`, which plugin `{plugin}` does not declare (it has: {})",
        list(known)
    )]
    UnknownSlot {
        /// Id of the plugin.
        plugin: String,
        /// The name as typed.
        slot: String,
        /// The slots that exist.
        known: Vec<String>,
    },
}

/// Why a request, or a secret in it, may not go where it was meant to go.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The URL has no origin that the host would ever use.
    #[error("forbidden origin: {0}")]
    Origin(OriginError),
    /// Nobody allowed this origin.
    #[error(
        "forbidden origin: {0} is named neither by the plugin nor by the run file; add it to `origins` of the backend if it is meant"
    )]
    Unlisted(Origin),
    /// Its manifest asks for this origin, and the lock file does not grant it.
    #[error(
        "forbidden origin: the plugin asks for {origin}, but {} does not grant it; add it to the plugin's `origins` there, or to those of the backend, if it is meant",
        lock.display()
    )]
    Ungranted {
        /// Where the request would go.
        origin: Origin,
        /// The lock file.
        lock: PathBuf,
    },
    /// The lock file withholds this slot.
    #[error("the secret `{slot}` is not granted to this plugin by {}; add it to the plugin's `secrets` there if it is meant", lock.display())]
    Withheld {
        /// Name of the slot.
        slot: String,
        /// The lock file.
        lock: PathBuf,
    },
    /// The plugin asks for a slot that it never declared.
    #[error("the slot `{0}` is not declared in the plugin's manifest")]
    UnknownSlot(String),
    /// The secret would leave for a `base_url` that its owner did not name.
    #[error(
        "the secret `{slot}` is not for {origin}; if it is, say `secrets = [\"{slot}\"]` in the backend's table"
    )]
    NotGranted {
        /// Name of the slot.
        slot: String,
        /// Where it would go.
        origin: Origin,
    },
    /// The secret would leave for an origin that the run file cannot grant it for.
    #[error(
        "the secret `{slot}` is not for {origin}: only its own origins, and a granted `base_url`, may have it"
    )]
    NotForOrigin {
        /// Name of the slot.
        slot: String,
        /// Where it would go.
        origin: Origin,
    },
}

impl Grants {
    /// What `declared` and the run file allow together. `base` is the origin of `base_url`, `extra` the
    /// backend's `origins`, `granted` its `secrets`.
    ///
    /// # Errors
    /// If the manifest has an unreadable origin, or `granted` names an unknown slot.
    pub fn new(
        declared: &Declared,
        base: Option<Origin>,
        extra: &[OriginPattern],
        granted: &[String],
    ) -> Result<Self, GrantsError> {
        let asked = patterns(declared, &declared.origins)?;
        let mut reachable = extra.to_vec();
        reachable.extend(base.clone().map(OriginPattern::from));
        let (slots, granted) = (slots(declared, granted)?, granted.iter().cloned().collect());
        Ok(Self { reachable, asked, lock: None, base, slots, granted })
    }

    /// The same within what a lock file grants.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { lock: Some(limits), ..self }
    }

    /// What a backend may reach whose server is the host's own mock: the mock alone. Every slot may go there,
    /// since what stands in it is no secret ([`super::Secrets::placeholders`]).
    ///
    /// # Errors
    /// As [`Grants::new`], so that a run file is right or wrong whichever server it names.
    pub fn of_mock(
        declared: &Declared,
        mock: Origin,
        granted: &[String],
    ) -> Result<Self, GrantsError> {
        let slots: BTreeMap<_, _> =
            slots(declared, granted)?.into_keys().map(|slot| (slot, Vec::new())).collect();
        let granted = slots.keys().cloned().collect();
        let reachable = vec![mock.clone().into()];
        Ok(Self { reachable, asked: Vec::new(), lock: None, base: Some(mock), slots, granted })
    }

    /// Whether a request to `url` may be made at all.
    ///
    /// # Errors
    /// Says which origin is not allowed, and how the run file would allow it.
    pub fn request(&self, url: &Url) -> Result<(), Refusal> {
        self.reach(url).map(drop)
    }

    /// Whether the secret of `slot` may go along in a request to `url`.
    ///
    /// # Errors
    /// If the request itself is forbidden, or the secret is not for that origin.
    pub fn secret(&self, slot: &str, url: &Url) -> Result<(), Refusal> {
        let origin = self.reach(url)?;
        if let Some(limits) = self.lock.as_ref().filter(|limits| limits.withheld.contains(slot)) {
            return Err(Refusal::Withheld { slot: slot.to_owned(), lock: limits.path.clone() });
        }
        let own = self.slots.get(slot).ok_or_else(|| Refusal::UnknownSlot(slot.to_owned()))?;
        if own.iter().any(|pattern| pattern.matches(&origin)) {
            return Ok(());
        }
        let slot = slot.to_owned();
        match &self.base {
            Some(base) if *base == origin && self.granted.contains(&slot) => Ok(()),
            Some(base) if *base == origin => Err(Refusal::NotGranted { slot, origin }),
            _ => Err(Refusal::NotForOrigin { slot, origin }),
        }
    }

    fn reach(&self, url: &Url) -> Result<Origin, Refusal> {
        let origin = Origin::of(url).map_err(Refusal::Origin)?;
        let is_among = |mut patterns: std::slice::Iter<'_, OriginPattern>| {
            patterns.any(|pattern| pattern.matches(&origin))
        };
        if is_among(self.reachable.iter()) {
            return Ok(origin);
        }
        if !is_among(self.asked.iter()) {
            return Err(Refusal::Unlisted(origin));
        }
        match &self.lock {
            Some(limits) if !limits.origins.iter().any(|pattern| pattern.matches(&origin)) => {
                Err(Refusal::Ungranted { origin, lock: limits.path.clone() })
            }
            _ => Ok(origin),
        }
    }
}

/// Origins as the manifest writes them.
fn patterns(declared: &Declared, texts: &[String]) -> Result<Vec<OriginPattern>, GrantsError> {
    texts
        .iter()
        .map(|text| text.parse::<OriginPattern>())
        .collect::<Result<_, _>>()
        .map_err(|source| GrantsError::Manifest { plugin: declared.id.clone(), source })
}

/// Slots with their own origins; each that is granted is among them.
fn slots(
    declared: &Declared,
    granted: &[String],
) -> Result<BTreeMap<String, Vec<OriginPattern>>, GrantsError> {
    let slots = declared
        .secrets
        .iter()
        .map(|slot| Ok((slot.slot.clone(), patterns(declared, &slot.origins)?)))
        .collect::<Result<BTreeMap<_, _>, GrantsError>>()?;
    match granted.iter().find(|slot| !slots.contains_key(*slot)) {
        None => Ok(slots),
        Some(unknown) => Err(GrantsError::UnknownSlot {
            plugin: declared.id.clone(),
            slot: unknown.clone(),
            known: slots.into_keys().collect(),
        }),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use plugin_api::manifest::SecretSlot;

    use super::*;

    fn declared() -> Declared {
        Declared {
            id: "acme".into(),
            origins: vec!["https://api.acme.com".into(), "https://*.acme.net".into()],
            secrets: vec![SecretSlot {
                slot: "api_key".into(),
                origins: vec!["https://api.acme.com".into()],
                ..SecretSlot::default()
            }],
            ..Declared::default()
        }
    }

    fn grants(base: &str, extra: &[&str], granted: &[&str]) -> Grants {
        let base = (!base.is_empty()).then(|| Origin::of(&base.parse().unwrap()).unwrap());
        let extra: Vec<_> = extra.iter().map(|text| text.parse().unwrap()).collect();
        let granted: Vec<_> = granted.iter().map(|&text| text.to_owned()).collect();
        Grants::new(&declared(), base, &extra, &granted).unwrap()
    }

    #[test]
    fn a_request_goes_only_where_the_manifest_or_the_run_file_says() {
        let table = [
            (grants("", &[], &[]), "https://api.acme.com/v1", true),
            (grants("", &[], &[]), "https://eu.acme.net/v1", true),
            (grants("", &[], &[]), "https://elsewhere.org/", false),
            (grants("", &[], &[]), "http://api.acme.com/v1", false),
            (grants("", &["https://elsewhere.org"], &[]), "https://elsewhere.org/", true),
            (grants("http://127.0.0.1:9", &[], &[]), "http://127.0.0.1:9/x", true),
            (grants("http://127.0.0.1:9", &[], &[]), "http://127.0.0.1:10/x", false),
            (grants("", &[], &[]), "https://u:p@api.acme.com/", false),
        ];
        for (grants, url, expected) in table {
            assert_eq!(grants.request(&url.parse().unwrap()).is_ok(), expected, "{url}");
        }
    }

    #[test]
    fn a_secret_goes_only_to_its_own_origins_or_a_granted_base_url() {
        let proxy = "https://proxy.org";
        let table = [
            (grants("", &[], &[]), "api_key", "https://api.acme.com/v1", "ok"),
            (grants("", &[], &[]), "api_key", "https://eu.acme.net/v1", "elsewhere"),
            (grants(proxy, &[], &[]), "api_key", "https://proxy.org/v1", "ungranted"),
            (grants(proxy, &[], &["api_key"]), "api_key", "https://proxy.org/v1", "ok"),
            (
                grants(proxy, &["https://other.org"], &["api_key"]),
                "api_key",
                "https://other.org/",
                "elsewhere",
            ),
            (grants("", &[], &[]), "api_key", "https://nobody.org/", "unlisted"),
            (grants("", &[], &[]), "other", "https://api.acme.com/", "unknown"),
        ];
        for (grants, slot, url, expected) in table {
            let got = match grants.secret(slot, &url.parse().unwrap()) {
                Ok(()) => "ok",
                Err(Refusal::NotGranted { .. }) => "ungranted",
                Err(Refusal::NotForOrigin { .. }) => "elsewhere",
                Err(Refusal::Unlisted(_)) => "unlisted",
                Err(Refusal::UnknownSlot(_)) => "unknown",
                Err(Refusal::Origin(_)) => "origin",
                Err(Refusal::Ungranted { .. }) => "not locked",
                Err(Refusal::Withheld { .. }) => "withheld",
            };
            assert_eq!(got, expected, "{slot} {url}");
        }
    }

    #[test]
    fn a_lock_file_narrows_what_the_manifest_asks_for_and_not_what_the_run_file_allows() {
        let locked = |base: &str, extra: &[&str], origins: &[&str], withheld: &[&str]| {
            grants(base, extra, &["api_key"]).within(Limits {
                path: "plugins.lock".into(),
                origins: origins.iter().map(|text| text.parse().unwrap()).collect(),
                withheld: withheld.iter().map(|&slot| slot.to_owned()).collect(),
            })
        };
        let api = "https://api.acme.com";
        let table = [
            (locked("", &[], &[api], &[]), "https://api.acme.com/v1", "ok", "ok"),
            (locked("", &[], &[], &[]), "https://api.acme.com/v1", "ungranted", "ungranted"),
            (locked("", &[], &[api], &["api_key"]), "https://api.acme.com/v1", "ok", "withheld"),
            // The lock file may name a part of what a wildcard asks for, and nothing beyond it.
            (locked("", &[], &["https://eu.acme.net"], &[]), "https://eu.acme.net/", "ok", "else"),
            (
                locked("", &[], &["https://eu.acme.net"], &[]),
                "https://us.acme.net/",
                "ungranted",
                "ungranted",
            ),
            (locked("", &[], &["https://x.org"], &[]), "https://x.org/", "unlisted", "unlisted"),
            (locked("", &["https://x.org"], &[], &[]), "https://x.org/", "ok", "else"),
            (locked("https://p.org", &[], &[], &[]), "https://p.org/", "ok", "ok"),
            (locked("https://p.org", &[], &[], &["api_key"]), "https://p.org/", "ok", "withheld"),
        ];
        let in_a_word = |refused: Result<(), Refusal>| match refused {
            Ok(()) => "ok",
            Err(Refusal::Unlisted(_)) => "unlisted",
            Err(Refusal::Ungranted { .. }) => "ungranted",
            Err(Refusal::Withheld { .. }) => "withheld",
            Err(_) => "else",
        };
        for (grants, url, request, secret) in table {
            let url = url.parse().unwrap();
            assert_eq!(in_a_word(grants.request(&url)), request, "{url}");
            assert_eq!(in_a_word(grants.secret("api_key", &url)), secret, "{url}");
        }
    }

    #[test]
    fn a_mock_is_all_that_its_backend_reaches() {
        let mock = Origin::of(&"http://127.0.0.1:9/acme".parse().unwrap()).unwrap();
        let grants = Grants::of_mock(&declared(), mock, &["api_key".into()]).unwrap();
        let table = [
            ("http://127.0.0.1:9/acme/v1", true),
            ("http://127.0.0.1:10/acme/v1", false),
            ("https://api.acme.com/v1", false),
        ];
        for (url, expected) in table {
            let url = url.parse().unwrap();
            assert_eq!(grants.request(&url).is_ok(), expected, "{url}");
            assert_eq!(grants.secret("api_key", &url).is_ok(), expected, "{url}");
        }
    }

    #[test]
    fn granting_an_unknown_slot_is_told() {
        let mock = Origin::of(&"http://127.0.0.1:9".parse().unwrap()).unwrap();
        for error in [
            Grants::new(&declared(), None, &[], &["apikey".into()]).unwrap_err(),
            Grants::of_mock(&declared(), mock, &["apikey".into()]).unwrap_err(),
        ] {
            assert_eq!(
                error.to_string(),
                "`secrets` names the slot `apikey`, which plugin `acme` does not declare (it has: api_key)"
            );
        }
    }
}
