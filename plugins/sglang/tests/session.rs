//! Whole sessions, driven event by event as the host would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use common::{accepted, golden};
use plugin_api::{
    Answer, Completion, Description, Error, ErrorKind, FinishReason, Generate, Likelihood,
    Loglikelihood, Message, Part, Prompt, Request, Rolling,
    message::{Action, CallRef, Decimal, Event, OpenHead, ReplyHead, TransportError},
    testkit::{Driver, Pushed, failure, open, open_with},
};
use serde_json::{Value, json};
use sglang::Sglang;

fn configured(over: &Value) -> Arc<Sglang> {
    let mut config = json!({ "base_url": "http://sglang:30000/" });
    for (key, value) in over.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    Arc::new(open(config).unwrap())
}

fn sglang() -> Arc<Sglang> {
    configured(&Value::Null)
}

fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate {
        prompt,
        n: 1,
        max_tokens: Some(8),
        temperature: Some(0.0),
        top_p: None,
        top_k: None,
        stop: vec!["\n\n".into()],
        seed: None,
        logprobs: None,
        stream: false,
        extra: serde_json::Map::new(),
    }
}

fn score<'a>(prompt: Prompt<'a>, continuations: &[&'a str]) -> Request<'a> {
    let continuations = continuations.to_vec();
    Request::Loglikelihood(Loglikelihood { prompt, continuations, token_logprobs: true })
}

fn chat<'a>() -> Vec<Message<'a>> {
    vec![Message::text("user", "Hi"), Message::text("assistant", "The answer is")]
}

/// Call number, route and body of each request among the actions. Every body must be one that the server takes.
fn calls(pushed: &[Pushed]) -> Vec<(u64, String, Value)> {
    pushed
        .iter()
        .filter_map(|pushed| match pushed.action() {
            Action::Http(http) => {
                let route = http.url.strip_prefix("http://sglang:30000").unwrap().to_owned();
                let body = serde_json::from_slice(&pushed.body).unwrap_or(Value::Null);
                if &*http.method == "POST" {
                    accepted(&route, &body);
                }
                Some((http.call.0, route, body))
            }
            _ => None,
        })
        .collect()
}

/// The only call among the actions, which must go to `route`.
fn call(pushed: &[Pushed], route: &str) -> (u64, Value) {
    let calls = calls(pushed);
    let [(call, found, body)] = calls.as_slice() else { panic!("{pushed:?}") };
    assert_eq!(found, route, "{pushed:?}");
    (*call, body.clone())
}

fn answer(pushed: &[Pushed]) -> Result<Answer, Error> {
    let last = pushed.last().expect("an action");
    match last.action() {
        Action::Done(done) => Ok(Answer::resolve(done.answer, &last.body).unwrap()),
        _ => Err(failure(last).unwrap_or_else(|| panic!("done or fail: {pushed:?}"))),
    }
}

/// The answers of a batch by item.
fn answers(pushed: &[Pushed]) -> Vec<(u32, Result<Completion, Error>)> {
    let mut all: Vec<_> = pushed
        .iter()
        .filter_map(|pushed| match pushed.action() {
            Action::Done(done) => match Answer::resolve(done.answer, &pushed.body).unwrap() {
                Answer::Completion(completion) => Some((done.item, Ok(completion))),
                other => panic!("{other:?}"),
            },
            Action::Fail(fail) => Some((fail.item.unwrap(), Err(fail.into()))),
            _ => None,
        })
        .collect();
    all.sort_by_key(|(item, _)| *item);
    all
}

fn completion(pushed: &[Pushed]) -> Completion {
    match answer(pushed) {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("{other:?}"),
    }
}

fn likelihoods(pushed: &[Pushed]) -> Vec<Likelihood> {
    match answer(pushed) {
        Ok(Answer::Likelihoods(likelihoods)) => likelihoods,
        other => panic!("{other:?}"),
    }
}

fn kind(pushed: &[Pushed]) -> ErrorKind {
    answer(pushed).unwrap_err().kind
}

fn deltas(pushed: &[Pushed]) -> String {
    pushed
        .iter()
        .filter(|pushed| matches!(pushed.action(), Action::Delta(_)))
        .map(|pushed| std::str::from_utf8(&pushed.body).unwrap())
        .collect()
}

/// Whether the first call was cancelled.
fn cancels_first(pushed: &[Pushed]) -> bool {
    let first = |action| matches!(action, Action::Cancel(cancel) if cancel.call == Decimal(1));
    pushed.iter().any(|pushed| first(pushed.action()))
}

fn reply_json(driver: &mut Driver<Sglang>, call: u64, body: &Value) -> Vec<Pushed> {
    driver.reply(call, 200, body.to_string().as_bytes())
}

/// A finished output.
fn output(text: &str, prompt_tokens: usize) -> Value {
    json!({ "text": text, "output_ids": [4, 2], "meta_info": {
        "id": "r", "finish_reason": { "type": "stop", "matched": 2 },
        "prompt_tokens": prompt_tokens, "completion_tokens": 2, "cached_tokens": 0 } })
}

/// The output of a scoring of `ids` from `start` on: each token's log-probability is minus its id over ten, and it
/// is the likeliest.
fn scores(ids: &[u32], start: usize) -> Value {
    let entry = |id: &u32| json!([-f64::from(*id) / 10.0, id, null]);
    let mut entries: Vec<Value> = ids[start..].iter().map(entry).collect();
    let top: Vec<Value> = ids[start..].iter().map(|id| json!([entry(id)])).collect();
    entries[0][0] = Value::Null;
    let mut scored = output(".", ids.len());
    scored["meta_info"]["input_token_logprobs"] = json!(entries);
    scored["meta_info"]["input_top_logprobs"] = json!(top);
    scored
}

fn tokens(lists: &[&[u32]]) -> Value {
    let counts: Vec<usize> = lists.iter().map(|list| list.len()).collect();
    json!({ "tokens": lists, "count": counts, "max_model_len": 4096 })
}

#[test]
fn text_goes_as_text_and_its_answer_comes_back() {
    let mut driver = Driver::new(configured(&json!({ "model": "acme" })));
    let (id, body) =
        call(&driver.start(&[Request::Generate(generate(Prompt::Text("Q: x\nA:")))]), "/generate");
    assert_eq!(body["text"], "Q: x\nA:");
    let completion = completion(&reply_json(&mut driver, id, &output(" B", 5)));
    assert_eq!(completion.choices[0].text, " B");
    assert_eq!(completion.choices[0].finish_reason, FinishReason::Stop);
    assert_eq!(
        (completion.usage.prompt_tokens, completion.usage.completion_tokens),
        (Some(5), Some(2))
    );
    assert_eq!(completion.model.as_deref(), Some("acme"));
    assert!(completion.changed.is_empty());
}

#[test]
fn without_special_tokens_text_goes_as_ids() {
    let mut driver = Driver::new(configured(&json!({ "add_special_tokens": false })));
    let start = driver.start(&[Request::Generate(generate(Prompt::Text("Q")))]);
    let (id, body) = call(&start, "/tokenize");
    assert_eq!(body, json!({ "prompt": ["Q"], "add_special_tokens": false }));
    let (id, body) = call(&reply_json(&mut driver, id, &tokens(&[&[5, 6]])), "/generate");
    assert_eq!((&body["input_ids"], &body["text"]), (&json!([5, 6]), &Value::Null));
    // The server took fewer tokens than were sent: its answer is none to this prompt.
    assert_eq!(kind(&reply_json(&mut driver, id, &output(" B", 1))), ErrorKind::ContextLength);
}

#[test]
fn chat_goes_through_the_servers_template_and_the_answers_prefix_follows() {
    let config = json!({ "chat_template_kwargs": { "enable_thinking": false } });
    let mut driver = Driver::new(configured(&config));
    let start = driver.start(&[Request::Generate(generate(Prompt::Messages(chat())))]);
    let (id, body) = call(&start, "/v1/tokenize");
    let expected = json!({ "messages": [{ "role": "user", "content": "Hi" }],
                           "chat_template_kwargs": { "enable_thinking": false } });
    assert_eq!(body, expected);
    let templated = json!({ "tokens": [1, 20, 21], "count": 3, "max_model_len": 4096 });
    let (id, body) = call(&reply_json(&mut driver, id, &templated), "/tokenize");
    assert_eq!(body, json!({ "prompt": ["The answer is"], "add_special_tokens": false }));
    let (id, body) = call(&reply_json(&mut driver, id, &tokens(&[&[30, 31]])), "/generate");
    assert_eq!(body["input_ids"], json!([1, 20, 21, 30, 31]));
    assert_eq!(completion(&reply_json(&mut driver, id, &output(" B", 5))).choices[0].text, " B");
}

#[test]
fn a_server_that_takes_no_messages_is_unsupported_and_a_template_that_refuses_is_not() {
    let missing = json!({ "object": "error", "code": 400, "type": "Bad Request", "param": null,
        "message": "[{'type': 'missing', 'loc': ('body', 'prompt'), 'msg': 'Field required'}]" });
    let refusal = json!({ "object": "error", "code": 400, "type": "BadRequestError", "param": null,
        "message": "Conversation roles must alternate user/assistant" });
    for (status, body, expected) in [
        (404, json!({ "detail": "Not Found" }), ErrorKind::Unsupported),
        (400, missing, ErrorKind::Unsupported),
        (400, refusal, ErrorKind::InvalidRequest),
        (503, Value::Null, ErrorKind::Overloaded),
        (200, json!({ "tokens": [] }), ErrorKind::UnexpectedReply),
        (200, json!({ "tokens": [[1]] }), ErrorKind::UnexpectedReply),
    ] {
        let mut driver = Driver::new(sglang());
        driver.start(&[Request::Generate(generate(Prompt::Messages(chat())))]);
        let pushed = driver.reply(1, status, body.to_string().as_bytes());
        assert_eq!(kind(&pushed), expected, "{status} {body}");
    }
    let image = Part::Image { media_type: "image/png".into(), data: &[0] };
    let messages = vec![Message { role: "user".into(), content: vec![image] }];
    let pushed =
        Driver::new(sglang()).start(&[Request::Generate(generate(Prompt::Messages(messages)))]);
    assert_eq!(kind(&pushed), ErrorKind::Unsupported);
}

#[test]
fn several_choices_come_with_one_call() {
    let mut driver = Driver::new(sglang());
    let sampled = Generate { n: 3, temperature: Some(0.5), ..generate(Prompt::Text("Q")) };
    let (id, body) = call(&driver.start(&[Request::Generate(sampled)]), "/generate");
    assert_eq!(body["sampling_params"]["n"], 3);
    let reply = json!([output("a", 5), output("b", 5), output("c", 5)]);
    let completion = completion(&reply_json(&mut driver, id, &reply));
    let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    // They share their prompt.
    assert_eq!(
        (completion.usage.prompt_tokens, completion.usage.completion_tokens),
        (Some(5), Some(6))
    );
}

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
        for cut in 0..last {
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
    let found = answers(&reply_json(&mut driver, together, &json!([output(" A", 5), aborted])));
    assert_eq!(found[0].1.as_ref().unwrap().choices[0].text, " A");
    assert_eq!(found[1].1.as_ref().unwrap_err().kind, ErrorKind::Overloaded);
    let found =
        answers(&reply_json(&mut driver, choices, &json!([output("1", 5), output("2", 5)])));
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
    let second = answers(&reply_json(&mut driver, calls[1].0, &output(" B", 5)));
    assert_eq!(second[0].1.as_ref().unwrap().choices[0].text, " B");
}

#[test]
fn conversations_of_a_batch_share_a_call_too() {
    let mut driver = Driver::new(sglang());
    let hi = |text| generate(Prompt::Messages(vec![Message::text("user", text)]));
    let start = driver.start(&[Request::Generate(hi("a")), Request::Generate(hi("b"))]);
    let routes: Vec<_> = calls(&start).into_iter().map(|(_, route, _)| route).collect();
    assert_eq!(routes, ["/v1/tokenize", "/v1/tokenize"]);
    assert!(reply_json(&mut driver, 1, &json!({ "tokens": [1, 2] })).is_empty());
    let (id, body) =
        call(&reply_json(&mut driver, 2, &json!({ "tokens": [1, 3, 4] })), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 2], [1, 3, 4]]));
    let found = answers(&reply_json(&mut driver, id, &json!([output(" A", 2), output(" B", 3)])));
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].1.as_ref().unwrap().choices[0].text, " B");
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
    let (id, body) = call(&reply_json(&mut driver, id, &lists), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 5, 6, 8, 9], [1, 5, 6, 10], [1, 5, 6, 11]]));
    assert_eq!(body["logprob_start_len"], json!([2, 2, 2]));
    let mut unlikely = scores(&[1, 5, 6, 10], 2);
    unlikely["meta_info"]["input_top_logprobs"][1][0][1] = json!(4);
    let reply = json!([scores(&[1, 5, 6, 8, 9], 2), unlikely, scores(&[1, 5, 6, 11], 2)]);
    let found = likelihoods(&reply_json(&mut driver, id, &reply));
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
        let pushed = reply_json(&mut driver, id, &tokens(&[lead, &whole]));
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
        let (id, _) = call(&reply_json(&mut driver, 1, &lists), "/generate");
        let pushed = driver.reply(id, status, body.to_string().as_bytes());
        assert_eq!(kind(&pushed), expected, "{body}");
    }
    for body in [json!({ "tokens": [[1]] }), json!({ "tokens": [1, 2, 3] }), json!({}), json!(null)]
    {
        let mut driver = Driver::new(sglang());
        driver.start(&[score(Prompt::Text("Q"), &["a", "b"])]);
        assert_eq!(kind(&reply_json(&mut driver, 1, &body)), ErrorKind::UnexpectedReply, "{body}");
    }
}

