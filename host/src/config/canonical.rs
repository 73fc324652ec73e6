//! One spelling for equal JSON values, so that a digest names a meaning and not a layout.

use serde_json::Value;

/// `value` with sorted keys and no white space; numbers and strings as `serde_json` writes them.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
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
        Value::Object(map) => {
            // Not left to the map: a crate elsewhere may make `serde_json` keep the order of insertion.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
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
