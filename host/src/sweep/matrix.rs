//! The matrix of a sweep as its file says it: models, tasks, what all models share, and which pairs are left out or
//! differ. The keys of models and tasks are the template's business, and any are taken.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::{
    ConfigError, Problem, nearest,
    node::{self, Content, Node},
};

/// Keys of the file.
const KEYS: [&str; 6] = ["name", "defaults", "model", "task", "include", "exclude"];

/// A matrix.
#[derive(Debug)]
pub struct Matrix {
    /// Where it is.
    pub path: PathBuf,
    /// BLAKE3 of its bytes, in hex.
    pub blake3: String,
    /// Name of the sweep.
    pub name: Option<String>,
    /// What a model has that does not say otherwise.
    pub(super) defaults: Node,
    /// One or more, in order.
    pub models: Vec<Entry>,
    /// In order; none if the template has tasks of its own.
    pub tasks: Vec<Entry>,
    /// What some pairs are given, in order.
    pub include: Vec<Rule>,
    /// Pairs that are left out.
    pub exclude: Vec<Rule>,
}

/// A model or a task.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is called.
    pub id: String,
    /// Its keys as typed, and its id and name.
    pub values: Map<String, Value>,
    pub(super) node: Node,
}

/// Which pairs, and what they are given.
#[derive(Debug)]
pub struct Rule {
    /// Pattern of the model's id.
    pub model: Option<String>,
    /// Pattern of the task's id.
    pub task: Option<String>,
    /// All other keys.
    pub values: Map<String, Value>,
    pub(super) node: Node,
}

impl Matrix {
    /// Reads a matrix.
    ///
    /// # Errors
    /// It cannot be read, or with everything that is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let root = node::parse(path, text)?;
        let mut problems = Vec::new();
        for (key, entry) in root.as_table().into_iter().flatten() {
            if !KEYS.contains(&key.as_str()) {
                let hint = match nearest(key, KEYS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "known keys: {}; what every model has goes into [defaults]",
                        KEYS.join(", ")
                    ),
                };
                problems.push(Problem::new(&entry.place, key, "unknown key").hint(hint));
            }
        }
        let name = root.get("name").and_then(|name| {
            let text = name.as_str().filter(|text| !text.is_empty());
            if text.is_none() {
                problems.push(Problem::new(&name.place, "name", "expected a name"));
            }
            text.map(str::to_owned)
        });
        let defaults = root.get("defaults").cloned().unwrap_or_else(|| Node::table(&root.place));
        if defaults.as_table().is_none() {
            problems.push(Problem::new(
                &defaults.place,
                "defaults",
                "expected a table, [defaults]",
            ));
        }
        let [models, tasks] = ["model", "task"].map(|key| entries(&root, key, &mut problems));
        let [include, exclude] = ["include", "exclude"].map(|key| rules(&root, key, &mut problems));
        if models.is_empty() && problems.is_empty() {
            let problem =
                Problem::new(&root.place, "model", "a matrix needs one [[model]] or more");
            problems
                .push(problem.hint("for example: [[model]] and, on the next line, id = \"small\""));
        }
        ConfigError::unless_empty(problems)?;
        let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
        Ok(Self { path: path.to_owned(), blake3, name, defaults, models, tasks, include, exclude })
    }

    /// The keys of models and tasks that nothing uses, each with its place; `uses` is asked by table and key.
    pub fn unused(&self, uses: impl Fn(&str, &str) -> bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut look = |table: &str, prefix: &str, node: &Node, known: &[&str]| {
            for (key, entry) in node.as_table().into_iter().flatten() {
                if !known.contains(&key.as_str()) && !uses(table, key) {
                    let message = format!("the template never uses it: it has no `{table}.{key}`");
                    problems.push(Problem::new(&entry.place, format!("{prefix}.{key}"), message));
                }
            }
        };
        look("model", "defaults", &self.defaults, &[]);
        for model in &self.models {
            look("model", &format!("model.{}", model.id), &model.node, &["id", "name"]);
        }
        for task in &self.tasks {
            look("task", &format!("task.{}", task.id), &task.node, &["id", "name"]);
        }
        for rule in &self.include {
            look("model", "include", &rule.node, &["model", "task"]);
        }
        problems
    }
}

/// The tables of an array.
fn tables<'a>(root: &'a Node, key: &str, problems: &mut Vec<Problem>) -> Vec<&'a Node> {
    let Some(node) = root.get(key) else { return Vec::new() };
    let is_array = matches!(node.content, Content::Array(_));
    let tables: Vec<&Node> = node.items().iter().filter(|item| item.as_table().is_some()).collect();
    if !is_array || tables.len() < node.items().len() {
        problems.push(Problem::new(&node.place, key, format!("expected tables, [[{key}]]")));
    }
    tables
}

