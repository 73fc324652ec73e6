//! Several requests in one session.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::drive::{answers, call, calls, generate, output, sglang};
use plugin_api::{ErrorKind, Generate, Message, Prompt, Request, testkit::Driver};
use serde_json::{Value, json};

#[test]
fn requests_that_go_together_share_a_call_and_each_gets_its_own_answer() {
    let mut driver = Driver::new(sglang());
    let text = |text| generate(Prompt::Text(text));
    let start = driver.start(&[
        Request::Generate(text("a")),
        Request::Generate(Generate { max_tokens: Some(3), ..text("b") }),
        Request::Generate(Generate { temperature: Some(-1.0), ..text("c") }),
        Request::Generate(Generate { n: 2, temperature: Some(1.0), ..text("d") }),
        Request::Generate(Generate { logprobs: Some(1), ..text("e") }),
    ]);
    let made_no_sense = answers(&start);
    assert_eq!(made_no_sense.len(), 1);
    assert_eq!(made_no_sense[0].0, 2);
    let calls = calls(&start);
    let find = |text: Value| {
        let found = calls.iter().find(|(_, _, body)| body["text"] == text);
        found.unwrap_or_else(|| panic!("{text} in {calls:?}")).clone()
    };
    assert_eq!(calls.len(), 3);
    let (alone, ..) = find(json!("e"));
    let (choices, ..) = find(json!("d"));
    let (together, _, body) = find(json!(["a", "b"]));
    let budgets = [0, 1].map(|at| body["sampling_params"][at]["max_new_tokens"].as_u64().unwrap());
    assert_eq!(budgets, [8, 3]);

    // One of the two was aborted; that is its own affair.
    let mut aborted = output("", 5);
    aborted["meta_info"]["finish_reason"] = json!({ "type": "abort", "message": "Aborted" });
    let found = answers(&driver.reply_json(together, &json!([output(" A", 5), aborted])));
    assert_eq!(found[0].1.as_ref().unwrap().choices[0].text, " A");
    assert_eq!(found[1].1.as_ref().unwrap_err().kind, ErrorKind::Overloaded);
    let found = answers(&driver.reply_json(choices, &json!([output("1", 5), output("2", 5)])));
    assert_eq!((found[0].0, found[0].1.as_ref().unwrap().choices.len()), (3, 2));
    let found = answers(&driver.reply(alone, 503, b""));
    assert_eq!((found[0].0, found[0].1.as_ref().unwrap_err().kind), (4, ErrorKind::Overloaded));
}

#[test]
fn a_batch_that_fails_fails_each_of_its_items() {
    let items = || {
        [
            Request::Generate(generate(Prompt::Text("a"))),
            Request::Generate(generate(Prompt::Text("b"))),
        ]
    };
    for (status, body, expected) in [
        (
            503,
            &b"{\"error\":{\"message\":\"The request queue is full.\"}}"[..],
            ErrorKind::Overloaded,
        ),
        (401, b"", ErrorKind::Unauthorized),
        (200, b"[]", ErrorKind::UnexpectedReply),
        (200, b"<html>", ErrorKind::UnexpectedReply),
    ] {
        let mut driver = Driver::new(sglang());
        let (id, _) = call(&driver.start(&items()), "/generate");
        let found = answers(&driver.reply(id, status, body));
        let kinds: Vec<_> =
            found.iter().map(|(_, answer)| answer.as_ref().unwrap_err().kind).collect();
        assert_eq!(kinds, [expected; 2]);
    }

    // The server refuses the whole batch for one prompt: each is asked on its own.
    let mut driver = Driver::new(sglang());
    let (id, _) = call(&driver.start(&items()), "/generate");
    let too_long = br#"{"error":{"message":"The input (9000 tokens) is longer than the model's context length (8192 tokens)."}}"#;
    let calls = calls(&driver.reply(id, 400, too_long));
    let texts: Vec<_> = calls.iter().map(|(_, _, body)| body["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["a", "b"]);
    let first = answers(&driver.reply(calls[0].0, 400, too_long));
    assert_eq!(first[0].1.as_ref().unwrap_err().kind, ErrorKind::ContextLength);
    let second = answers(&driver.reply_json(calls[1].0, &output(" B", 5)));
    assert_eq!(second[0].1.as_ref().unwrap().choices[0].text, " B");
}

#[test]
fn conversations_of_a_batch_share_a_call_too() {
    let mut driver = Driver::new(sglang());
    let hi = |text| generate(Prompt::Messages(vec![Message::text("user", text)]));
    let start = driver.start(&[Request::Generate(hi("a")), Request::Generate(hi("b"))]);
    let routes: Vec<_> = calls(&start).into_iter().map(|(_, route, _)| route).collect();
    assert_eq!(routes, ["/v1/tokenize", "/v1/tokenize"]);
    assert!(driver.reply_json(1, &json!({ "tokens": [1, 2] })).is_empty());
    let (id, body) = call(&driver.reply_json(2, &json!({ "tokens": [1, 3, 4] })), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 2], [1, 3, 4]]));
    let found = answers(&driver.reply_json(id, &json!([output(" A", 2), output(" B", 3)])));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].1.as_ref().unwrap().choices[0].text, " B");
}
