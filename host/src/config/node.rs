//! A run file as a tree in which every value remembers where it was written, whichever file or
//! argument it came from. It knows TOML and JSON, but no key.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Problem};

/// A value and its place: for an entry of a table, the place of its key.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) place: Place,
    /// The environment variable that the whole of a text stood for.
    pub(crate) variable: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Boolean, number or string.
    Scalar(Value),
    Array(Vec<Node>),
    Table(Table),
}

pub(crate) type Table = BTreeMap<String, Node>;

impl Node {
    pub(crate) fn new(content: Content, place: &Place) -> Self {
        Self { content, place: place.clone(), variable: None }
    }

    pub(crate) fn string(text: impl Into<String>, place: &Place) -> Self {
        Self::new(Content::Scalar(Value::String(text.into())), place)
    }

    pub(crate) fn table(place: &Place) -> Self {
        Self::new(Content::Table(Table::new()), place)
    }

    /// A JSON value as a tree that was written in one place. Nulls, which a run file cannot hold, are left out.
    pub(crate) fn from_value(value: &Value, place: &Place) -> Self {
        let content = match value {
            Value::Array(items) => {
                Content::Array(items.iter().map(|item| Self::from_value(item, place)).collect())
            }
            Value::Object(object) => Content::Table(
                object
                    .iter()
                    .filter(|(_, item)| !item.is_null())
                    .map(|(key, item)| (key.clone(), Self::from_value(item, place)))
                    .collect(),
            ),
            scalar => Content::Scalar(scalar.clone()),
        };
        Self::new(content, place)
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        if let Content::Table(table) = &self.content { Some(table) } else { None }
    }

    pub(crate) fn as_table_mut(&mut self) -> Option<&mut Table> {
        if let Content::Table(table) = &mut self.content { Some(table) } else { None }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_table()?.get(key)
    }

    /// What a path through tables leads to.
    pub(crate) fn at_mut(&mut self, path: &[&str]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, key| node.as_table_mut()?.get_mut(*key))
    }

    pub(crate) fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// A text; none for another value.
    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Content::Scalar(Value::String(text)) = &self.content { Some(text) } else { None }
    }

    /// The elements of an array; nothing for another value.
    pub(crate) fn items(&self) -> &[Node] {
        if let Content::Array(items) = &self.content { items } else { &[] }
    }

    pub(crate) fn items_mut(&mut self) -> &mut [Node] {
        if let Content::Array(items) = &mut self.content { items } else { &mut [] }
    }

    /// The same value without its places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Table(table) => Value::Object(
                table
                    .iter()
                    .map(|(key, node)| (key.clone(), node.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// Every entry of `over` replaces the entry of the same name; tables are merged.
    pub(crate) fn merge(&mut self, over: Node) {
        match (&mut self.content, over.content) {
            (Content::Table(mine), Content::Table(theirs)) => {
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(entry) => entry.merge(node),
                        None => drop(mine.insert(key, node)),
                    }
                }
            }
            (_, content) => *self = Node { content, ..over },
        }
    }

    /// The place and the readable name of what `path` leads to, or of the last thing on the way that exists.
    pub(crate) fn locate(&self, path: &[String]) -> (Place, String) {
        let (mut node, mut names) = (Some(self), Vec::new());
        let mut place = self.place.clone();
        for segment in path {
            let (next, name) = match node.map(|node| &node.content) {
                Some(Content::Table(table)) => (table.get(segment), segment.clone()),
                Some(Content::Array(items)) => {
                    let item = segment.parse().ok().and_then(|index: usize| items.get(index));
                    (item, item.and_then(Node::name).unwrap_or(segment).to_owned())
                }
                _ => (None, segment.clone()),
            };
            if let Some(next) = next {
                place = next.place.clone();
            }
            node = next;
            names.push(name);
        }
        (place, names.join("."))
    }

    /// By what an element of an array of tables is called: its `id`, or its plugin's.
    pub(crate) fn name(&self) -> Option<&str> {
        self.get_str("id").or_else(|| self.get_str("plugin"))
    }
}

/// Reads a TOML file.
///
/// # Errors
/// If it cannot be read or is not TOML.
pub(crate) fn read(path: &Path) -> Result<Node, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(path, &text)
}

