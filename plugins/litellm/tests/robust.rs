//! Broken replies, early ends and odd requests: what every plugin must survive, with the wire of each vendor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod drive;
#[allow(dead_code, reason = "shared with the vendors' golden tests")]
mod vendor;

use std::sync::{Arc, LazyLock};

use drive::{chat_reply, generate};
use litellm::Litellm;
use plugin_api::{
    Generate, Loglikelihood, Prompt, Request, Rolling,
    testkit::{Scripted, Sent, Stage, drop_at_every_step, garbage, no_panic},
};
use serde_json::{Value, json};
use vendor::golden;

/// Configuration, a whole reply, and a stream of each wire.
static WIRES: LazyLock<Vec<(Value, Value, Vec<u8>)>> = LazyLock::new(|| {
    let base_url = "http://127.0.0.1:9";
    let native = |name: &str| {
        let (replies, streams) =
            (golden(&format!("{name}_replies.json")), golden(&format!("{name}_streams.json")));
        (replies["cases"][0]["reply"].clone(), vendor::stream(&streams["cases"][0]))
    };
    let (anthropic, anthropic_stream) = native("anthropic");
    let (gemini, gemini_stream) = native("gemini");
    let openai_stream = golden("openai_streams.json")["cases"][0]["body"].clone();
    vec![
        (
            json!({ "model": "openai/gpt-4o-mini", "base_url": base_url }),
            chat_reply("A"),
            openai_stream.as_str().unwrap().as_bytes().to_vec(),
        ),
        (
            json!({ "model": "anthropic/claude-haiku-4-5", "base_url": base_url }),
            anthropic,
            anthropic_stream,
        ),
        (
            json!({ "model": "gemini/gemini-2.5-flash", "base_url": base_url }),
            gemini,
            gemini_stream,
        ),
    ]
});

fn server(reply: &Value, stream: &[u8], sent: &Sent) -> Option<Scripted> {
    if sent.method == "GET" {
        return None;
    }
    Some(if sent.stream { Scripted::new(200, stream) } else { Scripted::json(reply) })
}

fn requests() -> [Request<'static>; 2] {
    let plain = || generate(Prompt::Text("Q"));
    [Request::Generate(plain()), Request::Generate(Generate { stream: true, ..plain() })]
}

#[test]
fn no_broken_reply_becomes_an_answer() {
    for (config, reply, stream) in &*WIRES {
        // One backend for all: opening it reads the price tables.
        let backend = drive::backend(config.clone());
        for request in requests() {
            let stage = || {
                let stage = Stage::new(Arc::clone(&backend));
                // Gemini speaks protocol buffers as JSON.
                let is_gemini = config["model"].as_str().unwrap().starts_with("gemini/");
                if is_gemini { stage.omits_empty() } else { stage }
            };
            let server = || |sent: &Sent| server(reply, stream, sent);
            let tried = garbage(stage, &[request], server);
            assert!(tried.cases > 200, "{config}: {tried:?}");
        }
    }
}

#[test]
fn no_broken_scoring_becomes_a_likelihood() {
    let golden = golden("scoring.json");
    // By token ids and log-probabilities of the prompt, and by text and echo.
    for case in [0, 2].map(|index| &golden["cases"][index]) {
        let (context, texts) =
            (case["context"].as_str().unwrap(), vendor::stops(&case["continuations"]));
        let request = Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text(context),
            continuations: texts.iter().map(String::as_str).collect(),
            token_logprobs: false,
        });
        let exchanges: Vec<&Value> = case["exchange"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|step| step.as_array().unwrap())
            .collect();
        let server = || {
            |sent: &Sent| {
                let is_it = |of: &&&Value| {
                    of["url"] == sent.url && (of["body"].is_null() || of["body"] == sent.json())
                };
                exchanges.iter().find(is_it).map(|of| Scripted::json(&of["reply"]))
            }
        };
        let stage = || Stage::<Litellm>::granted(case["config"].clone(), &["openai"]);
        // Each case opens a backend of its own, which reads the price tables: four exchanges would take a minute.
        if exchanges.len() == 1 {
            garbage(stage, std::slice::from_ref(&request), server);
        }
        drop_at_every_step(stage, &[request], server);
    }
}

#[test]
fn a_session_may_end_at_any_step() {
    for (config, reply, stream) in &*WIRES {
        for request in requests() {
            let stage = || Stage::<Litellm>::open(config.clone());
            drop_at_every_step(stage, &[request], || |sent: &Sent| server(reply, stream, sent));
        }
    }
}

#[test]
fn no_request_and_no_server_makes_it_panic() {
    for (config, reply, stream) in &*WIRES {
        let backend = drive::backend(config.clone());
        let stage = || Stage::new(Arc::clone(&backend));
        no_panic(0..150, stage, || |sent: &Sent| server(reply, stream, sent));
    }
    let echo = golden("scoring.json")["cases"][2]["exchange"][0][0]["reply"].clone();
    let completions =
        json!({ "model": "m", "base_url": "http://127.0.0.1:9", "mode": "completions" });
    let backend = drive::backend(completions);
    let stage = || Stage::new(Arc::clone(&backend));
    no_panic(0..150, stage, || |sent: &Sent| server(&echo, b"", sent));
    let rolling = Request::Rolling(Rolling { text: "a b" });
    drop(stage().play(&[rolling], |sent: &Sent| server(&echo, b"", sent)));
}
