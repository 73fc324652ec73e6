//! Sessions of the example run files' own backends, driven as the host would.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; each test file uses its part of this one"
)]

use std::sync::Arc;

use custom::Custom;
use plugin_api::{
    Answer, Completion, Error, Generate, Message, Prompt, Request,
    testkit::{Played, Scripted, Stage, granted, open_with},
};
use serde_json::{Value, json};

/// Where the tests' server would be.
pub(crate) const BASE: &str = "http://server:80/below";

/// A JSON file beside the tests.
pub(crate) fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The plugin's configuration of a backend in a shipped run file, as the host would pass it on.
pub(crate) fn shipped(file: &str, id: &str) -> Value {
    let path = format!("{}/../../config/{file}", env!("CARGO_MANIFEST_DIR"));
    let run: Value = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut backends = run["backend"].as_array().unwrap().iter();
    let backend = backends.find(|backend| backend["id"] == id).expect("a backend of that id");
    let mut config = backend["config"].clone();
    config["base_url"] = json!(BASE);
    config["model"] = json!("m");
    config
}

pub(crate) fn open(config: Value, secrets: &[&str]) -> Result<Arc<Custom>, String> {
    open_with(granted(config, secrets)).map(Arc::new)
}

/// A request as a golden file writes it.
pub(crate) fn request(of: &Value) -> Generate<'_> {
    let number = |key: &str| of[key].as_u64().map(|number| u32::try_from(number).unwrap());
    let prompt = match &of["prompt"] {
        Value::String(text) => Prompt::Text(text),
        messages => Prompt::Messages(
            messages
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| Message::text(pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
                .collect(),
        ),
    };
    Generate {
        prompt,
        n: number("n").unwrap_or(1),
        max_tokens: number("max_tokens"),
        temperature: of["temperature"].as_f64(),
        top_p: of["top_p"].as_f64(),
        top_k: number("top_k"),
        stop: of["stop"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|stop| stop.as_str().unwrap().into())
            .collect(),
        seed: of["seed"].as_u64(),
        logprobs: number("logprobs"),
        stream: of["stream"].as_bool().unwrap_or_default(),
        extra: of["extra"].as_object().cloned().unwrap_or_default(),
    }
}

/// A request for a short answer.
pub(crate) fn ask(prompt: &str, stream: bool) -> Value {
    json!({ "prompt": prompt, "max_tokens": 8, "temperature": 0.0, "stop": ["\n\n"], "stream": stream })
}

/// The answer to a request that gets this reply; a stream if the request wants one.
pub(crate) fn played(custom: &Arc<Custom>, of: &Value, reply: Scripted) -> Played {
    let played = Stage::new(Arc::clone(custom)).ask(Request::Generate(request(of)), reply);
    assert_eq!(played.requests[0].stream, of["stream"] == true);
    played
}

/// What a request of one completion came to.
pub(crate) fn completed(played: &Played) -> Result<Completion, Error> {
    match played.result() {
        Ok(Answer::Completion(completion)) => Ok(completion.clone()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.clone()),
    }
}

/// What a whole reply leads to.
pub(crate) fn replied(
    custom: &Arc<Custom>,
    of: &Value,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Completion, Error> {
    let reply = Scripted::new(status, body);
    let add = |reply: Scripted, (name, value): &(&str, &str)| reply.header(name, value);
    completed(&played(custom, of, headers.iter().fold(reply, add)))
}

/// A completion as a golden file writes it.
pub(crate) fn written(completion: &Completion) -> Value {
    let choices = completion.choices.iter().map(|choice| {
        let tokens = choice.logprobs.as_ref().map(|tokens| {
            tokens.iter().map(|t| json!([t.token, t.logprob, t.top.len()])).collect::<Vec<_>>()
        });
        json!({ "text": choice.text, "reasoning": choice.reasoning,
            "finish_reason": choice.finish_reason, "tokens": tokens })
    });
    let usage = completion.usage;
    json!({
        "model": completion.model,
        "usage": [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens],
        "choices": choices.collect::<Vec<_>>(),
    })
}
