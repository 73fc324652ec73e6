//! Log-likelihood sessions, driven event by event as the host would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use common::drive::{call, calls, chat, configured, kind, output, scores, sglang, tokens};
use plugin_api::{
    ErrorKind, Loglikelihood, Message, Prompt, Request, Rolling,
    testkit::{Driver, answer, likelihoods},
};
use serde_json::json;

fn score<'a>(prompt: Prompt<'a>, continuations: &[&'a str]) -> Request<'a> {
    let continuations = continuations.to_vec();
    Request::Loglikelihood(Loglikelihood { prompt, continuations, token_logprobs: true })
}

#[test]
fn continuations_are_scored_by_one_call_after_the_contexts_own_tokens() {
    let mut driver = Driver::new(sglang());
    let start = driver.start(&[score(Prompt::Text("Q: x\nA: "), &["yes", "no", "maybe"])]);
    let (id, body) = call(&start, "/tokenize");
    // The white space at the context's end moved to the continuations.
    assert_eq!(
        body,
        json!({ "prompt": ["Q: x\nA:", "Q: x\nA: yes", "Q: x\nA: no", "Q: x\nA: maybe"],
                "add_special_tokens": true })
    );
    let lists = tokens(&[&[1, 5, 6], &[1, 5, 6, 8, 9], &[1, 5, 6, 10], &[1, 5, 77, 11]]);
    let (id, body) = call(&driver.reply_json(id, &lists), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 5, 6, 8, 9], [1, 5, 6, 10], [1, 5, 6, 11]]));
    assert_eq!(body["logprob_start_len"], json!([2, 2, 2]));
    let mut unlikely = scores(&[1, 5, 6, 10], 2);
    unlikely["meta_info"]["input_top_logprobs"][1][0][1] = json!(4);
    let reply = json!([scores(&[1, 5, 6, 8, 9], 2), unlikely, scores(&[1, 5, 6, 11], 2)]);
    let found = likelihoods(&driver.reply_json(id, &reply));
    let close = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
    assert!(close(found[0].logprob, -1.7) && close(found[1].logprob, -1.0));
    assert_eq!(found[0].token_logprobs, Some(vec![Some(-0.8), Some(-0.9)]));
    assert_eq!(found.iter().map(|one| one.tokens).collect::<Vec<_>>(), [2, 1, 1]);
    let greedy: Vec<_> = found.iter().map(|one| one.greedy).collect();
    assert_eq!(greedy, [Some(true), Some(false), Some(true)]);
    let merged: Vec<_> = found.iter().map(|one| one.boundary_merged).collect();
    assert_eq!(merged, [false, false, true]);
    assert_eq!(found[0].prompt_tokens, Some(5));
}

#[test]
fn an_empty_context_is_what_the_tokenizer_puts_first_or_the_configured_token() {
    for (config, lead, sent) in [
        (json!({}), &[1][..], Some(json!([1, 8]))),
        (json!({ "prefix_token_id": 3 }), &[], Some(json!([3, 8]))),
        (json!({}), &[], None),
    ] {
        let mut driver = Driver::new(configured(&config));
        let start = driver.start(&[score(Prompt::Text(""), &[" x"])]);
        let (id, body) = call(&start, "/tokenize");
        assert_eq!(body["prompt"], json!(["", " x"]));
        let whole = [lead, &[8]].concat();
        let pushed = driver.reply_json(id, &tokens(&[lead, &whole]));
        match sent {
            Some(ids) => {
                let (_, body) = call(&pushed, "/generate");
                assert_eq!((&body["input_ids"], &body["logprob_start_len"]), (&ids, &json!(0)));
            }
            None => {
                let error = answer(&pushed).unwrap_err();
                assert_eq!(error.kind, ErrorKind::InvalidRequest);
                assert!(error.message.contains("prefix_token_id"));
            }
        }
    }
}

#[test]
fn an_empty_continuation_is_refused_before_anything_is_sent() {
    let pushed = Driver::new(sglang()).start(&[score(Prompt::Text("Q:"), &["a", ""])]);
    assert!(calls(&pushed).is_empty());
    assert_eq!(kind(&pushed), ErrorKind::InvalidRequest);
}

