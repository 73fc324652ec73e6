//! A run file as it is meant, key by key, each with where its value came from: what `host show` prints.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::env::Variables;
use super::error::Place;
use super::load::RunFile;
use super::node::{Content, Node};
use super::resolved::{BackendConfig, Concurrency, Engine, MaxUnscored, SyncPolicy};

/// Beyond this column comments are not aligned: one long value should not push all others away.
const COMMENTS: usize = 44;

/// One value of a run file.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename = "setting")]
pub struct Setting {
    /// The tables that it stands in: `backend`, the element's number, `config`.
    #[serde(skip)]
    tables: Vec<Step>,
    /// Its name as `--set` has it.
    pub key: String,
    /// The value, variables filled in.
    pub value: Value,
    /// `FILE:LINE`, an argument as typed, or none for a default.
    pub from: Option<String>,
    /// The environment variable that the value was taken from, or would have been if it were set.
    pub variable: Option<String>,
    /// Whether it is not set, so that the default beside it holds.
    pub variable_is_unset: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    /// An element of an array of tables, and its number.
    Element(usize),
}

impl RunFile {
    /// Every value of the run file. `config_schema` gives the schema of a plugin's configuration by the plugin's id, of
    /// which the defaults are taken.
    pub fn shown<'a>(
        &self,
        config_schema: &dyn Fn(&str) -> Option<&'a Value>,
        variables: &Variables<'_>,
    ) -> Vec<Setting> {
        let mut meant = self.root.to_value();
        if let Some(map) = meant.as_object_mut() {
            // What the one that is taken sets is in place.
            map.remove("profiles");
        }
        fill(&mut meant, &self.defaults(config_schema));
        let mut settings = Vec::new();
        walk(&meant, Some(&self.root), &mut Vec::new(), "", &mut settings);
        for setting in &mut settings {
            let value = setting.variable.as_deref().map(variables);
            setting.variable_is_unset =
                value.is_some_and(|value| value.is_none_or(|value| value.is_empty()));
        }
        settings
    }

    /// What holds where the file says nothing, in the file's own shape.
    fn defaults<'a>(&self, config_schema: &dyn Fn(&str) -> Option<&'a Value>) -> Value {
        let config = &self.config;
        let backends = config.backends.iter().map(|backend| {
            let mut table = backend_defaults(backend, &config.run);
            let schema = config_schema(&backend.plugin);
            let properties = schema.and_then(|schema| schema.get("properties"));
            for (key, about) in properties.and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = about.get("default").filter(|value| !value.is_null()) {
                    table["config"][key.as_str()] = default.clone();
                }
            }
            table
        });
        let tasks = config.tasks.iter().map(|task| {
            let mut table = json!(task.task);
            table["backends"] = json!(task.backends);
            table
        });
        json!({
            "name": config.name,
            "out": config.out,
            "run": engine_defaults(&config.run),
            "backend": backends.collect::<Vec<_>>(),
            "task": tasks.collect::<Vec<_>>(),
        })
    }
}

fn engine_defaults(engine: &Engine) -> Value {
    json!({
        "concurrency": concurrency(engine.concurrency),
        "min_concurrency": engine.concurrency.floor,
        "max_concurrency": engine.concurrency.ceiling,
        "max_retries": engine.max_retries,
        "attempt_timeout": duration(engine.attempt_timeout),
        "idle_timeout": duration(engine.idle_timeout),
        "connect_timeout": duration(engine.connect_timeout),
        "sample_timeout": duration(engine.sample_timeout),
        "loading_timeout": duration(engine.loading_timeout),
        "max_unscored": match engine.max_unscored {
            MaxUnscored::Count(count) => json!(count),
            MaxUnscored::Share(share) => json!(share),
        },
        "store": engine.store,
        "sync": match engine.sync {
            SyncPolicy::Every => "every".to_owned(),
            SyncPolicy::Within(within) => duration(within),
            SyncPolicy::End => "end".to_owned(),
        },
        "hedge": engine.hedge,
        "cache": engine.cache,
        "budget": { "min_samples": engine.budget.min_samples },
    })
}

fn backend_defaults(backend: &BackendConfig, engine: &Engine) -> Value {
    let mut table = json!({
        "id": backend.id,
        "stream": backend.stream,
        "route": backend.route,
        "eject_after": backend.eject_after,
        "wait_ready": duration(backend.wait_ready),
        "allow_unchecked_layout": backend.allow_unchecked_layout,
        "config": {},
    });
    if backend.concurrency != engine.concurrency {
        table["concurrency"] = concurrency(backend.concurrency);
    }
    table
}

