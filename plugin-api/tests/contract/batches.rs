//! Batches: items fail and finish on their own, in any order.

use plugin_api::{Loglikelihood, Prompt, Request};
use serde_json::json;

use crate::{
    minihost::{open, table},
    subject::{Subject, generate},
};

#[test]
fn items_are_answered_as_they_come_and_some_may_fail() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let step = session.generate(&["send:a", "fail:context_length", "say:now", "send:b"]);
    assert_eq!(step.briefs(), ["http 1", "fail 1: context_length", "done 2: now", "http 2"]);
    assert_eq!(session.reply(2, "b").briefs(), ["done 3: b"]);
    let event = json!({ "transport_error": { "call": "1", "kind": "transport" } });
    assert_eq!(session.event(event, b"").briefs(), ["fail 0: transport"]);
}

#[test]
fn a_delta_carries_the_item_it_belongs_to() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let step = session.generate(&["never", "again:1"]);
    assert_eq!(step.pushed[0].head, r#"{"delta":{"item":1}}"#);
    assert_eq!(step.briefs()[1..], ["again"]);
}

#[test]
fn a_batch_of_scorings_answers_each_continuation() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let item = |continuations: &[&'static str]| {
        Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text("Q"),
            continuations: continuations.to_vec(),
            token_logprobs: false,
        })
    };
    let mut session = opened.begin();
    let step = session.start(&[item(&[" a", " é"]), item(&[" c"])]);
    assert_eq!(step.briefs(), ["done 0: ", "done 1: "]);
    let head: serde_json::Value = serde_json::from_str(&step.pushed[0].head).unwrap();
    let scores = &head["done"]["answer"]["likelihoods"];
    assert_eq!(scores[0]["logprob"], json!(-1.5));
    assert_eq!(scores[1]["logprob"], json!(null), "what is not finite travels as null");
}

#[test]
fn a_batch_of_unlike_requests_is_refused_as_a_whole() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let step = session.start(&[generate("say:a"), Request::Health]);
    assert_eq!((step.status, step.briefs()), (1, vec!["fail: protocol".to_owned()]));
}

#[test]
fn a_panic_of_one_item_fails_those_not_answered_yet() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let step = session.generate(&["say:a", "panic", "say:b"]);
    assert_eq!(
        (step.status, step.briefs()),
        (2, vec!["done 0: a".into(), "fail: panic".to_owned()])
    );
}
