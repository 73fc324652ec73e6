//! The JSON Schema of a run file: of the typed types, with the keys that a `[[task]]` has beside the
//! task's own.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::raw::RawRun;
use crate::task::raw::RawTask;

/// The schema that a run file must fit once its task files are merged into it.
pub(crate) fn checked_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut root = object(RawRun::json_schema(&mut generator));
    let mut task = object(RawTask::json_schema(&mut generator));
    add_property(
        &mut task,
        "file",
        json!({"type": "string", "description": "A task file, relative to the run file; keys beside it override the file's."}),
    );
    add_property(
        &mut task,
        "backends",
        json!({"type": "array", "items": {"type": "string"}, "description": "Ids of the backends that it runs on; all by default."}),
    );
    add_property(
        &mut task,
        "max_samples",
        json!({"type": "integer", "minimum": 1, "description": "Most samples of this task."}),
    );
    let tasks = json!({"type": "array", "items": task, "description": "The tasks that are run."});
    add_property(&mut root, "task", tasks);
    // A property of the schema alone: what a profile sets is in place by the time that the file is read.
    add_property(
        &mut root,
        "profiles",
        json!({
            "type": "object",
            "additionalProperties": {"type": "object"},
            "description": "Settings for one occasion and another, by name: in each the keys of a run file, as `--set` would change them (`backend.small.base_url = \"…\"`).",
        }),
    );
    root.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    root.insert("title".into(), "run file".into());
    root.insert("$defs".into(), Value::Object(generator.take_definitions(true)));
    let mut schema = Value::Object(root);
    close(&mut schema);
    schema
}

/// The top-level keys of a run file.
pub(crate) fn keys_of_run(schema: &Value) -> Vec<String> {
    keys(schema.get("properties"))
}

/// The keys of a `[[backend]]`.
pub(crate) fn keys_of_backends(schema: &Value) -> Vec<String> {
    keys(properties_at(schema, &["backend"]))
}

/// Tables of a `[[task]]` of which keys are often typed beside them.
const OF_TASKS: [&str; 6] = ["generate", "prompt", "data", "choices", "extract", "few_shot"];

/// The places where a key of this name belongs, in words that end "it is …"; none if there is no such key.
pub(crate) fn homes_of(schema: &Value, key: &str) -> Option<String> {
    let has = |path: &[&str]| {
        properties_at(schema, path).is_some_and(|properties| properties.get(key).is_some())
    };
    let mut homes = Vec::new();
    if has(&[]) {
        homes.push("a key of the whole file, before its first table".to_owned());
    }
    for table in ["run", "run.budget"] {
        if has(&table.split('.').collect::<Vec<_>>()) {
            homes.push(format!("`{table}.{key}`"));
        }
    }
    for list in ["backend", "task"] {
        if has(&[list]) {
            homes.push(format!("a key of a `[[{list}]]`"));
        }
    }
    let of_tasks = OF_TASKS.into_iter().filter(|table| has(&["task", table]));
    homes.extend(of_tasks.map(|table| format!("`{table}.{key}` of a `[[task]]`")));
    (!homes.is_empty()).then(|| homes.join(", or "))
}

/// What may stand in the table, or in each of the tables, that these keys lead to.
fn properties_at<'a>(schema: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut table = schema;
    for key in path {
        table = table.get("properties")?.get(*key)?;
        table = table.get("items").unwrap_or(table);
        let of_kind = |one: &'a Value| one.get("$ref").and_then(Value::as_str);
        let any = table.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        if let Some(reference) = of_kind(table).or_else(|| any.filter_map(of_kind).next()) {
            table = schema.pointer(reference.strip_prefix('#')?)?;
        }
    }
    table.get("properties")
}

fn keys(properties: Option<&Value>) -> Vec<String> {
    properties.and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned().collect()
}

/// Refuses unknown keys in every object that lists its keys and does not say otherwise. Left open:
/// what is composed (`allOf`, or a `$ref` beside other keys), because a part of it does not list the keys of the whole.
pub(crate) fn close(schema: &mut Value) {
    let mut composed = Vec::new();
    composed_definitions(schema, false, &mut composed);
    close_below(schema);
    for name in composed {
        if let Some(definition) = schema.pointer_mut(&name).and_then(Value::as_object_mut) {
            definition.remove("additionalProperties");
        }
    }
}

fn close_below(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let says = [
        "additionalProperties",
        "patternProperties",
        "unevaluatedProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "$ref",
    ];
    if map.contains_key("properties") && !says.iter().any(|key| map.contains_key(*key)) {
        map.insert("additionalProperties".into(), Value::Bool(false));
    }
    for (keyword, value) in map.iter_mut() {
        match (keyword.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions",
                Value::Object(schemas),
            ) => {
                schemas.values_mut().for_each(close_below);
            }
            ("anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(close_below)
            }
            ("items" | "additionalProperties", schema) => close_below(schema),
            _ => {}
        }
    }
}

/// Pointers of the definitions that are used as a part of a larger object and were open.
fn composed_definitions(schema: &Value, inside_all_of: bool, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let part = inside_all_of || map.contains_key("properties");
            if let (true, Some(reference)) = (part, map.get("$ref").and_then(Value::as_str)) {
                found.extend(reference.strip_prefix('#').map(str::to_owned));
            }
            for (key, value) in map {
                let composed = key == "allOf"
                    || (map.contains_key("properties")
                        && matches!(key.as_str(), "anyOf" | "oneOf"));
                composed_definitions(value, composed, found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| composed_definitions(item, inside_all_of, found))
        }
        _ => {}
    }
}

fn object(schema: Schema) -> Map<String, Value> {
    match schema.to_value() {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn add_property(map: &mut Map<String, Value>, name: &str, schema: Value) {
    if let Value::Object(properties) = map.entry("properties").or_insert_with(|| json!({})) {
        properties.insert(name.to_owned(), schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_closed_where_it_lists_its_keys() {
        let schema = checked_schema();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["task"]["items"]["properties"]["file"].is_object());
        assert!(jsonschema::validator_for(&schema).is_ok());
    }

    #[test]
    fn no_key_is_both_a_runs_and_a_backends() {
        let schema = checked_schema();
        let (of_run, of_backends) = (keys_of_run(&schema), keys_of_backends(&schema));
        assert!(of_run.contains(&"max_samples".to_owned()), "{of_run:?}");
        assert!(of_backends.contains(&"base_url".to_owned()), "{of_backends:?}");
        assert!(!of_run.iter().any(|key| of_backends.contains(key)));
    }

    #[test]
    fn composed_objects_stay_open() {
        let mut schema = json!({
            "properties": {"a": {"$ref": "#/$defs/A"}, "b": {"properties": {"tag": {}}, "$ref": "#/$defs/B"}},
            "$defs": {"A": {"properties": {"x": {}}}, "B": {"properties": {"y": {}}}},
        });
        close(&mut schema);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["$defs"]["A"]["additionalProperties"], false);
        assert!(schema["$defs"]["B"].get("additionalProperties").is_none());
        assert!(schema["properties"]["b"].get("additionalProperties").is_none());
    }
}
