//! `--set key=value`: changes the tree before anything is checked, so that what is set is checked too.

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::node::{self, Content, Node, Table};
use super::profile;
use super::task::PATH_KEYS;

/// One parsed `--set`.
#[derive(Debug)]
pub(crate) struct Set {
    path: Vec<String>,
    value: Node,
}

impl Set {
    /// Parses `key=value`. The value is TOML; a text that is not TOML is taken as a string, unless it
    /// begins like a TOML array, table or quoted string.
    pub(crate) fn parse(argument: &str) -> Result<Self, Problem> {
        // The value stays out of messages: it may be a secret that does not belong there.
        let shown = argument.split_once('=').map_or(argument, |(key, _)| key).trim();
        let place = Place::Argument(format!("--set {shown}").into());
        let wrong = |message: &str| {
            Problem::new(&place, "", message).hint("for example: --set run.concurrency=8")
        };
        let (key, text) = argument.split_once('=').ok_or_else(|| wrong("expected KEY=VALUE"))?;
        let path = parse_key(key.trim()).ok_or_else(|| wrong("the key is not a dotted path"))?;
        let text = text.trim();
        let mut problems = Vec::new();
        let value = match DeValue::parse(text) {
            Ok(value) => {
                node::from_toml(value.get_ref(), &place, &|_| place.clone(), &mut problems)
            }
            Err(error) if text.starts_with(['[', '{', '"', '\'']) => {
                return Err(wrong(&format!("the value is not TOML: {}", error.message().trim())));
            }
            Err(_) => Node::string(text, &place),
        };
        match problems.pop() {
            Some(problem) => Err(problem),
            None => Ok(Self { path, value }),
        }
    }

    /// A set that the command line has a flag of its own for.
    pub(crate) fn flag(flag: &str, key: &str, value: Value) -> Self {
        let place = Place::Argument(flag.into());
        Self { path: vec![key.into()], value: Node::new(Content::Scalar(value), &place) }
    }

    /// A set that a file holds.
    pub(crate) fn new(path: Vec<String>, value: Node) -> Self {
        Self { path, value }
    }

    /// The same below another key.
    pub(crate) fn below(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self
    }

    /// What is set.
    pub(crate) fn path(&self) -> &[String] {
        &self.path
    }

    pub(crate) fn value_mut(&mut self) -> &mut Node {
        &mut self.value
    }

    /// Whether it says which profile there is or which one is taken, and so must be applied before one is.
    pub(crate) fn is_of_profiles(&self) -> bool {
        self.path.first().is_some_and(|first| profile::KEYS.contains(&first.as_str()))
    }

    /// Whether it changes a task, which is not whole before its file is read.
    pub(crate) fn is_of_task(&self) -> bool {
        self.path.first().is_some_and(|first| first == "task")
    }

    /// Whether it names the file of a task, and so must be applied before task files are read.
    pub(crate) fn names_task_file(&self) -> bool {
        matches!(self.path.as_slice(), [first, .., last] if first == "task" && last == "file")
    }

    /// Whether it says which task files are read, and from where, and so must be applied before they are.
    pub(crate) fn is_of_task_files(&self) -> bool {
        self.names_task_file() || self.path.iter().eq(["folder"])
    }

    /// Writes the value into `root`, creating tables on the way. In an array of tables a number selects
    /// by position, a name the element of that id; anything else is a key of every element.
    pub(crate) fn apply(&self, root: &mut Node) -> Result<(), Problem> {
        self.write(root, &self.path)
    }

    fn write(&self, node: &mut Node, path: &[String]) -> Result<(), Problem> {
        let Some((segment, rest)) = path.split_first() else {
            *node = self.value.clone();
            return Ok(());
        };
        match &mut node.content {
            Content::Table(table) => {
                let place = &self.value.place;
                let creates_elements = matches!(segment.as_str(), "backend" | "task" | "group")
                    && path.len() == self.path.len();
                if creates_elements && !rest.is_empty() && !table.contains_key(segment) {
                    return Err(Problem::new(
                        place,
                        self.path.join("."),
                        format!("the run file has no [[{segment}]] to change"),
                    ));
                }
                let entry = table.entry(segment.clone()).or_insert_with(|| Node::table(place));
                self.write(entry, rest)
            }
            Content::Array(items) => {
                let named = items.iter().position(|item| item.name() == Some(segment));
                let selected =
                    segment.parse().ok().filter(|index: &usize| *index < items.len()).or(named);
                if let Some(index) = selected {
                    return items.get_mut(index).map_or(Ok(()), |item| self.write(item, rest));
                }
                let tables =
                    !items.is_empty() && items.iter().all(|item| item.as_table().is_some());
                if tables && segment.parse::<usize>().is_err() {
                    return items.iter_mut().try_for_each(|item| self.write(item, path));
                }
                Err(self.no_element(segment, items))
            }
            Content::Scalar(_) => {
                let key = self.path.join(".");
                Err(Problem::new(
                    &self.value.place,
                    key,
                    format!("`{segment}` cannot be set inside a value that is no table"),
                ))
            }
        }
    }

