//! Encoder and decoder against golden files, each of which names where its content comes from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{accepted, golden, strings};
use plugin_api::{ErrorKind, Generate, Prompt, Reply, TokenLogprob};
use serde_json::{Value, json};
use sglang::{
    choice::{self, Answered, Asked},
    config::Config,
    decode::{self, Output},
    encode::{self, Generation, Input},
    failure,
    likelihood::{self, Sequence},
};

fn config(over: &Value) -> Config {
    let mut config = json!({ "base_url": "http://sglang" });
    for (key, value) in over.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    serde_json::from_value::<Config>(config).unwrap().resolved().unwrap()
}

fn request(of: &Value) -> Generate<'_> {
    let number = |key: &str| of[key].as_u64().map(|number| u32::try_from(number).unwrap());
    Generate {
        prompt: Prompt::Text(of["prompt"].as_str().unwrap()),
        n: number("n").unwrap_or(1),
        max_tokens: number("max_tokens"),
        temperature: of["temperature"].as_f64(),
        top_p: of["top_p"].as_f64(),
        top_k: number("top_k"),
        stop: strings(&of["stop"]).into_iter().map(Into::into).collect(),
        seed: of["seed"].as_u64(),
        logprobs: number("logprobs"),
        stream: of["stream"] == true,
        extra: of["extra"].as_object().cloned().unwrap_or_default(),
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn generation_requests_are_encoded_as_the_server_takes_them() {
    for case in golden("generate_requests.json")["accepted"].as_array().unwrap() {
        let (config, request) = (config(&case["config"]), request(&case["request"]));
        let generation = Generation::new(&config, &request).unwrap();
        let input = match &case["ids"] {
            Value::Null => Input::Text(request.prompt.as_text().unwrap().into()),
            list => Input::Ids(ids(list)),
        };
        let body = serde_json::to_value(generation.body(&input, request.stream)).unwrap();
        assert_eq!(body, case["body"], "{}", case["name"]);
        accepted("/generate", &body);
        let changed: Vec<_> = generation.changed.iter().map(|c| c.parameter.as_str()).collect();
        assert_eq!(json!(changed), case["changed"], "{}", case["name"]);
    }
}

#[test]
fn generation_requests_that_cannot_be_kept_are_refused_by_name() {
    for case in golden("generate_requests.json")["refused"].as_array().unwrap() {
        let (config, request) = (config(&case["config"]), request(&case["request"]));
        let error = Generation::new(&config, &request).unwrap_err();
        assert_eq!(json!(error.kind), case["kind"], "{}", case["name"]);
        assert!(error.message.contains(case["names"].as_str().unwrap()), "{error}");
    }
}

/// The choices of a reply, read as a case asks.
fn answers(reply: &Reply, case: &Value, choices: usize) -> plugin_api::Result<Vec<Answered>> {
    let stop = strings(&case["stop"]);
    let asked = Asked {
        stop: &stop,
        logprobs: case["logprobs"] == true,
        max_new_tokens: u32::try_from(case["max_tokens"].as_u64().unwrap_or(8)).unwrap(),
        prompt_tokens: Some(3),
    };
    let outputs = decode::outputs(reply, choices)?;
    outputs.into_iter().map(|output| choice::answered(output, &asked)).collect()
}

#[test]
fn generation_replies_become_choices() {
    for case in golden("generate_replies.json")["cases"].as_array().unwrap() {
        let name = &case["name"];
        let reply = Reply::new(200, &[], case["reply"].to_string().as_bytes());
        let choices = usize::try_from(case["choices"].as_u64().unwrap()).unwrap();
        let answers = answers(&reply, case, choices).unwrap();
        let texts: Vec<_> = answers.iter().map(|answer| answer.choice.text.as_str()).collect();
        assert_eq!(json!(texts), case["text"], "{name}");
        let reasons: Vec<_> = answers.iter().map(|answer| &answer.choice.finish_reason).collect();
        assert_eq!(json!(reasons), case["finish_reason"], "{name}");
        let changed: Vec<_> =
            answers.iter().flat_map(|a| &a.changed).map(|c| &c.parameter).collect();
        assert_eq!(json!(changed), case["changed"], "{name}");
        let tokens: Option<Vec<_>> = answers.iter().map(|a| a.choice.logprobs.as_deref()).collect();
        let token = |t: &TokenLogprob| json!([t.token, t.logprob, t.top.len()]);
        let tokens: Option<Vec<Vec<_>>> = tokens
            .map(|choices| choices.iter().map(|all| all.iter().map(token).collect()).collect());
        assert_eq!(json!(tokens), case["tokens"], "{name}");
        if choices == 1 {
            assert_eq!(json!(answers[0].usage), case["usage"], "{name}");
        }
    }
}

#[test]
fn a_count_that_is_none_costs_no_answer() {
    for (count, read_as) in
        [(json!(3.0), Some(3)), (json!("3"), None), (json!(-3), None), (json!(u64::MAX), None)]
    {
        let body = json!({ "text": "42", "meta_info": {
            "finish_reason": { "type": "stop", "matched": 2 },
            "prompt_tokens": count, "completion_tokens": count, "cached_tokens": count } });
        let reply = Reply::new(200, &[], body.to_string().as_bytes());
        let answered = answers(&reply, &Value::Null, 1).unwrap().remove(0);
        assert_eq!(answered.choice.text, "42");
        let usage = answered.usage;
        for found in [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens] {
            assert_eq!(found, read_as, "{count}");
        }
    }
}

#[test]
fn every_shape_of_refusal_has_its_kind() {
    let golden = golden("errors.json");
    for case in golden["replies"].as_array().unwrap() {
        let status = u16::try_from(case["status"].as_u64().unwrap()).unwrap();
        let error =
            failure::of(&Reply::new(status, &[], case["body"].as_str().unwrap().as_bytes()));
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
        assert!(error.to_string().contains(case["says"].as_str().unwrap()), "{error}");
        assert_eq!(error.http_status, Some(status));
    }
    for case in golden["aborts"].as_array().unwrap() {
        let reply = Reply::new(200, &[], case["reply"].to_string().as_bytes());
        let error = answers(&reply, &Value::Null, 1).unwrap_err();
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
        assert!(error.message.contains(case["says"].as_str().unwrap()), "{error}");
    }
    for case in golden["inside_success"].as_array().unwrap() {
        let reply = Reply::new(200, &[], case["body"].as_str().unwrap().as_bytes());
        let error = answers(&reply, &Value::Null, 1).unwrap_err();
        assert_eq!(json!(error.kind), case["kind"], "{}: {error}", case["name"]);
    }
}

#[test]
fn scoring_requests_carry_nothing_that_a_configuration_says_of_generation() {
    for case in golden("scoring.json")["requests"].as_array().unwrap() {
        let config = config(&case["config"]);
        let sequences: Vec<Sequence> = case["sequences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| Sequence {
                ids: ids(&of["ids"]),
                from: usize::try_from(of["from"].as_u64().unwrap()).unwrap(),
                merged: false,
            })
            .collect();
        let inputs: Vec<_> = sequences.iter().map(|s| Input::Ids(s.ids.clone())).collect();
        let inputs: Vec<_> = inputs.iter().collect();
        let starts = sequences.iter().map(Sequence::start).collect();
        let body = serde_json::to_value(encode::scoring(&config, &inputs, starts)).unwrap();
        assert_eq!(body, case["body"], "{}", case["name"]);
        accepted("/generate", &body);
    }
}

