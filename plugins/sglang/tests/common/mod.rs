//! What the tests share: the golden files, a fake server's judgement of requests, stricter than the real one's, and
//! sessions driven by hand.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and not every test file uses all of this"
)]

pub(crate) mod drive;

use serde_json::{Map, Value};

/// A golden file.
pub(crate) fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The texts of a list, none if it is not there.
pub(crate) fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// Fails if the server would not take this body, or would pass over a part of it (wire.md 3.1 and 3.2).
pub(crate) fn accepted(route: &str, body: &Value) {
    let object = body.as_object().unwrap_or_else(|| panic!("{route}: {body} is no object"));
    match route {
        "/generate" => generate(object),
        "/tokenize" => {
            only(object, &["prompt", "add_special_tokens"]);
            assert!(is_list_of(&body["prompt"], Value::is_string), "{body}");
            assert!(body["add_special_tokens"].is_boolean(), "{body}");
        }
        "/v1/tokenize" => {
            only(object, &["messages", "chat_template_kwargs"]);
            for message in body["messages"].as_array().unwrap() {
                only(message.as_object().unwrap(), &["role", "content"]);
                assert!(message["content"].is_string() && message["role"].is_string(), "{body}");
            }
        }
        "/detokenize" => {
            only(object, &["tokens", "skip_special_tokens"]);
            assert!(is_list_of(&body["tokens"], Value::is_u64), "{body}");
        }
        other => panic!("no route {other}"),
    }
}

fn generate(body: &Map<String, Value>) {
    let top = [
        "text",
        "input_ids",
        "sampling_params",
        "stream",
        "return_logprob",
        "logprob_start_len",
        "top_logprobs_num",
        "token_ids_logprob",
        "return_text_in_logprobs",
        "lora_path",
        "priority",
        "custom_logit_processor",
        "cache_salt",
        "extra_key",
        "routing_key",
    ];
    only(body, &top);
    if let Some(ids) = body.get("token_ids_logprob") {
        assert!(is_list_of(ids, Value::is_u64) && body["return_logprob"] == true, "{body:?}");
    }
    let prompts = match (body.get("text"), body.get("input_ids")) {
        (Some(Value::String(_)), None) => 1,
        (Some(texts), None) => {
            assert!(is_list_of(texts, Value::is_string));
            texts.as_array().unwrap().len()
        }
        (None, Some(ids)) if is_list_of(ids, Value::is_u64) => 1,
        (None, Some(lists)) => {
            assert!(is_list_of(lists, |list| is_list_of(list, Value::is_u64)), "{lists}");
            lists.as_array().unwrap().len()
        }
        _ => panic!("either text or input_ids: {body:?}"),
    };
    match &body["sampling_params"] {
        Value::Array(each) => {
            assert!(prompts > 1 && each.len() == prompts, "{prompts} prompts: {each:?}");
            each.iter().for_each(sampling);
        }
        one => sampling(one),
    }
    if let Some(starts) = body.get("logprob_start_len") {
        let all = match starts {
            Value::Array(starts) => starts.len(),
            start => usize::from(start.is_u64()),
        };
        assert_eq!(all, prompts, "{starts}");
    }
}

fn sampling(value: &Value) {
    let object = value.as_object().unwrap();
    let always = [
        "max_new_tokens",
        "min_new_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "n",
        "ignore_eos",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "no_stop_trim",
    ];
    let sometimes = [
        "stop",
        "stop_token_ids",
        "stop_regex",
        "sampling_seed",
        "json_schema",
        "regex",
        "ebnf",
        "structural_tag",
        "logit_bias",
        "choice",
        "stream_interval",
        "custom_params",
        "watermark",
    ];
    only(object, &[&always[..], &sometimes[..]].concat());
    for key in always {
        assert!(object.contains_key(key), "{key} is left to the server's own settings");
    }
    let number = |key: &str| value[key].as_f64().unwrap_or_else(|| panic!("{key}: {value}"));
    assert!(number("top_p") > 0.0 && number("top_p") <= 1.0, "{value}");
    assert!(number("temperature") >= 0.0, "{value}");
    assert!(value["top_k"].as_i64().is_some_and(|k| k >= 1 || k == -1), "{value}");
    assert!(number("repetition_penalty") > 0.0 && number("repetition_penalty") <= 2.0, "{value}");
    assert!(number("min_new_tokens") <= number("max_new_tokens"), "{value}");
    assert!(strings(&value["stop"]).len() <= 32, "{value}");
    let grammars = ["json_schema", "regex", "ebnf", "structural_tag"];
    assert!(grammars.iter().filter(|key| object.contains_key(**key)).count() <= 1, "{value}");
}

fn only(object: &Map<String, Value>, keys: &[&str]) {
    for key in object.keys() {
        assert!(keys.contains(&key.as_str()), "the server does not know `{key}` there: {object:?}");
    }
}

fn is_list_of(value: &Value, item: fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(item))
}
