//! Whole sessions, driven event by event as the host would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use plugin_api::{
    Answer, ErrorKind, FinishReason, Generate, Loglikelihood, Message, Prompt, Request, Rolling,
    message::Action,
    testkit::{
        Driver, Played, Pushed, Recording, Scripted, Sent, Stage, answer, completion, likelihoods,
        open, requests,
    },
};
use serde_json::{Value, json};
use tgi::Tgi;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn tgi() -> Arc<Tgi> {
    Arc::new(open(json!({ "base_url": "http://tgi:80/" })).unwrap())
}

fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate {
        max_tokens: Some(8),
        temperature: Some(0.0),
        stop: vec!["\n\n".into()],
        ..Generate::new(prompt)
    }
}

/// Call number, route and body of each request among the actions.
fn calls(pushed: &[Pushed]) -> Vec<(u64, String, Value)> {
    let call = |sent: Sent| (sent.call, sent.path().to_owned(), sent.json());
    requests(pushed).into_iter().map(call).collect()
}

fn cancels(pushed: &[Pushed]) -> usize {
    pushed.iter().filter(|pushed| matches!(pushed.action(), Action::Cancel(_))).count()
}

fn ids(ids: &[u32]) -> Value {
    ids.iter().map(|id| json!({ "id": id, "text": "", "start": 0, "stop": 0 })).collect()
}

/// A streamed generation that gets this reply.
fn streamed(stop: &str, reply: Scripted) -> Played {
    let request = Generate {
        stream: true,
        logprobs: Some(0),
        stop: vec![stop.into()],
        ..generate(Prompt::Text("Q"))
    };
    let played = Stage::new(tgi()).ask(Request::Generate(request), reply);
    assert_eq!(played.paths(), ["/generate_stream"]);
    played
}

/// What the server streams, whole.
fn stream(body: &[u8]) -> Scripted {
    Scripted::new(200, body)
}

#[test]
fn a_stream_gives_the_same_answer_wherever_its_bytes_are_cut() {
    let golden = golden("stream.json");
    let body = golden["body"].as_str().unwrap().as_bytes();
    let cuts = (0..=body.len()).map(|cut| stream(body).cut_at(&[cut]));
    for (cut, reply) in cuts.chain([stream(body).cut_every(1)]).enumerate() {
        let played = streamed("\n\n", reply);
        let completion = played.completion();
        let choice = &completion.choices[0];
        assert_eq!(json!(choice.text), golden["text"], "cut at {cut}");
        assert_eq!(choice.finish_reason, FinishReason::Stop);
        assert_eq!(json!(completion.usage.prompt_tokens), golden["prompt_tokens"]);
        assert_eq!(json!(completion.usage.completion_tokens), golden["completion_tokens"]);
        assert_eq!(choice.logprobs.as_ref().map(Vec::len), Some(2));
        assert_eq!(json!(played.streamed()), golden["text"], "cut at {cut}");
        assert!(!played.cancelled.contains(&1));
    }
}

#[test]
fn a_stream_cut_short_is_a_transport_failure() {
    let golden = golden("stream.json");
    let body = golden["body"].as_str().unwrap().as_bytes();
    // The last event is the one before the closing blank line.
    let last = body.len() - 2;
    for cut in (0..last).step_by(7) {
        let kind = streamed("\n\n", stream(&body[..cut])).error().kind;
        assert!(
            matches!(kind, ErrorKind::Transport | ErrorKind::UnexpectedReply),
            "cut at {cut}: {kind}"
        );
    }
    let broken = stream(&body[..200]).breaking(ErrorKind::Timeout);
    assert_eq!(streamed("\n\n", broken).error().kind, ErrorKind::Timeout);
}

