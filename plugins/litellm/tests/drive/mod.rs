//! Drives whole sessions of the plugin as the host would, and shows what it asked for.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "shared by test binaries that each use a part; a test fails by panicking"
)]

use std::{collections::BTreeMap, sync::Arc};

use litellm::Litellm;
use plugin_api::{
    Answer, Completion, Error, Generate, Likelihood, Prompt, Request,
    message::{Action, CallRef, Decimal, Event, HeaderPart, HeaderValue, OpenHead, ReplyHead},
    testkit::{Driver, Pushed, failure, open_with},
};
use serde_json::{Map, Value, json};

/// What a backend is opened with.
pub(crate) fn head(config: &Value, env: &Value, secrets: &Value) -> OpenHead {
    let env: BTreeMap<String, String> = serde_json::from_value(env.clone()).unwrap_or_default();
    let secrets = serde_json::from_value(secrets.clone()).unwrap_or_default();
    OpenHead { config: config.clone(), env, secrets, ..OpenHead::default() }
}

/// A backend with this configuration and nothing granted.
pub(crate) fn backend(config: Value) -> Arc<Litellm> {
    Arc::new(open_with(head(&config, &Value::Null, &Value::Null)).unwrap())
}

/// A plain request.
pub(crate) fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate {
        prompt,
        n: 1,
        max_tokens: Some(16),
        temperature: Some(0.0),
        top_p: None,
        top_k: None,
        stop: vec!["\n\n".into()],
        seed: None,
        logprobs: None,
        stream: false,
        extra: Map::new(),
    }
}

/// One request that the plugin asked for.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) call: u64,
    pub(crate) method: String,
    pub(crate) url: String,
    /// Secrets as `<slot>`.
    pub(crate) headers: Value,
    pub(crate) body: Value,
    pub(crate) stream: bool,
}

/// The requests among the actions.
pub(crate) fn calls(pushed: &[Pushed]) -> Vec<Call> {
    let shown = |value: &HeaderValue<'_>| match value {
        HeaderValue::Text(text) => text.to_string(),
        HeaderValue::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                HeaderPart::Text(text) => text.to_string(),
                HeaderPart::Secret(slot) => format!("<{}>", &**slot),
            })
            .collect(),
    };
    let of = |pushed: &Pushed| match pushed.action() {
        Action::Http(http) => Some(Call {
            call: http.call.0,
            method: http.method.to_string(),
            url: http.url.to_string(),
            headers: http
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), json!(shown(value))))
                .collect::<Map<_, _>>()
                .into(),
            body: serde_json::from_slice(&pushed.body).unwrap_or(Value::Null),
            stream: http.stream,
        }),
        _ => None,
    };
    pushed.iter().filter_map(of).collect()
}

/// Begins a session. A server that is asked who it is answers with this list of models, or knows no such route.
pub(crate) fn begin(
    driver: &mut Driver<Litellm>,
    request: Request<'_>,
    models: Option<&Value>,
) -> Vec<Pushed> {
    let start = driver.start(&[request]);
    match calls(&start).as_slice() {
        [asked] if asked.method == "GET" => match models {
            Some(models) => reply_json(driver, asked.call, models),
            None => driver.reply(asked.call, 404, b""),
        },
        _ => start,
    }
}

/// The answer that the last action is.
pub(crate) fn answer(pushed: &[Pushed]) -> Result<Answer, Error> {
    let last = pushed.last().expect("an action");
    match last.action() {
        Action::Done(done) => Ok(Answer::resolve(done.answer, &last.body).unwrap()),
        _ => Err(failure(last).expect("done or fail")),
    }
}

pub(crate) fn completion(pushed: &[Pushed]) -> Completion {
    match answer(pushed) {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn likelihoods(pushed: &[Pushed]) -> Vec<Likelihood> {
    match answer(pushed) {
        Ok(Answer::Likelihoods(likelihoods)) => likelihoods,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn deltas(pushed: &[Pushed]) -> String {
    let deltas = pushed.iter().filter(|pushed| matches!(pushed.action(), Action::Delta(_)));
    deltas.map(|pushed| std::str::from_utf8(&pushed.body).unwrap()).collect()
}

/// A reply with headers.
pub(crate) fn reply_with(
    driver: &mut Driver<Litellm>,
    call: u64,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<Pushed> {
    let headers =
        headers.iter().map(|(name, value)| ((*name).to_owned().into(), (*value).to_owned().into()));
    let head = ReplyHead { call: Decimal(call), status, headers: headers.collect() };
    driver.event(&Event::Reply(head), body.as_bytes())
}

pub(crate) fn reply_json(driver: &mut Driver<Litellm>, call: u64, body: &Value) -> Vec<Pushed> {
    driver.reply(call, 200, body.to_string().as_bytes())
}

/// A session that gets its streamed reply in these pieces; all actions after the request.
pub(crate) fn streamed(
    backend: Arc<Litellm>,
    request: Generate<'_>,
    pieces: &[&[u8]],
) -> Vec<Pushed> {
    let mut driver = Driver::new(backend);
    let start = driver.start(&[Request::Generate(Generate { stream: true, ..request })]);
    assert!(calls(&start)[0].stream);
    let call = Decimal(1);
    let mut pushed = driver.reply(1, 200, b"");
    for piece in pieces {
        pushed.extend(driver.event(&Event::Chunk(CallRef { call }), piece));
    }
    pushed.extend(driver.event(&Event::End(CallRef { call }), b""));
    pushed
}

/// An ordinary answer of OpenAI's wire.
pub(crate) fn chat_reply(text: &str) -> Value {
    json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "served-1",
            "choices": [{ "index": 0, "finish_reason": "stop", "logprobs": null,
                          "message": { "role": "assistant", "content": text } }],
            "usage": { "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11 } })
}
