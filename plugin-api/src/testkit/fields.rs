//! Which fields a JSON value has, by dotted paths.

use serde_json::Value;

/// The path of a field that none of the known ones covers; the first of them.
pub(super) fn unknown(value: &Value, known: &[&str]) -> Option<String> {
    below(value, "", known)
}

fn below(value: &Value, path: &str, known: &[&str]) -> Option<String> {
    match value {
        Value::Array(items) => items.iter().find_map(|item| below(item, path, known)),
        Value::Object(object) => object.iter().find_map(|(key, item)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match covers(known, &path) {
                Covers::Below => None,
                Covers::Field => below(item, &path, known),
                Covers::Nothing => Some(path),
            }
        }),
        _ => None,
    }
}

enum Covers {
    Nothing,
    Field,
    Below,
}

fn covers(known: &[&str], path: &str) -> Covers {
    let is_below = |known: &&str| {
        known.strip_suffix(".*").is_some_and(|parent| {
            path == parent || path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let leads_to = |known: &&str| {
        *known == path || known.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
    };
    if known.iter().any(is_below) {
        Covers::Below
    } else if known.iter().any(leads_to) {
        Covers::Field
    } else {
        Covers::Nothing
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::unknown;

    #[test]
    fn a_field_that_is_not_listed_is_told_by_its_path() {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Q" }],
                           "extra": { "a": { "b": 1 } } });
        for (known, expected) in [
            (&["model", "messages.role", "messages.content", "extra.*"][..], None),
            (&["model", "messages.role", "extra.*"], Some("messages.content")),
            (&["model", "messages", "messages.role", "extra.*"], Some("messages.content")),
            (&["messages.*", "extra.a.b"], Some("model")),
            (&["model", "messages.*", "extra.a.bc"], Some("extra.a.b")),
            (&["model", "messages.*", "extr.*"], Some("extra")),
        ] {
            assert_eq!(unknown(&body, known).as_deref(), expected, "{known:?}");
        }
    }
}
