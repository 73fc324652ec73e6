//! Looks a plugin's secret slots up: environment variables in order, then the first line of files.
//! Reads nothing else, and never says what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plugin_api::manifest::SecretSlot;
use thiserror::Error;

use super::Secret;

/// Where slots are looked up. A value, so that tests need no real environment.
pub struct Lookup<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What `~` at the beginning of a file's path stands for.
    pub home: Option<&'a Path>,
}

/// The secrets of one backend that were found, by slot.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    by_slot: BTreeMap<String, Secret>,
    /// Slots that hold placeholders, which nobody has to hide.
    placeholders: BTreeSet<String>,
}

/// What a mock is sent in a secret's place.
const PLACEHOLDER: &str = "mock";

/// Why a slot has no usable value. Never carries the value.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Nothing was found for a slot that the backend cannot work without.
    #[error("the secret `{slot}` was not found; {}", hint(env, files))]
    Missing {
        /// Name of the slot.
        slot: String,
        /// Variables that were looked at.
        env: Vec<String>,
        /// Files that were looked at.
        files: Vec<String>,
    },
    /// A value that no header can carry.
    #[error(
        "the secret `{slot}` from {place} contains a line break or another control character; a header cannot carry it"
    )]
    Unprintable {
        /// Name of the slot.
        slot: String,
        /// `$NAME` or the file.
        place: String,
    },
    /// A token file that exists and cannot be read.
    #[error("the secret `{slot}`: cannot read {}: {source}", path.display())]
    File {
        /// Name of the slot.
        slot: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Secrets {
    /// Looks every slot up. An empty variable, a missing file or an empty first line counts as not found.
    ///
    /// # Errors
    /// If a slot that is not optional has no value, a value cannot go into a header, or a file that
    /// exists cannot be read.
    pub fn resolve(slots: &[SecretSlot], lookup: &Lookup<'_>) -> Result<Self, SecretError> {
        let mut found = BTreeMap::new();
        for slot in slots {
            match find(slot, lookup)? {
                Some((secret, _)) => drop(found.insert(slot.slot.clone(), secret)),
                None if slot.optional => {}
                None => {
                    return Err(SecretError::Missing {
                        slot: slot.slot.clone(),
                        env: slot.env.clone(),
                        files: slot.files.clone(),
                    });
                }
            }
        }
        Ok(Self { by_slot: found, placeholders: BTreeSet::new() })
    }

    /// A placeholder in every slot, for a server that is the host's own mock. Nothing is looked up: a plugin
    /// fills in its headers as it would for the vendor, and no secret is there that could go astray.
    pub fn placeholders(slots: &[SecretSlot]) -> Self {
        let filled =
            slots.iter().map(|slot| (slot.slot.clone(), Secret::new(PLACEHOLDER.to_owned())));
        let by_slot: BTreeMap<_, _> = filled.collect();
        let placeholders = by_slot.keys().cloned().collect();
        Self { by_slot, placeholders }
    }

    /// Takes the secret of a slot for a placeholder.
    pub fn take_for_placeholder(&mut self, slot: &str) {
        self.placeholders.insert(slot.to_owned());
    }

    /// The secret of a slot, if it is present.
    pub fn get(&self, slot: &str) -> Option<&Secret> {
        self.by_slot.get(slot)
    }

    /// Names of the slots that are present, in order: what `open` is told.
    pub fn present(&self) -> impl Iterator<Item = &str> {
        self.by_slot.keys().map(String::as_str)
    }

    /// Slots whose values must be hidden, with these, for the redactor.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let hidden = self.by_slot.iter().filter(|(slot, _)| !self.placeholders.contains(*slot));
        hidden.map(|(slot, secret)| (slot.as_str(), secret))
    }
}

/// Where the secret of a slot would be taken from, `$NAME` or a file; none if it is nowhere.
///
/// # Errors
/// As for [`Secrets::resolve`], but for a secret that is missing.
pub fn place_of(slot: &SecretSlot, lookup: &Lookup<'_>) -> Result<Option<String>, SecretError> {
    Ok(find(slot, lookup)?.map(|(_, place)| place))
}

/// The secret of a slot, and where it is from.
fn find(slot: &SecretSlot, lookup: &Lookup<'_>) -> Result<Option<(Secret, String)>, SecretError> {
    for name in &slot.env {
        if let Some(value) = (lookup.variable)(name) {
            let (value, place) = (Secret::new(value), format!("${name}"));
            if let Some(secret) = usable(slot, value.expose(), &place)? {
                return Ok(Some((secret, place)));
            }
        }
    }
    for file in &slot.files {
        let Some(path) = expand(file, lookup) else { continue };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Secret::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(SecretError::File { slot: slot.slot.clone(), path, source }),
        };
        let line = text.expose().lines().next().unwrap_or_default();
        let place = path.display().to_string();
        if let Some(secret) = usable(slot, line, &place)? {
            return Ok(Some((secret, place)));
        }
    }
    Ok(None)
}

