//! Bodies of `/chat/completions` and `/completions`. They borrow prompt and parameters and copy no text but in
//! being written.
//!
//! Pure. Fields are spelt here and in [`Parameters`] alone.

use std::fmt;

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use plugin_api::{Error, Message, Part, Prompt, Result};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::parameters::{Parameters, put};
use crate::text::{Content, Joined};

/// What differs between servers of this wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The budget of tokens is called `max_completion_tokens`, not `max_tokens`.
    pub completion_budget: bool,
    /// The content of every message is one string: the server knows no parts. Images cannot be sent then.
    pub flatten: bool,
    /// The role under which the messages of `system` are sent, if it is another one.
    pub system_role: Option<String>,
    /// A stream tells the usage only if `stream_options.include_usage` asks for it, and the server knows that
    /// field.
    pub stream_usage: bool,
    /// How a last message of the assistant becomes a prefix of the answer.
    pub prefill: Prefill,
}

/// How a server is told to continue the last message of the assistant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prefill {
    /// Not at all: the message is sent as it is, and what the server makes of it is its own affair.
    #[default]
    AsIs,
    /// By `continue_final_message`, as vLLM and SGLang take it.
    ContinueFinal,
    /// By this field of the message, set to true.
    Flag(String),
}

/// Body of `/chat/completions`. A text prompt is one message of the user.
#[derive(Clone, Copy, Debug)]
pub struct Chat<'a> {
    dialect: &'a Dialect,
    model: &'a str,
    prompt: &'a Prompt<'a>,
    parameters: &'a Parameters,
    stream: bool,
}

impl<'a> Chat<'a> {
    /// A body; a streamed one asks for events.
    ///
    /// # Errors
    /// `unsupported` for an image where the server takes strings only.
    pub fn new(
        dialect: &'a Dialect,
        model: &'a str,
        prompt: &'a Prompt<'a>,
        parameters: &'a Parameters,
        stream: bool,
    ) -> Result<Self> {
        if let (true, Prompt::Messages(messages)) = (dialect.flatten, prompt) {
            let mut parts = messages.iter().flat_map(|message| &message.content);
            if parts.any(|part| matches!(part, Part::Image { .. })) {
                return Err(Error::unsupported("images in messages: its messages are text only"));
            }
        }
        Ok(Self { dialect, model, prompt, parameters, stream })
    }

    /// Whether the prompt ends in the beginning of an answer, and the server is not told to continue it.
    pub fn prefix_is_a_turn(&self) -> bool {
        self.dialect.prefill == Prefill::AsIs && self.has_prefix()
    }

    fn has_prefix(&self) -> bool {
        match self.prompt {
            Prompt::Text(_) => false,
            Prompt::Messages(messages) => messages.last().is_some_and(|m| m.role == "assistant"),
        }
    }
}

impl Serialize for Chat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        map.serialize_entry("messages", &Messages(self))?;
        let budget =
            if self.dialect.completion_budget { "max_completion_tokens" } else { "max_tokens" };
        put(&mut map, budget, self.parameters.max_tokens)?;
        if let Some(alternatives) = self.parameters.logprobs {
            map.serialize_entry("logprobs", &true)?;
            put(&mut map, "top_logprobs", Some(alternatives).filter(|n| *n > 0))?;
        }
        put(&mut map, "reasoning_effort", self.parameters.reasoning_effort.as_deref())?;
        self.parameters.put(&mut map)?;
        if self.dialect.prefill == Prefill::ContinueFinal && self.has_prefix() {
            map.serialize_entry("continue_final_message", &true)?;
            map.serialize_entry("add_generation_prompt", &false)?;
        }
        stream(&mut map, self.stream, self.dialect.stream_usage)?;
        map.end()
    }
}

/// The prompt of `/completions`.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Two texts sent as one.
    Text(&'a str, &'a str),
    /// Token ids, taken as they are.
    Ids(&'a [u32]),
    /// Several texts, each answered by a choice of its own.
    Texts(&'a [&'a str]),
    /// Several lists of token ids, each answered by a choice of its own.
    Lists(&'a [&'a [u32]]),
}

/// Body of `/completions`.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// The model's name.
    pub model: &'a str,
    /// What to continue.
    pub prompt: Input<'a>,
    /// How to.
    pub parameters: &'a Parameters,
    /// The answer begins with the prompt, and its log-probabilities with the prompt's.
    pub echo: bool,
    /// vLLM's own way to the prompt's log-probabilities: this many alternatives beside each token.
    pub prompt_logprobs: Option<u32>,
    /// Answers in events.
    pub stream: bool,
    /// As [`Dialect::stream_usage`].
    pub stream_usage: bool,
}