#[test]
fn after_a_conversation_the_rule_is_that_of_its_text() {
    let mut driver = Driver::new(sglang());
    let messages = vec![Message::text("user", "Hi")];
    let start = driver.start(&[score(Prompt::Messages(messages), &["yes", "no"])]);
    let (id, _) = call(&start, "/v1/tokenize");
    let pushed = reply_json(&mut driver, id, &json!({ "tokens": [1, 20, 13] }));
    let (id, body) = call(&pushed, "/detokenize");
    assert_eq!(body, json!({ "tokens": [1, 20, 13], "skip_special_tokens": false }));
    let pushed = reply_json(&mut driver, id, &json!({ "text": "<s>Hi\n" }));
    let (id, body) = call(&pushed, "/tokenize");
    assert_eq!(body, json!({ "prompt": ["<s>Hi\n"], "add_special_tokens": false }));
    let (id, body) = call(&reply_json(&mut driver, id, &tokens(&[&[1, 20, 13]])), "/tokenize");
    assert_eq!(body["prompt"], json!(["<s>Hi", "<s>Hi\nyes", "<s>Hi\nno"]));
    assert_eq!(body["add_special_tokens"], false);
    let lists = tokens(&[&[1, 20], &[1, 20, 13, 8], &[1, 20, 13, 9]]);
    let (id, body) = call(&reply_json(&mut driver, id, &lists), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 20, 13, 8], [1, 20, 13, 9]]));
    let reply = json!([scores(&[1, 20, 13, 8], 1), scores(&[1, 20, 13, 9], 1)]);
    let found = likelihoods(&reply_json(&mut driver, id, &reply));
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
        let (id, _) =
            call(&reply_json(&mut driver, id, &json!({ "tokens": [1, 20] })), "/detokenize");
        let mut pushed = driver.reply(id, status, text.to_string().as_bytes());
        if status == 200 {
            let (id, _) = call(&pushed, "/tokenize");
            pushed = reply_json(&mut driver, id, &tokens(&[&[1, 29871, 20]]));
        }
        let (id, body) = call(&pushed, "/tokenize");
        assert_eq!(body["prompt"], json!(["The answer is", " yes", " no"]));
        let pushed = reply_json(&mut driver, id, &tokens(&[&[30], &[8], &[9]]));
        let (_, body) = call(&pushed, "/generate");
        assert_eq!(body["input_ids"], json!([[1, 20, 30, 8], [1, 20, 30, 9]]));
        assert_eq!(body["logprob_start_len"], json!([2, 2]));
    }
}