#[test]
fn v4_every_list_is_summed_from_the_continuation_on_or_refused() {
    let golden = golden("scoring.json");
    let (context, continuation) = (ids(&golden["context"]), ids(&golden["continuation"]));
    let whole = [context.as_slice(), &continuation].concat();
    for case in golden["replies"].as_array().unwrap() {
        let name = &case["name"];
        let body = case["reply"].to_string();
        let output: Output<'_> = serde_json::from_str(&body).unwrap();
        let start = usize::try_from(case["start"].as_u64().unwrap()).unwrap();
        let sequence = likelihood::sequence(&context, &whole, None).unwrap();
        match likelihood::scored(&sequence.ids, sequence.from, start, &output) {
            Ok(scored) => {
                assert_eq!(json!(scored.logprobs), case["logprobs"], "{name}");
                assert_eq!(json!(scored.greedy), case["greedy"], "{name}");
                let found = scored.likelihood(&sequence, true);
                let sum = found.logprob.map(|sum| (sum * 1e9).round() / 1e9);
                assert_eq!(json!(sum), case["logprob"], "{name}");
                assert_eq!((found.tokens, found.prompt_tokens), (2, Some(5)), "{name}");
                assert_eq!(found.token_logprobs.map(|tokens| tokens.len()), Some(2), "{name}");
            }
            Err(error) => assert_eq!(json!(error.kind), case["error"], "{name}: {error}"),
        }
    }
}