#[test]
fn a_stop_text_that_the_server_misses_cancels_the_stream() {
    let golden = golden("stream.json");
    let body = golden["body"].as_str().unwrap();
    let events = body.find("\n\ndata:{\"index\":3").unwrap() + 2;
    let played = streamed("af", stream(&body.as_bytes()[..events]));
    assert_eq!(played.completion().choices[0].text, " C");
    assert_eq!(played.streamed(), " C");
    assert_eq!(played.cancelled, [1]);
}

#[test]
fn an_error_event_under_status_200_is_a_failure() {
    let body = b"data:{\"error\":\"Request failed during generation: x\",\"error_type\":\"generation\"}\n\n";
    assert_eq!(streamed("\n\n", stream(body)).error().kind, ErrorKind::Overloaded);
    let page = stream(b"<html>hello");
    assert_eq!(streamed("\n\n", page).error().kind, ErrorKind::UnexpectedReply);
}

#[test]
fn a_stream_that_is_refused_tells_why() {
    let body = r#"{"error":"Model is overloaded","error_type":"overloaded"}"#;
    let played = streamed("\n\n", Scripted::new(429, body).header("retry-after", "3"));
    let error = played.error();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(3000)));
}

#[test]
fn each_choice_is_a_request_with_its_own_seed() {
    let mut driver = Driver::new(tgi());
    let sampled =
        Generate { n: 3, temperature: Some(0.5), seed: Some(40), ..generate(Prompt::Text("Q")) };
    let start = calls(&driver.start(&[Request::Generate(sampled)]));
    let seeds: Vec<_> = start.iter().map(|(_, _, body)| &body["parameters"]["seed"]).collect();
    assert_eq!(seeds, [40, 41, 42]);
    let mut pushed = Vec::new();
    for (call, text) in [(3, "c"), (1, "a"), (2, "b")] {
        let details = json!({ "finish_reason": "length", "generated_tokens": 8, "seed": 1,
                              "prefill": [], "tokens": [] });
        let body = json!({ "generated_text": text, "details": details });
        pushed = driver.reply_json(call, &body);
    }
    let completion = completion(&pushed);
    let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!(completion.usage.completion_tokens, Some(24));
}

#[test]
fn the_key_is_named_only_if_there_is_one() {
    let config = json!({ "base_url": "http://tgi:80" });
    for (slots, secrets) in [(&[][..], &[][..]), (&["api_key"], &[("authorization", "api_key")])] {
        let stage = Stage::<Tgi>::granted(config.clone(), slots);
        let played = stage.ask(Request::Health, Scripted::new(200, ""));
        played.requests[0].assert_secrets(secrets);
    }
}

#[test]
fn a_continuation_is_scored_by_the_tokens_after_its_context() {
    let golden = golden("scoring_reply.json");
    let mut driver = Driver::new(tgi());
    let request = Loglikelihood {
        prompt: Prompt::Text(golden["context"].as_str().unwrap()),
        continuations: vec![golden["continuation"].as_str().unwrap(), "yes!"],
        token_logprobs: true,
    };
    let start = calls(&driver.start(&[Request::Loglikelihood(request)]));
    let sent: Vec<_> = start.iter().map(|(_, r, body)| (r.as_str(), &body["inputs"])).collect();
    assert_eq!(
        sent,
        [
            ("/tokenize", &json!("Q: x\nA:")),
            ("/generate", &json!("Q: x\nA: yes")),
            ("/generate", &json!("Q: x\nA: yes!")),
        ]
    );
    // The answers come in any order.
    let mut second = golden["generate"].clone();
    let prefill = second["details"]["prefill"].as_array_mut().unwrap();
    prefill.push(json!({ "id": 29991, "text": "!", "logprob": -2.0 }));
    assert!(driver.reply_json(3, &second).is_empty());
    assert!(driver.reply_json(1, &golden["tokenize"]).is_empty());
    let pushed = driver.reply_json(2, &golden["generate"]);
    let found = likelihoods(&pushed);
    assert_eq!(
        (json!(found[0].logprob), json!(found[0].tokens)),
        (golden["logprob"].clone(), golden["tokens"].clone())
    );
    assert_eq!((found[1].logprob, found[1].tokens), (Some(-2.75), 2));
    assert_eq!(found[1].prompt_tokens, Some(9));
}

