//! Prompts as strings in a body: texts that are sent as one, messages whose content is text alone, and the beginning of
//! an answer that a conversation may end in. Written without being joined in memory first.
//!
//! Pure; which route takes what is the codecs' business.

use std::{borrow::Cow, fmt};

use plugin_api::{Error, Message, Part, Result};
use serde::{Serialize, Serializer};

/// Two texts sent as one.
#[derive(Clone, Copy, Debug)]
pub struct Joined<'a>(pub &'a str, pub &'a str);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        f.write_str(self.1)
    }
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.1.is_empty() {
            return serializer.serialize_str(self.0);
        }
        serializer.collect_str(self)
    }
}

/// The text parts of a content as one string. Images are left out: who sends them must look for them first.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a>(pub &'a [Part<'a>]);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Image { .. } => Ok(()),
        })
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            [Part::Text(text)] => serializer.serialize_str(text),
            _ => serializer.collect_str(self),
        }
    }
}

/// A message of text alone.
#[derive(Debug, Serialize)]
pub struct TextMessage<'a> {
    role: &'a str,
    content: Content<'a>,
}

/// Messages for a server that takes texts only.
///
/// # Errors
/// `unsupported` if one holds an image.
pub fn messages<'a>(messages: &'a [Message<'a>]) -> Result<Vec<TextMessage<'a>>> {
    let is_image = |part: &Part<'_>| matches!(part, Part::Image { .. });
    if messages.iter().flat_map(|message| &message.content).any(is_image) {
        return Err(Error::unsupported("images in chat messages"));
    }
    let text = |message: &'a Message<'a>| TextMessage {
        role: &message.role,
        content: Content(&message.content),
    };
    Ok(messages.iter().map(text).collect())
}

/// The messages that a template shall see, and the prefix of the answer: a trailing message of the assistant is held
/// back, since templates would close its turn.
///
/// # Errors
/// `unsupported` if the prefix holds an image.
pub fn split_prefix<'m, 'a>(
    messages: &'m [Message<'a>],
) -> Result<(&'m [Message<'a>], Cow<'a, str>)> {
    match messages.split_last() {
        Some((last, before)) if last.role == "assistant" => {
            let prefix =
                last.as_text().ok_or_else(|| Error::unsupported("images in chat messages"))?;
            Ok((before, prefix))
        }
        _ => Ok((messages, Cow::Borrowed(""))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_written_as_one_string() {
        assert_eq!(json!([Joined("a", ""), Joined("a", "\"b")]), json!(["a", "a\"b"]));
        let parts = [Part::Text("a"), Part::Text("é")];
        assert_eq!(
            json!([Content(&parts), Content(&parts[..1]), Content(&[])]),
            json!(["aé", "a", ""])
        );
    }

    #[test]
    fn a_message_of_text_is_a_role_and_a_string_and_an_image_is_refused() {
        let text = [Message::text("user", "Q")];
        assert_eq!(json!(messages(&text).unwrap()), json!([{ "role": "user", "content": "Q" }]));
        let image = Part::Image { media_type: "image/png".into(), data: &[] };
        assert!(messages(&[Message { role: "user".into(), content: vec![image] }]).is_err());
    }

    #[test]
    fn a_trailing_assistant_message_is_a_prefix() {
        let messages = [Message::text("user", "Q"), Message::text("assistant", "The answer is")];
        let (before, prefix) = split_prefix(&messages).unwrap();
        assert_eq!((before.len(), &*prefix), (1, "The answer is"));
        assert_eq!(split_prefix(&messages[..1]).unwrap().1, "");
    }
}
