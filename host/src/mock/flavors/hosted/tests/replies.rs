//! What a chat answers: texts, log-probabilities, thinking, usage, events.

use serde_json::{Value, json};

use super::chat;
use crate::mock::{
    Server, Settings,
    testkit::{Got, post, start},
};

const OPENAI: &str = "/openai/v1/chat/completions";

fn ask(server: &Server, path: &str, model: &str, more: &Value) -> Got {
    let got = post(server, path, &chat(model, more));
    assert_eq!(got.status, 200, "{}", got.text());
    got
}

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"].as_str().unwrap()
}

#[test]
fn every_vendor_gives_the_same_answer() {
    let server = start(Settings::default());
    for (path, model) in [
        (OPENAI, "gpt-4o-mini"),
        (OPENAI, "vllm-mock"),
        (OPENAI, "o3-mini"),
        ("/azure/openai/v1/chat/completions", "gpt-4o-mini"),
        ("/xai/v1/chat/completions", "grok-4"),
        ("/moonshot/v1/chat/completions", "kimi-k2.5"),
        ("/huggingface/v1/chat/completions", "deepseek-ai/DeepSeek-R1:novita"),
    ] {
        let reply = ask(&server, path, model, &json!({})).json();
        assert_eq!(content(&reply), "43", "{path} {model}");
        assert_eq!(reply["choices"][0]["finish_reason"], "stop");
        let usage = &reply["usage"];
        let count = |name: &str| usage[name].as_u64().unwrap();
        let thought = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
        let apart = if path.starts_with("/xai") { thought } else { 0 };
        assert_eq!(
            count("total_tokens"),
            count("prompt_tokens") + count("completion_tokens") + apart,
            "{path}"
        );
    }
}

#[test]
fn a_reply_has_the_headers_of_its_vendor() {
    let server = start(Settings::default());
    let got = ask(&server, OPENAI, "gpt-4o-mini", &json!({}));
    for name in [
        "x-request-id",
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
    ] {
        assert!(got.header(name).is_some(), "{name}");
    }
    let got = ask(&server, "/huggingface/v1/chat/completions", "a/b:together", &json!({}));
    assert_eq!(got.header("x-inference-provider"), Some("together"));
    assert_eq!(got.json()["model"], "a/b");
}

#[test]
fn a_small_budget_is_spent_on_thinking() {
    let server = start(Settings::default());
    let more = json!({ "max_completion_tokens": 16 });
    let reply = ask(&server, OPENAI, "o3-mini", &more).json();
    assert_eq!((content(&reply), &reply["choices"][0]["finish_reason"]), ("", &json!("length")));
    assert_eq!(reply["usage"]["completion_tokens"], 16);
    assert_eq!(reply["usage"]["completion_tokens_details"]["reasoning_tokens"], 16);
    let more = json!({ "max_tokens": 16 });
    let reply = ask(&server, "/moonshot/v1/chat/completions", "kimi-k2.5", &more).json();
    let message = &reply["choices"][0]["message"];
    assert_eq!(message["content"], "");
    assert!(!message["reasoning_content"].as_str().unwrap().is_empty());
    let reply = ask(&server, OPENAI, "vllm-think", &more).json();
    let message = &reply["choices"][0]["message"];
    assert_eq!(message["content"], Value::Null);
    assert!(!message["reasoning"].as_str().unwrap().is_empty());
    let reply = ask(&server, "/xai/v1/chat/completions", "grok-3-mini", &json!({})).json();
    assert!(reply["choices"][0]["message"]["reasoning_content"].is_string());
    assert_eq!(reply["usage"]["completion_tokens"], 2);
    assert_eq!(reply["usage"]["completion_tokens_details"]["reasoning_tokens"], 32);
}

