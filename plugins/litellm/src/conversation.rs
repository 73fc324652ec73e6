//! A prompt as the vendors take it whose wire keeps the system's words apart from the turns of user and model.
//!
//! Pure. A text prompt is one turn of the user: these vendors have no other way in.

use std::borrow::Cow;

use plugin_api::{Changed, Error, Part, Prompt, Result};

use crate::parameters::{change, invalid};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    User,
    Assistant,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn<'p> {
    pub(crate) speaker: Speaker,
    /// Never empty, and no text in it is.
    pub(crate) parts: Vec<Part<'p>>,
}

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conversation<'p> {
    /// The system's messages, none of them empty.
    pub(crate) system: Vec<Cow<'p, str>>,
    /// At least one turn, in order; two of one speaker may follow each other.
    pub(crate) turns: Vec<Turn<'p>>,
}

impl<'p> Conversation<'p> {
    /// Takes a prompt apart.
    ///
    /// # Errors
    /// `unsupported` for a role that is none of system, developer, user and assistant, or an image from the
    /// system; `invalid_request` for a message without content, or if nobody but the system speaks.
    pub(crate) fn of(prompt: &'p Prompt<'p>, changed: &mut Vec<Changed>) -> Result<Self> {
        let mut conversation = Self::default();
        match prompt {
            Prompt::Text(text) => {
                conversation.turn(Speaker::User, &[Part::Text(text)], true)?;
            }
            Prompt::Messages(messages) => {
                for (at, message) in messages.iter().enumerate() {
                    let last = at + 1 == messages.len();
                    match &*message.role {
                        "system" | "developer" => {
                            let text = message.as_text().ok_or_else(|| {
                                Error::unsupported("images in a message of the system")
                            })?;
                            if text.is_empty() {
                                continue;
                            }
                            if !conversation.turns.is_empty() {
                                changed.push(change(
                                    "prompt",
                                    format!(
                                        "message {} of the system moved to the front: the API \
                                         takes its words apart from the turns",
                                        at + 1
                                    ),
                                ));
                            }
                            conversation.system.push(text);
                        }
                        "user" => conversation.turn(Speaker::User, &message.content, last)?,
                        "assistant" => {
                            conversation.turn(Speaker::Assistant, &message.content, last)?;
                        }
                        other => {
                            return Err(Error::unsupported(&format!("messages of role `{other}`")));
                        }
                    }
                }
            }
        }
        if conversation.turns.is_empty() {
            return Err(invalid("the prompt holds no message of the user: the API wants one"));
        }
        Ok(conversation)
    }

    fn turn(&mut self, speaker: Speaker, parts: &[Part<'p>], last: bool) -> Result<()> {
        let parts: Vec<Part<'p>> =
            parts.iter().filter(|part| !matches!(part, Part::Text(""))).cloned().collect();
        if !parts.is_empty() {
            self.turns.push(Turn { speaker, parts });
        } else if speaker == Speaker::User || !last {
            return Err(invalid("a message without content: the API takes none"));
        }
        // An empty last message of the assistant is an answer without a prefix.
        Ok(())
    }

    /// Whether the answer is to continue a last message of the assistant.
    pub(crate) fn has_prefix(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.speaker == Speaker::Assistant)
    }
}

#[cfg(test)]
mod tests {
    use plugin_api::{ErrorKind, Message};

    use super::*;

    #[test]
    fn the_systems_words_are_taken_apart_and_a_moved_one_is_recorded() {
        let messages = vec![
            Message::text("system", "be brief"),
            Message::text("user", "Q"),
            Message::text("developer", "be exact"),
            Message::text("assistant", ""),
        ];
        let prompt = Prompt::Messages(messages);
        let mut changed = Vec::new();
        let conversation = Conversation::of(&prompt, &mut changed).unwrap();
        assert_eq!(conversation.system, ["be brief", "be exact"]);
        assert_eq!(conversation.turns.len(), 1);
        assert!(!conversation.has_prefix());
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].parameter, "prompt");
    }

    #[test]
    fn what_no_vendor_takes_is_refused() {
        for (messages, kind) in [
            (vec![Message::text("tool", "x")], ErrorKind::Unsupported),
            (vec![Message::text("system", "x")], ErrorKind::InvalidRequest),
            (vec![Message::text("user", "")], ErrorKind::InvalidRequest),
            (vec![], ErrorKind::InvalidRequest),
            (
                vec![Message::text("assistant", ""), Message::text("user", "x")],
                ErrorKind::InvalidRequest,
            ),
        ] {
            let prompt = Prompt::Messages(messages);
            let error = Conversation::of(&prompt, &mut Vec::new()).unwrap_err();
            assert_eq!(error.kind, kind, "{prompt:?}");
        }
        let text = Prompt::Text("");
        assert!(Conversation::of(&text, &mut Vec::new()).is_err());
    }
}
