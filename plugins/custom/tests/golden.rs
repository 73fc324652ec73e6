//! The shipped example run files against golden requests, replies and streams, each of which names where its content
//! comes from. The configurations are read from the run files themselves, so that they cannot drift.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use plugin_api::{Request, testkit::Driver};
use serde_json::{Value, json};

use common::{
    END, calls, completion, deltas, golden, open, replied, request, shipped, streamed, written,
};

/// Golden file, run file, backend, secrets.
const SUITES: [(&str, &str, &str, &[&str]); 3] = [
    ("openai.json", "piqa_custom.toml", "openai-compatible", &["api_key"]),
    ("ollama_generate.json", "ollama.toml", "ollama-generate", &[]),
    ("ollama_chat.json", "ollama.toml", "ollama-chat", &[]),
];

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
        let mut driver = Driver::new(Arc::clone(custom));
        let start = driver.start(&[Request::Generate(request(&case["request"]))]);
        let calls = calls(&start);
        let bodies: Vec<_> = calls.iter().map(|(_, body)| body).collect();
        assert_eq!(json!(bodies), case["bodies"], "{name}");
        for (http, _) in &calls {
            assert_eq!(*http.method, *"POST");
            assert_eq!(
                json!(&*http.url),
                json!(format!("{}{}", common::BASE, golden["path"].as_str().unwrap()))
            );
            assert_eq!(json!(http.headers), golden["headers"], "{name}");
        }
    });
}

#[test]
fn what_a_request_leaves_out_is_recorded() {
    each("replies", |custom, _, case| {
        let body = case["reply"].to_string();
        let completion = replied(custom, &case["request"], 200, &[], body.as_bytes()).unwrap();
        let changed: Vec<_> = completion.changed.iter().map(|changed| &changed.parameter).collect();
        let expected = case.get("changed").cloned().unwrap_or_else(|| json!([]));
        assert_eq!(json!(changed), expected, "{}", case["name"]);
    });
}

#[test]
fn replies_become_completions() {
    each("replies", |custom, _, case| {
        let body = case["reply"].to_string();
        let completion = replied(custom, &case["request"], 200, &[], body.as_bytes()).unwrap();
        assert_eq!(written(&completion), case["completion"], "{}", case["name"]);
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
        let headers: Vec<(&str, &str)> = case["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let error = replied(custom, &common::ask("Q", false), status, &headers, body.as_bytes())
            .unwrap_err();
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
        let check = |pieces: &[&[u8]]| {
            let pushed = streamed(custom, &case["request"], pieces, &END);
            let completion = completion(&pushed).unwrap();
            assert_eq!(written(&completion), case["completion"], "{}", case["name"]);
            assert_eq!(json!(deltas(&pushed)), case["completion"]["choices"][0]["text"]);
        };
        for cut in 0..=body.len() {
            check(&[&body[..cut], &body[cut..]]);
        }
        check(&body.chunks(1).collect::<Vec<_>>());
    });
}
