//! The JSON Schema of run files for editors and other programs: what a person may type, before variables are filled in
//! and task files are read, with each plugin's own configuration where its backends have it.

use serde_json::{Map, Value, json};

use super::{schema, task::RUN_KEYS};
use crate::task::raw::RawTask;

/// A text that stands for a value of another type.
const REFERENCE: &str = r"^\$\{[^}]+\}$";
/// What a backend's own table gives to its plugin's configuration.
const GIVEN: [&str; 2] = ["base_url", "model"];

/// The schema. `plugins` gives the configuration schema of each plugin by its id.
pub fn published_schema<'a>(plugins: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Value {
    let mut root = schema::checked_schema();
    let description = "A run file of `host`: which tasks are asked of which backends, and how. `host schema` prints this \
                       with the plugins that it finds.";
    if let Some(root) = root.as_object_mut() {
        root.insert("title".into(), "host run file".into());
        root.insert("description".into(), description.into());
    }
    for place in ["/properties/max_samples", "/properties/seed", "/properties/run"] {
        root.pointer_mut(place).into_iter().for_each(allow_references);
    }
    for name in ["RawEngine", "RawBudget", "RawBackend", "RawReplica"] {
        definition(&mut root, name).into_iter().for_each(allow_references);
    }
    if let Some(tasks) = root.pointer_mut("/properties/task/items").and_then(Value::as_object_mut) {
        let own = tasks.remove("required").unwrap_or_else(|| json!([]));
        tasks.insert("anyOf".into(), json!([{ "required": [RUN_KEYS[0]] }, { "required": own }]));
    }
    let mut rules = Vec::new();
    let mut ids = Vec::new();
    for (id, config) in plugins {
        ids.push(Value::from(id));
        let name = format!("plugin:{id}");
        let Some(mut own) = own_schema(config, &name) else { continue };
        allow_references(&mut own);
        add_definition(&mut root, &name, own);
        rules.push(json!({
            "if": { "properties": { "plugin": { "const": id } }, "required": ["plugin"] },
            "then": { "properties": { "config": { "$ref": format!("#/$defs/{name}") } } },
        }));
    }
    if let Some(backend) = definition(&mut root, "RawBackend").and_then(Value::as_object_mut) {
        if let Some(plugin) = backend.get_mut("properties").and_then(|all| all.get_mut("plugin")) {
            // Others may be found at another time.
            plugin["examples"] = Value::Array(ids);
        }
        if !rules.is_empty() {
            backend.insert("allOf".into(), Value::Array(rules));
        }
    }
    root
}

/// What is known of a task by itself, as its file has it.
pub fn task_schema() -> Value {
    let mut schema = schemars::schema_for!(RawTask).to_value();
    schema::close(&mut schema);
    schema
}

fn definition<'a>(root: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    root.get_mut("$defs")?.get_mut(name)
}

fn add_definition(root: &mut Value, name: &str, schema: Value) {
    if let Some(root) = root.as_object_mut()
        && let Value::Object(definitions) = root.entry("$defs").or_insert_with(|| json!({}))
    {
        definitions.insert(name.to_owned(), schema);
    }
}

/// A plugin's schema as a definition of this name. None if it is not known.
fn own_schema(config: &Value, name: &str) -> Option<Value> {
    config.as_object().filter(|keywords| !keywords.is_empty())?;
    let mut own = config.clone();
    schema::close(&mut own);
    redirect(&mut own, name);
    let keywords = own.as_object_mut()?;
    keywords.remove("$schema");
    if let Some(required) = keywords.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| !GIVEN.iter().any(|given| key == given));
    }
    Some(own)
}

/// References from the root of a schema, now from that of the whole.
fn redirect(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(keywords) => {
            if let Some(Value::String(reference)) = keywords.get_mut("$ref")
                && let Some(rest) = reference.strip_prefix("#/")
            {
                *reference = format!("#/$defs/{name}/{rest}");
            }
            keywords.values_mut().for_each(|below| redirect(below, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|below| redirect(below, name)),
        _ => {}
    }
}

/// Lets each number and boolean of a schema also be a text that is one reference to the environment.
fn allow_references(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    for (keyword, below) in keywords.iter_mut() {
        match (keyword.as_str(), below) {
            ("properties" | "patternProperties" | "$defs", Value::Object(schemas)) => {
                schemas.values_mut().for_each(allow_references);
            }
            ("anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(allow_references);
            }
            ("items" | "additionalProperties", below) => allow_references(below),
            _ => {}
        }
    }
    let types: Vec<&str> = match keywords.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let stands_for = |name: &&str| matches!(*name, "integer" | "number" | "boolean");
    if !types.iter().any(stands_for) || types.contains(&"string") {
        return;
    }
    let mut shown = Map::new();
    for key in ["description", "default"] {
        shown.extend(keywords.remove(key).map(|value| (key.to_owned(), value)));
    }
    let value = Value::Object(std::mem::take(keywords));
    shown.insert("anyOf".into(), json!([value, { "type": "string", "pattern": REFERENCE }]));
    *keywords = shown;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        let tgi = json!({
            "$schema": "x",
            "type": "object",
            "properties": {
                "base_url": { "type": "string" },
                "timeout_ms": { "type": "integer", "minimum": 1 },
                "mode": { "$ref": "#/$defs/Mode" },
            },
            "required": ["base_url"],
            "$defs": { "Mode": { "enum": ["a", "b"] } },
        });
        published_schema([("tgi", &tgi), ("bare", &json!({}))])
    }

    #[test]
    fn what_may_be_typed_fits_and_what_may_not_does_not() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let run = |text: &str| -> Value { toml::from_str(text).unwrap() };
        let table = [
            ("max_samples = 5", true),
            ("max_samples = '${N:-5}'", true),
            ("max_samples = 'five'", false),
            ("max_sample = 5", false),
            ("run.hedge = '${H}'", true),
            ("run.budget.max_tokens = '${T}'", true),
            ("[[task]]\nfile = 'tasks/piqa.toml'\ntarget = 'x'", true),
            ("[[task]]\nid = 'a'", false),
            (
                "[[backend]]\nplugin = 'tgi'\nbase_url = 'x'\nrpm = '${R}'\nconfig = { mode = 'a' }",
                true,
            ),
            ("[[backend]]\nplugin = 'tgi'\nconfig = { timeout_ms = '${T}' }", true),
            ("[[backend]]\nplugin = 'tgi'\nconfig = { timeout_ms = 0 }", false),
            ("[[backend]]\nplugin = 'tgi'\nconfig = { mode = 'c' }", false),
            ("[[backend]]\nplugin = 'tgi'\nconfig = { more = 1 }", false),
            ("[[backend]]\nplugin = 'another'\nconfig = { more = 1 }", true),
            ("[[backend]]\nplugin = 'bare'\nconfig = { more = 1 }", true),
            ("[[backend]]\nid = 'tgi'", false),
        ];
        for (text, fits) in table {
            let problems: Vec<_> =
                validator.iter_errors(&run(text)).map(|error| error.to_string()).collect();
            assert_eq!(problems.is_empty(), fits, "{text}: {problems:?}");
        }
    }

    #[test]
    fn a_task_file_has_a_schema_of_its_own() {
        let validator = jsonschema::validator_for(&task_schema()).unwrap();
        let piqa = std::fs::read_to_string("../config/tasks/piqa.toml").unwrap();
        let piqa: Value = toml::from_str(&piqa).unwrap();
        assert!(validator.is_valid(&piqa));
        assert!(!validator.is_valid(&json!({ "id": "x", "knd": "generate" })));
    }
}
