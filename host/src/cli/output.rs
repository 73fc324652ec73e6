//! What commands print under `--json`, as one JSON Schema: `host schema --output`. It is made from the records' own
//! types, so that it cannot say anything else than they do.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    TypedRecord,
    cache::CacheRecord,
    check::CheckRecord,
    ctl::StatusRecord,
    doctor::Fact,
    done::Done,
    generate::Made,
    mock::Launch,
    plugin::PluginRecord,
    plugin_check::PluginCheckRecord,
    plugin_lock::{LockedRecord, UnlockedRecord},
    plugin_new::NewPluginRecord,
    release::ReleaseRecord,
    run::RunRecord,
    score::RescoredRecord,
    show::Record as PreviewRecord,
    task::TaskRecord,
};
use crate::{
    config::{self, Setting},
    report::{collected::CollectEvent, comparison::record::CompareRecord, json::ReportRecord},
    run::event::Event,
    sweep::event::SweepEvent,
};

/// A type of which a line of stdout may be.
struct Records {
    /// The commands that print it.
    by: &'static str,
    /// The event, for a type that is a single record: its schema does not tell.
    event: Option<&'static str>,
    schema: fn(&mut SchemaGenerator) -> schemars::Schema,
}

const fn several(
    by: &'static str,
    schema: fn(&mut SchemaGenerator) -> schemars::Schema,
) -> Records {
    Records { by, event: None, schema }
}

const fn one(
    by: &'static str,
    event: &'static str,
    schema: fn(&mut SchemaGenerator) -> schemars::Schema,
) -> Records {
    Records { by, event: Some(event), schema }
}

/// All of them.
const RECORDS: [Records; 24] = [
    one("every command", "done", Done::json_schema),
    several("every command", TypedRecord::json_schema),
    several("run, resume", Event::json_schema),
    several("run", RunRecord::json_schema),
    several("sweep", SweepEvent::json_schema),
    several("collect", CollectEvent::json_schema),
    one("release", "released", ReleaseRecord::json_schema),
    several("report", ReportRecord::json_schema),
    several("compare", CompareRecord::json_schema),
    several("cache", CacheRecord::json_schema),
    several("task", TaskRecord::json_schema),
    several("plugin", PluginRecord::json_schema),
    several("plugin check", PluginCheckRecord::json_schema),
    one("plugin new", "plugin_new", NewPluginRecord::json_schema),
    one("plugin", "plugin_locked", LockedRecord::json_schema),
    one("plugin", "plugin_unlocked", UnlockedRecord::json_schema),
    one("mock", "launch", Launch::json_schema),
    one("ctl", "status", StatusRecord::json_schema),
    several("check", CheckRecord::json_schema),
    one("score", "rescored", RescoredRecord::json_schema),
    one("show", "setting", Setting::json_schema),
    one("show", "preview", PreviewRecord::json_schema),
    one("doctor", "fact", Fact::json_schema),
    several("schema, completions, man", Made::json_schema),
];

/// The schema of a line of stdout: exactly one of the records.
pub(super) fn output_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let made: Vec<(Records, Value)> = RECORDS
        .into_iter()
        .map(|of| {
            let schema = (of.schema)(&mut generator).to_value();
            (of, schema)
        })
        .collect();
    let mut definitions = generator.take_definitions(true);
    let mut records: Vec<Value> = Vec::new();
    for (of, schema) in made {
        for mut record in alternatives(schema) {
            if let Some(event) = of.event {
                put_event(&mut record, json!({ "type": "string", "const": event }));
            }
            whole(&mut record, &mut definitions);
            add(record, of.by, &mut records);
        }
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "host --json",
        "description": "A line of what `host` prints on stdout under --json. The last line of every command is `done`. \
                        `host schema --output` prints this.",
        "type": "object",
        "required": ["event"],
        "oneOf": records,
        "$defs": definitions,
    });
    config::close(&mut schema);
    schema
}

/// The variants of an enum, or the one record that a type is.
fn alternatives(mut schema: Value) -> Vec<Value> {
    match schema.get_mut("oneOf") {
        Some(Value::Array(variants)) => std::mem::take(variants),
        _ => vec![schema],
    }
}

/// Makes the event the first key of a record.
fn put_event(record: &mut Value, event: Value) {
    let Some(keywords) = record.as_object_mut() else { return };
    let mut properties = Map::from_iter([("event".to_owned(), event)]);
    if let Some(Value::Object(own)) = keywords.get_mut("properties") {
        properties.append(own);
    }
    keywords.insert("properties".into(), properties.into());
    let mut required = vec![Value::from("event")];
    if let Some(Value::Array(own)) = keywords.get_mut("required") {
        required.append(own);
    }
    keywords.insert("required".into(), required.into());
}

/// A record that is an event beside the definition of its other keys becomes one that lists them all, so that it can be
/// closed.
fn whole(record: &mut Value, definitions: &mut Map<String, Value>) {
    let reference = record.get("$ref").and_then(Value::as_str);
    let name = reference.and_then(|reference| reference.strip_prefix("#/$defs/"));
    let Some(mut definition) = name.and_then(|name| definitions.remove(name)) else { return };
    let event = record.pointer("/properties/event").cloned().unwrap_or_default();
    put_event(&mut definition, event);
    *record = definition;
}

/// Adds a record under the name of its event, unless another command has the very same.
fn add(mut record: Value, by: &str, records: &mut Vec<Value>) {
    let event = record.pointer("/properties/event/const").and_then(Value::as_str);
    let title = format!("{} ({by})", event.unwrap_or_default());
    let shape =
        |record: &Value| (record.get("properties").cloned(), record.get("required").cloned());
    if records.iter().any(|other| shape(other) == shape(&record)) {
        return;
    }
    if let Some(keywords) = record.as_object_mut() {
        let mut titled = Map::from_iter([("title".to_owned(), Value::from(title))]);
        titled.append(keywords);
        *keywords = titled;
    }
    records.push(record);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_closed_and_named_by_its_event() {
        let schema = output_schema();
        let records = schema["oneOf"].as_array().unwrap();
        for record in records {
            assert!(record["properties"]["event"]["const"].is_string(), "{record:#}");
            assert_eq!(record["additionalProperties"], false, "{record:#}");
        }
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&json!({ "event": "interrupted" })));
        assert!(validator.is_valid(&json!({ "event": "done", "exit_code": 0 })));
        assert!(!validator.is_valid(&json!({ "event": "done", "exit_code": 0, "more": 1 })));
        assert!(!validator.is_valid(&json!({ "exit_code": 0 })));
    }
}
