//! Streamed generations, wherever the bytes are cut and however they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    accepted,
    drive::{generate, sglang},
    golden,
};
use plugin_api::{
    ErrorKind, FinishReason, Generate, Prompt, Request,
    testkit::{Played, Scripted, Stage},
};
use serde_json::json;

/// A streamed generation that gets this reply.
fn streamed(request: Generate<'_>, reply: Scripted) -> Played {
    let request = Request::Generate(Generate { stream: true, ..request });
    let played = Stage::new(sglang()).ask(request, reply);
    assert_eq!(played.paths(), ["/generate"]);
    let body = played.requests[0].json();
    accepted("/generate", &body);
    assert_eq!(body["stream"], true);
    played
}

fn with_logprobs<'a>() -> Generate<'a> {
    Generate { logprobs: Some(0), ..generate(Prompt::Text("Q")) }
}

#[test]
fn a_stream_gives_the_same_answer_in_either_mode_wherever_its_bytes_are_cut() {
    for case in golden("streams.json")["one"].as_array().unwrap() {
        let body = case["body"].as_str().unwrap().as_bytes();
        let reply = || Scripted::new(200, body);
        let halves = (0..=body.len()).map(|cut| reply().cut_at(&[cut]));
        for (cut, reply) in halves.chain([reply().cut_every(1)]).enumerate() {
            let played = streamed(with_logprobs(), reply);
            let (name, completion) = (&case["name"], played.completion());
            let choice = &completion.choices[0];
            assert_eq!(json!(choice.text), case["text"], "{name} cut at {cut}");
            assert_eq!(json!(choice.finish_reason), case["finish_reason"]);
            assert_eq!(json!(completion.usage), case["usage"], "{name} cut at {cut}");
            let kept = choice.logprobs.as_ref().map(Vec::len);
            assert_eq!(json!(kept), case["tokens"], "{name} cut at {cut}");
            assert_eq!(json!(played.streamed()), case["text"], "{name} cut at {cut}");
            assert!(!played.cancelled.contains(&1), "{name} cut at {cut}");
        }
    }
}

#[test]
fn a_stream_cut_short_is_a_transport_failure() {
    for case in golden("streams.json")["one"].as_array().unwrap() {
        let body = case["body"].as_str().unwrap();
        // The event with the finish reason is the last but one; what lacks only its blank line is whole.
        let last = body.find("data: [DONE]").unwrap() - 2;
        for cut in (0..last).step_by(3) {
            let played = streamed(with_logprobs(), Scripted::new(200, &body.as_bytes()[..cut]));
            assert_eq!(played.error().kind, ErrorKind::Transport, "{} cut at {cut}", case["name"]);
        }
        let broken = Scripted::new(200, &body.as_bytes()[..300]).breaking(ErrorKind::Timeout);
        assert_eq!(streamed(with_logprobs(), broken).error().kind, ErrorKind::Timeout);
    }
}

#[test]
fn a_stream_that_fails_says_how() {
    for case in golden("streams.json")["failing"].as_array().unwrap() {
        let body = case["body"].as_str().unwrap().as_bytes();
        let played = streamed(generate(Prompt::Text("Q")), Scripted::new(200, body));
        let error = played.error();
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
        if error.kind == ErrorKind::UnexpectedReply {
            assert!(error.excerpt.is_some(), "{}", case["name"]);
        }
    }
}

#[test]
fn a_stop_text_that_the_server_was_not_told_of_cancels_the_stream() {
    let golden = golden("streams.json");
    let body = golden["one"][0]["body"].as_str().unwrap();
    let events =
        body.find(" ol").unwrap() + body[body.find(" ol").unwrap()..].find("\n\n").unwrap() + 2;
    let many: Vec<String> = (0..32).map(|n| format!("never {n}")).chain(["é".into()]).collect();
    let request = Generate {
        stop: many.into_iter().map(Into::into).collect(),
        ..generate(Prompt::Text("Q"))
    };
    let played = streamed(request, Scripted::new(200, &body.as_bytes()[..events]));
    let completion = played.completion();
    assert_eq!(completion.choices[0].text, " Caf");
    assert_eq!(completion.choices[0].finish_reason, FinishReason::Stop);
    assert_eq!(completion.changed[0].parameter, "stop");
    assert_eq!(played.streamed(), " Caf");
    assert!(played.cancelled.contains(&1));
}

#[test]
fn the_choices_of_a_stream_are_told_apart_by_their_index() {
    let golden = &golden("streams.json")["two_choices"];
    let body = golden["body"].as_str().unwrap().as_bytes();
    let request =
        Generate { n: 2, temperature: Some(1.0), seed: Some(1), ..generate(Prompt::Text("Q")) };
    let played = streamed(request, Scripted::new(200, body));
    let completion = played.completion();
    let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(json!(texts), golden["texts"]);
    assert_eq!(json!(completion.usage), golden["usage"]);
    assert_eq!(played.streamed(), texts[0]);
}

#[test]
fn a_stream_that_is_refused_tells_why() {
    let body = r#"{"object":"error","message":"The request queue is full.","code":503}"#;
    let reply = Scripted::new(503, body).header("retry-after", "3");
    let played = streamed(generate(Prompt::Text("Q")), reply);
    let error = played.error();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Overloaded, Some(3000)));
}