/// White space around a value is a slip of copying, never part of a token.
fn usable(slot: &SecretSlot, value: &str, place: &str) -> Result<Option<Secret>, SecretError> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    if value.chars().any(char::is_control) {
        return Err(SecretError::Unprintable { slot: slot.slot.clone(), place: place.to_owned() });
    }
    Ok(Some(Secret::new(value.to_owned())))
}

/// The file that a manifest means: `~/…` lies in the user's home, `$NAME` or `$NAME/…` where that variable says.
/// None without a home, or if the variable is unset or empty: then there is no such file.
fn expand(file: &str, lookup: &Lookup<'_>) -> Option<PathBuf> {
    if let Some(rest) = file.strip_prefix("~/") {
        return lookup.home.map(|home| home.join(rest));
    }
    let Some(named) = file.strip_prefix('$') else { return Some(PathBuf::from(file)) };
    let (name, rest) = named.split_once('/').unwrap_or((named, ""));
    let value = (lookup.variable)(name).filter(|value| !value.is_empty())?;
    let start = match value.strip_prefix("~/") {
        Some(inside) => lookup.home?.join(inside),
        None => PathBuf::from(value),
    };
    // An empty rest would add a slash, which no file's name ends in.
    Some(if rest.is_empty() { start } else { start.join(rest) })
}

fn hint(env: &[String], files: &[String]) -> String {
    let variables = env.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(" or ");
    match (env.is_empty(), files.is_empty()) {
        (true, true) => "its slot names no place to look in".into(),
        (false, true) => format!("set {variables}"),
        (true, false) => format!("write it into {}", files.join(" or ")),
        (false, false) => format!("set {variables}, or write it into {}", files.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(env: &[&str], files: &[&str], optional: bool) -> SecretSlot {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        SecretSlot {
            slot: "key".into(),
            env: own(env),
            files: own(files),
            optional,
            origins: vec![],
        }
    }

    #[test]
    fn a_placeholder_fills_every_slot_and_is_not_hidden() {
        let slots = [slot(&["A"], &[], false)];
        let secrets = Secrets::placeholders(&slots);
        assert_eq!(secrets.present().collect::<Vec<_>>(), ["key"]);
        assert_eq!(secrets.get("key").unwrap().expose(), "mock");
        assert_eq!(secrets.iter().count(), 0);
    }

    #[test]
    fn variables_come_before_files_and_empty_ones_do_not_count() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from-file\nsecond line\n").unwrap();
        std::fs::write(home.path().join("empty"), "\n").unwrap();
        let variable = |name: &str| match name {
            "A" => Some("from-a\n".to_owned()),
            "EMPTY" => Some(String::new()),
            "BROKEN" => Some("a\nb".to_owned()),
            _ => None,
        };
        let lookup = Lookup { variable: &variable, home: Some(home.path()) };
        let table = [
            (slot(&["NONE", "A"], &["~/token"], false), "from-a"),
            (slot(&["EMPTY"], &["~/nothing", "~/empty", "~/token"], false), "from-file"),
            (slot(&["NONE"], &[], true), "-"),
            (
                slot(&["NONE", "EMPTY"], &["~/nothing"], false),
                "the secret `key` was not found; set $NONE or $EMPTY, or write it into ~/nothing",
            ),
            (
                slot(&["BROKEN"], &[], true),
                "the secret `key` from $BROKEN contains a line break or another control character; a header cannot carry it",
            ),
        ];
        for (slot, expected) in table {
            let got = match Secrets::resolve(&[slot], &lookup) {
                Ok(secrets) => {
                    secrets.get("key").map_or("-".to_owned(), |secret| secret.expose().to_owned())
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_file_may_lie_where_a_variable_says() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("hub")).unwrap();
        std::fs::write(home.path().join("hub/token"), "from-the-hub").unwrap();
        std::fs::write(home.path().join("token"), "from-home").unwrap();
        let hub = home.path().join("hub").display().to_string();
        let token = format!("{hub}/token");
        let variable = |name: &str| match name {
            "HUB" => Some(hub.clone()),
            "TOKEN_PATH" => Some(token.clone()),
            "TILDE" => Some("~/hub".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let lookup = Lookup { variable: &variable, home: Some(home.path()) };
        for (files, expected) in [
            (&["$HUB/token"][..], "from-the-hub"),
            (&["$TOKEN_PATH"], "from-the-hub"),
            (&["$TILDE/token"], "from-the-hub"),
            // Unset and empty ones are skipped: the root's `/token` is not meant.
            (&["$NONE/token", "$EMPTY/token", "$EMPTY", "$", "~/token"], "from-home"),
            // Only the beginning of a path is a variable.
            (&["~/$HUB/token", "~/token"], "from-home"),
        ] {
            let secrets = Secrets::resolve(&[slot(&[], files, false)], &lookup).unwrap();
            assert_eq!(secrets.get("key").unwrap().expose(), expected, "{files:?}");
        }
        let missing = Secrets::resolve(&[slot(&[], &["$NONE/token"], false)], &lookup);
        assert_eq!(
            missing.unwrap_err().to_string(),
            "the secret `key` was not found; write it into $NONE/token"
        );
    }
}
