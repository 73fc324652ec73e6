//! What a manifest says, against what can be held of it without running anything.

use plugin_api::{
    capability::Capability,
    manifest::{Declared, Manifest},
};
use serde_json::Value;

use super::finding::{Finding, joined};
use crate::{
    config::nearest,
    plugin::inspect::Inspection,
    secret::{Grants, is_secret_name},
};

/// What keys of a configuration end in that may hold secrets.
const OF_SECRETS: [&str; 6] =
    ["access_key", "api_key", "password", "private_key", "secret", "token"];

/// Looks at a manifest.
pub fn look_at_manifest(inspection: &Inspection) -> Vec<Finding> {
    let manifest = &inspection.manifest;
    vec![
        words(manifest, &inspection.manifest_bytes),
        slots(manifest),
        schema(&manifest.config_schema),
    ]
}

/// `bytes` are the manifest as it stands in the file.
fn words(manifest: &Manifest, bytes: &[u8]) -> Finding {
    let mut faults = Vec::new();
    if manifest.version.is_empty() {
        faults.push("it has no version".to_owned());
    }
    let Declared { capabilities, reply_headers, limits, .. } = &manifest.plugin;
    if capabilities.is_empty() {
        faults.push("it declares no capability, so that no task can use it".to_owned());
    }
    if limits.max_batch == 0 {
        faults.push("limits.max_batch is 0; the least is 1".to_owned());
    }
    for name in reply_headers {
        if name.parse::<reqwest::header::HeaderName>().is_err() {
            faults.push(format!("reply_headers: {name:?} is no name of a header"));
        } else if *name != name.to_lowercase() {
            faults.push(format!("reply_headers: {name:?} is not in lower case"));
        }
    }
    if !faults.is_empty() {
        return Finding::failed("manifest", joined(&faults));
    }
    let mut notes = unknown_keys(manifest, bytes);
    if manifest.license.is_empty() {
        notes.push("no licence: nobody may pass it on".to_owned());
    }
    for capability in capabilities {
        if let Capability::Other(name) = capability
            && !name.starts_with("vendor.")
            && !name.starts_with("draft.")
        {
            notes.push(format!(
                "capability {name:?} is none of this contract; one's own begin with `vendor.`"
            ));
        }
    }
    if notes.is_empty() {
        return Finding::passed("manifest", format!("{} {}", manifest.plugin.id, manifest.version));
    }
    Finding::warned("manifest", joined(&notes))
}

/// Keys of the manifest and of its `plugin` that this host passes over: a later one may know them, or none does.
fn unknown_keys(manifest: &Manifest, bytes: &[u8]) -> Vec<String> {
    let (Ok(written), Ok(read)) =
        (serde_json::from_slice::<Value>(bytes), serde_json::to_value(manifest))
    else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    for (pointer, before) in [("", ""), ("/plugin", "plugin.")] {
        let keys = |value: &Value| -> Vec<String> {
            let table = value.pointer(pointer).and_then(Value::as_object);
            table.into_iter().flat_map(|table| table.keys().cloned()).collect()
        };
        let known = keys(&read);
        for key in keys(&written).iter().filter(|key| !known.contains(key)) {
            let near = nearest(key, known.iter().map(String::as_str));
            let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            notes.push(format!("{before}{key}: this host knows no such key{near}"));
        }
    }
    notes
}

/// Secrets and origins.
fn slots(manifest: &Manifest) -> Finding {
    let declared = &manifest.plugin;
    let mut faults = Vec::new();
    if let Err(error) = Grants::new(declared, None, &[], &[]) {
        faults.push(error.to_string());
    }
    for slot in &declared.secrets {
        if slot.env.is_empty() && slot.files.is_empty() {
            faults.push(format!("the slot `{}` names no variable and no file", slot.slot));
        }
    }
    for name in declared.env.iter().filter(|name| is_secret_name(name)) {
        faults.push(format!(
            "env: {name} is a secret by its name; a secret is a slot, whose value no plugin sees"
        ));
    }
    let keys = manifest.config_schema.get("properties").and_then(Value::as_object);
    let named: Vec<&str> = keys
        .into_iter()
        .flat_map(|keys| keys.keys())
        .map(String::as_str)
        .filter(|key| OF_SECRETS.iter().any(|end| key.to_lowercase().ends_with(end)))
        .collect();
    if let (false, true) = (named.is_empty(), faults.is_empty()) {
        return Finding::warned(
            "secrets",
            format!(
                "config.{}: is it a secret? One is a slot, whose value no plugin sees",
                named.join(", config.")
            ),
        );
    }
    let good = match declared.secrets.as_slice() {
        [] => "it needs no secret".to_owned(),
        slots => slots.iter().map(|slot| slot.slot.clone()).collect::<Vec<_>>().join(", "),
    };
    Finding::of("secrets", &faults, good)
}

