//! Replies of `generateContent` as completions: the answer is the text of the parts that are no thoughts.
//!
//! Pure: borrows from the reply.

use plugin_api::{
    Completion, Error, ErrorKind, FinishReason, Reply, Result, TokenLogprob, Usage, message::Str,
};
use serde::Deserialize;
use wire::count;

use crate::answer::{Text, hidden_reasoning};

use super::failure::{self, Status};

/// A reply, or an event of a stream. No field is always there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    candidates: Vec<Candidate<'a>>,
    #[serde(borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    usage_metadata: Option<Counted>,
    #[serde(borrow)]
    model_version: Option<Str<'a>>,
    #[serde(borrow)]
    error: Option<Status<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate<'a> {
    /// Zero is left out, as protocol buffers do.
    index: u32,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Str<'a>>,
    #[serde(borrow)]
    logprobs_result: Option<LogprobsResult<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Vec<Part<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Str<'a>>,
    thought: bool,
}

/// Why the prompt was blocked, if it was.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Str<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogprobsResult<'a> {
    #[serde(borrow)]
    chosen_candidates: Vec<Chosen<'a>>,
    #[serde(borrow)]
    top_candidates: Vec<Alternatives<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Alternatives<'a> {
    #[serde(borrow)]
    candidates: Vec<Chosen<'a>>,
}

/// A token. What is zero or empty is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Chosen<'a> {
    #[serde(borrow)]
    token: Str<'a>,
    log_probability: f64,
}

/// Tokens as the API counts them; a count of zero is left out, and what is no count is unknown. In a stream each is
/// that of the whole so far.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Counted {
    #[serde(deserialize_with = "count::read")]
    prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    cached_content_token_count: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    candidates_token_count: Option<u64>,
    #[serde(deserialize_with = "count::read")]
    thoughts_token_count: Option<u64>,
}

impl Default for Counted {
    fn default() -> Self {
        let nothing = Some(0);
        Self {
            prompt_token_count: nothing,
            tool_use_prompt_token_count: nothing,
            cached_content_token_count: nothing,
            candidates_token_count: nothing,
            thoughts_token_count: nothing,
        }
    }
}

impl Counted {
    /// Counts only grow, but an event may leave out those that it does not change.
    fn most(self, other: Self) -> Self {
        let most = |a: Option<u64>, b: Option<u64>| Some(a?.max(b?));
        Self {
            prompt_token_count: most(self.prompt_token_count, other.prompt_token_count),
            tool_use_prompt_token_count: most(
                self.tool_use_prompt_token_count,
                other.tool_use_prompt_token_count,
            ),
            cached_content_token_count: most(
                self.cached_content_token_count,
                other.cached_content_token_count,
            ),
            candidates_token_count: most(self.candidates_token_count, other.candidates_token_count),
            thoughts_token_count: most(self.thoughts_token_count, other.thoughts_token_count),
        }
    }
}

/// Reads a reply.
///
/// # Errors
/// What [`failure::failure`] makes of a status that is no success, and of an error object under a good one;
/// `unexpected_reply` for any other shape.
pub fn decode(reply: &Reply, stop: &[String]) -> Result<Completion> {
    if !reply.is_success() {
        return Err(failure::failure(reply));
    }
    let response: Response<'_> =
        reply.json().map_err(|error| failure::in_body(reply.body()).unwrap_or(error))?;
    let mut gathered = Gathered::new(stop);
    let read = gathered.take(response).and_then(|()| gathered.completion());
    // A whole reply that is incomplete was not broken off on its way: it has another shape.
    read.map_err(|mut error| {
        if error.kind == ErrorKind::Transport {
            error.kind = ErrorKind::UnexpectedReply;
        }
        error.http_status = Some(reply.status);
        error.with_excerpt(reply.body())
    })
}

/// An answer being put together from one reply or from events.
#[derive(Debug)]
pub(super) struct Gathered {
    stop: Vec<String>,
    /// In the order of their index.
    choices: Vec<Growing>,
    blocked: bool,
    counted: Option<Counted>,
    model: Option<String>,
}

/// One candidate so far.
#[derive(Debug)]
struct Growing {
    index: u32,
    text: Text,
    thoughts: String,
    finish_reason: Option<FinishReason>,
    tokens: Option<Vec<TokenLogprob>>,
}

impl Gathered {
    pub(super) fn new(stop: &[String]) -> Self {
        Self {
            stop: stop.to_vec(),
            choices: Vec::new(),
            blocked: false,
            counted: None,
            model: None,
        }
    }

