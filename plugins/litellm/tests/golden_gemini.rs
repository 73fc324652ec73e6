//! Gemini's codec against golden files, each of whose cases names where it comes from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "shared with the other vendors' tests")]
mod vendor;

use litellm::gemini::{Options, collector, decode, encode, takes_sampling};
use serde_json::Value;
use vendor::Codec;

const CODEC: Codec = Codec {
    name: "gemini",
    encode: |config, request| encode(&options(config), config["model"].as_str().unwrap(), request),
    decode,
    collector,
    one_event_may_be_all: true,
};

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
    CODEC.encodes_requests_as_the_api_takes_them();
}

#[test]
fn requests_that_cannot_be_kept_are_refused_by_name() {
    CODEC.refuses_by_name_what_cannot_be_kept();
}

#[test]
fn replies_become_completions() {
    CODEC.reads_replies_as_completions();
}

#[test]
fn replies_that_are_no_answers_fail_as_their_kind() {
    CODEC.fails_by_kind_what_is_no_answer();
}

#[test]
fn streams_become_the_same_completions_wherever_they_are_cut_into_chunks() {
    CODEC.collects_streams_wherever_they_are_cut_into_chunks();
}

#[test]
fn a_stream_that_breaks_off_is_never_an_answer() {
    CODEC.takes_no_stream_that_breaks_off_for_an_answer();
}

#[test]
fn no_reply_is_graded_that_is_none() {
    CODEC.grades_no_reply_that_is_none();
}
