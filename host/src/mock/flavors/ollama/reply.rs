//! Ollama's replies: an object, or a line a token and a last one with the counts.
//!
//! Pure; borrows from the answer.

use serde::Serialize;

use super::CREATED;
use crate::mock::{
    exchange::{Answer, line},
    flavors::compatible::text_of,
    model::{End, Said, Token},
};

/// Which of the two routes answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `response` holds the text.
    Generate,
    /// `message` holds it.
    Chat,
}

/// How an answer is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken<'a> {
    /// By which route.
    pub(super) kind: Kind,
    /// The model as it was asked for.
    pub(super) model: &'a str,
    /// How many alternatives a token, if log-probabilities are wanted.
    pub(super) logprobs: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Reply<'a> {
    model: &'a str,
    created_at: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<Scored>>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Debug, Serialize)]
struct Scored {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<Vec<Self>>,
}

impl Scored {
    fn new(token: String, logprob: f64) -> Self {
        Self { bytes: token.clone().into_bytes(), token, logprob, top_logprobs: None }
    }
}

/// The reply to a request that only loads the model.
pub(super) fn loaded(kind: Kind, model: &str) -> Answer {
    let spoken = Spoken { kind, model, logprobs: None };
    Answer::json(200, &Reply { done: true, done_reason: Some("load"), ..spoken.part("") })
}

impl<'a> Spoken<'a> {
    /// One object.
    pub(super) fn whole(self, said: &Said) -> Answer {
        let logprobs = self.scored(said, &said.tokens);
        Answer::json(200, &Reply { logprobs, ..self.end(said, said.text()) })
    }

    /// A line a token, and the counts in a line of their own.
    pub(super) fn stream(self, said: &Said) -> Answer {
        let told = said.tokens.iter().filter(|token| !token.special());
        let mut frames: Vec<Vec<u8>> = told
            .map(|token| {
                let logprobs = self.scored(said, std::slice::from_ref(token));
                line(&Reply { logprobs, ..self.part(said.answer_piece(token)) })
            })
            .collect();
        frames.push(line(&self.end(said, "")));
        Answer::lines(frames)
    }

    fn part(self, text: &'a str) -> Reply<'a> {
        Reply {
            model: self.model,
            created_at: CREATED,
            response: (self.kind == Kind::Generate).then_some(text),
            message: (self.kind == Kind::Chat)
                .then_some(Message { role: "assistant", content: text }),
            done: false,
            done_reason: None,
            total_duration: None,
            load_duration: None,
            prompt_eval_count: None,
            prompt_eval_duration: None,
            eval_count: None,
            eval_duration: None,
            logprobs: None,
        }
    }

    /// What is known at the end. The mock takes no time.
    fn end<'t>(self, said: &Said, text: &'t str) -> Reply<'t>
    where
        'a: 't,
    {
        Reply {
            done: true,
            done_reason: Some(match said.end {
                End::Eos | End::Stop(_) => "stop",
                End::Length => "length",
            }),
            total_duration: Some(1),
            load_duration: Some(0),
            prompt_eval_count: Some(said.prompt_tokens),
            prompt_eval_duration: Some(0),
            eval_count: Some(said.completion_tokens),
            eval_duration: Some(1),
            ..self.part(text)
        }
    }

    fn scored(self, said: &Said, tokens: &[Token]) -> Option<Vec<Scored>> {
        let most = self.logprobs?;
        let told = tokens.iter().filter(|token| !token.special());
        let scored = told.map(|token| {
            let alternatives = token.alternatives(most).into_iter();
            let alternatives =
                alternatives.map(|(id, logprob)| Scored::new(text_of(id), logprob)).collect();
            Scored {
                top_logprobs: (most > 0).then_some(alternatives),
                ..Scored::new(said.piece(token).to_owned(), token.logprob())
            }
        });
        Some(scored.collect())
    }
}
