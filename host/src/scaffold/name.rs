//! The name of a new plugin: its id in run files, and the name of its crate and library.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::plugin::discover::BUNDLED;

/// Longest name, in bytes: file names hold it, and more.
const MAX_BYTES: usize = 64;

/// Words of Rust, which no crate can be called by.
const RUST: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "use", "virtual", "where", "while", "yield",
];

/// Crates that every plugin in Rust can name already.
const CRATES: [&str; 9] =
    ["alloc", "core", "plugin_abi", "plugin_api", "proc_macro", "schemars", "serde", "std", "test"];

/// A name that a plugin can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginName(String);

/// Why a name is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// A character that does not belong there, or none at all.
    #[error(
        "a plugin's name is made of lower-case letters, digits, `-` and `_`, begins with a letter and has {MAX_BYTES} characters at most{}",
        hint(nearest.as_deref())
    )]
    Letters {
        /// The name that comes near.
        nearest: Option<String>,
    },
    /// Its crate could not be called so.
    #[error(
        "the plugin's crate cannot be called so, as Rust has that word itself; take another name, `{0}-plugin` say"
    )]
    Word(String),
    /// Its crate would stand beside another one of this name.
    #[error(
        "the plugin's crate would be mistaken for another one that it needs; take another name, `{0}-plugin` say"
    )]
    Crate(String),
    /// A plugin that comes with the host has it.
    #[error(
        "a plugin that comes with this host has that id, and an id is used once; take another name, `my-{0}` say"
    )]
    Bundled(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; `{name}` is one"))
}

impl FromStr for PluginName {
    type Err = NameError;

    fn from_str(typed: &str) -> Result<Self, NameError> {
        if !is_made_of_letters(typed) {
            let nearest = Some(tidied(typed)).filter(|tidy| is_made_of_letters(tidy));
            return Err(NameError::Letters { nearest });
        }
        let name = Self(typed.to_owned());
        if RUST.contains(&typed) {
            return Err(NameError::Word(name.0));
        }
        if CRATES.contains(&name.of_crate().as_str()) {
            return Err(NameError::Crate(name.0));
        }
        if BUNDLED.contains(&typed) {
            return Err(NameError::Bundled(name.0));
        }
        Ok(name)
    }
}

fn is_made_of_letters(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    name.len() <= MAX_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(legal)
}

/// The name without what does not belong there.
fn tidied(typed: &str) -> String {
    let lower = typed.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    joined.trim_start_matches(|c: char| !c.is_ascii_lowercase()).to_owned()
}

impl PluginName {
    /// As it is: the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a name of Rust's.
    pub(super) fn of_crate(&self) -> String {
        self.0.replace('-', "_")
    }

    /// As the beginning of an environment variable's name.
    pub(super) fn of_variable(&self) -> String {
        self.of_crate().to_ascii_uppercase()
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_id_and_a_crate() {
        for good in ["acme", "acme-2", "a_b-c", "a", "fnord", &"x".repeat(64)] {
            assert_eq!(PluginName::from_str(good).unwrap().as_str(), good);
        }
        let letters =
            |nearest: Option<&str>| NameError::Letters { nearest: nearest.map(str::to_owned) };
        for (bad, error) in [
            ("", letters(None)),
            ("Acme Corp.", letters(Some("acme-corp"))),
            ("../acme", letters(Some("acme"))),
            ("9lives", letters(Some("lives"))),
            ("-acme", letters(Some("acme"))),
            ("größe", letters(Some("gr-e"))),
            ("日本", letters(None)),
            (&"x".repeat(65), letters(None)),
            ("type", NameError::Word("type".into())),
            ("plugin-api", NameError::Crate("plugin-api".into())),
            ("serde", NameError::Crate("serde".into())),
            ("tgi", NameError::Bundled("tgi".into())),
        ] {
            assert_eq!(PluginName::from_str(bad).unwrap_err(), error, "{bad}");
        }
    }
}
