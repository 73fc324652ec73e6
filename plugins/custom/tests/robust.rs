//! Broken replies, early ends and odd requests: what every plugin must survive, with the backends of the shipped run
//! files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{golden, open, request, shipped};
use custom::Custom;
use plugin_api::{
    Request,
    testkit::{Scripted, Sent, Stage, drop_at_every_step, garbage, no_panic},
};
use serde_json::Value;

const SHIPPED: [(&str, &str, &str); 3] = [
    ("openai.json", "piqa_custom.toml", "openai-compatible"),
    ("ollama_generate.json", "ollama.toml", "ollama-generate"),
    ("ollama_chat.json", "ollama.toml", "ollama-chat"),
];

/// Opens anew what a golden file is for, and does `check` with its first reply and its first stream.
fn each(check: impl Fn(&dyn Fn() -> Stage<Custom>, &Request<'_>, &Scripted)) {
    for (file, run_file, id) in SHIPPED {
        let golden = golden(file);
        let config = shipped(run_file, id);
        let stage = || Stage::new(open(config.clone(), &[]).unwrap());
        let (reply, stream) = (&golden["replies"][0], &golden["streams"][0]);
        let asked = |case: &Value, body: String| {
            let request = case["request"].clone();
            check(&stage, &Request::Generate(self::request(&request)), &Scripted::new(200, body));
        };
        asked(reply, reply["reply"].to_string());
        asked(stream, stream["body"].as_str().unwrap().to_owned());
        check(&stage, &Request::Describe, &Scripted::new(404, ""));
    }
}

#[test]
fn no_broken_reply_becomes_an_answer() {
    each(|stage, request, reply| {
        garbage(stage, std::slice::from_ref(request), || reply.clone());
    });
}

#[test]
fn a_session_may_end_at_any_step() {
    each(|stage, request, reply| {
        drop_at_every_step(stage, std::slice::from_ref(request), || reply.clone().cut_every(40));
    });
}

#[test]
fn no_request_and_no_server_makes_it_panic() {
    for (file, run_file, id) in SHIPPED {
        let golden = golden(file);
        let custom: Arc<Custom> = open(shipped(run_file, id), &[]).unwrap();
        let (reply, stream) = (&golden["replies"][0], &golden["streams"][0]);
        let server = |sent: &Sent| {
            if sent.stream {
                Scripted::new(200, stream["body"].as_str().unwrap())
            } else {
                Scripted::json(&reply["reply"])
            }
        };
        no_panic(0..150, || Stage::new(Arc::clone(&custom)), || server);
    }
}
