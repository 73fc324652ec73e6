//! The shipped example run files against golden requests, replies and streams, each of which names where its content
//! comes from. The configurations are read from the run files themselves, so that they cannot drift.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use plugin_api::{
    Request,
    message::HeaderPart,
    testkit::{Scripted, Sent, Stage},
};
use serde_json::{Value, json};

use common::{golden, open, played, request, shipped, written};

/// Golden file, run file, backend, secrets.
const SUITES: [(&str, &str, &str, &[&str]); 3] = [
    ("openai.json", "piqa_custom.toml", "openai-compatible", &["api_key"]),
    ("ollama_generate.json", "ollama.toml", "ollama-generate", &[]),
    ("ollama_chat.json", "ollama.toml", "ollama-chat", &[]),
];

/// Headers as a golden file writes them.
fn headers(sent: &Sent) -> Value {
    let value = |parts: &Vec<HeaderPart<'_>>| match parts.as_slice() {
        [HeaderPart::Text(text)] => json!(text),
        parts => json!(parts),
    };
    sent.headers.iter().map(|(name, parts)| json!([name, value(parts)])).collect()
}

/// Calls `check` with each case of `section` and the backend that it is for.
fn each(section: &str, check: impl Fn(&Arc<custom::Custom>, &Value, &Value)) {
    for (file, run_file, id, secrets) in SUITES {
        let golden = golden(file);
        let custom = open(shipped(run_file, id), secrets).unwrap();
        let cases = golden[section].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            assert!(case["origin"].is_string(), "{file}: {case}");
            check(&custom, &golden, case);
        }
    }
}

#[test]
fn requests_are_those_of_the_vendors_description() {
    each("requests", |custom, golden, case| {
        let name = &case["name"];
        let nobody = Scripted::new(503, "");
        let request = Request::Generate(request(&case["request"]));
        let played = Stage::new(Arc::clone(custom)).ask(request, nobody);
        let bodies: Vec<_> = played.requests.iter().map(Sent::json).collect();
        assert_eq!(json!(bodies), case["bodies"], "{name}");
        for sent in &played.requests {
            assert_eq!(sent.method, "POST");
            let url = format!("{}{}", common::BASE, golden["path"].as_str().unwrap());
            assert_eq!(sent.url, url);
            assert_eq!(headers(sent), golden["headers"], "{name}");
        }
    });
}

#[test]
fn what_a_request_leaves_out_is_recorded() {
    each("replies", |custom, _, case| {
        let played = played(custom, &case["request"], Scripted::json(&case["reply"]));
        let completion = played.completion();
        let changed: Vec<_> = completion.changed.iter().map(|changed| &changed.parameter).collect();
        let expected = case.get("changed").cloned().unwrap_or_else(|| json!([]));
        assert_eq!(json!(changed), expected, "{}", case["name"]);
    });
}

#[test]
fn replies_become_completions() {
    each("replies", |custom, _, case| {
        let played = played(custom, &case["request"], Scripted::json(&case["reply"]));
        let completion = played.completion();
        assert_eq!(written(completion), case["completion"], "{}", case["name"]);
    });
}

#[test]
fn failures_have_their_kind() {
    each("failures", |custom, _, case| {
        let body = match &case["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let status = u16::try_from(case["status"].as_u64().unwrap()).unwrap();
        let mut reply = Scripted::new(status, body);
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            reply = reply.header(name, value.as_str().unwrap());
        }
        let played = played(custom, &common::ask("Q", false), reply);
        let error = played.error();
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
        assert!(
            error.message.contains(case["says"].as_str().unwrap()),
            "{}: {error}",
            case["name"]
        );
        assert_eq!(json!(error.retry_after_ms), case["retry_after_ms"], "{}", case["name"]);
    });
}

#[test]
fn streams_give_the_same_completion_wherever_their_bytes_are_cut() {
    each("streams", |custom, _, case| {
        let body = case["body"].as_str().unwrap().as_bytes();
        let check = |reply: Scripted| {
            let played = played(custom, &case["request"], reply);
            assert_eq!(written(played.completion()), case["completion"], "{}", case["name"]);
            assert_eq!(json!(played.streamed()), case["completion"]["choices"][0]["text"]);
        };
        for cut in 0..=body.len() {
            check(Scripted::new(200, body).cut_at(&[cut]));
        }
        check(Scripted::new(200, body).cut_every(1));
    });
}
