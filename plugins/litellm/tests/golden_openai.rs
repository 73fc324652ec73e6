//! Every provider and mode of OpenAI's wire against golden files, each case of which names where its content comes from:
//! what is asked for, where and with which key; what replies and streams become.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod drive;
#[allow(dead_code, reason = "shared with the other vendors' tests")]
mod vendor;

use litellm::openai;
use plugin_api::{
    ErrorKind, Request, SseParser,
    testkit::{Driver, completion, open_with},
};
use serde_json::{Value, json};
use vendor::{cases, check_answer, golden, mutations, reply, stops};
use wire::openai::Reading;

#[test]
fn requests_go_to_their_provider_as_it_takes_them() {
    for case in cases(&golden("provider_requests.json"), "cases") {
        let name = case["name"].as_str().unwrap();
        let head = drive::head(&case["config"], &case["env"], &case["secrets"]);
        let backend: litellm::Litellm =
            open_with(head).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut driver = Driver::new(std::sync::Arc::new(backend));
        let request = vendor::request(&case["request"]);
        let (n, streamed) = (request.n, request.stream);
        let start = drive::begin(&mut driver, Request::Generate(request), case.get("models"));
        let calls = drive::calls(&start);
        assert_eq!(calls.len(), 1, "{name}: {start:?}");
        assert_eq!(
            (&calls[0].url, calls[0].stream),
            (&case["url"].as_str().unwrap().to_owned(), streamed),
            "{name}"
        );
        assert_eq!(calls[0].headers, case["headers"], "{name}");
        assert_eq!(calls[0].body, case["body"], "{name}");
        if streamed
            || case["body"].get("contents").is_some()
            || case["url"].as_str().unwrap().ends_with("/messages")
        {
            continue;
        }
        let mut answer = drive::chat_reply("A");
        for index in 1..n {
            let mut further = answer["choices"][0].clone();
            further["index"] = json!(index);
            answer["choices"].as_array_mut().unwrap().push(further);
        }
        let tokens = json!({ "content": [{ "token": "A", "logprob": -0.1, "bytes": null, "top_logprobs": [] }] });
        for choice in answer["choices"].as_array_mut().unwrap() {
            choice["logprobs"] = tokens.clone();
        }
        let completion = completion(&driver.reply_json(calls[0].call, &answer));
        let expected = case["changed"].as_array().unwrap();
        assert_eq!(completion.changed.len(), expected.len(), "{name}: {:?}", completion.changed);
        for (found, expected) in completion.changed.iter().zip(expected) {
            let expected = expected.as_str().unwrap();
            let (parameter, words) = expected.split_once(": ").unwrap_or((expected, ""));
            assert_eq!(found.parameter, parameter, "{name}");
            assert!(found.detail.contains(words), "{name}: {found:?}");
        }
    }
}

fn reading(of: &Value) -> Reading {
    let number = |key: &str| of[key].as_u64().map(|n| u32::try_from(n).unwrap());
    Reading {
        stop: stops(&of["stop"]),
        think_tags: true,
        logprobs: number("logprobs"),
        n: number("n").unwrap_or(1),
    }
}

#[test]
fn replies_become_completions() {
    for case in cases(&golden("openai_replies.json"), "cases") {
        let completion = openai::decode(&reply(case), &reading(&case["read"])).unwrap();
        check_answer(case, &completion);
    }
}

/// A reply with one value of another type, or one field less: an answer that is there, or a failure; never a panic, and
/// never an empty answer out of a reply that does not say how it ended.
#[test]
fn a_reply_of_another_shape_is_never_an_empty_answer() {
    for case in cases(&golden("openai_replies.json"), "cases") {
        for mutation in mutations(&case["reply"]) {
            let reply = plugin_api::Reply::new(200, &[], mutation.to_string().as_bytes());
            match openai::decode(&reply, &reading(&case["read"])) {
                Ok(completion) => {
                    for choice in completion.choices {
                        let explained = choice.reasoning.is_some()
                            || !matches!(choice.finish_reason.as_str(), "stop" | "unknown");
                        let said = mutation.to_string().contains("\"content\":\"\"")
                            || mutation.to_string().contains("\"text\":\"\"");
                        assert!(!choice.text.is_empty() || explained || said, "{mutation}");
                    }
                }
                Err(error) => assert!(
                    matches!(
                        error.kind,
                        ErrorKind::UnexpectedReply | ErrorKind::Other | ErrorKind::Overloaded
                    ),
                    "{mutation}: {error}"
                ),
            }
        }
    }
    for body in vendor::NO_ANSWERS.iter().filter(|body| !body.contains("choices")) {
        let reply = plugin_api::Reply::new(200, &[], body.as_bytes());
        assert!(openai::decode(&reply, &Reading::default()).is_err(), "{body}");
    }
}

#[test]
fn a_stream_gives_the_same_answer_wherever_its_bytes_are_cut() {
    for case in cases(&golden("openai_streams.json"), "cases") {
        let body = case["body"].as_str().unwrap().as_bytes();
        for chunk in 1..=body.len() {
            let collector = openai::collector(&reading(&case["read"]));
            let (completion, handed) = vendor::collect(collector, body, chunk).unwrap();
            check_answer(case, &completion);
            assert_eq!(json!(handed), case["delta"], "{} in pieces of {chunk}", case["name"]);
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_never_an_answer() {
    for case in cases(&golden("openai_streams.json"), "cases") {
        let body = case["body"].as_str().unwrap();
        let ends = body.find("\"finish_reason\": \"").unwrap();
        for cut in 0..ends {
            if !body.is_char_boundary(cut) {
                continue;
            }
            let mut collector = openai::collector(&reading(&case["read"]));
            let mut parser = SseParser::default();
            for event in parser.push(&body.as_bytes()[..cut]) {
                assert!(!collector.take(&event).unwrap());
            }
            let error = collector.finish().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Transport, "{} cut at {cut}", case["name"]);
        }
    }
}
