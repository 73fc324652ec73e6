//! What locking a file changes in its entry. Pure.

use super::entry::{ANY, Asks, Entry, LockedFile};
use crate::config::Isolation;

/// A plugin that is to be locked.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its file.
    pub file: LockedFile,
    /// Whether it came with this host.
    pub installed: bool,
    /// What its manifest asks for.
    pub asks: Asks,
}

/// What the user grants beside what an entry has already.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// To run in the host's own process.
    pub in_process: bool,
    /// To load without a layout check.
    pub unchecked_layout: bool,
    /// Everything that it asks for now.
    pub asked: bool,
    /// Its files must be signed by this key.
    pub signed_by: Option<String>,
}

/// What a file is to its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There was no entry.
    New,
    /// The entry had files of other platforms only.
    NewPlatform,
    /// The entry had another file.
    Changed(LockedFile),
    /// The entry had this file.
    Same,
}

/// An entry as it is after locking.
#[derive(Clone, Debug)]
pub struct Change {
    /// What the file was to the entry.
    pub kind: Kind,
    /// The entry.
    pub entry: Entry,
    /// Whether it grants anything else than before.
    pub grants_changed: bool,
    /// Whether it had files of single machines, which a file for all machines takes the place of.
    pub replaces_others: bool,
    /// What the plugin asks for and is not granted.
    pub withheld: Asks,
}

impl Change {
    /// Whether the lock file was out of date.
    pub fn is_any(&self) -> bool {
        self.kind != Kind::Same || self.grants_changed || self.replaces_others
    }
}

/// Locks a file. An entry that is new grants what the plugin asks for, but not the host's process to a stranger. One that
/// was there keeps its grants: what its plugin asks for beyond them it gets only if the user says so, since that may
/// have been taken from it on purpose.
pub fn lock(before: Option<&Entry>, found: &Found, wish: &Wish, platform: &str) -> Change {
    let kind = match before.map(|entry| entry.files.get(platform)) {
        None => Kind::New,
        Some(None) => Kind::NewPlatform,
        Some(Some(file)) if file.sha256 == found.file.sha256 => Kind::Same,
        Some(Some(file)) => Kind::Changed(file.clone()),
    };
    let mut entry = before.cloned().unwrap_or_else(|| Entry {
        isolation: (!found.installed).then_some(Isolation::Worker),
        asks: found.asks.clone(),
        ..Entry::default()
    });
    let is_other = |name: &String| platform == ANY && name != ANY;
    let replaces_others = entry.files.keys().any(is_other);
    entry.files.retain(|name, _| !is_other(name));
    entry.files.insert(platform.to_owned(), found.file.clone());
    if wish.asked {
        entry.asks.add(&found.asks);
    }
    if wish.in_process {
        entry.isolation = Some(Isolation::InProcess);
    }
    entry.allow_unchecked_layout |= wish.unchecked_layout;
    if let Some(signer) = &wish.signed_by {
        entry.signed_by = Some(signer.clone());
    }
    let grants_changed = before.is_some_and(|before| before.record() != entry.record());
    let withheld = found.asks.beyond(&entry.asks);
    Change { kind, withheld, grants_changed, replaces_others, entry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::Sha256;

    fn asks(origins: &[&str], secrets: &[&str]) -> Asks {
        Asks {
            origins: origins.iter().map(|text| text.parse().unwrap()).collect(),
            secrets: secrets.iter().map(|&text| text.to_owned()).collect(),
            env: ["ACME_HOME".to_owned()].into(),
        }
    }

    fn found(version: &str, asks: Asks) -> Found {
        let file =
            LockedFile { version: version.to_owned(), sha256: Sha256::of(version.as_bytes()) };
        Found { file, installed: false, asks }
    }

    #[test]
    fn a_new_entry_grants_what_is_asked_for_but_not_the_hosts_process() {
        let one = found("1", asks(&["https://a.org"], &["key"]));
        let change = lock(None, &one, &Wish::default(), "p");
        assert_eq!((&change.kind, change.is_any()), (&Kind::New, true));
        assert_eq!(change.entry.isolation, Some(Isolation::Worker));
        assert_eq!(change.entry.asks, one.asks);
        assert!(change.withheld.is_empty() && !change.entry.allow_unchecked_layout);
        let ours = Found { installed: true, ..one.clone() };
        // Nothing is said, so that a stranger's file of the same name has no more than any stranger's.
        assert_eq!(lock(None, &ours, &Wish::default(), "p").entry.isolation, None);
        let wish = Wish { in_process: true, unchecked_layout: true, ..Wish::default() };
        let entry = lock(None, &one, &wish, "p").entry;
        assert_eq!(entry.isolation, Some(Isolation::InProcess));
        assert!(entry.allow_unchecked_layout);
    }

    #[test]
    fn a_changed_file_keeps_its_grants_and_gets_no_more() {
        let before = {
            let one = found("1", asks(&["https://a.org"], &["key"]));
            let mut entry = lock(None, &one, &Wish::default(), "p").entry;
            entry.asks.secrets.clear();
            entry.isolation = Some(Isolation::InProcess);
            entry
        };
        let two = found("2", asks(&["https://a.org", "https://b.org"], &["key", "other"]));
        let change = lock(Some(&before), &two, &Wish::default(), "p");
        assert_eq!(change.kind, Kind::Changed(before.files["p"].clone()));
        assert!(!change.grants_changed && change.is_any());
        assert_eq!(change.entry.record(), before.record());
        assert_eq!(change.entry.files["p"], two.file);
        let words = change.withheld.record().in_words().unwrap();
        assert_eq!(words, "origin https://b.org, secret `key`, secret `other`");

        let wish = Wish { asked: true, ..Wish::default() };
        let granted = lock(Some(&before), &two, &wish, "p");
        assert!(granted.grants_changed && granted.withheld.is_empty());
        assert_eq!(granted.entry.asks, two.asks);
    }

    #[test]
    fn platforms_lie_side_by_side_and_the_same_file_changes_nothing() {
        let (one, two) = (found("1", Asks::default()), found("2", Asks::default()));
        let first = lock(None, &one, &Wish::default(), "x86_64-linux").entry;
        let change = lock(Some(&first), &two, &Wish::default(), "aarch64-linux");
        assert_eq!((&change.kind, change.is_any()), (&Kind::NewPlatform, true));
        assert_eq!(change.entry.files["x86_64-linux"], one.file);
        assert_eq!(change.entry.files["aarch64-linux"], two.file);
        let again = lock(Some(&change.entry), &two, &Wish::default(), "aarch64-linux");
        assert_eq!((&again.kind, again.is_any()), (&Kind::Same, false));
    }
    #[test]
    fn a_file_for_all_machines_takes_the_place_of_those_for_single_ones() {
        let (one, two) = (found("1", Asks::default()), found("2", Asks::default()));
        let mut entry = lock(None, &one, &Wish::default(), "x86_64-linux").entry;
        let change = lock(Some(&entry), &two, &Wish::default(), ANY);
        assert_eq!((&change.kind, change.replaces_others), (&Kind::NewPlatform, true));
        assert_eq!(change.entry.files, [(ANY.to_owned(), two.file.clone())].into());
        // One that stands beside it already is dropped, though nothing else changes.
        entry.files.insert(ANY.to_owned(), two.file.clone());
        let again = lock(Some(&entry), &two, &Wish::default(), ANY);
        assert_eq!((&again.kind, again.is_any()), (&Kind::Same, true));
        assert_eq!(again.entry.files, change.entry.files);
        assert!(!lock(Some(&again.entry), &two, &Wish::default(), ANY).is_any());
    }
}
