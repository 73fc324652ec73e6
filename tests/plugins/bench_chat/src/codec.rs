//! The wire format: pure functions, typed, borrowing from prompt and reply.

use std::borrow::Cow;

use plugin_api::*;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    n: u32,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    choices: Vec<AnswerChoice<'a>>,
    usage: AnswerUsage,
}

#[derive(Deserialize)]
struct AnswerChoice<'a> {
    #[serde(borrow)]
    message: AnswerMessage<'a>,
    #[serde(borrow)]
    finish_reason: Cow<'a, str>,
}

#[derive(Deserialize)]
struct AnswerMessage<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
}

#[derive(Deserialize)]
struct AnswerUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// The request of one generation.
pub(crate) fn encode<'a>(
    url: &'a str,
    model: &str,
    request: &Generate<'_>,
) -> Result<HttpRequest<'a>> {
    let body = Request {
        model,
        messages: [Message { role: "user", content: request.prompt.as_text()? }],
        max_tokens: request.max_tokens,
        temperature: request.temperature,
        n: request.n,
    };
    HttpRequest::post(url).bearer("api_key").json(&body)
}

/// The completion in a reply.
pub(crate) fn decode(reply: &Reply) -> Result<Completion> {
    if !reply.is_success() {
        return Err(reply.error());
    }
    let answer: Answer<'_> = reply.json()?;
    let choices = answer.choices.into_iter().map(|choice| Choice {
        text: choice.message.content.into_owned(),
        reasoning: None,
        finish_reason: FinishReason::from(&*choice.finish_reason),
        logprobs: None,
    });
    let completion = Completion {
        choices: choices.collect(),
        model: Some(answer.model.into_owned()),
        ..Completion::default()
    };
    let usage = answer.usage;
    Ok(completion.with_usage(Some(usage.prompt_tokens), Some(usage.completion_tokens)))
}
