//! Strings of a request, borrowed from its body where they have no escapes.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

/// A string. Serde borrows a `Cow` only where it is a field of its own, and not inside an `Option` or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(Borrowing)
    }
}

/// A string, or a list of what a string may be in the vendor's words: stop texts, parts of a message.
#[derive(Clone, Debug)]
pub(crate) enum TextOr<'a, T> {
    /// The string.
    Text(Text<'a>),
    /// The list.
    List(Vec<T>),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for TextOr<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(TextOr::List)
            }
        }

        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

impl<'a> TextOr<'a, Text<'a>> {
    /// The strings.
    pub(crate) fn into_list(self) -> Vec<Cow<'a, str>> {
        match self {
            Self::Text(text) => vec![text.0],
            Self::List(texts) => texts.into_iter().map(|text| text.0).collect(),
        }
    }
}

/// Texts as one, borrowed if there is only one.
pub(crate) fn joined<'a>(texts: impl Iterator<Item = Cow<'a, str>>) -> Cow<'a, str> {
    texts.fold(
        Cow::Borrowed(""),
        |so_far, text| if so_far.is_empty() { text } else { so_far + text },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        let read = |json: &'static str| serde_json::from_str::<Vec<Text<'_>>>(json).unwrap();
        assert!(matches!(read(r#"["plain"]"#)[0].0, Cow::Borrowed("plain")));
        assert_eq!(&*read(r#"["a\nb"]"#)[0], "a\nb");
    }

    #[test]
    fn a_string_or_a_list_is_read() {
        let read = |json: &'static str| {
            serde_json::from_str::<TextOr<'_, Text<'_>>>(json).map(TextOr::into_list)
        };
        assert_eq!(read(r#""a""#).unwrap(), ["a"]);
        assert_eq!(read(r#"["a","b\n"]"#).unwrap(), ["a", "b\n"]);
        let error = read("7").unwrap_err().to_string();
        assert!(error.starts_with("invalid type: integer `7`, expected a string or an array"));
    }

    #[test]
    fn one_text_is_not_copied() {
        assert!(matches!(joined(["a".into()].into_iter()), Cow::Borrowed("a")));
        assert_eq!(joined(["a".into(), "b".into()].into_iter()), "ab");
        assert_eq!(joined(std::iter::empty()), "");
    }
}
