//! Blocks of a message's content.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::Refusal;
use crate::mock::flavors::text::{Text, TextOr, joined};

/// A block of any type; which fields it may have is checked after reading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    source: Option<Source<'a>>,
    #[serde(default)]
    thinking: Option<IgnoredAny>,
    #[serde(default)]
    signature: Option<IgnoredAny>,
    #[serde(default)]
    data: Option<IgnoredAny>,
    #[serde(default)]
    id: Option<IgnoredAny>,
    #[serde(default)]
    name: Option<IgnoredAny>,
    #[serde(default)]
    input: Option<IgnoredAny>,
    #[serde(default)]
    tool_use_id: Option<IgnoredAny>,
    #[serde(default)]
    content: Option<IgnoredAny>,
    #[serde(rename = "is_error", default)]
    _is_error: Option<bool>,
    #[serde(rename = "cache_control", default)]
    _cache_control: Option<IgnoredAny>,
    #[serde(rename = "citations", default)]
    _citations: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    media_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
}

/// Blocks that a message may have.
pub(super) const KINDS: [&str; 7] =
    ["document", "image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use"];

/// The texts of a content's blocks.
pub(super) fn text<'a>(
    content: TextOr<'a, Block<'a>>,
    path: &str,
    kinds: &[&str],
) -> Result<Cow<'a, str>, Refusal> {
    let blocks = match content {
        TextOr::Text(text) if text.is_empty() && path != "system" => {
            return Err(Refusal::invalid(format!(
                "{path}: all messages must have non-empty content"
            )));
        }
        TextOr::Text(text) => return Ok(text.0),
        TextOr::List(blocks) => blocks,
    };
    if blocks.is_empty() && path != "system" {
        return Err(Refusal::invalid(format!("{path}: all messages must have non-empty content")));
    }
    for (at, block) in blocks.iter().enumerate() {
        block.check(&format!("{path}.{at}"), kinds)?;
    }
    Ok(joined(blocks.into_iter().filter_map(|block| block.text).map(|text| text.0)))
}

impl Block<'_> {
    /// A block has what its type says and nothing else.
    fn check(&self, path: &str, kinds: &[&str]) -> Result<(), Refusal> {
        let refuse = |message: String| Err(Refusal::invalid(message));
        if !kinds.contains(&&*self.kind) {
            let names: Vec<String> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            return refuse(format!(
                "{path}: Input tag '{}' found using 'type' does not match any of the expected tags: {}",
                &*self.kind,
                names.join(", ")
            ));
        }
        let fields = [
            ("text", self.text.is_some(), &["text"][..]),
            ("source", self.source.is_some(), &["image", "document"]),
            ("thinking", self.thinking.is_some(), &["thinking"]),
            ("signature", self.signature.is_some(), &["thinking"]),
            ("data", self.data.is_some(), &["redacted_thinking"]),
            ("id", self.id.is_some(), &["tool_use"]),
            ("name", self.name.is_some(), &["tool_use"]),
            ("input", self.input.is_some(), &["tool_use"]),
            ("tool_use_id", self.tool_use_id.is_some(), &["tool_result"]),
        ];
        for (name, present, of) in fields {
            match (of.contains(&&*self.kind), present) {
                (true, false) => {
                    return refuse(format!("{path}.{}.{name}: Field required", &*self.kind));
                }
                (false, true) => {
                    return refuse(format!(
                        "{path}.{}.{name}: Extra inputs are not permitted",
                        &*self.kind
                    ));
                }
                _ => {}
            }
        }
        if self.content.is_some() && &*self.kind != "tool_result" {
            return refuse(format!(
                "{path}.{}.content: Extra inputs are not permitted",
                &*self.kind
            ));
        }
        if self.text.as_ref().is_some_and(|text| text.is_empty()) {
            return refuse("messages: text content blocks must be non-empty".to_owned());
        }
        self.source.as_ref().map_or(Ok(()), |source| source.check(path))
    }
}

impl Source<'_> {
    fn check(&self, path: &str) -> Result<(), Refusal> {
        let missing = match &*self.kind {
            "base64" if self.media_type.is_none() => Some("base64.media_type"),
            "base64" if self.data.is_none() => Some("base64.data"),
            "url" if self.url.is_none() => Some("url.url"),
            "base64" | "url" => None,
            kind => {
                return Err(Refusal::invalid(format!(
                    "{path}.source: Input tag '{kind}' found using 'type' does not match any of the expected tags: \
                     'base64', 'url'"
                )));
            }
        };
        match missing {
            Some(name) => Err(Refusal::invalid(format!("{path}.source.{name}: Field required"))),
            None => Ok(()),
        }
    }
}