#[test]
fn a_server_without_prefill_is_unsupported_and_what_is_under_way_is_cancelled() {
    let golden = golden("scoring_reply.json");
    let mut driver = Driver::new(tgi());
    let request = Loglikelihood {
        prompt: Prompt::Text("Q"),
        continuations: vec![" a"],
        token_logprobs: false,
    };
    driver.start(&[Request::Loglikelihood(request.clone())]);
    let mut empty = golden["generate"].clone();
    empty["details"]["prefill"] = json!([]);
    driver.reply_json(2, &empty);
    let error = answer(&driver.reply_json(1, &golden["tokenize"])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("--enable-prefill-logprobs"));

    let mut driver = Driver::new(tgi());
    driver.start(&[Request::Loglikelihood(request)]);
    let pushed = driver.reply(1, 401, b"");
    assert_eq!(cancels(&pushed), 1);
    assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::Unauthorized);
}

#[test]
fn an_empty_context_is_the_token_that_the_server_puts_first() {
    let whole = |first: u32| {
        json!({ "generated_text": "", "details": { "finish_reason": "length", "generated_tokens": 1,
            "prefill": [{ "id": first, "text": "", "logprob": null },
                        { "id": 9, "text": "", "logprob": -1.5 }], "tokens": [] } })
    };
    for (a, b, found) in [([1, 263], [1, 289], Some(-1.5)), ([263, 0], [289, 0], None)] {
        let mut driver = Driver::new(tgi());
        let start = calls(&driver.start(&[Request::Loglikelihood(Loglikelihood {
            prompt: Prompt::Text(" "),
            continuations: vec!["x"],
            token_logprobs: false,
        })]));
        let sent: Vec<_> = start.iter().map(|(_, _, body)| &body["inputs"]).collect();
        assert_eq!(sent, [" x", "a", "b"]);
        driver.reply_json(1, &whole(a[0]));
        driver.reply_json(2, &ids(&a));
        let pushed = driver.reply_json(3, &ids(&b));
        match found {
            Some(logprob) => assert_eq!(likelihoods(&pushed)[0].logprob, Some(logprob)),
            None => assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::InvalidRequest),
        }
    }
}

