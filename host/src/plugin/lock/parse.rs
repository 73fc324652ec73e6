//! From the text of a lock file to what it says; every problem with its line and key.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use super::{
    entry::{Asks, Entry, FORMAT, LockFile, LockedFile},
    signature,
};
use crate::config::{
    ConfigError, Isolation, Problem, nearest,
    node::{self, Content, Node},
};

const KEYS: [&str; 2] = ["format", "plugin"];
const PLUGIN_KEYS: [&str; 7] =
    ["allow_unchecked_layout", "env", "isolation", "origins", "platform", "secrets", "signed_by"];
const PLATFORM_KEYS: [&str; 2] = ["sha256", "version"];

impl LockFile {
    /// Parses the text of a lock file; `path` serves messages alone.
    ///
    /// # Errors
    /// Everything that is wrong in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let root = node::parse(path, text)?;
        let mut problems = Vec::new();
        let format = root.get("format").map(|node| (node, node.to_value()));
        match format {
            Some((_, value)) if value == FORMAT => {}
            Some((node, value)) => {
                let newer = value.as_i64().is_some_and(|format| format > FORMAT);
                let hint = if newer { "a newer host wrote it" } else { "write `format = 1`" };
                let problem = Problem::new(
                    &node.place,
                    "format",
                    format!("expected {FORMAT}, found {value}"),
                );
                // Of another format nothing else is known.
                return Err(ConfigError::Invalid(vec![problem.hint(hint)]));
            }
            None => problems.push(
                Problem::new(&root.place, "format", "it is missing").hint("write `format = 1`"),
            ),
        }
        let mut reader = Reader { problems };
        reader.keys(&root, "", &KEYS);
        let mut lock = Self::default();
        for (id, node) in reader.table(root.get("plugin"), "plugin") {
            let key = format!("plugin.{id}");
            let entry = reader.entry(node, &key);
            lock.plugins.insert(id.clone(), entry);
        }
        ConfigError::unless_empty(reader.problems)?;
        Ok(lock)
    }
}

/// Reads on after a problem, so that all are told at once.
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn wrong(&mut self, node: &Node, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(&node.place, key, message));
    }

    fn keys(&mut self, node: &Node, key: &str, known: &[&str]) {
        for (name, value) in node.as_table().into_iter().flatten() {
            if !known.contains(&name.as_str()) {
                let hint = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known keys: {}", known.join(", ")),
                };
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                self.problems.push(Problem::new(&value.place, key, "unknown key").hint(hint));
            }
        }
    }

    fn table<'a>(
        &mut self,
        node: Option<&'a Node>,
        key: &str,
    ) -> impl Iterator<Item = (&'a String, &'a Node)> + use<'a> {
        if let Some(node) = node.filter(|node| node.as_table().is_none()) {
            self.wrong(node, key, format!("expected tables, [{key}.NAME]"));
        }
        node.and_then(Node::as_table).into_iter().flatten()
    }

    fn entry(&mut self, node: &Node, key: &str) -> Entry {
        if node.as_table().is_none() {
            self.wrong(node, key, format!("expected a table, [{key}]"));
            return Entry::default();
        }
        self.keys(node, key, &PLUGIN_KEYS);
        let mut entry = Entry {
            isolation: node.get("isolation").and_then(|value| {
                let key = format!("{key}.isolation");
                let known = match value.as_str() {
                    Some("worker") => Some(Isolation::Worker),
                    Some("in-process") => Some(Isolation::InProcess),
                    _ => None,
                };
                if known.is_none() {
                    self.wrong(value, &key, "expected \"worker\" or \"in-process\"");
                }
                known
            }),
            asks: Asks {
                secrets: self.texts(node, key, "secrets", |text| Ok(text.to_owned())),
                env: self.texts(node, key, "env", |text| Ok(text.to_owned())),
                origins: self.texts(node, key, "origins", |text| {
                    text.parse().map_err(|error: crate::secret::OriginError| error.to_string())
                }),
            },
            allow_unchecked_layout: node.get("allow_unchecked_layout").is_some_and(|value| {
                let Content::Scalar(Value::Bool(allow)) = &value.content else {
                    self.wrong(
                        value,
                        &format!("{key}.allow_unchecked_layout"),
                        "expected true or false",
                    );
                    return false;
                };
                *allow
            }),
            signed_by: node.get("signed_by").and_then(|value| {
                let key = format!("{key}.signed_by");
                let parsed = value.as_str().ok_or_else(|| "expected a text".to_owned());
                match parsed
                    .and_then(|text| signature::key(text).map_err(|error| error.to_string()))
                {
                    Ok(text) => Some(text),
                    Err(message) => {
                        self.wrong(value, &key, message);
                        None
                    }
                }
            }),
            ..Entry::default()
        };
        let place = format!("{key}.platform");
        let files: Vec<_> = self.table(node.get("platform"), &place).collect();
        if files.is_empty() {
            let message = format!("it names no file: expected a table, [{place}.NAME]");
            self.wrong(node, key, message);
        }
        for (platform, node) in files {
            if let Some(file) = self.file(node, &format!("{place}.{platform}")) {
                entry.files.insert(platform.clone(), file);
            }
        }
        entry
    }

    fn file(&mut self, node: &Node, key: &str) -> Option<LockedFile> {
        self.keys(node, key, &PLATFORM_KEYS);
        let [version, sha256] = ["version", "sha256"].map(|name| {
            let value = node.get(name);
            let text = value.and_then(Node::as_str);
            if text.is_none() {
                let at = value.unwrap_or(node);
                self.wrong(at, &format!("{key}.{name}"), "expected a text");
            }
            value.zip(text)
        });
        let (place, text) = sha256?;
        let digest = text
            .parse()
            .map_err(|error: crate::asset::Sha256Error| {
                self.wrong(place, &format!("{key}.sha256"), error.to_string());
            })
            .ok()?;
        Some(LockedFile { version: version?.1.to_owned(), sha256: digest })
    }

    fn texts<T: Ord>(
        &mut self,
        node: &Node,
        key: &str,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> BTreeSet<T> {
        let key = format!("{key}.{name}");
        let Some(list) = node.get(name) else { return BTreeSet::new() };
        if !matches!(list.content, Content::Array(_)) {
            self.wrong(list, &key, "expected a list of texts");
        }
        let mut texts = BTreeSet::new();
        for item in list.items() {
            let text = item.as_str().ok_or_else(|| "expected a text".to_owned());
            match text.and_then(&parse) {
                Ok(text) => drop(texts.insert(text)),
                Err(message) => self.wrong(item, &key, message),
            }
        }
        texts
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
