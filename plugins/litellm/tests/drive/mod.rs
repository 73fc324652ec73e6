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
    Generate, Prompt, Request,
    message::{CallRef, Decimal, Event, OpenHead, ReplyHead},
    testkit::{Driver, Pushed, Sent, open_with, requests},
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
        max_tokens: Some(16),
        temperature: Some(0.0),
        stop: vec!["\n\n".into()],
        ..Generate::new(prompt)
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
    let of = |sent: Sent| Call {
        call: sent.call,
        headers: sent
            .headers
            .iter()
            .map(|(name, _)| (name.clone(), json!(sent.header(name))))
            .collect::<Map<_, _>>()
            .into(),
        body: sent.json(),
        stream: sent.stream,
        method: sent.method,
        url: sent.url,
    };
    requests(pushed).into_iter().map(of).collect()
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
            Some(models) => driver.reply_json(asked.call, models),
            None => driver.reply(asked.call, 404, b""),
        },
        _ => start,
    }
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
