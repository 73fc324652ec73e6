//! Encoder and decoder against golden files, each of which names where its content comes from.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use plugin_api::{Generate, Prompt, Reply};
use serde_json::{Value, json};
use tgi::config::Config;
use wire::tgi::{Defaults, decode, encode};

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn defaults(over: &Value) -> Defaults {
    let mut config = json!({ "base_url": "http://tgi" });
    for (key, value) in over.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    serde_json::from_value::<Config>(config).unwrap().resolved().unwrap().defaults()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

fn request(of: &Value) -> Generate<'_> {
    let number = |key: &str| of[key].as_u64().map(|number| u32::try_from(number).unwrap());
    Generate {
        prompt: Prompt::Text(of["prompt"].as_str().unwrap()),
        n: 1,
        max_tokens: number("max_tokens"),
        temperature: of["temperature"].as_f64(),
        top_p: of["top_p"].as_f64(),
        top_k: number("top_k"),
        stop: strings(&of["stop"]).into_iter().map(Into::into).collect(),
        seed: of["seed"].as_u64(),
        logprobs: number("logprobs"),
        stream: false,
        extra: of["extra"].as_object().cloned().unwrap_or_default(),
    }
}

#[test]
fn generation_requests_are_encoded_as_the_server_takes_them() {
    for case in golden("generate_requests.json")["accepted"].as_array().unwrap() {
        let (defaults, request) = (defaults(&case["config"]), request(&case["request"]));
        let mut generation = encode::Generation::new(&defaults, &request).unwrap();
        let choice = u32::try_from(case["choice"].as_u64().unwrap_or(0)).unwrap();
        let prompt = request.prompt.as_text().unwrap();
        let body = serde_json::to_value(generation.body(prompt, request.seed, choice)).unwrap();
        assert_eq!(body, case["body"], "{}", case["name"]);
        let changed: Vec<_> = generation.changed.iter().map(|c| c.parameter.as_str()).collect();
        assert_eq!(json!(changed), case["changed"], "{}", case["name"]);
    }
}

#[test]
fn generation_requests_that_cannot_be_kept_are_refused_by_name() {
    for case in golden("generate_requests.json")["refused"].as_array().unwrap() {
        let (defaults, request) = (defaults(&case["config"]), request(&case["request"]));
        let error = encode::Generation::new(&defaults, &request).unwrap_err();
        assert_eq!(json!(error.kind), case["kind"], "{}", case["name"]);
        assert!(error.message.contains(case["names"].as_str().unwrap()), "{error}");
    }
}

#[test]
fn scoring_requests_carry_nothing_that_would_change_the_prompt() {
    for case in golden("scoring_requests.json")["cases"].as_array().unwrap() {
        let defaults = defaults(&case["config"]);
        let [context, continuation] =
            ["context", "continuation"].map(|key| case[key].as_str().unwrap());
        let body = encode::scoring(&defaults, context, continuation);
        assert_eq!(serde_json::to_value(body).unwrap(), case["body"]);
    }
}

#[test]
fn generation_replies_become_choices() {
    for case in golden("generate_replies.json")["cases"].as_array().unwrap() {
        let headers: Vec<(&str, &str)> = case["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        let reply = Reply::new(200, &headers, case["reply"].to_string().as_bytes());
        let logprobs = case["logprobs"].as_bool().unwrap();
        let (choice, usage) = decode::choice(&reply, &strings(&case["stop"]), logprobs).unwrap();
        assert_eq!(json!(choice.text), case["text"], "{}", case["name"]);
        assert_eq!(json!(choice.finish_reason), case["finish_reason"], "{}", case["name"]);
        assert_eq!(json!(usage.prompt_tokens), case["prompt_tokens"], "{}", case["name"]);
        assert_eq!(json!(usage.completion_tokens), case["completion_tokens"], "{}", case["name"]);
        let tokens = choice.logprobs.map(|tokens| {
            let token = |t: plugin_api::TokenLogprob| json!([t.token, t.logprob, t.top.len()]);
            tokens.into_iter().map(token).collect::<Vec<_>>()
        });
        assert_eq!(json!(tokens), case["tokens"], "{}", case["name"]);
    }
}

#[test]
fn a_count_that_is_none_costs_no_answer() {
    for (count, read_as) in [(json!(3.0), Some(3)), (json!("3"), None), (json!(-3), None)] {
        let details =
            json!({ "finish_reason": "eos_token", "generated_tokens": count, "tokens": [] });
        let body = json!({ "generated_text": "42", "details": details }).to_string();
        let reply = Reply::new(200, &[], body.as_bytes());
        let (choice, usage) = decode::choice(&reply, &[], false).unwrap();
        assert_eq!((choice.text.as_str(), usage.completion_tokens), ("42", read_as), "{count}");
    }
}

#[test]
fn chat_messages_are_sent_without_an_adapters_name() {
    use plugin_api::{Message, Part};
    let both = Message { role: "user".into(), content: vec![Part::Text("a\""), Part::Text("b")] };
    let body = encode::chat(std::slice::from_ref(&both)).unwrap();
    assert_eq!(
        serde_json::to_value(body).unwrap(),
        json!({ "model": "tgi", "messages": [{ "role": "user", "content": "a\"b" }] })
    );
}
