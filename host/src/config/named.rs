//! A run without a run file: tasks and backends that the command line names.

use std::path::PathBuf;

use super::error::Place;
use super::node::{Content, Node, Table};
use super::overrides::Set;
use super::schema;

/// What the command line names in place of a run file.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Names of tasks as typed, with their files.
    pub tasks: Vec<(String, PathBuf)>,
    /// Ids of plugins.
    pub backends: Vec<String>,
}

impl Named {
    /// What the run is called.
    pub(crate) fn name(&self) -> String {
        let tasks = self
            .tasks
            .iter()
            .map(|(_, file)| file.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        tasks.chain(self.backends.iter().cloned()).collect::<Vec<_>>().join("-")
    }

    /// The run file that says the same.
    pub(crate) fn tree(&self) -> Node {
        let place = |flag: &str, name: &str| Place::Argument(format!("--{flag} {name}").into());
        let table = |key: &str, value: &str, place: &Place| {
            let entry = (key.to_owned(), Node::string(value, place));
            Node::new(Content::Table(Table::from([entry])), place)
        };
        let tasks = self.tasks.iter().map(|(name, file)| {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            // A path that holds a dollar is that path.
            let file = file.to_string_lossy().replace('$', "$$");
            table("file", &file, &place("task", name))
        });
        let backends = self.backends.iter().map(|id| table("plugin", id, &place("backend", id)));
        let here = Place::Argument("--task".into());
        let array = |items: Vec<Node>| Node::new(Content::Array(items), &here);
        let root = [("task", tasks.collect()), ("backend", backends.collect())]
            .map(|(key, items)| (key.to_owned(), array(items)));
        Node::new(Content::Table(Table::from(root)), &here)
    }

    /// What is set in a run without a file: a key that only backends have is every backend's.
    pub(crate) fn adapt(sets: Vec<Set>) -> Vec<Set> {
        let schema = schema::checked_schema();
        let (of_run, of_backends) =
            (schema::keys_of_run(&schema), schema::keys_of_backends(&schema));
        let has =
            |keys: &[String], set: &Set| set.path().first().is_some_and(|key| keys.contains(key));
        sets.into_iter()
            .map(|set| {
                if !has(&of_run, &set) && has(&of_backends, &set) {
                    set.below("backend")
                } else {
                    set
                }
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;
