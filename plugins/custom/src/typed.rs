//! Values that a run file may write in more than one way: a text, a list or a table.
//!
//! Only their reading and their JSON Schema; whether a pointer or a pattern makes sense is checked where it is
//! compiled.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// One text, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

/// Where a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawExtract {
    /// Pointers, of which the first that finds a text wins.
    pub pointer: Texts,
    /// Pointer into each item of the list found, whose texts are joined.
    pub each: Option<String>,
    /// Pattern with one group, which is the text.
    pub regex: Option<String>,
}

/// The long form of [`RawExtract`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtractTable {
    pointer: Texts,
    #[serde(default)]
    each: Option<String>,
    #[serde(default)]
    regex: Option<String>,
}

/// A header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawHeader {
    /// As it stands.
    Text(String),
    /// Parts in order.
    Parts(Vec<RawPart>),
}

/// A part of a header's value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawPart {
    /// Text as it stands.
    Text(String),
    /// The secret of this slot, which there must be.
    Secret(String),
    /// The secret of this slot; without one the header is left out.
    OptionalSecret(String),
}

/// HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawStatuses(pub Vec<RawStatus>);

/// One status, or a hundred of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawStatus {
    /// `429`
    Number(u64),
    /// `"4xx"`
    Text(String),
}

/// What ends a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum RawDone {
    /// An event of just this text.
    Text(String),
    /// An event of which this holds.
    Condition(RawCondition),
}

/// Something to look for.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCondition {
    /// Pointer to what must be there, and not null.
    pub pointer: String,
    /// The value that must be there.
    #[serde(default)]
    pub equals: Option<Value>,
    /// A regular expression that the text there must match somewhere.
    #[serde(default)]
    pub matches: Option<String>,
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(vec![text])),
            list @ Value::Array(_) => Vec::deserialize(list).map(Self).map_err(D::Error::custom),
            _ => Err(D::Error::custom("expected a text or a list of texts")),
        }
    }
}

impl JsonSchema for Texts {
    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "items": { "type": "string" },
            "minItems": 1,
        })
    }
}

impl<'de> Deserialize<'de> for RawExtract {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            table @ Value::Object(_) => {
                let ExtractTable { pointer, each, regex } =
                    ExtractTable::deserialize(table).map_err(D::Error::custom)?;
                Ok(Self { pointer, each, regex })
            }
            short => {
                let pointer = Texts::deserialize(short).map_err(|_| {
                    D::Error::custom(
                        "expected a pointer, a list of pointers or a table with `pointer`",
                    )
                })?;
                Ok(Self { pointer, each: None, regex: None })
            }
        }
    }
}

impl JsonSchema for RawExtract {
    fn schema_name() -> Cow<'static, str> {
        "Extract".into()
    }

    // One type for all three ways, so that a mistake is told once and not for each of them; and no `properties`, so
    // that a list of all options does not show the long form at every key.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One JSON pointer; a list of which the first that finds a text wins; or a table of \
                `pointer` (one or a list), `each` (what is found is a list, and this points to a text in its items: \
                those that have it are joined) and `regex` (its one group holds the text; where it does not match \
                there is none).",
            "type": ["string", "array", "object"],
            "items": { "type": "string" },
            "minItems": 1,
            "required": ["pointer"],
            "propertyNames": { "enum": ["pointer", "each", "regex"] },
            "additionalProperties": {
                "type": ["string", "array"],
                "items": { "type": "string" },
                "minItems": 1,
            },
        })
    }
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            list @ Value::Array(_) => {
                Vec::deserialize(list).map(Self::Parts).map_err(D::Error::custom)
            }
            _ => Err(D::Error::custom(
                "expected a text, or a list of { text = … } and { secret = … }",
            )),
        }
    }
}

impl JsonSchema for RawHeader {
    fn schema_name() -> Cow<'static, str> {
        "Header".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<RawPart>();
        json_schema!({ "type": ["string", "array"], "items": part, "minItems": 1 })
    }
}

impl<'de> Deserialize<'de> for RawStatuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let one = |value: Value| match value {
            Value::String(text) => Ok(RawStatus::Text(text)),
            Value::Number(number) => number
                .as_u64()
                .map(RawStatus::Number)
                .ok_or_else(|| D::Error::custom("expected an HTTP status")),
            _ => Err(D::Error::custom("expected an HTTP status, or a hundred of them: \"5xx\"")),
        };
        match Value::deserialize(deserializer)? {
            Value::Array(list) => list.into_iter().map(one).collect::<Result<_, _>>().map(Self),
            single => Ok(Self(vec![one(single)?])),
        }
    }
}

impl JsonSchema for RawStatuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string", "array"],
            "minimum": 100,
            "maximum": 599,
            "pattern": "^[1-5]xx$",
            "minItems": 1,
            "items": {
                "type": ["integer", "string"],
                "minimum": 100,
                "maximum": 599,
                "pattern": "^[1-5]xx$",
            },
        })
    }
}

impl<'de> Deserialize<'de> for RawDone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            table => {
                RawCondition::deserialize(table).map(Self::Condition).map_err(D::Error::custom)
            }
        }
    }
}

impl JsonSchema for RawDone {
    fn schema_name() -> Cow<'static, str> {
        "Done".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = RawCondition::json_schema(generator);
        schema.remove("description");
        schema.insert("type".to_owned(), serde_json::json!(["string", "object"]));
        schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_way_of_writing_is_read() {
        let extract = |value: Value| serde_json::from_value::<RawExtract>(value);
        assert_eq!(extract(json!("/a")).unwrap().pointer.0, ["/a"]);
        assert_eq!(extract(json!(["/a", "/b"])).unwrap().pointer.0, ["/a", "/b"]);
        let table = extract(json!({ "pointer": ["/a"], "each": "/t", "regex": "(.)" })).unwrap();
        assert_eq!((table.each.as_deref(), table.regex.as_deref()), (Some("/t"), Some("(.)")));

        let header = |value: Value| serde_json::from_value::<RawHeader>(value);
        assert_eq!(header(json!("a")).unwrap(), RawHeader::Text("a".into()));
        assert_eq!(
            header(json!([{ "text": "Bearer " }, { "secret": "key" }])).unwrap(),
            RawHeader::Parts(vec![RawPart::Text("Bearer ".into()), RawPart::Secret("key".into())])
        );

        let statuses = |value: Value| serde_json::from_value::<RawStatuses>(value);
        assert_eq!(statuses(json!(429)).unwrap().0, [RawStatus::Number(429)]);
        assert_eq!(statuses(json!([400, "5xx"])).unwrap().0.len(), 2);

        let done = |value: Value| serde_json::from_value::<RawDone>(value);
        assert_eq!(done(json!("[DONE]")).unwrap(), RawDone::Text("[DONE]".into()));
        assert!(matches!(
            done(json!({ "pointer": "/done", "equals": true })).unwrap(),
            RawDone::Condition(_)
        ));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [json!(1), json!({ "regex": "x" }), json!({ "pointer": "/a", "ech": 1 })] {
            assert!(serde_json::from_value::<RawExtract>(wrong.clone()).is_err(), "{wrong}");
        }
        for wrong in [json!(1), json!([{ "env": "KEY" }]), json!({ "text": "a" })] {
            assert!(serde_json::from_value::<RawHeader>(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(serde_json::from_value::<RawStatuses>(json!(true)).is_err());
        assert!(serde_json::from_value::<RawDone>(json!({ "equals": 1 })).is_err());
    }
}