fn concurrency(concurrency: Concurrency) -> Value {
    if concurrency.auto { "auto".into() } else { concurrency.ceiling.into() }
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// Puts in what is missing.
fn fill(meant: &mut Value, defaults: &Value) {
    match (meant, defaults) {
        (Value::Object(meant), Value::Object(defaults)) => {
            for (key, default) in defaults {
                match meant.get_mut(key) {
                    Some(there) => fill(there, default),
                    None => drop(meant.insert(key.clone(), default.clone())),
                }
            }
        }
        (Value::Array(meant), Value::Array(defaults))
            if meant.iter().all(Value::is_object) && meant.len() == defaults.len() =>
        {
            meant.iter_mut().zip(defaults).for_each(|(meant, default)| fill(meant, default));
        }
        _ => {}
    }
}

/// Values first and tables after them, as TOML wants it.
fn walk(
    value: &Value,
    node: Option<&Node>,
    tables: &mut Vec<Step>,
    name: &str,
    settings: &mut Vec<Setting>,
) {
    let Some(map) = value.as_object() else { return };
    let of_node = |key: &str| node.and_then(|node| node.get(key));
    let join = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    for (key, value) in map.iter().filter(|(_, value)| !is_table(value)) {
        let own = of_node(key);
        settings.push(Setting {
            tables: [tables.as_slice(), &[Step::Key(key.clone())]].concat(),
            key: join(key),
            value: value.clone(),
            from: own.map(|node| place(&node.place)),
            variable: own.and_then(|node| node.variable.as_deref()).map(str::to_owned),
            variable_is_unset: false,
        });
    }
    for (key, value) in map.iter().filter(|(_, value)| is_table(value)) {
        tables.push(Step::Key(key.clone()));
        match (value, of_node(key).map(|node| &node.content)) {
            (Value::Array(items), content) => {
                let nodes = match content {
                    Some(Content::Array(nodes)) => nodes.as_slice(),
                    _ => &[],
                };
                for (index, item) in items.iter().enumerate() {
                    let own = item.get("id").or_else(|| item.get("plugin")).and_then(Value::as_str);
                    let name = own.map_or_else(|| index.to_string(), str::to_owned);
                    tables.push(Step::Element(index));
                    walk(
                        item,
                        nodes.get(index),
                        tables,
                        &format!("{}.{name}", join(key)),
                        settings,
                    );
                    tables.pop();
                }
            }
            _ => walk(value, of_node(key), tables, &join(key), settings),
        }
        tables.pop();
    }
}

/// Whether TOML writes it below a header of its own.
fn is_table(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_object),
        _ => false,
    }
}

fn place(place: &Place) -> String {
    place.to_string()
}

/// The settings as TOML that can be run, with a comment for each value that says where it came from.
pub fn as_toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut current: &[Step] = &[];
    for setting in settings {
        let Some((Step::Key(key), tables)) = setting.tables.split_last() else { continue };
        if tables != current {
            header(tables, &mut text);
            current = tables;
        }
        let line = format!("{} = {}", toml_key(key), toml_value(&setting.value));
        let from = match (&setting.from, &setting.variable) {
            (Some(from), Some(variable)) if setting.variable_is_unset => {
                format!("{from}, for want of ${variable}")
            }
            (Some(from), Some(variable)) => format!("{from}, by ${variable}"),
            (Some(from), None) => from.clone(),
            (None, _) => "default".to_owned(),
        };
        let _ = writeln!(text, "{line:<COMMENTS$}  # {from}");
    }
    text
}

fn header(tables: &[Step], text: &mut String) {
    let names: Vec<String> = tables
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(toml_key(key)),
            Step::Element(_) => None,
        })
        .collect();
    let name = names.join(".");
    let is_element = matches!(tables.last(), Some(Step::Element(_)));
    let _ = if is_element { writeln!(text, "\n[[{name}]]") } else { writeln!(text, "\n[{name}]") };
}

fn toml_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { toml_text(key) }
}

/// A JSON value as TOML writes it on one line.
pub fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => toml_text(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => inline_table(map),
        other => other.to_string(),
    }
}

fn inline_table(map: &Map<String, Value>) -> String {
    if map.is_empty() {
        return "{}".to_owned();
    }
    let entries =
        map.iter().map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value)));
    format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
}

/// A basic string: JSON's escapes are TOML's, but for one more character that must be escaped.
pub(crate) fn toml_text(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::{GOOD, load_text};
    use super::*;

    #[test]
    fn what_is_shown_is_a_run_file_that_means_the_same() {
        let (_folder, loaded) = load_text(GOOD, &["run.concurrency=3"]);
        let file = loaded.unwrap();
        let schema = json!({ "properties": { "details": { "type": "boolean", "default": true } } });
        let settings = file.shown(&|plugin| (plugin == "tgi").then_some(&schema), &|_| None);
        let text = as_toml(&settings);
        let read: Value = toml::from_str(&text).unwrap();
        assert_eq!(read["run"]["max_retries"], 15);
        assert_eq!(read["backend"][0]["config"]["details"], true);
        let find = |key: &str| settings.iter().find(|one| one.key == key).unwrap().clone();
        assert_eq!(find("run.concurrency").from.as_deref(), Some("--set run.concurrency"));
        assert_eq!(find("run.max_retries").from, None);
        let url = find("backend.tgi.base_url");
        assert_eq!((url.variable.as_deref(), url.variable_is_unset), (Some("URL"), true));
        let text_of_url = text.lines().find(|line| line.starts_with("base_url")).unwrap();
        assert!(text_of_url.ends_with(", for want of $URL"), "{text_of_url}");
        assert!(find("backend.tgi.plugin").from.unwrap().contains(".toml:"));
        // It is a run file, too: every key that is shown is one.
        let (_folder, again) = load_text(&text, &[]);
        let again = again.unwrap();
        let mut expected = json!(file.config);
        expected["backends"][0]["config"]["details"] = true.into();
        assert_eq!(json!(again.config), expected, "{text}");
    }

    #[test]
    fn any_text_survives_as_toml() {
        for text in ["", "a\"b\\c", "\u{7f}\u{1}\n\t", "日本 {{ x }} ${Y}"] {
            let line =
                format!("{} = {}", toml_key(text), toml_value(&json!([text, { text: 1.5 }])));
            let read: Value = toml::from_str(&line).unwrap();
            assert_eq!(read[text], json!([text, { text: 1.5 }]));
        }
    }
}
