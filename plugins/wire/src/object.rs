//! Values that must be JSON objects. What serde derives for a struct takes an array for one too, field by field, so that
//! a reply of another shape could pass for an answer.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A struct that is read from an object and from nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Map(PhantomData)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }

    #[test]
    fn an_array_is_no_object_and_texts_are_still_borrowed() {
        assert!(serde_json::from_str::<Named<'_>>(r#"["a"]"#).is_ok());
        assert!(serde_json::from_str::<Object<Named<'_>>>(r#"["a"]"#).is_err());
        let Object(named) = serde_json::from_str::<Object<Named<'_>>>(r#"{"name":"a"}"#).unwrap();
        assert!(matches!(named.name, Cow::Borrowed("a")));
    }
}
