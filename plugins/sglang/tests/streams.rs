//! Streamed generations, wherever the bytes are cut and however they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    drive::{answer, call, cancels_first, completion, deltas, generate, kind, sglang},
    golden,
};
use plugin_api::{
    ErrorKind, FinishReason, Generate, Prompt, Request,
    message::{CallRef, Decimal, Event, ReplyHead, TransportError},
    testkit::{Driver, Pushed},
};
use serde_json::json;

/// A streamed generation that gets these pieces; all actions after the request.
fn streamed(request: Generate<'_>, pieces: &[&[u8]], ended: &Event<'_>) -> Vec<Pushed> {
    let mut driver = Driver::new(sglang());
    let start = driver.start(&[Request::Generate(Generate { stream: true, ..request })]);
    assert_eq!(call(&start, "/generate").1["stream"], true);
    let call = Decimal(1);
    let mut pushed = driver.reply(1, 200, b"");
    for piece in pieces {
        pushed.extend(driver.event(&Event::Chunk(CallRef { call }), piece));
    }
    pushed.extend(driver.event(ended, b""));
    pushed
}

const END: Event<'_> = Event::End(CallRef { call: Decimal(1) });

fn with_logprobs<'a>() -> Generate<'a> {
    Generate { logprobs: Some(0), ..generate(Prompt::Text("Q")) }
}

#[test]
fn a_stream_gives_the_same_answer_in_either_mode_wherever_its_bytes_are_cut() {
    for case in golden("streams.json")["one"].as_array().unwrap() {
        let body = case["body"].as_str().unwrap().as_bytes();
        let halves = (0..=body.len()).map(|cut| vec![&body[..cut], &body[cut..]]);
        for pieces in halves.chain([body.chunks(1).collect()]) {
            let pushed = streamed(with_logprobs(), &pieces, &END);
            let (name, cut) = (&case["name"], pieces[0].len());
            let completion = completion(&pushed);
            let choice = &completion.choices[0];
            assert_eq!(json!(choice.text), case["text"], "{name} cut at {cut}");
            assert_eq!(json!(choice.finish_reason), case["finish_reason"]);
            assert_eq!(json!(completion.usage), case["usage"], "{name} cut at {cut}");
            let kept = choice.logprobs.as_ref().map(Vec::len);
            assert_eq!(json!(kept), case["tokens"], "{name} cut at {cut}");
            assert_eq!(json!(deltas(&pushed)), case["text"], "{name} cut at {cut}");
            assert!(!cancels_first(&pushed), "{name} cut at {cut}");
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
            let kind = kind(&streamed(with_logprobs(), &[&body.as_bytes()[..cut]], &END));
            assert_eq!(kind, ErrorKind::Transport, "{} cut at {cut}", case["name"]);
        }
        let broken = Event::TransportError(TransportError {
            call: Decimal(1),
            kind: ErrorKind::Transport,
            message: "reset".into(),
        });
        let pushed = streamed(with_logprobs(), &[&body.as_bytes()[..300]], &broken);
        let error = answer(&pushed).unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Transport, "reset"));
    }
}

#[test]
fn a_stream_that_fails_says_how() {
    for case in golden("streams.json")["failing"].as_array().unwrap() {
        let body = case["body"].as_str().unwrap().as_bytes();
        let error = answer(&streamed(generate(Prompt::Text("Q")), &[body], &END)).unwrap_err();
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
    let pushed = streamed(request, &[&body.as_bytes()[..events]], &END);
    let completion = completion(&pushed);
    assert_eq!(completion.choices[0].text, " Caf");
    assert_eq!(completion.choices[0].finish_reason, FinishReason::Stop);
    assert_eq!(completion.changed[0].parameter, "stop");
    assert_eq!(deltas(&pushed), " Caf");
    assert!(cancels_first(&pushed));
}

#[test]
fn the_choices_of_a_stream_are_told_apart_by_their_index() {
    let golden = &golden("streams.json")["two_choices"];
    let body = golden["body"].as_str().unwrap().as_bytes();
    let request =
        Generate { n: 2, temperature: Some(1.0), seed: Some(1), ..generate(Prompt::Text("Q")) };
    let pushed = streamed(request, &[body], &END);
    let completion = completion(&pushed);
    let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(json!(texts), golden["texts"]);
    assert_eq!(json!(completion.usage), golden["usage"]);
    assert_eq!(deltas(&pushed), texts[0]);
}

#[test]
fn a_stream_that_is_refused_tells_why() {
    let mut driver = Driver::new(sglang());
    let request = Generate { stream: true, ..generate(Prompt::Text("Q")) };
    driver.start(&[Request::Generate(request)]);
    let call = Decimal(1);
    let head = ReplyHead { call, status: 503, headers: vec![("retry-after".into(), "3".into())] };
    assert!(driver.event(&Event::Reply(head), b"").is_empty());
    let body = br#"{"object":"error","message":"The request queue is full.","code":503}"#;
    driver.event(&Event::Chunk(CallRef { call }), body);
    let error = answer(&driver.event(&END, b"")).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Overloaded, Some(3000)));
}