    fn no_element(&self, segment: &str, items: &[Node]) -> Problem {
        let names: Vec<_> = items.iter().filter_map(Node::name).collect();
        let problem = Problem::new(
            &self.value.place,
            self.path.join("."),
            format!("there is no element `{segment}` among {}", items.len()),
        );
        if names.is_empty() {
            problem
        } else {
            problem.hint(format!("elements: {}", names.join(", ")))
        }
    }
}

/// Makes paths that a `--set` gave absolute. Who types one means the current directory, and not the
/// folder of a file that may be someone else's.
pub(crate) fn anchor_paths(root: &mut Node) {
    let Some(table) = root.as_table_mut() else { return };
    table.get_mut("folder").into_iter().for_each(anchor);
    for task in table.get_mut("task").into_iter().flat_map(Node::items_mut) {
        for path in PATH_KEYS {
            task.at_mut(path).into_iter().for_each(anchor);
        }
    }
    for backend in table.get_mut("backend").into_iter().flat_map(Node::items_mut) {
        let assets = backend.at_mut(&["asset"]).and_then(Node::as_table_mut);
        for asset in assets.into_iter().flat_map(Table::values_mut) {
            for source in asset.at_mut(&["sources"]).into_iter().flat_map(Node::items_mut) {
                source.at_mut(&["path"]).into_iter().for_each(anchor);
            }
        }
    }
}

fn anchor(node: &mut Node) {
    if let (Place::Argument(_), Content::Scalar(Value::String(text))) =
        (&node.place, &mut node.content)
    {
        // It fails for an empty path, which is told when it cannot be read, and without a current
        // directory, where nothing relative can be read.
        if let Ok(path) = std::path::absolute(&*text) {
            *text = path.to_string_lossy().into_owned();
        }
    }
}

/// Bare and quoted segments, as TOML has them.
fn parse_key(key: &str) -> Option<Vec<String>> {
    let text = format!("{key} = 0");
    let table = DeTable::parse(&text).ok()?;
    let mut path = Vec::new();
    let mut level = table.get_ref();
    loop {
        let mut entries = level.iter();
        let (Some((name, value)), None) = (entries.next(), entries.next()) else { return None };
        path.push(name.get_ref().clone().into_owned());
        match value.get_ref() {
            DeValue::Table(inner) => level = inner,
            DeValue::Integer(_) => return Some(path),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const FILE: &str =
        "seed = 1\n[[backend]]\nid = \"a\"\n[[backend]]\nid = \"b\"\n[[task]]\nid = \"piqa\"\n";

    #[test]
    fn a_value_lands_where_the_path_says() {
        let table = [
            ("seed=2", "/seed", "2"),
            ("run.concurrency = 8", "/run/concurrency", "8"),
            ("run.store=hash", "/run/store", "\"hash\""),
            ("run.store=\"12\"", "/run/store", "\"12\""),
            (
                "backend.base_url=http://127.0.0.1:1/x?a=b",
                "/backend/0/base_url",
                "\"http://127.0.0.1:1/x?a=b\"",
            ),
            ("backend.base_url=x", "/backend/1/base_url", "\"x\""),
            ("backend.b.model=m", "/backend/1/model", "\"m\""),
            ("backend.1.model=m", "/backend/1/model", "\"m\""),
            ("backend.a.config.deep.er=[1, 2]", "/backend/0/config/deep/er", "[1,2]"),
            ("task.piqa.\"odd.key\"=true", "/task/0/odd.key", "true"),
        ];
        for (argument, pointer, expected) in table {
            let mut node = node::parse(Path::new("r.toml"), FILE).unwrap();
            Set::parse(argument).unwrap().apply(&mut node).unwrap();
            let value = node.to_value();
            assert_eq!(
                value.pointer(pointer).map(ToString::to_string).as_deref(),
                Some(expected),
                "{argument}"
            );
        }
    }

    #[test]
    fn a_value_with_nowhere_to_go_is_told() {
        let table = [
            (
                "nonsense",
                "--set nonsense: expected KEY=VALUE\n  hint: for example: --set run.concurrency=8",
            ),
            (
                "a..b=1",
                "--set a..b: the key is not a dotted path\n  hint: for example: --set run.concurrency=8",
            ),
            ("seed.x=1", "--set seed.x: seed.x: `x` cannot be set inside a value that is no table"),
            (
                "backend.7.model=x",
                "--set backend.7.model: backend.7.model: there is no element `7` among 2\n  hint: elements: a, b",
            ),
            (
                "group.metric=x",
                "--set group.metric: group.metric: the run file has no [[group]] to change",
            ),
        ];
        for (argument, expected) in table {
            let mut node = node::parse(Path::new("r.toml"), FILE).unwrap();
            let error = Set::parse(argument).and_then(|set| set.apply(&mut node)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{argument}");
        }
        assert!(Set::parse("a=[1").is_err());
    }
}
