//! Replies that are cut, of wrong types, or of another kind altogether: never a panic, and never an answer that the
//! server did not give.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{Does, open, run};
use huggingface::HuggingFace;
use plugin_api::{
    Answer, ErrorKind, Prompt, Request,
    testkit::{Scripted, Sent, Stage, drop_at_every_step, garbage, no_panic},
};
use serde_json::{Value, json};

/// A service with a whole reply of its own, and what its answer is.
struct Service {
    config: Value,
    /// Replies to what is asked before the generation.
    before: Vec<Value>,
    reply: Value,
    text: &'static str,
}

fn services() -> Vec<Service> {
    let details = json!({ "finish_reason": "length", "generated_tokens": 2, "seed": null, "prefill": [],
        "tokens": [{ "id": 5, "text": " A", "logprob": -0.5, "special": false }] });
    let chat = json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "acme/m",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": " A" }, "logprobs": null,
                      "finish_reason": "length" }],
        "usage": { "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13 } });
    let models = json!({ "object": "list", "data": [{ "id": "acme/m", "owned_by": "vllm", "max_model_len": 9 }] });
    vec![
        Service {
            config: json!({ "model": "acme/m:novita" }),
            before: vec![],
            reply: chat.clone(),
            text: " A",
        },
        Service {
            config: json!({ "mode": "serverless", "model": "acme/m" }),
            before: vec![],
            reply: json!([{ "generated_text": " A", "details": details }]),
            text: " A",
        },
        Service {
            config: json!({ "mode": "endpoint", "base_url": "https://x", "engine": "tgi" }),
            before: vec![],
            reply: json!({ "generated_text": " A", "details": details }),
            text: " A",
        },
        Service {
            config: json!({ "mode": "endpoint", "base_url": "https://x", "engine": "openai" }),
            before: vec![models, json!({ "version": "0.33.0" })],
            reply: chat,
            text: " A",
        },
    ]
}

impl Service {
    fn stage(&self) -> Stage<HuggingFace> {
        Stage::new(open(&self.config, false))
    }

    /// Gives the replies in order, then the service's own again and again.
    fn server(&self) -> impl FnMut(&Sent) -> Scripted {
        let mut before = self.before.iter();
        move |_| Scripted::json(before.next().unwrap_or(&self.reply))
    }
}

#[test]
fn no_broken_reply_becomes_an_answer() {
    for service in services() {
        let request = Request::Generate(common::generate(Prompt::Text("Q")));
        let played = service.stage().ask(request.clone(), service.server());
        assert_eq!(played.completion().choices[0].text, service.text);
        let tried = garbage(|| service.stage(), &[request], || service.server());
        assert_eq!(tried.exchanges, service.before.len() + 1);
    }
}

#[test]
fn a_session_may_end_at_any_step() {
    for service in services() {
        let request = Request::Generate(common::generate(Prompt::Text("Q")));
        // By then the backend may know what it asked before.
        let server = || {
            |sent: &Sent| {
                let of_models = sent.path().ends_with("/models");
                let of_version = sent.path().ends_with("/version");
                let known = service.before.get(usize::from(of_version));
                let asked = known.filter(|_| of_models || of_version);
                Scripted::json(asked.unwrap_or(&service.reply))
            }
        };
        drop_at_every_step(|| service.stage(), &[request], server);
    }
}

#[test]
fn no_request_and_no_server_makes_it_panic() {
    for service in services() {
        no_panic(0..100, || service.stage(), || service.server());
    }
}

/// Every value of a JSON value, by its pointer.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, inner)| pointers(inner, &format!("{at}/{key}"), all));
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                pointers(inner, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn strange() -> [Value; 8] {
    [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!({}),
    ]
}

#[test]
fn a_stream_of_anything_is_a_failure_or_the_answer() {
    let event = |text: &str, finish: Value| json!({ "id": "1", "model": "acme/m", "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": finish }] });
    let body = format!(
        "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        event(" A", json!(null)),
        event("", json!("length"))
    );
    let plugin = open(&json!({ "model": "acme/m:novita" }), false);
    let streamed = |body: &[u8]| {
        let request = plugin_api::Generate { stream: true, ..common::generate(Prompt::Text("Q")) };
        let does = Does::Reply(200, Vec::new(), body.to_vec());
        run(&plugin, Request::Generate(request), &mut |_| does.clone()).result.unwrap()
    };
    let is_answer = |result: &Result<Answer, plugin_api::Error>| matches!(result, Ok(Answer::Completion(completion)) if completion.choices[0].text == " A");
    assert!(is_answer(&streamed(body.as_bytes())));
    for end in 0..body.len() {
        let result = streamed(&body.as_bytes()[..end]);
        let failed = matches!(&result, Err(error) if matches!(error.kind, ErrorKind::Transport | ErrorKind::UnexpectedReply));
        assert!(failed || is_answer(&result), "cut at {end}: {result:?}");
    }
    for body in [
        &b"<html>hello"[..],
        b"data: <html>\n\n",
        b"\xff\xfe",
        b"data: 7\n\n",
        b"data: {}\n\n",
        b"event: error\ndata: {\"x\":1}\n\n",
    ] {
        assert!(streamed(body).is_err());
    }
}

#[test]
fn a_management_that_says_anything_ends_the_preparation_without_harm() {
    let described = json!({ "name": "piqa", "type": "authenticated", "healthRoute": "/health",
        "model": { "repository": "acme/m", "revision": "abc" },
        "status": { "state": "running", "url": "https://x", "message": "" } });
    let config = json!({ "mode": "endpoint", "name": "piqa", "namespace": "acme", "model": "acme/m",
        "engine": "tgi", "wait_timeout": 5, "instance_type": "t", "instance_size": "x1", "on_finish": "delete" });
    let prepared = |reply: &Does| {
        run(&open(&config, true), Request::Prepare(Vec::new()), &mut |sent| {
            if sent.url.contains("/v2/") { reply.clone() } else { common::text(200, "") }
        })
    };
    assert!(matches!(prepared(&common::json(200, &described)).result, Some(Ok(Answer::Nothing))));
    let whole = described.to_string();
    for end in 0..whole.len() {
        let run = prepared(&common::text(200, &whole[..end]));
        assert!(run.log.iter().all(|line| line.starts_with("GET")), "{:?}", run.log);
        assert_eq!(run.error().kind, ErrorKind::UnexpectedReply);
    }
    let mut all = Vec::new();
    pointers(&described, "", &mut all);
    for pointer in all {
        for other in strange() {
            let mut reply = described.clone();
            *reply.pointer_mut(&pointer).unwrap() = other;
            let run = prepared(&common::json(200, &reply));
            assert!(run.result.is_some() && run.held.is_empty(), "{pointer}");
            // What is not understood is neither started nor deleted.
            assert!(
                run.log.iter().all(|line| !line.starts_with("DELETE") && !line.starts_with("POST"))
            );
        }
    }
    // A page under 404 is no word of the management's: nothing is created because of it.
    let run = prepared(&common::text(404, "<html>nginx</html>"));
    assert_eq!(run.log.len(), 1);
    assert!(run.result.unwrap().is_err());
}
