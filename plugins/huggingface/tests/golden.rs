//! Whole sessions against golden files: what is sent, and what becomes of what comes back. Each case names where its
//! content comes from.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Does, Run, open, run};
use plugin_api::{Completion, Generate, Message, Prompt, Request};
use serde_json::{Value, json};

fn golden(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let cases = whole["cases"].as_array().unwrap().clone();
    assert!(
        cases.iter().all(|case| case["origin"].as_str().is_some_and(|o| !o.is_empty())),
        "{name}"
    );
    cases
}

fn request(of: &Value) -> Generate<'_> {
    let number = |key: &str| of[key].as_u64().map(|number| u32::try_from(number).unwrap());
    let prompt = match &of["prompt"] {
        Value::String(text) => Prompt::Text(text),
        messages => Prompt::Messages(
            messages
                .as_array()
                .unwrap()
                .iter()
                .map(|m| Message::text(m["role"].as_str().unwrap(), m["content"].as_str().unwrap()))
                .collect(),
        ),
    };
    let stop = of["stop"].as_array().into_iter().flatten();
    Generate {
        prompt,
        n: number("n").unwrap_or(1),
        max_tokens: number("max_tokens"),
        temperature: of["temperature"].as_f64(),
        top_p: of["top_p"].as_f64(),
        top_k: number("top_k"),
        stop: stop.map(|text| text.as_str().unwrap().into()).collect(),
        seed: of["seed"].as_u64(),
        logprobs: number("logprobs"),
        stream: of["stream"].as_bool().unwrap_or(false),
        extra: of["extra"].as_object().cloned().unwrap_or_default(),
    }
}

/// What a case says that the server does, each reply once and in order.
fn replies(case: &Value) -> impl FnMut(&common::Sent) -> Does + '_ {
    let mut left = case["replies"].as_array().unwrap().iter();
    move |sent| {
        let reply =
            left.next().unwrap_or_else(|| panic!("{}: no reply for {sent:?}", case["name"]));
        let status = u16::try_from(reply["status"].as_u64().unwrap_or(200)).unwrap();
        let names = ["retry-after", "x-prompt-tokens", "x-request-id"];
        let headers = names
            .into_iter()
            .filter_map(|name| Some((name, reply["headers"][name].as_str()?.to_owned())))
            .collect();
        let body = match (&reply["text"], &reply["json"]) {
            (Value::String(text), _) => text.clone().into_bytes(),
            (_, json) => json.to_string().into_bytes(),
        };
        Does::Reply(status, headers, body)
    }
}

fn check_sent(case: &Value, run: &Run) {
    let name = &case["name"];
    let expected = case["sent"].as_array().unwrap();
    assert_eq!(run.sent.len(), expected.len(), "{name}: {:?}", run.log);
    for (sent, expected) in run.sent.iter().zip(expected) {
        let line = format!("{} {}", sent.method, sent.url);
        assert_eq!(json!(line), expected["call"], "{name}");
        if let Some(body) = expected.get("body") {
            assert_eq!(&sent.body, body, "{name}");
        }
        for (header, value) in expected["headers"].as_object().into_iter().flatten() {
            assert_eq!(sent.header(header), value.as_str(), "{name}: {header}");
        }
    }
}

fn shown(completion: &Completion) -> Value {
    let choices: Vec<Value> = completion
        .choices
        .iter()
        .map(|choice| {
            let mut shown = json!({ "text": choice.text, "finish_reason": choice.finish_reason });
            if let Some(reasoning) = &choice.reasoning {
                shown["reasoning"] = json!(reasoning);
            }
            if let Some(tokens) = &choice.logprobs {
                shown["tokens"] = tokens.iter().map(|t| json!([t.token, t.logprob])).collect();
            }
            shown
        })
        .collect();
    let changed: Vec<_> = completion.changed.iter().map(|c| c.parameter.as_str()).collect();
    json!({ "choices": choices, "model": completion.model, "changed": changed,
            "usage": completion.usage })
}

fn check(file: &str) {
    for case in golden(file) {
        let name = &case["name"];
        let plugin = open(&case["config"], case["token"].as_bool().unwrap_or(false));
        let run = run(&plugin, Request::Generate(request(&case["request"])), &mut replies(&case));
        check_sent(&case, &run);
        if let Some(deltas) = case.get("deltas") {
            assert_eq!(&json!(run.deltas), deltas, "{name}");
        }
        match case.get("error") {
            None => assert_eq!(shown(&run.completion()), case["answer"], "{name}"),
            Some(expected) => {
                let error = run.error();
                assert_eq!(json!(error.kind), expected["kind"], "{name}: {error}");
                let says = expected["says"].as_str().unwrap();
                assert!(error.message.contains(says), "{name}: {error}");
                assert_eq!(json!(error.retry_after_ms), expected["retry_after_ms"], "{name}");
            }
        }
    }
}

#[test]
fn the_router() {
    check("router.json");
}

#[test]
fn serverless_text_generation() {
    check("serverless.json");
}

#[test]
fn endpoints() {
    check("endpoint.json");
}

#[test]
fn an_endpoint_is_created_as_the_management_takes_it() {
    for case in golden("create.json") {
        let plugin = open(&case["config"], true);
        let run =
            run(&plugin, Request::Prepare(Vec::new()), &mut |sent| match sent.method.as_str() {
                "GET" => common::json(404, &json!({ "error": "not found" })),
                _ => common::json(400, &json!({ "error": "this is as far as the test goes" })),
            });
        let sent = run.sent.last().unwrap();
        assert_eq!(json!(sent.url), case["url"], "{}", case["name"]);
        assert_eq!(sent.body, case["body"], "{}", case["name"]);
        assert_eq!(sent.header("authorization"), Some("Bearer {hf_token}"));
        assert!(run.held.is_empty(), "a refusal has created nothing");
        assert!(run.error().message.contains("as far as the test goes"));
    }
}
