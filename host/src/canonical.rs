//! One spelling for equal JSON values, so that a digest names a meaning and not a layout.

use plugin_api::abi::{buffer, recycle};
use serde_json::{Map, Value};

/// `value` with sorted keys and no white space; numbers and strings as `serde_json` writes them.
pub fn canonical_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// BLAKE3 of [`canonical_json`] of an object that is not wrapped into a value.
pub fn object_digest(object: &Map<String, Value>) -> blake3::Hash {
    let mut out = buffer();
    write_object(object, &mut out);
    let digest = blake3::hash(&out);
    recycle(out);
    digest
}

/// BLAKE3 of [`canonical_json`], in lower-case hex.
pub fn digest(value: &Value) -> String {
    blake3::hash(&canonical_json(value)).to_hex().to_string()
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(object, out),
        Value::String(text) => quote(text, out),
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

fn write_object(object: &Map<String, Value>, out: &mut Vec<u8>) {
    // Not left to the map: it keeps the order of insertion, since `serde_json` is built so.
    let mut entries: Vec<_> = object.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    out.push(b'{');
    for (index, (key, item)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quote(key, out);
        out.push(b':');
        write(item, out);
    }
    out.push(b'}');
}

fn quote(text: &str, out: &mut Vec<u8>) {
    // Both spell it alike, this one many bytes at a time.
    let start = out.len();
    if sonic_rs::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(Value::from(text).to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [1, 1.0, null, {"z": "ü\n", "a": true}], "a": {}});
        let written = r#"{"a":{},"b":[1,1.0,null,{"a":true,"z":"ü\n"}]}"#;
        assert_eq!(canonical_json(&value), written.as_bytes());
        assert_eq!(digest(&value).len(), 64);
    }
}
