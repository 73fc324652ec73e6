//! Gemini's codec against golden files, each of whose cases names where it comes from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod vendor;

use litellm::gemini::{Options, collector, decode, encode, takes_sampling};
use plugin_api::{ErrorKind, Reply};
use serde_json::{Value, json};
use vendor::{cases, check_answer, check_request, golden, reply, request, stops, stream};

fn options(of: &Value) -> Options {
    Options {
        sampling: takes_sampling(of["model"].as_str().unwrap()),
        safety: of
            .get("safety")
            .map(|safety| serde_json::from_value(safety.clone()).unwrap())
            .unwrap_or_default(),
        thinking: of.get("thinking").cloned(),
    }
}

#[test]
fn requests_are_encoded_as_the_api_takes_them() {
    for case in cases(&golden("gemini_requests.json"), "cases") {
        let config = &case["config"];
        let model = config["model"].as_str().unwrap();
        let encoded = encode(&options(config), model, &request(&case["request"]))
            .unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        check_request(case, &encoded);
    }
}

#[test]
fn requests_that_cannot_be_kept_are_refused_by_name() {
    for case in cases(&golden("gemini_requests.json"), "refused") {
        let config = &case["config"];
        let model = config["model"].as_str().unwrap();
        let error = encode(&options(config), model, &request(&case["request"])).unwrap_err();
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
        assert!(error.message.contains(case["names"].as_str().unwrap()), "{error}");
    }
}

#[test]
fn replies_become_completions() {
    for case in cases(&golden("gemini_replies.json"), "cases") {
        let completion = decode(&reply(case), &stops(&case["stop"]))
            .unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        check_answer(case, &completion);
    }
}

#[test]
fn replies_that_are_no_answers_fail_as_their_kind() {
    for case in cases(&golden("gemini_replies.json"), "failures") {
        let error = decode(&reply(case), &[]).unwrap_err();
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
        assert!(error.excerpt.is_some(), "{}", case["name"]);
    }
}

#[test]
fn streams_become_the_same_completions_wherever_they_are_cut_into_chunks() {
    for case in cases(&golden("gemini_streams.json"), "cases") {
        let bytes = stream(case);
        for chunk in [1, 7, bytes.len()] {
            let stop = stops(&case["stop"]);
            let (completion, handed) = vendor::collect(collector(&stop), &bytes, chunk).unwrap();
            check_answer(case, &completion);
            assert_eq!(handed, completion.choices[0].text, "{}", case["name"]);
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_never_an_answer() {
    for case in cases(&golden("gemini_streams.json"), "cases") {
        let bytes = stream(case);
        let last =
            bytes.len() - case["events"].as_array().unwrap().last().unwrap().to_string().len();
        for end in 0..last {
            if let Ok((completion, _)) = vendor::collect(collector(&[]), &bytes[..end], end.max(1))
            {
                panic!("{}: {end} bytes gave {completion:?}", case["name"]);
            }
        }
    }
}

#[test]
fn no_reply_is_graded_that_is_none() {
    for body in vendor::NO_ANSWERS {
        let error = decode(&Reply::new(200, &[], body.as_bytes()), &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{body}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(decode(&Reply::new(200, &[], deep.as_bytes()), &[]).is_err());
    for case in cases(&golden("gemini_replies.json"), "cases") {
        let body = case["reply"].to_string();
        for end in 0..body.len() {
            let error = decode(&Reply::new(200, &[], &body.as_bytes()[..end]), &[]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{} cut at {end}", case["name"]);
        }
        for mutation in vendor::mutations(&case["reply"]) {
            if let Ok(completion) =
                decode(&Reply::new(200, &[], mutation.to_string().as_bytes()), &[])
            {
                assert!(!completion.choices.is_empty(), "{mutation}");
            }
        }
    }
    for case in cases(&golden("gemini_streams.json"), "cases") {
        for event in case["events"].as_array().unwrap() {
            for mutation in vendor::mutations(event) {
                let mut collector = collector(&[]);
                drop(collector.take(&vendor::event(&mutation.to_string())));
                if let Err(error) = collector.finish() {
                    assert_eq!(error.kind, ErrorKind::Transport, "{mutation}");
                }
            }
        }
    }
}