fn schema(schema: &Value) -> Finding {
    if schema.is_null() {
        return Finding::warned(
            "schema",
            "there is none: a mistyped key is told only by the plugin itself",
        );
    }
    if let Err(error) = jsonschema::validator_for(schema) {
        return Finding::failed("schema", format!("it is no JSON Schema: {error}"));
    }
    let keys = schema.get("properties").and_then(Value::as_object);
    let untold: Vec<&str> = keys
        .into_iter()
        .flatten()
        .filter(|(_, about)| about.get("description").is_none())
        .map(|(key, _)| key.as_str())
        .collect();
    if untold.is_empty() {
        return Finding::passed("schema", format!("{} keys", keys.map_or(0, |keys| keys.len())));
    }
    Finding::warned("schema", format!("no description of {}", untold.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::finding::Verdict::{self, Failed, Passed, Warned},
        *,
    };

    fn verdicts(plugin: &Value, config_schema: &Value) -> Vec<Verdict> {
        let manifest = json!({
            "format": 1, "version": "0.1.0", "license": "MIT", "abi": { "major": 1, "minor": 0 },
            "plugin": plugin, "config_schema": config_schema,
        });
        found(&manifest).into_iter().map(|finding| finding.verdict).collect()
    }

    fn found(manifest: &Value) -> Vec<Finding> {
        let manifest_bytes = serde_json::to_vec(manifest).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest_bytes).unwrap();
        look_at_manifest(&Inspection { manifest, manifest_bytes })
    }

    #[test]
    fn a_key_that_is_passed_over_is_told() {
        let manifest = json!({
            "format": 1, "version": "0.1.0", "licence": "MIT", "abi": { "major": 1, "minor": 0 },
            "plugin": { "id": "a", "capabilities": ["generate"], "orgins": [] }, "license": "MIT",
        });
        let manifest = &found(&manifest)[0];
        assert_eq!(manifest.verdict, Warned);
        assert_eq!(
            manifest.detail,
            "licence: this host knows no such key (did you mean `license`?); \
             plugin.orgins: this host knows no such key (did you mean `origins`?)"
        );
    }

    #[test]
    fn what_no_user_could_be_glad_of_is_told() {
        let told = json!({ "properties": { "url": { "description": "where" } } });
        let can = json!(["generate"]);
        for (plugin, schema, expected) in [
            (json!({ "id": "a", "capabilities": can }), &told, [Passed, Passed, Passed]),
            (json!({ "id": "a" }), &json!(null), [Failed, Passed, Warned]),
            (
                json!({ "id": "a", "capabilities": ["dance"], "env": ["A_API_KEY"] }),
                &json!({ "properties": { "url": {} } }),
                [Warned, Failed, Warned],
            ),
            (
                json!({ "id": "a", "capabilities": can, "reply_headers": ["X-Up"],
                    "secrets": [{ "slot": "key" }] }),
                &json!({ "type": 7 }),
                [Failed, Failed, Failed],
            ),
            (
                json!({ "id": "a", "capabilities": can, "origins": ["nowhere"] }),
                &json!({ "properties": { "api_key": { "description": "the key" } } }),
                [Passed, Failed, Passed],
            ),
            (
                json!({ "id": "a", "capabilities": can }),
                &json!({ "properties": { "api_key": { "description": "the key" } } }),
                [Passed, Warned, Passed],
            ),
        ] {
            assert_eq!(verdicts(&plugin, schema), expected, "{plugin}");
        }
    }
}
