//! The body of `/v1/messages`, and what Anthropic does not take.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::Refusal;
use crate::mock::{
    flavors::text::{Text, TextOr, joined},
    model::{Prompt, Turn},
};

/// Most tokens of an answer.
pub(super) const MAX_OUTPUT: i64 = 128_000;
/// Least tokens of a thinking budget.
const MIN_THINKING: i64 = 1024;
/// Models without sampling parameters and without messages that open the answer.
const WITHOUT_SAMPLING: [&str; 7] = [
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-haiku-5-5",
    "claude-fable",
    "claude-mythos",
];

/// A request for a message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "what the mock does not heed is accepted and checked for its type")]
pub(super) struct Messages<'a> {
    #[serde(borrow)]
    pub(super) model: Text<'a>,
    pub(super) max_tokens: i64,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    system: Option<TextOr<'a, Block<'a>>>,
    #[serde(borrow, default)]
    stop_sequences: Option<Vec<Text<'a>>>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) top_p: Option<f64>,
    #[serde(default)]
    top_k: Option<i64>,
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Thinking<'a>>,
    #[serde(borrow, default)]
    output_config: Option<OutputConfig<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Text<'a>>,
    #[serde(default)]
    tools: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    tool_choice: Option<IgnoredAny>,
    #[serde(default)]
    cache_control: Option<IgnoredAny>,
    #[serde(borrow, default)]
    container: Option<Text<'a>>,
    #[serde(borrow, default)]
    inference_geo: Option<Text<'a>>,
}

/// A request for the number of tokens of a prompt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "what does not change the number is accepted and checked for its type")]
pub(super) struct CountTokens<'a> {
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    system: Option<TextOr<'a, Block<'a>>>,
    #[serde(borrow, default)]
    thinking: Option<Thinking<'a>>,
    #[serde(borrow, default)]
    output_config: Option<OutputConfig<'a>>,
    #[serde(default)]
    tools: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    tool_choice: Option<IgnoredAny>,
    #[serde(default)]
    cache_control: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: TextOr<'a, Block<'a>>,
}

/// A block of any type; which fields it may have is checked after reading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block<'a> {
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata<'a> {
    #[serde(borrow, rename = "user_id", default)]
    _user_id: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thinking<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    budget_tokens: Option<i64>,
    #[serde(borrow, default)]
    display: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputConfig<'a> {
    #[serde(borrow, default)]
    effort: Option<Text<'a>>,
    #[serde(rename = "format", default)]
    _format: Option<IgnoredAny>,
}

