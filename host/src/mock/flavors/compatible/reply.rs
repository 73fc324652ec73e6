//! Replies in OpenAI's shape, whole and as chunks.

use std::borrow::Cow;

use serde::Serialize;

use super::logprobs::{ChatLogprobs, Logprobs};
use crate::mock::{
    exchange::{Answer, event},
    model::Said,
};

/// When everything was made: the same in each run, so that replies are.
pub(in crate::mock::flavors) const CREATED: u64 = 1_700_000_000;

/// What a server says of itself in each reply.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock::flavors) struct Served<'a> {
    /// Id of the reply; TGI's is empty.
    pub(in crate::mock::flavors) id: &'a str,
    /// The model's name.
    pub(in crate::mock::flavors) model: &'a str,
    /// TGI's version.
    pub(in crate::mock::flavors) system_fingerprint: Option<&'a str>,
    /// The finish reason of a stream's chunks before the last: null, or TGI's empty text in completions.
    pub(in crate::mock::flavors) unfinished: Option<&'a str>,
}

/// One answer as it is to be told.
#[derive(Clone, Debug)]
pub(in crate::mock::flavors) struct Told<'a> {
    /// Its number.
    pub(in crate::mock::flavors) index: usize,
    /// The answer.
    pub(in crate::mock::flavors) said: &'a Said,
    /// Its text, with what is put before it or left in it.
    pub(in crate::mock::flavors) text: Cow<'a, str>,
    /// In the server's words.
    pub(in crate::mock::flavors) finish_reason: &'a str,
    /// SGLang's: what ended it.
    pub(in crate::mock::flavors) matched_stop: Option<Matched<'a>>,
    /// Log-probabilities, if they are asked for.
    pub(in crate::mock::flavors) logprobs: Option<Logprobs<'a>>,
}

/// What ended an answer, as SGLang tells it.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock::flavors) enum Matched<'a> {
    /// A token.
    Token(u32),
    /// A stop text.
    Text(&'a str),
    /// Neither: the budget.
    Nothing,
}

impl Serialize for Matched<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Token(id) => serializer.serialize_u32(*id),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Nothing => serializer.serialize_none(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Reply<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_fingerprint: Option<&'a str>,
    choices: Vec<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize)]
struct ChatChoice<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Says<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Says<'a>>,
    logprobs: Option<&'a Logprobs<'a>>,
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_stop: Option<Matched<'a>>,
}

#[derive(Debug, Serialize)]
struct Says<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    content: &'a str,
}

#[derive(Debug, Serialize)]
struct TextChoice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<&'a Logprobs<'a>>,
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched_stop: Option<Matched<'a>>,
}

