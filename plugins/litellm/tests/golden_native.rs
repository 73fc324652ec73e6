//! The codecs of vendors with a wire of their own against golden files, each of whose cases names where it comes from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the tests of OpenAI's wire")]
mod vendor;

use litellm::{anthropic, gemini};
use plugin_api::Reply;
use serde_json::{Value, json};
use vendor::Codec;

const CODECS: [Codec; 2] = [
    Codec {
        name: "anthropic",
        encode: |config, request| {
            let model = config["model"].as_str().unwrap();
            anthropic::encode(&anthropic_options(config), model, request)
        },
        decode: anthropic::decode,
        collector: anthropic::collector,
        one_event_may_be_all: false,
    },
    Codec {
        name: "gemini",
        encode: |config, request| {
            let model = config["model"].as_str().unwrap();
            gemini::encode(&gemini_options(config), model, request)
        },
        decode: gemini::decode,
        collector: gemini::collector,
        one_event_may_be_all: true,
    },
];

fn anthropic_options(of: &Value) -> anthropic::Options {
    let sampling = anthropic::takes_sampling(of["model"].as_str().unwrap());
    let mut options = anthropic::Options { sampling, ..anthropic::Options::default() };
    if let Some(beta) = of.get("beta") {
        options.beta = vendor::stops(beta);
    }
    if let Some(version) = of["version"].as_str() {
        options.version = version.to_owned();
    }
    options.thinking = of.get("thinking").cloned();
    options.effort = of["effort"].as_str().map(str::to_owned);
    options
}

fn gemini_options(of: &Value) -> gemini::Options {
    gemini::Options {
        sampling: gemini::takes_sampling(of["model"].as_str().unwrap()),
        safety: of
            .get("safety")
            .map(|safety| serde_json::from_value(safety.clone()).unwrap())
            .unwrap_or_default(),
        thinking: of.get("thinking").cloned(),
    }
}

#[test]
fn requests_are_encoded_as_the_api_takes_them() {
    CODECS.iter().for_each(Codec::encodes_requests_as_the_api_takes_them);
}

#[test]
fn requests_that_cannot_be_kept_are_refused_by_name() {
    CODECS.iter().for_each(Codec::refuses_by_name_what_cannot_be_kept);
}

#[test]
fn replies_become_completions() {
    CODECS.iter().for_each(Codec::reads_replies_as_completions);
}

#[test]
fn replies_that_are_no_answers_fail_as_their_kind() {
    CODECS.iter().for_each(Codec::fails_by_kind_what_is_no_answer);
}

#[test]
fn streams_become_the_same_completions_wherever_they_are_cut_into_chunks() {
    CODECS.iter().for_each(Codec::collects_streams_wherever_they_are_cut_into_chunks);
}

#[test]
fn a_stream_that_breaks_off_is_never_an_answer() {
    CODECS.iter().for_each(Codec::takes_no_stream_that_breaks_off_for_an_answer);
}

#[test]
fn no_reply_is_graded_that_is_none() {
    CODECS.iter().for_each(Codec::grades_no_reply_that_is_none);
}

#[test]
fn a_count_that_is_none_costs_no_answer() {
    let counts = |codec: &Codec, reply: Value| {
        let reply = Reply::new(200, &[], reply.to_string().as_bytes());
        let completion = (codec.decode)(&reply, &[]).unwrap();
        assert_eq!(completion.choices[0].text, "42", "{}", codec.name);
        (completion.usage.prompt_tokens, completion.usage.completion_tokens)
    };
    for (count, read_as) in [
        (json!(10.0), Some(10)),
        (json!("10"), None),
        (json!(-5), None),
        (json!(null), None),
        (json!(u64::MAX), None),
    ] {
        let anthropic = json!({
            "type": "message", "content": [{ "type": "text", "text": "42" }], "stop_reason": "end_turn",
            "usage": { "input_tokens": count, "output_tokens": 3 }
        });
        let gemini = json!({
            "candidates": [{ "content": { "parts": [{ "text": "42" }] }, "finishReason": "STOP" }],
            "usageMetadata": { "promptTokenCount": count, "candidatesTokenCount": 3 }
        });
        let [by_anthropic, by_gemini] = &CODECS;
        assert_eq!(counts(by_anthropic, anthropic), (read_as, Some(3)), "{count}");
        assert_eq!(counts(by_gemini, gemini), (read_as, Some(3)), "{count}");
    }
}