#[test]
fn a_scoring_that_fails_is_never_a_score() {
    for (status, body, expected) in [
        (
            400,
            json!({ "error": { "message": "The input (9 tokens) is longer than the model's context length (8 tokens)." } }),
            ErrorKind::ContextLength,
        ),
        (200, json!([scores(&[1, 5], 0)]), ErrorKind::UnexpectedReply),
        (200, json!([scores(&[1, 5], 0), scores(&[1], 0)]), ErrorKind::ContextLength),
        (
            200,
            json!([scores(&[1, 5], 0), { "text": "", "meta_info": { "finish_reason": { "type": "abort" } } }]),
            ErrorKind::Overloaded,
        ),
        (200, json!([scores(&[1, 5], 0), output("", 2)]), ErrorKind::UnexpectedReply),
        (200, json!("<html>"), ErrorKind::UnexpectedReply),
    ] {
        let mut driver = Driver::new(sglang());
        driver.start(&[score(Prompt::Text("Q"), &["a", "b"])]);
        let lists = tokens(&[&[1], &[1, 5], &[1, 6]]);
        let (id, _) = call(&driver.reply_json(1, &lists), "/generate");
        let pushed = driver.reply(id, status, body.to_string().as_bytes());
        assert_eq!(kind(&pushed), expected, "{body}");
    }
    for body in [json!({ "tokens": [[1]] }), json!({ "tokens": [1, 2, 3] }), json!({}), json!(null)]
    {
        let mut driver = Driver::new(sglang());
        driver.start(&[score(Prompt::Text("Q"), &["a", "b"])]);
        assert_eq!(kind(&driver.reply_json(1, &body)), ErrorKind::UnexpectedReply, "{body}");
    }
}

#[test]
fn after_a_conversation_the_rule_is_that_of_its_text() {
    let mut driver = Driver::new(sglang());
    let messages = vec![Message::text("user", "Hi")];
    let start = driver.start(&[score(Prompt::Messages(messages), &["yes", "no"])]);
    let (id, _) = call(&start, "/v1/tokenize");
    let pushed = driver.reply_json(id, &json!({ "tokens": [1, 20, 13] }));
    let (id, body) = call(&pushed, "/detokenize");
    assert_eq!(body, json!({ "tokens": [1, 20, 13], "skip_special_tokens": false }));
    let pushed = driver.reply_json(id, &json!({ "text": "<s>Hi\n" }));
    let (id, body) = call(&pushed, "/tokenize");
    assert_eq!(body, json!({ "prompt": ["<s>Hi\n"], "add_special_tokens": false }));
    let (id, body) = call(&driver.reply_json(id, &tokens(&[&[1, 20, 13]])), "/tokenize");
    assert_eq!(body["prompt"], json!(["<s>Hi", "<s>Hi\nyes", "<s>Hi\nno"]));
    assert_eq!(body["add_special_tokens"], false);
    let lists = tokens(&[&[1, 20], &[1, 20, 13, 8], &[1, 20, 13, 9]]);
    let (id, body) = call(&driver.reply_json(id, &lists), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 20, 13, 8], [1, 20, 13, 9]]));
    let reply = json!([scores(&[1, 20, 13, 8], 1), scores(&[1, 20, 13, 9], 1)]);
    let found = likelihoods(&driver.reply_json(id, &reply));
    assert_eq!((found[0].tokens, found[1].tokens), (2, 2));
}

#[test]
fn where_the_templates_text_has_other_tokens_the_continuations_follow_the_templates_own() {
    for (status, text) in
        [(200, json!({ "text": "<s> Hi" })), (404, json!({ "detail": "Not Found" }))]
    {
        let mut driver = Driver::new(sglang());
        let start = driver.start(&[score(Prompt::Messages(chat()), &[" yes", " no"])]);
        let (id, _) = call(&start, "/v1/tokenize");
        let (id, _) = call(&driver.reply_json(id, &json!({ "tokens": [1, 20] })), "/detokenize");
        let mut pushed = driver.reply(id, status, text.to_string().as_bytes());
        if status == 200 {
            let (id, _) = call(&pushed, "/tokenize");
            pushed = driver.reply_json(id, &tokens(&[&[1, 29871, 20]]));
        }
        let (id, body) = call(&pushed, "/tokenize");
        assert_eq!(body["prompt"], json!(["The answer is", " yes", " no"]));
        let pushed = driver.reply_json(id, &tokens(&[&[30], &[8], &[9]]));
        let (_, body) = call(&pushed, "/generate");
        assert_eq!(body["input_ids"], json!([[1, 20, 30, 8], [1, 20, 30, 9]]));
        assert_eq!(body["logprob_start_len"], json!([2, 2]));
    }
}

