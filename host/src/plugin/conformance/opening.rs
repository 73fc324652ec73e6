//! Configurations that make no sense, and bytes that are none: a plugin refuses them in words.

use plugin_api::message::OpenHead;
use serde_json::{Map, Value, json};

use super::finding::Finding;
use crate::plugin::{
    load::OpenError,
    worker::client::{Program, StartError, Worker},
};

/// Most keys of a configuration that are given a wrong value.
const MOST_KEYS: usize = 12;

/// Opens backends with what is no configuration. None may panic or end the process, and who refuses says why.
pub(super) async fn bad_configurations(
    program: &Program,
    head: &OpenHead,
    schema: &Value,
) -> Finding {
    let mut faults = Vec::new();
    let mut refused = 0;
    for (what, bytes) in configurations(head, schema) {
        match Worker::start(program.clone(), bytes).await {
            Ok(_) => {}
            Err(StartError::Open(OpenError::Failed(message))) if message.trim().is_empty() => {
                faults.push(format!("{what} is refused without a word"));
            }
            Err(StartError::Open(OpenError::Died(message))) => {
                faults.push(format!("{what}: {message}"));
            }
            Err(StartError::Open(OpenError::Failed(_))) => refused += 1,
            Err(StartError::Open(OpenError::Panicked(message))) => {
                faults.push(format!("{what}: it panics: {message}"));
            }
            Err(StartError::Load(error)) => faults.push(format!("{what}: {error}")),
        }
    }
    Finding::of("bad configuration", &faults, format!("{refused} refused, each with its reason"))
}

/// What each is, and the bytes that `open` gets.
fn configurations(head: &OpenHead, schema: &Value) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = vec![
        ("no bytes".into(), Vec::new()),
        ("half an object".into(), b"{\"config\":{".to_vec()),
        ("bytes that are no text".into(), vec![0xff, 0xfe, 0x00]),
        ("`[]` in place of the message".into(), b"[]".to_vec()),
    ];
    let mut with = |what: String, config: Value| {
        let head = OpenHead { config, ..head.clone() };
        // It was read from JSON.
        all.push((what, serde_json::to_vec(&head).unwrap_or_default()));
    };
    for config in [json!(null), json!([]), json!("text"), json!(7), json!({})] {
        with(format!("config = {config}"), config);
    }
    let good = head.config.as_object().cloned().unwrap_or_default();
    let changed = |key: &str, value: Value| {
        let mut config: Map<String, Value> = good.clone();
        config.insert(key.to_owned(), value);
        Value::Object(config)
    };
    with("an unknown key".into(), changed("no_such_key", json!(1)));
    let keys = schema.get("properties").and_then(Value::as_object);
    for key in keys.into_iter().flat_map(|keys| keys.keys()).take(MOST_KEYS) {
        for value in [json!({ "a": [] }), json!("\u{0}"), json!(-1.5e300)] {
            with(format!("config.{key} = {value}"), changed(key, value));
        }
    }
    all
}