/// Tokens of all answers of a reply.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::mock::flavors) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl Usage {
    /// Prompts are counted once each: `prompts` are the answers that each begin another.
    pub(in crate::mock::flavors) fn of(told: &[Told<'_>], answers_a_prompt: usize) -> Self {
        let prompts = told.iter().step_by(answers_a_prompt.max(1));
        let prompt_tokens = prompts.map(|told| told.said.prompt_tokens).sum();
        let completion_tokens = told.iter().map(|told| told.said.completion_tokens).sum();
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

impl<'a> Served<'a> {
    fn reply<C>(self, object: &'static str, choices: Vec<C>, usage: Option<Usage>) -> Reply<'a, C> {
        let Self { id, model, system_fingerprint, .. } = self;
        Reply { id, object, created: CREATED, model, system_fingerprint, choices, usage }
    }

    /// A whole reply to a chat.
    pub(in crate::mock::flavors) fn chat(self, told: &[Told<'_>], usage: Usage) -> Answer {
        let choices = told.iter().map(|told| ChatChoice {
            index: told.index,
            message: Some(Says { role: Some("assistant"), content: &told.text }),
            delta: None,
            logprobs: told.logprobs.as_ref(),
            finish_reason: Some(told.finish_reason),
            matched_stop: told.matched_stop,
        });
        let choices = choices.collect();
        Answer::json(200, &self.reply("chat.completion", choices, Some(usage)))
    }

    /// A whole reply to a completion.
    pub(in crate::mock::flavors) fn completion(self, told: &[Told<'_>], usage: Usage) -> Answer {
        let choices = told.iter().map(|told| TextChoice {
            index: told.index,
            text: &told.text,
            logprobs: told.logprobs.as_ref(),
            finish_reason: Some(told.finish_reason),
            matched_stop: told.matched_stop,
        });
        let choices = choices.collect();
        Answer::json(200, &self.reply("text_completion", choices, Some(usage)))
    }

    /// A streamed chat: a chunk a token.
    pub(in crate::mock::flavors) fn chat_stream(
        self,
        told: &[Told<'_>],
        usage: Option<Usage>,
    ) -> Answer {
        let choice = |told: &Told<'_>, piece: &Chunk<'_>| {
            let choice = ChatChoice {
                index: told.index,
                message: None,
                delta: Some(Says { role: piece.first.then_some("assistant"), content: piece.text }),
                logprobs: piece.logprobs.as_ref(),
                finish_reason: if piece.last { Some(told.finish_reason) } else { self.unfinished },
                matched_stop: told.matched_stop.filter(|_| piece.last),
            };
            event(&self.reply("chat.completion.chunk", vec![choice], None))
        };
        self.stream(told, usage, "chat.completion.chunk", choice)
    }

    /// A streamed completion: a chunk a token.
    pub(in crate::mock::flavors) fn completion_stream(
        self,
        told: &[Told<'_>],
        usage: Option<Usage>,
    ) -> Answer {
        let choice = |told: &Told<'_>, piece: &Chunk<'_>| {
            let choice = TextChoice {
                index: told.index,
                text: piece.text,
                logprobs: piece.logprobs.as_ref(),
                finish_reason: if piece.last { Some(told.finish_reason) } else { self.unfinished },
                matched_stop: told.matched_stop.filter(|_| piece.last),
            };
            event(&self.reply("text_completion", vec![choice], None))
        };
        self.stream(told, usage, "text_completion", choice)
    }

    fn stream(
        self,
        told: &[Told<'_>],
        usage: Option<Usage>,
        object: &'static str,
        frame: impl Fn(&Told<'_>, &Chunk<'_>) -> Vec<u8>,
    ) -> Answer {
        let mut frames: Vec<Vec<u8>> = Vec::new();
        for one in told {
            frames.extend(one.chunks().iter().map(|chunk| frame(one, chunk)));
        }
        if let Some(usage) = usage {
            frames.push(event(&self.reply::<()>(object, Vec::new(), Some(usage))));
        }
        frames.push(b"data: [DONE]\n\n".to_vec());
        Answer::events(frames)
    }
}

/// A part of an answer.
#[derive(Debug)]
struct Chunk<'a> {
    text: &'a str,
    logprobs: Option<Logprobs<'a>>,
    first: bool,
    last: bool,
}

impl Told<'_> {
    /// The text in parts: what was put before the answer, then a token each.
    fn chunks(&self) -> Vec<Chunk<'_>> {
        // The text may begin with what was asked and lack the stop text.
        let before = self.text.len().saturating_sub(self.said.with_stop().len());
        let before = if self.text.ends_with(self.said.with_stop()) {
            before
        } else {
            self.text.len().saturating_sub(self.said.text().len())
        };
        let mut chunks = Vec::with_capacity(self.said.tokens.len() + 1);
        if before > 0 {
            chunks.push(self.chunk(0, before, None));
        }
        for (at, token) in self.said.tokens.iter().enumerate() {
            let end = |end: usize| (before + end).min(self.text.len());
            chunks.push(self.chunk(end(token.start), end(token.end), Some(at)));
        }
        if chunks.is_empty() {
            chunks.push(self.chunk(0, 0, None));
        }
        if let Some(first) = chunks.first_mut() {
            first.first = true;
        }
        if let Some(last) = chunks.last_mut() {
            last.last = true;
        }
        chunks
    }

    fn chunk(&self, start: usize, end: usize, token: Option<usize>) -> Chunk<'_> {
        let logprobs = match (&self.logprobs, token) {
            (Some(Logprobs::Chat(all)), Some(at)) => {
                let scored = all.content.get(at).cloned();
                scored.map(|scored| Logprobs::Chat(ChatLogprobs { content: vec![scored] }))
            }
            _ => None,
        };
        Chunk { text: &self.text[start..end], logprobs, first: false, last: false }
    }
}