#[test]
fn a_conversation_is_rendered_by_the_servers_own_tokens() {
    let mut driver = Driver::new(sglang());
    let (id, _) = call(&driver.start(&[Request::Render(chat())]), "/v1/tokenize");
    let (id, _) = call(&reply_json(&mut driver, id, &json!({ "tokens": [1, 20] })), "/detokenize");
    match answer(&reply_json(&mut driver, id, &json!({ "text": "<s>[INST] Hi [/INST]" }))) {
        Ok(Answer::Rendered(text)) => assert_eq!(text, "<s>[INST] Hi [/INST]The answer is"),
        other => panic!("{other:?}"),
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
    let (id, _) = call(&reply_json(&mut driver, id, &lists), "/v1/models");
    let models = json!({ "object": "list", "data": [{ "id": "m", "max_model_len": 4 }] });
    let (id, body) = call(&reply_json(&mut driver, id, &models), "/generate");
    assert_eq!(body["input_ids"], json!([[1, 2, 3], [3, 4, 5]]));
    assert_eq!(body["logprob_start_len"], json!([0, 0]));
    let reply = json!([scores(&[1, 2, 3], 0), scores(&[3, 4, 5], 0)]);
    let found = likelihoods(&reply_json(&mut driver, id, &reply));
    assert_eq!((found[0].tokens, found[0].prompt_tokens), (4, Some(6)));
    assert!((found[0].logprob.unwrap() + 1.4).abs() < 1e-9);

    // The window is known from now on; a text that fits is scored whole.
    let mut driver = Driver::new(sglang);
    driver.start(&[Request::Rolling(Rolling { text: "a" })]);
    let (_, body) = call(&reply_json(&mut driver, 1, &tokens(&[&[1], &[1, 2]])), "/generate");
    assert_eq!((&body["input_ids"], &body["logprob_start_len"]), (&json!([1, 2]), &json!(0)));
}

#[test]
fn a_whole_text_without_a_token_before_it_leaves_its_first_one_out() {
    for (config, sent) in
        [(json!({}), json!([2, 3])), (json!({ "prefix_token_id": 9 }), json!([9, 2, 3]))]
    {
        let mut driver = Driver::new(configured(&config));
        driver.start(&[Request::Rolling(Rolling { text: "a b" })]);
        let (id, _) = call(&reply_json(&mut driver, 1, &tokens(&[&[], &[2, 3]])), "/v1/models");
        // A server that does not say is asked for all at once.
        let (_, body) = call(&driver.reply(id, 404, b""), "/generate");
        assert_eq!((&body["input_ids"], &body["logprob_start_len"]), (&sent, &json!(0)));
    }
    let mut driver = Driver::new(configured(&json!({ "max_context_tokens": 64 })));
    driver.start(&[Request::Rolling(Rolling { text: "a" })]);
    assert_eq!(kind(&reply_json(&mut driver, 1, &tokens(&[&[], &[2]]))), ErrorKind::InvalidRequest);
}

#[test]
fn the_key_is_named_only_if_there_is_one() {
    for (secrets, named) in [(vec![], false), (vec!["api_key".to_owned()], true)] {
        let config = json!({ "base_url": "http://sglang:30000" });
        let sglang =
            open_with::<Sglang>(OpenHead { config, secrets, ..OpenHead::default() }).unwrap();
        let pushed = Driver::new(Arc::new(sglang)).start(&[Request::Health]);
        assert_eq!(pushed[0].head().contains(r#"{"secret":"api_key"}"#), named);
    }
}

#[test]
fn an_unhealthy_server_is_not_ready_and_a_wrong_one_is_a_failure() {
    let health = |status: u16| {
        let mut driver = Driver::new(configured(&json!({ "health": "generate" })));
        let (id, _) = call(&driver.start(&[Request::Health]), "/health_generate");
        answer(&driver.reply(id, status, b""))
    };
    assert!(matches!(health(200), Ok(Answer::Health(health)) if health.ready));
    assert!(matches!(health(503), Ok(Answer::Health(health)) if !health.ready));
    assert_eq!(health(404).unwrap_err().kind, ErrorKind::InvalidRequest);
    assert_eq!(call(&Driver::new(sglang()).start(&[Request::Health]), "/health").0, 1);
}

/// Describes a server that answers each route with what `of` gives, 404 standing for none.
fn described(sglang: Arc<Sglang>, of: fn(&str) -> Option<Value>) -> Result<Description, Error> {
    let mut driver = Driver::new(sglang);
    let mut open = calls(&driver.start(&[Request::Describe]));
    loop {
        let (id, route, _) = open.remove(0);
        let pushed = match of(&route) {
            Some(body) => reply_json(&mut driver, id, &body),
            None => driver.reply(id, 404, b""),
        };
        open.extend(calls(&pushed));
        if open.is_empty() {
            return match answer(&pushed)? {
                Answer::Description(description) => Ok(description),
                other => panic!("{other:?}"),
            };
        }
    }
}

#[test]
fn a_description_names_model_version_window_and_what_is_put_first() {
    let found = described(sglang(), |route| {
        Some(match route {
            "/model_info" => golden("descriptions.json")["model_info"]["reply"].clone(),
            "/server_info" => golden("descriptions.json")["server_info"]["reply"].clone(),
            "/v1/models" => golden("descriptions.json")["models"]["reply"].clone(),
            _ => tokens(&[&[1]]),
        })
    })
    .unwrap();
    assert_eq!(found.model.as_deref(), Some("acme/model-7b"));
    assert_eq!(found.engine.as_deref(), Some("sglang"));
    assert_eq!(found.version.as_deref(), Some("0.5.23"));
    assert_eq!((found.context_tokens, found.bos.as_deref()), (Some(4096), Some("bos")));
}

#[test]
fn an_older_server_is_described_by_the_older_routes_and_as_far_as_they_go() {
    let found = described(sglang(), |route| {
        (route == "/get_model_info")
            .then(|| golden("descriptions.json")["get_model_info"]["reply"].clone())
    })
    .unwrap();
    assert_eq!(found.model.as_deref(), Some("/models/acme-7b"));
    assert_eq!((found.version, found.context_tokens, found.bos), (None, None, None));

    let without = configured(&json!({ "add_special_tokens": false, "max_context_tokens": 100 }));
    let found = described(without, |route| match route {
        "/tokenize" => Some(tokens(&[&[]])),
        "/model_info" => Some(golden("descriptions.json")["model_info"]["reply"].clone()),
        _ => None,
    })
    .unwrap();
    assert_eq!((found.context_tokens, found.bos.as_deref()), (Some(100), Some("none")));

    let error = described(sglang(), |_| None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRequest);
    let embeds = |_: &str| Some(json!({ "model_path": "m", "is_generation": false }));
    assert_eq!(described(sglang(), embeds).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn a_text_is_tokenised_as_the_server_would() {
    let mut driver = Driver::new(sglang());
    let (id, body) = call(&driver.start(&[Request::Tokenize("a b")]), "/tokenize");
    assert_eq!(body, json!({ "prompt": ["a b"], "add_special_tokens": true }));
    match answer(&reply_json(&mut driver, id, &tokens(&[&[1, 2]]))) {
        Ok(Answer::Tokens(ids)) => assert_eq!(ids, [1, 2]),
        other => panic!("{other:?}"),
    }
}
