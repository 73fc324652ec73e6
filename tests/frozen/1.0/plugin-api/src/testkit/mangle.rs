//! A good JSON text with something wrong in it.

use serde_json::{Value, json};

use super::Random;

/// Text that no good reply holds: where it turns up in an answer, it is what the server said.
pub(super) const STRANGE: &str = "strange!";

/// Places of one value that are tried, at most.
const PLACES: usize = 60;

/// A number that no float holds; it has no `Value`, so it is put in as text.
const HUGE: &str = "1e999";
const HUGE_MARK: &str = "\u{1}huge";

/// The text with each of its values in turn replaced, each key left out; with what was done.
pub(super) fn all(text: &str) -> Vec<(String, String)> {
    let Ok(good) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let mut places = Vec::new();
    pointers(&good, "", &mut places);
    let mut found = Vec::new();
    for place in spread(&places, PLACES) {
        for other in strange() {
            let mut value = good.clone();
            if let Some(inner) = value.pointer_mut(place).filter(|inner| **inner != other) {
                *inner = other.clone();
                found.push((format!("{place:?} is {}", written(&other)), written(&value)));
            }
        }
        let (parent, key) = place.rsplit_once('/').unwrap_or_default();
        let mut value = good.clone();
        if let Some(Value::Object(object)) = value.pointer_mut(parent) {
            let key = key.replace("~1", "/").replace("~0", "~");
            if object.remove(&key).is_some() {
                found.push((format!("{place:?} is left out"), written(&value)));
            }
        }
    }
    found
}

/// The text with one of its values replaced, by chance.
pub(super) fn any(text: &str, random: &mut Random) -> Option<String> {
    let mut value = serde_json::from_str::<Value>(text).ok()?;
    let mut places = Vec::new();
    pointers(&value, "", &mut places);
    let place = random.pick(&places)?;
    *value.pointer_mut(place)? = random.pick(&strange())?.clone();
    Some(written(&value))
}

/// At most `most` of the items, from all over the list, first and last among them.
pub(super) fn spread<T>(items: &[T], most: usize) -> impl Iterator<Item = &T> {
    let (len, most) = (items.len(), most.max(2));
    let count = len.min(most);
    (0..count).filter_map(move |n| {
        let index = if len <= most { n } else { n * (len - 1) / (most - 1) };
        items.get(index)
    })
}

fn written(value: &Value) -> String {
    value.to_string().replace(&json!(HUGE_MARK).to_string(), HUGE)
}

fn strange() -> [Value; 9] {
    [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!(HUGE_MARK),
        json!(STRANGE),
        json!([]),
        json!({}),
    ]
}

fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(inner, &format!("{at}/{key}"), all);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                pointers(inner, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{all, spread};

    #[test]
    fn every_place_gets_every_strange_value_and_every_key_is_left_out() {
        let found = all(r#"{"a/b":[1],"c":null}"#);
        let text = |name: &str| {
            let (_, text) = found.iter().find(|(known, _)| known == name).unwrap();
            text.clone()
        };
        assert_eq!(text("\"/a~1b/0\" is 1e999"), r#"{"a/b":[1e999],"c":null}"#);
        assert_eq!(text("\"/a~1b\" is left out"), r#"{"c":null}"#);
        assert_eq!(text("\"\" is []"), "[]");
        // Four places, nine values, but null for null changes nothing; two keys.
        assert_eq!(found.len(), 4 * 9 - 1 + 2);
    }

    #[test]
    fn a_spread_keeps_both_ends() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(spread(&items, 4).copied().collect::<Vec<_>>(), [0, 33, 66, 99]);
        assert_eq!(spread(&items[..3], 4).count(), 3);
    }
}
