//! One spelling for equal JSON values, so that a digest names a meaning and not a layout.

use serde_json::{Map, Value};

/// `value` with sorted keys and no white space; numbers and strings as `serde_json` writes them.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// [`canonical_json`] of an object that is not wrapped into a value.
pub fn canonical_object(object: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_object(object, &mut out);
    out
}

/// BLAKE3 of [`canonical_json`], in lower-case hex.
pub fn digest(value: &Value) -> String {
    blake3::hash(canonical_json(value).as_bytes()).to_hex().to_string()
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => write_object(object, out),
        Value::String(text) => quote(text, out),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn write_object(object: &Map<String, Value>, out: &mut String) {
    // Not left to the map: it keeps the order of insertion, since `serde_json` is built so.
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push('{');
    for (index, (key, item)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(key, out);
        out.push(':');
        write(item, out);
    }
    out.push('}');
}

fn quote(text: &str, out: &mut String) {
    // Both spell it alike, this one many bytes at a time.
    let quoted = sonic_rs::to_string(text);
    out.push_str(&quoted.unwrap_or_else(|_| Value::from(text).to_string()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [1, 1.0, null, {"z": "ü\n", "a": true}], "a": {}});
        assert_eq!(canonical_json(&value), r#"{"a":{},"b":[1,1.0,null,{"a":true,"z":"ü\n"}]}"#);
        assert_eq!(digest(&value).len(), 64);
    }
}
