//! Values as TOML writes them. Whatever a value holds, it is that value which is read back: none of it can end the
//! text that it stands in.

use serde_json::Value;

use crate::config::{toml_text, toml_value};

/// A value on the right of an equals sign. An integer stays one, and so does a float.
///
/// # Errors
/// It holds a null, of which TOML has none.
pub fn literal(value: &Value) -> Result<String, String> {
    if holds_null(value) {
        return Err("it has no value (TOML has no null)".to_owned());
    }
    Ok(toml_value(value))
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(entries) => entries.values().any(holds_null),
        _ => false,
    }
}

/// A text as it stands between double quotes.
pub fn escaped(text: &str) -> String {
    let quoted = toml_text(text);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::node;

    #[test]
    fn what_is_written_is_what_is_read_back() {
        let values = [
            json!("plain"),
            json!("a \"quote\", a \\ and {{ braces }} ${HOME} '''\n\r\t\u{1}\u{7f}\u{85} ü"),
            json!(1),
            json!(-3),
            json!(0.0),
            json!(1e300),
            json!(1e-9),
            json!(true),
            json!([]),
            json!({}),
            json!(["a", 1, [2.5]]),
            json!({"a b": {"c\"d": ["x"]}, "": false}),
        ];
        for value in values {
            let text = format!("v = {}", literal(&value).unwrap());
            let read = node::parse(Path::new("t.toml"), &text).unwrap().to_value();
            assert_eq!(read["v"], value, "{text}");
        }
        assert!(literal(&json!([null])).is_err());
    }
}
