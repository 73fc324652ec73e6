//! Bodies of Ollama's native API (api/types.go), with unknown keys refused.
//!
//! Pure.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::CONTEXT;
use crate::mock::model::{Ask, Prompt, Turn};

/// Body of `/api/generate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generate<'a> {
    #[serde(borrow, default)]
    pub(super) model: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) prompt: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) system: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) raw: bool,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) options: Option<Options>,
    #[serde(default)]
    pub(super) logprobs: bool,
    #[serde(default)]
    pub(super) top_logprobs: Option<usize>,
    #[serde(rename = "suffix", default)]
    _suffix: Option<String>,
    #[serde(rename = "template", default)]
    _template: Option<String>,
    #[serde(rename = "context", default)]
    _context: Option<Vec<u32>>,
    #[serde(rename = "format", default)]
    _format: Option<IgnoredAny>,
    #[serde(rename = "keep_alive", default)]
    _keep_alive: Option<IgnoredAny>,
    #[serde(rename = "images", default)]
    _images: Option<Vec<String>>,
    #[serde(rename = "think", default)]
    _think: Option<IgnoredAny>,
}

/// Body of `/api/chat`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chat<'a> {
    #[serde(borrow, default)]
    pub(super) model: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) messages: Vec<Message<'a>>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) options: Option<Options>,
    #[serde(default)]
    pub(super) logprobs: bool,
    #[serde(default)]
    pub(super) top_logprobs: Option<usize>,
    #[serde(rename = "tools", default)]
    _tools: Option<IgnoredAny>,
    #[serde(rename = "format", default)]
    _format: Option<IgnoredAny>,
    #[serde(rename = "keep_alive", default)]
    _keep_alive: Option<IgnoredAny>,
    #[serde(rename = "think", default)]
    _think: Option<IgnoredAny>,
}

/// A message: its text is one text, never a list of parts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Cow<'a, str>,
    #[serde(rename = "thinking", default)]
    _thinking: Option<String>,
    #[serde(rename = "images", default)]
    _images: Option<Vec<String>>,
    #[serde(rename = "tool_calls", default)]
    _tool_calls: Option<IgnoredAny>,
    #[serde(rename = "tool_name", default)]
    _tool_name: Option<String>,
}

impl<'a> From<Message<'a>> for Turn<'a> {
    fn from(message: Message<'a>) -> Self {
        Self { role: message.role, content: message.content }
    }
}

/// Body of `/api/show`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Show<'a> {
    #[serde(borrow, default)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(rename = "verbose", default)]
    _verbose: Option<bool>,
}

/// How to generate, and with what of the machine.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    /// -1: until the model ends.
    num_predict: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    stop: Vec<String>,
    num_ctx: Option<usize>,
    #[serde(rename = "top_k")]
    _top_k: Option<i64>,
    #[serde(rename = "min_p")]
    _min_p: Option<f64>,
    #[serde(rename = "typical_p")]
    _typical_p: Option<f64>,
    #[serde(rename = "num_keep")]
    _num_keep: Option<i64>,
    #[serde(rename = "repeat_last_n")]
    _repeat_last_n: Option<i64>,
    #[serde(rename = "repeat_penalty")]
    _repeat_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    #[serde(rename = "num_batch")]
    _num_batch: Option<i64>,
    #[serde(rename = "num_gpu")]
    _num_gpu: Option<i64>,
    #[serde(rename = "main_gpu")]
    _main_gpu: Option<i64>,
    #[serde(rename = "use_mmap")]
    _use_mmap: Option<bool>,
    #[serde(rename = "num_thread")]
    _num_thread: Option<i64>,
}

impl Options {
    /// The request. Ollama's own temperature is 0.8, so what does not say 0 samples.
    pub(super) fn ask<'a>(&self, prompt: Prompt<'a>) -> Ask<'a> {
        let (_, given) = prompt.read();
        let fits = self.num_ctx.unwrap_or(CONTEXT).saturating_sub(given).max(1);
        let most = self.num_predict.and_then(|most| usize::try_from(most).ok());
        Ask {
            max_tokens: Some(most.unwrap_or(fits).min(fits)),
            stop: self.stop.iter().map(|stop| stop.clone().into()).collect(),
            temperature: Some(self.temperature.unwrap_or(0.8)),
            top_p: self.top_p,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.seed.map(i64::cast_unsigned),
            ..Ask::new(prompt)
        }
    }
}