#[test]
fn a_whole_text_is_scored_in_windows_that_the_server_can_hold() {
    let sglang = sglang();
    let mut driver = Driver::new(Arc::clone(&sglang));
    let start = driver.start(&[Request::Rolling(Rolling { text: "a b c d" })]);
    let (id, body) = call(&start, "/tokenize");
    assert_eq!(body["prompt"], json!(["", "a b c d"]));
    let lists = tokens(&[&[1], &[1, 2, 3, 4, 5]]);
    let (id, _) = call(&driver.reply_json(id, &lists), "/v1/models");
    let models = json!({ "object": "list", "data": [{ "id": "m", "max_model_len": 4 }] });
    let (id, body) = call(&driver.reply_json(id, &models), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 2, 3], [3, 4, 5]]));
    assert_eq!(body["logprob_start_len"], json!([0, 0]));
    let reply = json!([scores(&[1, 2, 3], 0), scores(&[3, 4, 5], 0)]);
    let found = likelihoods(&driver.reply_json(id, &reply));
    assert_eq!((found[0].tokens, found[0].prompt_tokens), (4, Some(6)));
    assert!((found[0].logprob.unwrap() + 1.4).abs() < 1e-9);

    // The window is known from now on; a text that fits is scored whole.
    let mut driver = Driver::new(sglang);
    driver.start(&[Request::Rolling(Rolling { text: "a" })]);
    let (_, body) = call(&driver.reply_json(1, &tokens(&[&[1], &[1, 2]])), "/generate");
    assert_eq!((&body["input_ids"], &body["logprob_start_len"]), (&json!([1, 2]), &json!(0)));
}

#[test]
fn a_whole_text_without_a_token_before_it_leaves_its_first_one_out() {
    for (config, sent) in
        [(json!({}), json!([2, 3])), (json!({ "prefix_token_id": 9 }), json!([9, 2, 3]))]
    {
        let mut driver = Driver::new(configured(&config));
        driver.start(&[Request::Rolling(Rolling { text: "a b" })]);
        let (id, _) = call(&driver.reply_json(1, &tokens(&[&[], &[2, 3]])), "/v1/models");
        // A server that does not say is asked for all at once.
        let (_, body) = call(&driver.reply(id, 404, b""), "/generate");
        assert_eq!((&body["input_ids"], &body["logprob_start_len"]), (&sent, &json!(0)));
    }
    let mut driver = Driver::new(configured(&json!({ "max_context_tokens": 64 })));
    driver.start(&[Request::Rolling(Rolling { text: "a" })]);
    assert_eq!(kind(&driver.reply_json(1, &tokens(&[&[], &[2]]))), ErrorKind::InvalidRequest);
}

#[test]
fn no_beginning_of_a_reply_leads_anywhere() {
    // The replies of one session in order, each for the only call of its step.
    let replies = [
        json!({ "tokens": [1, 20], "count": 2 }),
        json!({ "text": "<s>Hé" }),
        tokens(&[&[1, 20]]),
        tokens(&[&[1, 20], &[1, 20, 8]]),
        scores(&[1, 20, 8], 1),
    ]
    .map(|reply| reply.to_string());
    for (step, reply) in replies.iter().enumerate() {
        for cut in 0..reply.len() {
            let mut driver = Driver::new(sglang());
            let messages = vec![Message::text("user", "Hi")];
            let mut pushed = driver.start(&[score(Prompt::Messages(messages), &["yes"])]);
            for before in &replies[..step] {
                let id = calls(&pushed)[0].0;
                pushed = driver.reply(id, 200, before.as_bytes());
            }
            let id = calls(&pushed)[0].0;
            let pushed = driver.reply(id, 200, &reply.as_bytes()[..cut]);
            assert_eq!(kind(&pushed), ErrorKind::UnexpectedReply, "reply {step} cut at {cut}");
        }
    }
}