fn entries(root: &Node, key: &str, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for node in tables(root, key, problems) {
        let named = |key: &str| node.get_str(key).filter(|text| !text.is_empty());
        let Some(id) = named("id").or_else(|| named("name")) else {
            let message = format!("a [[{key}]] needs an `id`, a text that names its cells");
            problems.push(Problem::new(&node.place, key, message));
            continue;
        };
        if let Some(other) = entries.iter().find(|other| other.id == id) {
            let message = format!("`{id}` is the id of {} too", other.node.place);
            problems.push(Problem::new(&node.place, format!("{key}.id"), message));
        }
        let Value::Object(mut values) = node.to_value() else { continue };
        values.entry("id").or_insert_with(|| id.into());
        values.entry("name").or_insert_with(|| id.into());
        entries.push(Entry { id: id.to_owned(), values, node: node.clone() });
    }
    entries
}

fn rules(root: &Node, key: &str, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for node in tables(root, key, problems) {
        let Value::Object(mut values) = node.to_value() else { continue };
        let before = problems.len();
        let [model, task] = ["model", "task"].map(|side| match values.shift_remove(side) {
            None => None,
            Some(Value::String(pattern)) => Some(pattern),
            Some(_) => {
                let message =
                    format!("expected the id of a {side}, in which * stands for any text");
                let place = node.get(side).map_or(&node.place, |node| &node.place);
                problems.push(Problem::new(place, format!("{key}.{side}"), message));
                None
            }
        });
        let is_read = problems.len() == before;
        if is_read && key == "include" && values.is_empty() && (model.is_none() || task.is_none()) {
            let message = "gives nothing: name a `model` and a `task` to have that pair, or keys that pairs get";
            problems.push(Problem::new(&node.place, key, message));
        }
        if is_read && key == "exclude" && model.is_none() && task.is_none() && values.is_empty() {
            problems.push(Problem::new(
                &node.place,
                key,
                "expected `model`, `task` or keys of a model",
            ));
        }
        rules.push(Rule { model, task, values, node: node.clone() });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let table = [
            ("", "m.toml:1: model: a matrix needs one [[model]] or more"),
            (
                "[[models]]\nid = \"a\"\n",
                "m.toml:1: models: unknown key\n  hint: did you mean `model`?",
            ),
            (
                "temperature = 1\n[[model]]\nid = \"a\"\n",
                "m.toml:1: temperature: unknown key\n  hint: known keys",
            ),
            ("[model]\nid = \"a\"\n", "m.toml:1: model: expected tables, [[model]]"),
            ("[[model]]\nbase_url = \"x\"\n", "m.toml:1: model: a [[model]] needs an `id`"),
            (
                "[[model]]\nid = \"a\"\n[[model]]\nname = \"a\"\n",
                "m.toml:3: model.id: `a` is the id of m.toml:1 too",
            ),
            ("[[model]]\nid = \"a\"\n[[exclude]]\n", "m.toml:3: exclude: expected `model`"),
            (
                "[[model]]\nid = \"a\"\n[[include]]\nmodel = \"a\"\n",
                "m.toml:3: include: gives nothing",
            ),
            (
                "[[model]]\nid = \"a\"\n[[exclude]]\nmodel = 3\n",
                "m.toml:4: exclude.model: expected the id",
            ),
            ("name = 3\n[[model]]\nid = \"a\"\n", "m.toml:1: name: expected a name"),
            ("[[model]\n", "m.toml:1: "),
        ];
        for (text, expected) in table {
            let error = Matrix::parse(Path::new("m.toml"), text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_that_nothing_uses_is_named() {
        let text = "[defaults]\nstop = []\ntop = 1\n[[model]]\nid = \"a\"\nparallel_calls = 2\n[[task]]\nid = \"t\"\n\
                    [[include]]\nmodel = \"a\"\nodd = 1\n";
        let matrix = Matrix::parse(Path::new("m.toml"), text).unwrap();
        let unused = matrix.unused(|table, key| (table, key) == ("model", "stop"));
        let said: Vec<String> = unused.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "m.toml:3: defaults.top: the template never uses it: it has no `model.top`",
                "m.toml:6: model.a.parallel_calls: the template never uses it: it has no `model.parallel_calls`",
                "m.toml:11: include.odd: the template never uses it: it has no `model.odd`",
            ]
        );
    }
}