#[test]
fn several_answers_have_numbers_and_no_order() {
    let server = start(Settings::default());
    let more = json!({
        "n": 3, "temperature": 1, "seed": 5,
        "messages": [{ "role": "user", "content": "Tell me something." }],
    });
    let reply = ask(&server, OPENAI, "gpt-4o-mini", &more).json();
    let choices = reply["choices"].as_array().unwrap();
    let indices: Vec<u64> = choices.iter().map(|c| c["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [2, 1, 0]);
    assert_ne!(choices[0]["message"]["content"], choices[1]["message"]["content"]);
    assert_eq!(ask(&server, OPENAI, "gpt-4o-mini", &more).json(), reply);
}

#[test]
fn a_stop_text_and_a_budget_end_an_answer() {
    let server = start(Settings::default());
    let messages = json!([{ "role": "user", "content": "What is 17 + 26?\n####" }]);
    let stopped = json!({ "messages": messages, "stop": "\n" });
    let reply = ask(&server, OPENAI, "gpt-4o-mini", &stopped).json();
    assert_eq!(
        (content(&reply), &reply["choices"][0]["finish_reason"]),
        ("17 + 26 = 43.", &json!("stop"))
    );
    let reply = ask(&server, OPENAI, "vllm-mock", &stopped).json();
    assert_eq!(reply["choices"][0]["stop_reason"], "\n");
    let kept = json!({ "messages": messages, "stop": ["\n"], "include_stop_str_in_output": true });
    assert_eq!(content(&ask(&server, OPENAI, "vllm-mock", &kept).json()), "17 + 26 = 43.\n");
    let cut = json!({ "messages": messages, "max_tokens": 2 });
    let reply = ask(&server, OPENAI, "gpt-4o-mini", &cut).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "length");
    assert_eq!(reply["usage"]["completion_tokens"], 2);
}

#[test]
fn log_probabilities_cover_the_answer() {
    let server = start(Settings::default());
    let more = json!({ "logprobs": true, "top_logprobs": 3 });
    let reply = ask(&server, OPENAI, "gpt-4o-mini", &more).json();
    let tokens = reply["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let joined: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(joined, "43");
    assert_eq!(tokens[0]["bytes"], json!([52, 51]));
    assert_eq!(tokens[0]["top_logprobs"].as_array().unwrap().len(), 3);
    assert_eq!(tokens[0]["top_logprobs"][0]["logprob"], tokens[0]["logprob"]);
    let plain = ask(&server, OPENAI, "gpt-4o-mini", &json!({ "logprobs": true })).json();
    assert_eq!(plain["choices"][0]["logprobs"]["content"][0]["top_logprobs"], json!([]));
}

#[test]
fn a_stream_says_the_same_as_the_whole_reply() {
    let server = start(Settings::default());
    for (path, model, extra) in [
        (OPENAI, "gpt-4o-mini", json!({ "n": 2, "logprobs": true })),
        (OPENAI, "o3-mini", json!({})),
        (OPENAI, "vllm-think", json!({})),
        ("/azure/openai/v1/chat/completions", "gpt-4o-mini", json!({})),
        ("/xai/v1/chat/completions", "grok-3-mini", json!({})),
        ("/moonshot/v1/chat/completions", "kimi-k2.5", json!({})),
    ] {
        let whole = ask(&server, path, model, &extra).json();
        let mut streamed = extra.clone();
        streamed["stream"] = json!(true);
        streamed["stream_options"] = json!({ "include_usage": true });
        let got = ask(&server, path, model, &streamed);
        assert_eq!(got.header("content-type"), Some("text/event-stream"));
        let mut events = got.events();
        assert_eq!(events.pop(), Some(json!("[DONE]")));
        let last = events.pop().unwrap();
        assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]), "{path}");
        for choice in whole["choices"].as_array().unwrap() {
            let parts: Vec<&Value> = events
                .iter()
                .filter_map(|event| event["choices"].get(0))
                .filter(|part| part["index"] == choice["index"])
                .collect();
            let joined = |name: &str| -> String {
                parts.iter().filter_map(|part| part["delta"][name].as_str()).collect()
            };
            for name in ["content", "reasoning_content", "reasoning"] {
                assert_eq!(joined(name), choice["message"][name].as_str().unwrap_or(""), "{name}");
            }
            assert_eq!(parts.last().unwrap()["finish_reason"], choice["finish_reason"]);
            assert_eq!(parts[0]["delta"]["role"], "assistant");
            let logprobs: Vec<Value> = parts
                .iter()
                .filter_map(|part| part["logprobs"]["content"].as_array())
                .flatten()
                .cloned()
                .collect();
            let expected = choice["logprobs"]["content"].as_array().cloned().unwrap_or_default();
            assert_eq!(logprobs, expected);
        }
    }
}

#[test]
fn a_filter_shows_in_each_vendors_way() {
    let server = start(Settings::default());
    let messages = |word: &str| json!({ "messages": [{ "role": "user", "content": word }] });
    let refused = messages("Say mock-content-filter.");
    let reply = ask(&server, OPENAI, "gpt-4o-mini", &refused).json();
    let message = &reply["choices"][0]["message"];
    assert_eq!(message["content"], Value::Null);
    assert!(message["refusal"].is_string());
    let reply = ask(&server, OPENAI, "gpt-4o-mini", &messages("mock-answer-filter")).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "content_filter");
    assert!(!content(&reply).is_empty() && !content(&reply).ends_with('.'));
    let got = post(&server, "/xai/v1/chat/completions", &chat("grok-3", &refused));
    assert_eq!(got.status, 403);
    let got = post(&server, "/moonshot/v1/chat/completions", &chat("moonshot-v1-8k", &refused));
    assert_eq!((got.status, &got.json()["error"]["type"]), (400, &json!("content_filter")));
}

#[test]
fn a_prompt_that_is_too_long_is_told_as_such() {
    let server = start(Settings::default());
    let long = json!({ "messages": [{ "role": "user", "content": "long ".repeat(70_000) }] });
    let got = post(&server, OPENAI, &chat("gpt-4o-mini", &long));
    assert_eq!(
        (got.status, &got.json()["error"]["code"]),
        (400, &json!("context_length_exceeded"))
    );
    assert!(got.text().contains("maximum context length is 131072 tokens"));
}