/// Parses TOML; `path` serves the places alone.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Node, ConfigError> {
    let lines = Lines { path: path.into(), text };
    let table = DeTable::parse(text).map_err(|error| {
        let place = lines.place(error.span().map_or(0, |span| span.start));
        ConfigError::Invalid(vec![Problem::new(&place, "", error.message().trim())])
    })?;
    let mut problems = Vec::new();
    let node =
        from_table(table.get_ref(), &lines.place(0), &|offset| lines.place(offset), &mut problems);
    ConfigError::unless_empty(problems)?;
    Ok(node)
}

/// A parsed value with places of its own; `place` turns a byte offset into one.
pub(crate) fn from_toml(
    value: &DeValue<'_>,
    here: &Place,
    place: &dyn Fn(usize) -> Place,
    problems: &mut Vec<Problem>,
) -> Node {
    let scalar = |value: Value| Node::new(Content::Scalar(value), here);
    match value {
        DeValue::String(text) => scalar(Value::String(text.clone().into_owned())),
        DeValue::Boolean(value) => scalar(Value::Bool(*value)),
        DeValue::Datetime(value) => scalar(Value::String(value.to_string())),
        DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
            Ok(number) => scalar(Value::from(number)),
            Err(_) => {
                problems.push(Problem::new(
                    here,
                    "",
                    format!("`{}` does not fit a 64-bit integer", value.as_str()),
                ));
                scalar(Value::Null)
            }
        },
        DeValue::Float(value) => match value.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => scalar(Value::Number(number)),
            None => {
                problems.push(Problem::new(
                    here,
                    "",
                    format!("`{}` is not a finite number", value.as_str()),
                ));
                scalar(Value::Null)
            }
        },
        DeValue::Array(items) => {
            let items = items
                .iter()
                .map(|item| from_toml(item.get_ref(), &place(item.span().start), place, problems));
            Node::new(Content::Array(items.collect()), here)
        }
        DeValue::Table(table) => from_table(table, here, place, problems),
    }
}

fn from_table(
    table: &DeTable<'_>,
    here: &Place,
    place: &dyn Fn(usize) -> Place,
    problems: &mut Vec<Problem>,
) -> Node {
    let entries = table.iter().map(|(key, value)| {
        let node = from_toml(value.get_ref(), &place(key.span().start), place, problems);
        (key.get_ref().clone().into_owned(), node)
    });
    Node::new(Content::Table(entries.collect()), here)
}

struct Lines<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        Place::line(&self.path, before.iter().filter(|byte| **byte == b'\n').count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line_and_its_name() {
        let text = "name = \"x\"\n[run]\nconcurrency = 0x10\n[[backend]]\nid = \"a\"\n[[backend]]\nplugin = \"b\"\n[backend.config]\nt = [\n 1.5,\n true]\n";
        let node = parse(Path::new("r.toml"), text).unwrap();
        let table = [
            ("name", "r.toml:1", "name"),
            ("run/concurrency", "r.toml:3", "run.concurrency"),
            ("backend/0/id", "r.toml:5", "backend.a.id"),
            ("backend/1/config/t/1", "r.toml:11", "backend.b.config.t.1"),
            ("backend/1/config/missing", "r.toml:8", "backend.b.config.missing"),
        ];
        for (path, place, name) in table {
            let path: Vec<_> = path.split('/').map(str::to_owned).collect();
            let (found, display) = node.locate(&path);
            assert_eq!((found.to_string().as_str(), display.as_str()), (place, name));
        }
        assert_eq!(node.to_value()["backend"][1]["config"]["t"], serde_json::json!([1.5, true]));
        assert_eq!(node.to_value()["run"]["concurrency"], 16);
    }

    #[test]
    fn broken_toml_names_its_line() {
        let error = parse(Path::new("r.toml"), "a = 1\nb = = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("r.toml:2: "), "{error}");
        let error = parse(Path::new("r.toml"), "a = 1\nb = inf\n").unwrap_err().to_string();
        assert_eq!(error, "r.toml:2: `inf` is not a finite number");
    }
}