#[test]
fn no_beginning_of_a_reply_is_taken_for_a_reply() {
    let whole = json!([{ "text": " é\n", "output_ids": [4, 2], "meta_info": {
        "finish_reason": { "type": "stop", "matched": 2 }, "prompt_tokens": 3, "completion_tokens": 2,
        "output_token_logprobs": [[-0.1, 4, " é"], [-1e-7, 2, null]],
        "output_top_logprobs": [[[-0.1, 4, " é"]], null] } }])
    .to_string();
    let case = json!({ "logprobs": true });
    assert!(answers(&Reply::new(200, &[], whole.as_bytes()), &case, 1).is_ok());
    for cut in 0..whole.len() {
        let reply = Reply::new(200, &[], &whole.as_bytes()[..cut]);
        let error = answers(&reply, &case, 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnexpectedReply, "cut at {cut}");
        assert!(error.excerpt.is_some(), "cut at {cut}");
    }
}

/// Puts each of `with` in the place of each value inside `value`, one at a time.
fn replaced(value: &Value, with: &[Value]) -> Vec<Value> {
    let mut all = with.to_vec();
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for other in replaced(item, with) {
                    let mut items = items.clone();
                    items[at] = other;
                    all.push(Value::Array(items));
                }
                let mut items = items.clone();
                items.remove(at);
                all.push(Value::Array(items));
            }
        }
        Value::Object(object) => {
            for (key, item) in object {
                for other in replaced(item, with) {
                    let mut object = object.clone();
                    object.insert(key.clone(), other);
                    all.push(Value::Object(object));
                }
                let mut object = object.clone();
                object.remove(key);
                all.push(Value::Object(object));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn a_value_of_a_wrong_type_is_never_a_score() {
    let golden = golden("scoring.json");
    let whole = [5, 6, 7, 8, 9];
    let wrong =
        [json!(null), json!("x"), json!(-1), json!(1e300), json!(true), json!([]), json!({})];
    for value in replaced(&golden["replies"][1]["reply"], &wrong) {
        let body = value.to_string();
        let reply = Reply::new(200, &[], body.as_bytes());
        let Ok(outputs) = decode::outputs(&reply, 1) else { continue };
        // A replaced log-probability is a score, or none; nothing else is.
        if let Ok(scored) = likelihood::scored(&whole, 3, 2, &outputs[0]) {
            assert_eq!(scored.logprobs.len(), 2, "{body}");
            for (at, right) in [(0, -0.30), (1, -1.25)] {
                let found = scored.logprobs[at];
                assert!(found == Some(right) || [None, Some(-1.0)].contains(&found), "{body}");
            }
        }
    }
    for value in replaced(&crate::golden("generate_replies.json")["cases"][10]["reply"], &wrong) {
        let reply = Reply::new(200, &[], value.to_string().as_bytes());
        let case = json!({ "logprobs": true, "stop": ["\n\n"] });
        if let Ok(answers) = answers(&reply, &case, 1) {
            let text = &answers[0].choice.text;
            assert!(text == " B" || text == "x", "{value}");
        }
    }
}
