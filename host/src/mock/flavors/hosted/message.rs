//! Messages of a chat.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::Refusal;
use crate::mock::{
    flavors::text::{Text, TextOr, joined},
    model::Turn,
};

const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];
const PARTS: [&str; 5] = ["text", "image_url", "input_audio", "refusal", "file"];

/// One message.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message<'a> {
    /// Who speaks.
    #[serde(borrow)]
    pub(crate) role: Text<'a>,
    /// What is said; a null and a field that is not there are the same to OpenAI.
    #[serde(borrow, default)]
    pub(crate) content: Option<TextOr<'a, Part<'a>>>,
    /// Who speaks, by name.
    #[serde(rename = "name", default)]
    _name: Option<IgnoredAny>,
    /// An earlier refusal of the assistant's.
    #[serde(borrow, default)]
    pub(crate) refusal: Option<Text<'a>>,
    /// Calls of tools that the assistant made.
    #[serde(default)]
    pub(crate) tool_calls: Option<IgnoredAny>,
    /// Which call a tool answers.
    #[serde(borrow, default)]
    pub(crate) tool_call_id: Option<Text<'a>>,
    /// The older form of `tool_calls`.
    #[serde(default)]
    pub(crate) function_call: Option<IgnoredAny>,
    /// An earlier answer's sound.
    #[serde(rename = "audio", default)]
    _audio: Option<IgnoredAny>,
    /// Earlier thinking of the assistant's: of Moonshot and vLLM, not of OpenAI.
    #[serde(borrow, default)]
    pub(crate) reasoning_content: Option<Text<'a>>,
    /// Whether the answer continues this message: Moonshot's.
    #[serde(default)]
    pub(crate) partial: Option<bool>,
}

/// A part of a message.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    image_url: Option<ImageUrl<'a>>,
    #[serde(default)]
    input_audio: Option<IgnoredAny>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(default)]
    file: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageUrl<'a> {
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(borrow, default)]
    detail: Option<Text<'a>>,
}

/// Checks messages, and reads them as the model's turns.
///
/// # Errors
/// A role or a part that OpenAI has not, or one without its content.
pub(crate) fn turns<'a>(messages: Vec<Message<'a>>) -> Result<Vec<Turn<'a>>, Refusal> {
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty \
                       array instead.";
        return Err(Refusal::new(message).of("messages", "empty_array"));
    }
    messages.into_iter().enumerate().map(|(at, message)| turn(at, message)).collect()
}

fn turn(at: usize, message: Message<'_>) -> Result<Turn<'_>, Refusal> {
    let path = |field: &str| format!("messages[{at}].{field}");
    if !ROLES.contains(&&*message.role) {
        return Err(Refusal::invalid_value(&path("role"), &message.role, &ROLES));
    }
    match &*message.role {
        "assistant" => {
            let spoke = message.tool_calls.is_some() || message.function_call.is_some();
            if message.content.is_none() && message.refusal.is_none() && !spoke {
                return Err(null_content(&path("content")));
            }
        }
        _ if message.content.is_none() => return Err(null_content(&path("content"))),
        "tool" if message.tool_call_id.is_none() => {
            return Err(Refusal::missing(&path("tool_call_id")));
        }
        _ => {}
    }
    let content = match message.content {
        None => Cow::Borrowed(""),
        Some(TextOr::Text(text)) => text.0,
        Some(TextOr::List(parts)) => {
            if parts.is_empty() {
                let message = format!("Invalid '{}': empty array.", path("content"));
                return Err(Refusal::new(message).of(path("content"), "empty_array"));
            }
            for (n, part) in parts.iter().enumerate() {
                check(&format!("{}[{n}]", path("content")), part)?;
            }
            joined(parts.into_iter().filter_map(|part| part.text).map(|text| text.0))
        }
    };
    let role = match message.role.0 {
        role if role == "developer" => Cow::Borrowed("system"),
        role => role,
    };
    Ok(Turn { role, content })
}

fn null_content(path: &str) -> Refusal {
    let message = format!("Invalid value for '{path}': expected a string, got null.");
    Refusal::new(message).of(path, "invalid_type")
}

/// A part has what its type says and nothing else.
fn check(path: &str, part: &Part<'_>) -> Result<(), Refusal> {
    if !PARTS.contains(&&*part.kind) {
        return Err(Refusal::invalid_value(path, &part.kind, &PARTS));
    }
    let has = [
        part.text.is_some(),
        part.image_url.is_some(),
        part.input_audio.is_some(),
        part.refusal.is_some(),
        part.file.is_some(),
    ];
    for (name, has) in PARTS.iter().zip(has) {
        match (*name == &*part.kind, has) {
            (true, false) => return Err(Refusal::missing(&format!("{path}.{name}"))),
            (false, true) => return Err(Refusal::unknown(&format!("{path}.{name}"))),
            _ => {}
        }
    }
    let Some(image) = &part.image_url else {
        return Ok(());
    };
    let path = format!("{path}.image_url");
    let readable = ["https://", "http://", "data:image/"];
    if !readable.iter().any(|scheme| image.url.starts_with(scheme)) {
        let message = "Invalid image URL: expected an https URL or a data URL with an image.";
        return Err(Refusal::new(message).of(format!("{path}.url"), "invalid_image_url"));
    }
    super::values::one_of(
        &format!("{path}.detail"),
        image.detail.as_deref(),
        &["auto", "low", "high"],
    )
}
