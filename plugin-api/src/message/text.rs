//! Three small encodings: text that borrows, numbers as decimal strings, and spans of a body.

use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that borrows from the message it was read from, unless it had escapes.
///
/// ```
/// use plugin_api::message::{Str, read};
///
/// let text: Str<'_> = read(br#""a\nb""#)?;
/// assert_eq!(text.lines().count(), 2); // it is read as any text is
/// assert_eq!(text.into_owned(), "a\nb");
/// # Ok::<(), plugin_api::serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Str<'a>(pub Cow<'a, str>);

impl Str<'_> {
    /// The text, owned.
    pub fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Str<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Str<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl Serialize for Str<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Visitor).map(Str)
    }
}

/// A 64-bit number that travels as a decimal string, since not every JSON reader keeps 64 bits.
///
/// ```
/// let call = plugin_api::message::Decimal(u64::MAX);
/// assert_eq!(plugin_api::json!(call), "18446744073709551615");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Decimal(pub u64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Str::deserialize(deserializer)?;
        u64::from_str(&text).map(Self).map_err(|_| {
            de::Error::custom(format_args!("expected a decimal string, found {:?}", &*text))
        })
    }
}

/// A part of a message's body: offset and length in bytes, `[offset, length]` on the wire.
///
/// ```
/// use plugin_api::message::{BadSpan, Span};
///
/// let mut body = b"Hello".to_vec();
/// let span = Span::put(&mut body, "é".as_bytes());
/// assert_eq!((span, span.text(&body), span.bytes(&body)), (Span(5, 2), Ok("é"), Ok(&b"\xc3\xa9"[..])));
/// assert_eq!(Span(6, 1).text(&body), Err(BadSpan(Span(6, 1)))); // half a character
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span(pub usize, pub usize);

/// A span that points outside its body, or at bytes that are not the text it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSpan(pub Span);

impl fmt::Display for BadSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the span [{}, {}] is not text inside the message's body", self.0.0, self.0.1)
    }
}

impl std::error::Error for BadSpan {}

impl Span {
    /// Appends `bytes` to `body` and returns where they lie.
    pub fn put(body: &mut Vec<u8>, bytes: &[u8]) -> Self {
        let span = Self(body.len(), bytes.len());
        body.extend_from_slice(bytes);
        span
    }

    /// The bytes that the span covers.
    ///
    /// # Errors
    /// The span leaves the body.
    pub fn bytes(self, body: &[u8]) -> Result<&[u8], BadSpan> {
        self.0.checked_add(self.1).and_then(|end| body.get(self.0..end)).ok_or(BadSpan(self))
    }

    /// The text that the span covers.
    ///
    /// # Errors
    /// The span leaves the body, or its bytes are not UTF-8.
    pub fn text(self, body: &[u8]) -> Result<&str, BadSpan> {
        std::str::from_utf8(self.bytes(body)?).map_err(|_| BadSpan(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_borrows_unless_it_has_escapes() {
        let plain: Str<'_> = serde_json::from_str(r#""abc""#).unwrap();
        assert!(matches!(plain.0, Cow::Borrowed("abc")));
        let escaped: Str<'_> = serde_json::from_str(r#""a\nc""#).unwrap();
        assert_eq!(&*escaped, "a\nc");
    }

    #[test]
    fn numbers_keep_all_64_bits() {
        let number = Decimal(u64::MAX);
        let json = serde_json::to_string(&number).unwrap();
        assert_eq!(json, r#""18446744073709551615""#);
        assert_eq!(serde_json::from_str::<Decimal>(&json).unwrap(), number);
        assert!(serde_json::from_str::<Decimal>(r#""-1""#).is_err());
    }

    #[test]
    fn a_span_outside_the_body_or_inside_a_character_is_refused() {
        let body = "aé".as_bytes();
        assert_eq!(Span(0, 3).text(body), Ok("aé"));
        for bad in [Span(0, 2), Span(0, 4), Span(4, 0), Span(usize::MAX, 2)] {
            assert_eq!(bad.text(body), Err(BadSpan(bad)));
        }
    }
}
