//! What differs between two configurations that are JSON, key by key. Pure.

use serde_json::Value;

/// Longest that a value is quoted.
const QUOTED: usize = 100;

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDifference {
    /// As `--set` would name it.
    pub key: String,
    /// The value on either side, shortened; none for a list that has the same members in another order.
    pub values: Option<(String, String)>,
}

/// The keys that differ, in their order. Members of lists whose members have ids are told apart by these.
pub fn differences(before: &Value, now: &Value) -> Vec<KeyDifference> {
    let mut changes = Vec::new();
    compare(&mut Vec::new(), before, now, &mut changes);
    changes
}

fn compare(path: &mut Vec<String>, before: &Value, now: &Value, changes: &mut Vec<KeyDifference>) {
    match (before, now) {
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (old, new) = (of(old).unwrap_or_default(), of(new).unwrap_or_default());
                below(path, key, &old, &new, changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if named(old) && named(new) => {
            let find = |items: &[Value], id: &str| {
                items.iter().find(|item| item["id"] == id).cloned().unwrap_or_default()
            };
            let ids = |items: &[Value]| -> Vec<String> {
                items.iter().filter_map(|item| item["id"].as_str()).map(str::to_owned).collect()
            };
            let known = ids(old);
            let added = ids(new).into_iter().filter(|id| !known.contains(id));
            let before = changes.len();
            for id in known.iter().cloned().chain(added) {
                below(path, &id, &find(old, &id), &find(new, &id), changes);
            }
            if changes.len() == before && known != ids(new) {
                changes.push(KeyDifference { key: key(path), values: None });
            }
        }
        (before, now) if before == now => {}
        (before, now) => {
            let values = Some((quoted(before), quoted(now)));
            changes.push(KeyDifference { key: key(path), values });
        }
    }
}

fn below(
    path: &mut Vec<String>,
    key: &str,
    old: &Value,
    new: &Value,
    changes: &mut Vec<KeyDifference>,
) {
    path.push(key.to_owned());
    compare(path, old, new, changes);
    path.pop();
}

fn named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item["id"].is_string())
}

/// A path as `--set` would name it: in the file the tables have names in the singular, and a task is not wrapped.
fn key(path: &[String]) -> String {
    let mut segments: Vec<&str> = path.iter().map(String::as_str).collect();
    if let Some(first) = segments.first_mut() {
        *first = match *first {
            "backends" => "backend",
            "tasks" => "task",
            "groups" => "group",
            other => other,
        };
    }
    if segments.first() == Some(&"task") && segments.get(2) == Some(&"task") {
        segments.remove(2);
    }
    segments.join(".")
}

fn quoted(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Object(map) if map.get("id").is_some_and(Value::is_string) => "there".to_owned(),
        value => {
            let text = value.to_string();
            match text.char_indices().nth(QUOTED) {
                Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(&text)),
                None => text,
            }
        }
    }
}