impl<'a> Messages<'a> {
    /// Checks everything but the messages.
    ///
    /// # Errors
    /// The first thing that Anthropic does not take.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let refuse = |message: &str| Err(Refusal::invalid(message));
        if self.max_tokens < 1 {
            return refuse("max_tokens: Input should be greater than or equal to 1");
        }
        if self.max_tokens > MAX_OUTPUT {
            return Err(Refusal::invalid(format!(
                "max_tokens: {} > {MAX_OUTPUT}, which is the maximum allowed number of output tokens for {}",
                self.max_tokens, &*self.model
            )));
        }
        let blank = |stop: &Text<'_>| stop.trim().is_empty();
        if self.stop_sequences.as_ref().is_some_and(|stops| stops.iter().any(blank)) {
            return refuse("stop_sequences: each stop sequence must contain non-whitespace");
        }
        let unit = |value: Option<f64>| value.is_none_or(|value| (0.0..=1.0).contains(&value));
        if !unit(self.temperature) {
            return refuse("temperature: range: 0..1");
        }
        if !unit(self.top_p) {
            return refuse("top_p: range: 0..1");
        }
        if self.top_k.is_some_and(|top_k| top_k < 0) {
            return refuse("top_k: Input should be greater than or equal to 0");
        }
        match self.service_tier.as_deref() {
            None | Some("auto" | "standard_only") => {}
            Some(_) => return refuse("service_tier: Input should be 'auto' or 'standard_only'"),
        }
        check_effort(self.output_config.as_ref())?;
        self.check_sampling()?;
        self.check_thinking()
    }

    fn is_newer(&self) -> bool {
        WITHOUT_SAMPLING.iter().any(|name| self.model.starts_with(name))
    }

    fn check_sampling(&self) -> Result<(), Refusal> {
        let present = [
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("top_k", self.top_k.is_some()),
        ];
        match present.into_iter().find(|(_, present)| *present) {
            Some((name, _)) if self.is_newer() => {
                Err(Refusal::invalid(format!("`{name}` is deprecated for this model.")))
            }
            _ => Ok(()),
        }
    }

    fn check_thinking(&self) -> Result<(), Refusal> {
        let Some(thinking) = &self.thinking else {
            return Ok(());
        };
        let refuse = |message: &str| Err(Refusal::invalid(message));
        match thinking.display.as_deref() {
            None | Some("summarized" | "omitted") => {}
            Some(_) => {
                return refuse("thinking.display: Input should be 'summarized' or 'omitted'");
            }
        }
        match (&*thinking.kind, thinking.budget_tokens) {
            ("enabled", _) if self.is_newer() => {
                return refuse(
                    "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                     \"output_config.effort\" to control thinking behavior.",
                );
            }
            ("enabled", None) => return refuse("thinking.enabled.budget_tokens: Field required"),
            ("enabled", Some(budget)) if budget < MIN_THINKING => {
                return refuse(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
                );
            }
            ("enabled", Some(budget)) if budget >= self.max_tokens => {
                return refuse("`max_tokens` must be greater than `thinking.budget_tokens`.");
            }
            ("adaptive" | "disabled", Some(_)) => {
                let path = format!("thinking.{}.budget_tokens", &*thinking.kind);
                return Err(Refusal::invalid(format!("{path}: Extra inputs are not permitted")));
            }
            ("disabled", None) => return Ok(()),
            ("enabled" | "adaptive", _) => {}
            (kind, _) => {
                return Err(Refusal::invalid(format!(
                    "thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: \
                     'adaptive', 'disabled', 'enabled'"
                )));
            }
        }
        if self.temperature.is_some_and(|temperature| temperature != 1.0) {
            return refuse("`temperature` may only be set to 1 when thinking is enabled.");
        }
        if self.top_k.is_some() {
            return refuse("`top_k` must be unset when thinking is enabled.");
        }
        Ok(())
    }

    /// How many tokens are thought before the answer.
    pub(super) fn thinking_tokens(&self) -> usize {
        let effort = self.output_config.as_ref().and_then(|config| config.effort.as_deref());
        match self.thinking.as_ref().map(|thinking| &*thinking.kind) {
            Some("enabled") => 32,
            Some("adaptive") => match effort {
                Some("low") => 12,
                Some("xhigh" | "max") => 128,
                _ => 32,
            },
            _ => 0,
        }
    }

    /// The texts that end the answer.
    pub(super) fn stops(&mut self) -> Vec<Cow<'a, str>> {
        let stops = self.stop_sequences.take().unwrap_or_default();
        stops.into_iter().map(|stop| stop.0).collect()
    }

    /// The messages, and the system's text before them.
    ///
    /// # Errors
    /// What Anthropic does not take of them.
    pub(super) fn prompt(&mut self) -> Result<Prompt<'a>, Refusal> {
        let messages = std::mem::take(&mut self.messages);
        if self.is_newer() && messages.last().is_some_and(|last| &*last.role == "assistant") {
            return Err(Refusal::invalid(
                "This model does not support assistant message prefill. The conversation must end with a user message.",
            ));
        }
        prompt(self.system.take(), messages)
    }
}

impl<'a> CountTokens<'a> {
    /// The messages, and the system's text before them.
    ///
    /// # Errors
    /// What Anthropic does not take of them.
    pub(super) fn prompt(self) -> Result<Prompt<'a>, Refusal> {
        check_effort(self.output_config.as_ref())?;
        prompt(self.system, self.messages)
    }
}

fn check_effort(config: Option<&OutputConfig<'_>>) -> Result<(), Refusal> {
    match config.and_then(|config| config.effort.as_deref()) {
        None | Some("low" | "medium" | "high" | "xhigh" | "max") => Ok(()),
        Some(_) => Err(Refusal::invalid(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        )),
    }
}

fn prompt<'a>(
    system: Option<TextOr<'a, Block<'a>>>,
    messages: Vec<Message<'a>>,
) -> Result<Prompt<'a>, Refusal> {
    let Some(first) = messages.first() else {
        return Err(Refusal::invalid("messages: at least one message is required"));
    };
    if &*first.role == "assistant" {
        return Err(Refusal::invalid("messages: first message must use the \"user\" role"));
    }
    let last = messages.len() - 1;
    let mut turns = Vec::with_capacity(messages.len() + 1);
    if let Some(system) = system {
        let content = text(system, "system", &["text"])?;
        turns.push(Turn { role: Cow::Borrowed("system"), content });
    }
    for (at, message) in messages.into_iter().enumerate() {
        match &*message.role {
            "user" | "assistant" => {}
            "system" => {
                return Err(Refusal::invalid(
                    "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \
                     \"system\" as an input message role.",
                ));
            }
            _ => {
                let message = format!("messages.{at}.role: Input should be 'user' or 'assistant'");
                return Err(Refusal::invalid(message));
            }
        }
        let closes = at == last && &*message.role == "assistant";
        let content = text(message.content, &format!("messages.{at}.content"), &KINDS)?;
        if closes && content.ends_with(char::is_whitespace) {
            return Err(Refusal::invalid(
                "messages: final assistant content cannot end with trailing whitespace",
            ));
        }
        turns.push(Turn { role: message.role.0, content });
    }
    Ok(Prompt::Chat(turns))
}

const KINDS: [&str; 7] =
    ["document", "image", "redacted_thinking", "text", "thinking", "tool_result", "tool_use"];

/// The texts of a content's blocks.
fn text<'a>(
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