impl<'a> Completion<'a> {
    /// A body that asks for an answer and nothing of the prompt.
    pub fn new(model: &'a str, prompt: Input<'a>, parameters: &'a Parameters) -> Self {
        Self {
            model,
            prompt,
            parameters,
            echo: false,
            prompt_logprobs: None,
            stream: false,
            stream_usage: false,
        }
    }
}

impl Serialize for Completion<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", self.model)?;
        match self.prompt {
            Input::Text(text, more) => map.serialize_entry("prompt", &Joined(text, more))?,
            Input::Ids(ids) => map.serialize_entry("prompt", ids)?,
            Input::Texts(texts) => map.serialize_entry("prompt", texts)?,
            Input::Lists(lists) => map.serialize_entry("prompt", lists)?,
        }
        put(&mut map, "max_tokens", self.parameters.max_tokens)?;
        // 0 alternatives is "no log-probabilities" to some servers (SGLang), so one is asked for.
        put(&mut map, "logprobs", self.parameters.logprobs.map(|n| n.max(1)))?;
        self.parameters.put(&mut map)?;
        put(&mut map, "echo", Some(true).filter(|_| self.echo))?;
        put(&mut map, "prompt_logprobs", self.prompt_logprobs)?;
        stream(&mut map, self.stream, self.stream_usage)?;
        map.end()
    }
}

fn stream<M: SerializeMap>(
    map: &mut M,
    stream: bool,
    usage: bool,
) -> std::result::Result<(), M::Error> {
    #[derive(Serialize)]
    struct Options {
        include_usage: bool,
    }
    if stream {
        map.serialize_entry("stream", &true)?;
        if usage {
            map.serialize_entry("stream_options", &Options { include_usage: true })?;
        }
    }
    Ok(())
}

struct Messages<'a>(&'a Chat<'a>);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Chat { dialect, prompt, .. } = self.0;
        match prompt {
            Prompt::Text(text) => {
                let mut list = serializer.serialize_seq(Some(1))?;
                let content = [Part::Text(text)];
                list.serialize_element(&One {
                    role: "user",
                    content: &content,
                    flatten: true,
                    flag: None,
                })?;
                list.end()
            }
            Prompt::Messages(messages) => {
                let mut list = serializer.serialize_seq(Some(messages.len()))?;
                for (at, message) in messages.iter().enumerate() {
                    let flag = match &dialect.prefill {
                        Prefill::Flag(name)
                            if at + 1 == messages.len() && message.role == "assistant" =>
                        {
                            Some(name.as_str())
                        }
                        _ => None,
                    };
                    list.serialize_element(&One {
                        role: role(message, dialect),
                        content: &message.content,
                        flatten: dialect.flatten,
                        flag,
                    })?;
                }
                list.end()
            }
        }
    }
}

fn role<'a>(message: &'a Message<'_>, dialect: &'a Dialect) -> &'a str {
    match &dialect.system_role {
        Some(other) if message.role == "system" => other,
        _ => &message.role,
    }
}

/// One message. Its content is a string where it is text alone, which every server takes.
struct One<'a> {
    role: &'a str,
    content: &'a [Part<'a>],
    flatten: bool,
    flag: Option<&'a str>,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", self.role)?;
        let plain = self.content.iter().all(|part| matches!(part, Part::Text(_)));
        if self.flatten || plain {
            map.serialize_entry("content", &Content(self.content))?;
        } else {
            map.serialize_entry("content", &Parts(self.content))?;
        }
        if let Some(flag) = self.flag {
            map.serialize_entry(flag, &true)?;
        }
        map.end()
    }
}

struct Parts<'a>(&'a [Part<'a>]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for part in self.0 {
            match part {
                Part::Text(text) => list.serialize_element(&TextPart { kind: "text", text })?,
                Part::Image { media_type, data } => list.serialize_element(&ImagePart {
                    kind: "image_url",
                    image_url: Image { url: DataUrl { media_type, data } },
                })?,
            }
        }
        list.end()
    }
}

#[derive(Serialize)]
struct TextPart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct ImagePart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    image_url: Image<'a>,
}

#[derive(Serialize)]
struct Image<'a> {
    url: DataUrl<'a>,
}

/// An image inside a URL (RFC 2397), encoded while it is written.
struct DataUrl<'a> {
    media_type: &'a str,
    data: &'a [u8],
}

impl fmt::Display for DataUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = Base64Display::new(self.data, &STANDARD);
        write!(f, "data:{};base64,{data}", self.media_type)
    }
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