    /// Takes a reply or an event.
    ///
    /// # Errors
    /// The failure that an error object tells; `unexpected_reply` if it holds nothing that an answer is made of.
    pub(super) fn take(&mut self, response: Response<'_>) -> Result<()> {
        if let Some(error) = response.error {
            return Err(failure::named(&error));
        }
        let feedback = response.prompt_feedback.and_then(|feedback| feedback.block_reason);
        if response.candidates.is_empty() && feedback.is_none() && response.usage_metadata.is_none()
        {
            return Err(Error::unexpected(
                "the reply holds neither candidates nor a reason for none",
            ));
        }
        self.blocked |= feedback.is_some();
        if let Some(newer) = response.usage_metadata {
            self.counted = Some(self.counted.unwrap_or_default().most(newer));
        }
        if let Some(model) = response.model_version {
            self.model = Some(model.into_owned());
        }
        for candidate in response.candidates {
            self.growing(candidate.index).take(candidate);
        }
        Ok(())
    }

    fn growing(&mut self, index: u32) -> &mut Growing {
        let at = self.choices.partition_point(|choice| choice.index < index);
        if self.choices.get(at).is_none_or(|choice| choice.index != index) {
            let new = Growing {
                index,
                text: Text::new(&self.stop),
                thoughts: String::new(),
                finish_reason: None,
                tokens: None,
            };
            self.choices.insert(at, new);
        }
        &mut self.choices[at]
    }

    /// Whether every choice was cut at a stop text, so that nothing more matters.
    pub(super) fn is_cut(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.text.is_cut())
    }

    /// New text of the first choice.
    pub(super) fn delta(&mut self, over: bool) -> String {
        self.choices
            .first_mut()
            .filter(|choice| choice.index == 0)
            .map(|choice| choice.text.delta(over))
            .unwrap_or_default()
    }

    /// The answer.
    ///
    /// # Errors
    /// `transport` if a choice has no end yet, or nothing came.
    pub(super) fn completion(&self) -> Result<Completion> {
        let usage = self.counted.map(usage).unwrap_or_default();
        let mut completion =
            Completion { usage, model: self.model.clone(), ..Completion::default() };
        if self.choices.is_empty() && self.blocked {
            let nothing = Text::new(&[]);
            completion.choices.push(nothing.choice(FinishReason::ContentFilter, None, None));
            return Ok(completion);
        }
        for choice in &self.choices {
            let Some(choice) = choice.finished(usage.reasoning_tokens) else {
                return Err(Error::new(
                    ErrorKind::Transport,
                    "the answer ends without a reason (finishReason)",
                ));
            };
            completion.choices.push(choice);
        }
        if completion.choices.is_empty() {
            return Err(Error::new(ErrorKind::Transport, "the answer ends before its first part"));
        }
        Ok(completion)
    }
}

impl Growing {
    fn take(&mut self, candidate: Candidate<'_>) {
        for part in candidate.content.unwrap_or_default().parts {
            let text = part.text.as_deref().unwrap_or("");
            if part.thought {
                self.thoughts.push_str(text);
            } else {
                self.text.push(text);
            }
        }
        if let Some(reason) = candidate.finish_reason {
            self.finish_reason = Some(finish_reason(&reason));
        }
        if let Some(result) = candidate.logprobs_result {
            let mut top = result.top_candidates.into_iter();
            let tokens = result.chosen_candidates.into_iter().map(|chosen| TokenLogprob {
                token: chosen.token.into_owned(),
                logprob: Some(chosen.log_probability),
                top: top
                    .next()
                    .unwrap_or_default()
                    .candidates
                    .into_iter()
                    .map(|other| (other.token.into_owned(), Some(other.log_probability)))
                    .collect(),
            });
            self.tokens.get_or_insert_default().extend(tokens);
        }
    }

    /// The choice; none if it has no end. `thought` counts the thoughts of all choices.
    fn finished(&self, thought: Option<u64>) -> Option<plugin_api::Choice> {
        let reason = match (&self.finish_reason, self.text.is_cut()) {
            (Some(reason), _) => reason.clone(),
            (None, true) => FinishReason::Stop,
            (None, false) => return None,
        };
        let reasoning = if self.thoughts.is_empty() {
            thought.filter(|tokens| *tokens > 0).map(|tokens| hidden_reasoning(Some(tokens)))
        } else {
            Some(self.thoughts.clone())
        };
        Some(self.text.choice(reason, reasoning, self.tokens.as_deref()))
    }
}

/// `candidatesTokenCount` leaves out the thoughts; what was generated is the sum of both.
fn usage(counted: Counted) -> Usage {
    let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
    Usage {
        prompt_tokens: sum(counted.prompt_token_count, counted.tool_use_prompt_token_count),
        completion_tokens: sum(counted.candidates_token_count, counted.thoughts_token_count),
        cached_tokens: counted.cached_content_token_count,
        reasoning_tokens: counted.thoughts_token_count,
        ..Usage::default()
    }
}

/// wire.md 7.2. A reason that is not known keeps its name.
fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => FinishReason::ContentFilter,
        "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => FinishReason::ToolCalls,
        other => FinishReason::Other(other.to_owned()),
    }
}
