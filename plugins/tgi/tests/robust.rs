//! Broken replies, early ends and odd requests: what every plugin must survive, with this server's routes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use plugin_api::{
    Generate, Loglikelihood, Message, Prompt, Request, Rolling,
    testkit::{Scripted, Sent, Stage, drop_at_every_step, garbage, no_panic},
};
use serde_json::{Value, json};
use tgi::Tgi;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn stage() -> Stage<Tgi> {
    Stage::open(json!({ "base_url": "http://tgi:80/" }))
}

/// Replies that the server gives: of scoring, a stream, and what it says of itself.
static GOLDEN: LazyLock<[Value; 3]> =
    LazyLock::new(|| ["scoring_reply.json", "stream.json", "info.json"].map(golden));

/// The server, as far as the golden files show it.
fn server() -> impl FnMut(&Sent) -> Option<Scripted> {
    let [scoring, stream, info] = &*GOLDEN;
    let ids = |ids: &[u32]| -> Value {
        ids.iter().map(|id| json!({ "id": id, "text": "", "start": 0, "stop": 0 })).collect()
    };
    move |sent| {
        let body = sent.json();
        Some(match sent.path() {
            "/generate" if body["parameters"]["decoder_input_details"] == true => {
                Scripted::json(&scoring["generate"])
            }
            "/generate" => Scripted::json(&json!({ "generated_text": " Ca", "details": {
                "finish_reason": "length", "generated_tokens": 1, "seed": null, "prefill": [],
                "tokens": [{ "id": 5, "text": " Ca", "logprob": -0.5, "special": false }] } })),
            "/generate_stream" => Scripted::new(200, stream["body"].as_str().unwrap()),
            "/tokenize" => match body["inputs"].as_str() {
                Some("a") => Scripted::json(&ids(&[1, 263])),
                Some("b") => Scripted::json(&ids(&[1, 289])),
                _ => Scripted::json(&scoring["tokenize"]),
            },
            "/chat_tokenize" => Scripted::json(&json!({
                "templated_text": "<s>[INST] Hi [/INST]",
                "tokenize_response": [{ "id": 1, "text": "<s>", "start": 0, "stop": 3 }] })),
            "/info" => Scripted::json(&info["reply"]),
            "/health" => Scripted::new(200, ""),
            _ => return None,
        })
    }
}

fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate { max_tokens: Some(8), temperature: Some(0.0), ..Generate::new(prompt) }
}

fn requests() -> Vec<Request<'static>> {
    let chat = Prompt::Messages(vec![Message::text("user", "Hi")]);
    vec![
        Request::Generate(generate(Prompt::Text("Q"))),
        Request::Generate(Generate { logprobs: Some(0), ..generate(Prompt::Text("Q")) }),
        Request::Generate(Generate { stream: true, ..generate(Prompt::Text("Q")) }),
        Request::Generate(generate(chat.clone())),
        Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text("Q: x\nA:"),
            continuations: vec![" yes"],
            token_logprobs: true,
        }),
        Request::Rolling(Rolling { text: "Q: x\nA: yes" }),
        Request::Render(vec![Message::text("user", "Hi")]),
        Request::Describe,
        Request::Health,
    ]
}

#[test]
fn no_broken_reply_becomes_an_answer() {
    for request in requests() {
        let tried = garbage(stage, std::slice::from_ref(&request), server);
        assert!(tried.cases > 200, "{request:?}: {tried:?}");
    }
}

#[test]
fn a_session_may_end_at_any_step() {
    for request in requests() {
        drop_at_every_step(stage, &[request], server);
    }
}

#[test]
fn no_request_and_no_server_makes_it_panic() {
    no_panic(0..400, stage, server);
}
