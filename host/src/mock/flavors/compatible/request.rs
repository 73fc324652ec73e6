//! The parts of a request that more than one wire has: messages, and values that may be lists.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value},
};

use crate::mock::model::Turn;

/// One message of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mock::flavors) struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Content<'a>,
    #[serde(rename = "name", default)]
    _name: Option<IgnoredAny>,
    #[serde(rename = "tool_calls", default)]
    _tool_calls: Option<IgnoredAny>,
    #[serde(rename = "tool_call_id", default)]
    _tool_call_id: Option<IgnoredAny>,
}

impl<'a> From<Message<'a>> for Turn<'a> {
    fn from(message: Message<'a>) -> Self {
        Self { role: message.role, content: message.content.0 }
    }
}

/// A text, or parts with texts (and images, which the model does not see).
#[derive(Debug, Default)]
struct Content<'a>(Cow<'a, str>);

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    Text {
        text: String,
    },
    ImageUrl {
        #[serde(rename = "image_url")]
        _image_url: IgnoredAny,
    },
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of parts")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Content::default())
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut parts: S) -> Result<Self::Value, S::Error> {
                let mut texts = String::new();
                while let Some(part) = parts.next_element()? {
                    if let Part::Text { text } = part {
                        texts.push_str(&text);
                    }
                }
                Ok(Content(Cow::Owned(texts)))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// One value or a list of them: a prompt, a stop text, a switch.
#[derive(Clone, Debug)]
pub(in crate::mock::flavors) enum OneOrMany<T> {
    /// The value itself.
    One(T),
    /// A list, perhaps of one.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values in order.
    pub(in crate::mock::flavors) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }

    /// Whether it is a list.
    pub(in crate::mock::flavors) const fn is_list(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// The value for item `at` of a batch: its own, or everyone's.
    pub(in crate::mock::flavors) fn of(&self, at: usize) -> Option<&T> {
        match self {
            Self::One(one) => Some(one),
            Self::Many(many) => many.get(at),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }

            fn visit_bool<E: Error>(self, given: bool) -> Result<Self::Value, E> {
                T::deserialize(value::BoolDeserializer::new(given)).map(OneOrMany::One)
            }

            fn visit_i64<E: Error>(self, given: i64) -> Result<Self::Value, E> {
                T::deserialize(value::I64Deserializer::new(given)).map(OneOrMany::One)
            }

            fn visit_u64<E: Error>(self, given: u64) -> Result<Self::Value, E> {
                T::deserialize(value::U64Deserializer::new(given)).map(OneOrMany::One)
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                T::deserialize(value::BorrowedStrDeserializer::new(text)).map(OneOrMany::One)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(value::StrDeserializer::new(text)).map(OneOrMany::One)
            }

            fn visit_map<M: MapAccess<'de>>(self, fields: M) -> Result<Self::Value, M::Error> {
                T::deserialize(value::MapAccessDeserializer::new(fields)).map(OneOrMany::One)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, items: S) -> Result<Self::Value, S::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(items)).map(OneOrMany::Many)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// `stream_options`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::mock::flavors) struct StreamOptions {
    /// Whether the usage comes in a chunk of its own before the end.
    #[serde(default)]
    pub(in crate::mock::flavors) include_usage: bool,
    #[serde(rename = "continuous_usage_stats", default)]
    _continuous_usage_stats: Option<bool>,
}
