//! Replies of the server, as the host understands them. Pure, and never a panic: a server may say anything.

use plugin_api::{Choice, Completion, Error, ErrorKind, FinishReason, Reply, Result, Usage};
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    model: Option<String>,
    choices: Vec<AnswerChoice>,
    usage: Option<AnswerUsage>,
}

#[derive(Deserialize)]
struct AnswerChoice {
    /// Of a completion.
    text: Option<String>,
    /// Of a chat.
    message: Option<AnswerMessage>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct AnswerMessage {
    content: Option<String>,
}

#[derive(Deserialize)]
struct AnswerUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalDetail,
}

#[derive(Deserialize)]
struct RefusalDetail {
    message: Option<String>,
    code: Option<String>,
}

/// The answer in a reply with a status of success.
///
/// # Errors
/// `unexpected_reply` for a reply of another shape. It is never taken for an empty answer: that would be scored.
pub(crate) fn completion(reply: &Reply) -> Result<Completion> {
    let answer: Answer = reply.json()?;
    if answer.choices.is_empty() {
        return Err(Error::unexpected("a reply without a choice").with_excerpt(reply.body()));
    }
    let choices: Result<Vec<Choice>> = answer.choices.into_iter().map(choice).collect();
    let mut usage = Usage::default();
    if let Some(counted) = answer.usage {
        usage.prompt_tokens = counted.prompt_tokens;
        usage.completion_tokens = counted.completion_tokens;
    }
    Ok(Completion {
        choices: choices.map_err(|error| error.with_excerpt(reply.body()))?,
        usage,
        model: answer.model,
        changed: Vec::new(),
    })
}

fn choice(choice: AnswerChoice) -> Result<Choice> {
    let text = match (choice.message, choice.text) {
        (Some(message), _) => message.content,
        (None, text) => text,
    };
    let finish_reason = choice.finish_reason.as_deref().unwrap_or("other");
    Ok(Choice {
        text: text.ok_or_else(|| Error::unexpected("a choice without a text"))?,
        reasoning: None,
        finish_reason: FinishReason::from(finish_reason),
        logprobs: None,
    })
}

/// What a failed request means. The host decides what is tried again, so the kind must be right.
pub(crate) fn failure(reply: &Reply) -> Error {
    // What the status tells, with the server's wish to wait and its name for the request.
    let mut error = reply.error();
    let Ok(Refusal { error: detail }) = reply.json() else {
        return error;
    };
    match detail.code.as_deref() {
        Some("context_length_exceeded") => error.kind = ErrorKind::ContextLength,
        Some("content_filter") => error.kind = ErrorKind::ContentFilter,
        // Waiting does not help, though the status is that of too many requests.
        Some("insufficient_quota") => error.kind = ErrorKind::Unauthorized,
        _ => {}
    }
    if let Some(message) = detail.message {
        error.message = message;
    }
    error
}