#[test]
fn an_empty_continuation_is_refused_before_anything_is_sent() {
    let request = Loglikelihood {
        prompt: Prompt::Text("Q:"),
        continuations: vec!["a", ""],
        token_logprobs: false,
    };
    let pushed = Driver::new(tgi()).start(&[Request::Loglikelihood(request)]);
    assert!(calls(&pushed).is_empty());
    assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn a_whole_text_is_scored_with_one_request() {
    let mut driver = Driver::new(tgi());
    let start = calls(&driver.start(&[Request::Rolling(Rolling { text: "Q: x\nA: yes" })]));
    assert_eq!(start.len(), 1);
    assert_eq!(start[0].2["parameters"]["decoder_input_details"], true);
    let pushed = driver.reply_json(1, &golden("scoring_reply.json")["generate"]);
    assert_eq!(likelihoods(&pushed)[0].tokens, 7);
}

#[test]
fn chat_is_rendered_by_the_server_and_its_bos_taken_out() {
    let tgi = tgi();
    let messages = vec![Message::text("user", "Hi"), Message::text("assistant", "The answer")];
    let mut driver = Driver::new(Arc::clone(&tgi));
    let prompt = Prompt::Messages(messages.clone());
    let start = calls(&driver.start(&[Request::Generate(generate(prompt))]));
    let routes: Vec<_> = start.iter().map(|(_, route, _)| route.as_str()).collect();
    assert_eq!(routes, ["/chat_tokenize", "/tokenize", "/tokenize"]);
    assert_eq!(start[0].2["messages"], json!([{ "role": "user", "content": "Hi" }]));
    let templated = json!({ "templated_text": "<s>[INST] Hi [/INST]",
        "tokenize_response": [{ "id": 1, "text": "<s>", "start": 0, "stop": 3 },
                              { "id": 8, "text": "[INST]", "start": 3, "stop": 9 }] });
    driver.reply_json(1, &templated);
    driver.reply_json(2, &ids(&[1, 263]));
    let next = calls(&driver.reply_json(3, &ids(&[1, 289])));
    assert_eq!(next[0].2["inputs"], "[INST] Hi [/INST]The answer");

    // What the server puts first is known from now on.
    let mut driver = Driver::new(tgi);
    let start = calls(&driver.start(&[Request::Render(messages)]));
    assert_eq!(start.len(), 1);
    match answer(&driver.reply_json(1, &templated)) {
        Ok(Answer::Rendered(text)) => assert_eq!(text, "[INST] Hi [/INST]The answer"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_that_is_dropped_leaves_the_next_one_alone() {
    let tgi = tgi();
    let mut dropped = Driver::new(Arc::clone(&tgi));
    let prompt = Prompt::Messages(vec![Message::text("user", "Hi")]);
    dropped.start(&[Request::Generate(generate(prompt.clone()))]);
    drop(dropped);
    // What the first one had asked for is asked for again.
    let mut driver = Driver::new(tgi);
    assert_eq!(calls(&driver.start(&[Request::Generate(generate(prompt))])).len(), 3);
}

#[test]
fn one_choice_that_fails_fails_the_request() {
    let mut driver = Driver::new(tgi());
    driver.start(&[Request::Generate(Generate { n: 2, ..generate(Prompt::Text("Q")) })]);
    assert!(driver.reply(1, 503, b"").is_empty());
    let pushed = driver.reply_json(2, &json!({ "generated_text": "a" }));
    assert_eq!(answer(&pushed).unwrap_err().kind, ErrorKind::Overloaded);
}

#[test]
fn a_description_names_model_version_and_window() {
    let mut driver = Driver::new(tgi());
    driver.start(&[Request::Describe]);
    driver.reply_json(1, &golden("info.json")["reply"]);
    // A server that will not tokenise is described all the same.
    let pushed = driver.reply(2, 404, b"");
    match answer(&pushed) {
        Ok(Answer::Description(found)) => {
            assert_eq!(found.model.as_deref(), Some("acme/model-7b"));
            assert_eq!(found.version.as_deref(), Some("3.3.7"));
            assert_eq!((found.context_tokens, found.bos), (Some(4096), None));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unhealthy_server_is_not_ready_and_a_wrong_one_is_a_failure() {
    let health = |status: u16, body: &str| {
        Stage::new(tgi()).ask(Request::Health, Scripted::new(status, body))
    };
    assert!(matches!(health(200, "").answer(), Answer::Health(health) if health.ready));
    let unhealthy = r#"{"error":"unhealthy","error_type":"healthcheck"}"#;
    assert!(matches!(health(503, unhealthy).answer(), Answer::Health(health) if !health.ready));
    assert_eq!(health(404, "").error().kind, ErrorKind::InvalidRequest);
}

#[test]
fn what_a_run_recorded_is_understood() {
    let file =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/recordings/plugins.jsonl");
    let server = Recording::read(file).unwrap().backend("tgi", "http://tgi:80");
    let stage = Stage::<Tgi>::granted(json!({ "base_url": "http://tgi:80" }), &["api_key"]);
    let played = stage.ask(Request::Describe, server);
    match played.answer() {
        Answer::Description(found) => {
            assert_eq!(found.model.as_deref(), Some("mock/tgi"));
            assert_eq!((found.context_tokens, found.bos.as_deref()), (Some(16384), Some("bos")));
        }
        other => panic!("{other:?}"),
    }
    played.requests.iter().for_each(|sent| sent.assert_secret("authorization", "api_key"));
}
