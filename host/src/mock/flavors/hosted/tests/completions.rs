//! `/completions`: echo, log-probabilities of prompts, batches, events; and vLLM's tokenizer beside it.

use serde_json::{Value, json};

use crate::mock::{
    Settings,
    testkit::{get, post, start},
};

const PATH: &str = "/openai/v1/completions";

fn body(model: &str, prompt: &Value, more: &Value) -> Value {
    let mut body = json!({ "model": model, "prompt": prompt });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let server = start(Settings::default());
    let text = json!("Hello");
    let table = [
        ("davinci-002", text.clone(), json!({ "logprobs": 6 }), 400, "logprobs"),
        ("vllm-mock", text.clone(), json!({ "logprobs": 6 }), 200, ""),
        ("vllm-mock", text.clone(), json!({ "logprobs": 21 }), 400, "logprobs"),
        ("davinci-002", text.clone(), json!({ "prompt_logprobs": 1 }), 400, "prompt_logprobs"),
        ("davinci-002", text.clone(), json!({ "best_of": 2, "n": 3 }), 400, "best_of"),
        ("davinci-002", text.clone(), json!({ "best_of": 2, "stream": true }), 400, "best_of"),
        ("davinci-002", text.clone(), json!({ "suffix": "x" }), 400, "suffix"),
        ("davinci-002", text.clone(), json!({ "messages": [] }), 400, "messages"),
        ("davinci-002", text.clone(), json!({ "max_tokens": -1 }), 400, "max_tokens"),
        ("davinci-002", json!([]), json!({}), 400, "prompt"),
        ("davinci-002", json!(["a", 1]), json!({}), 400, "prompt"),
        ("davinci-002", json!(7), json!({}), 400, "prompt"),
        ("davinci-002", json!("long ".repeat(70_000)), json!({}), 400, "prompt"),
    ];
    for (model, prompt, more, status, param) in table {
        let got = post(&server, PATH, &body(model, &prompt, &more));
        assert_eq!(got.status, status, "{more}: {}", got.text());
        if status != 200 {
            assert_eq!(got.json()["error"]["param"], param, "{more}");
        }
    }
    let got = post(&server, PATH, &json!({ "model": "davinci-002" }));
    assert_eq!(got.json()["error"]["code"], "missing_required_parameter");
}

#[test]
fn openais_chat_models_complete_nothing_and_its_others_score_no_prompt() {
    let server = start(Settings::default());
    let scored = json!({ "echo": true, "logprobs": 1 });
    let nothing = json!({});
    let azure = |model: &str| {
        format!("/azure/openai/deployments/{model}/completions?api-version=2024-10-21")
    };
    let table = [
        ("gpt-4o-mini", PATH.to_owned(), &nothing, 404, "This is a chat model"),
        ("o4-mini", PATH.to_owned(), &scored, 404, "This is a chat model"),
        ("gpt-4o", azure("gpt-4o"), &nothing, 404, "This is a chat model"),
        ("gpt-4o", "/azure/openai/v1/completions".to_owned(), &nothing, 404, "This is a chat"),
        ("gpt-3.5-turbo-instruct", PATH.to_owned(), &nothing, 200, ""),
        ("gpt-3.5-turbo-instruct", PATH.to_owned(), &json!({ "logprobs": 1 }), 200, ""),
        ("gpt-3.5-turbo-instruct", PATH.to_owned(), &json!({ "echo": true }), 200, ""),
        ("gpt-3.5-turbo-instruct", PATH.to_owned(), &scored, 400, "Setting 'echo' and 'logprobs'"),
        ("davinci-002", PATH.to_owned(), &scored, 200, ""),
        ("babbage-002", azure("babbage-002"), &scored, 200, ""),
        ("mock-model", PATH.to_owned(), &scored, 200, ""),
        ("vllm-gpt-4", PATH.to_owned(), &scored, 200, ""),
        ("gpt-4o", "/vllm/v1/completions".to_owned(), &scored, 200, ""),
    ];
    for (model, path, more, status, says) in table {
        let got = post(&server, &path, &body(model, &json!("Hello"), more));
        assert_eq!(got.status, status, "{path} {model} {more}: {}", got.text());
        if status != 200 {
            let error = got.json()["error"].clone();
            assert!(error["message"].as_str().unwrap().starts_with(says), "{model}: {error}");
            assert_eq!(error["type"], "invalid_request_error", "{model}");
        }
    }
}

#[test]
fn the_flavor_vllm_speaks_its_dialect_whatever_the_name() {
    let server = start(Settings::default());
    let more = json!({ "prompt_logprobs": 1, "max_tokens": 2, "min_tokens": 1 });
    let named = body("vllm-mock", &json!("A: yes"), &more);
    let mut other =
        post(&server, "/vllm/v1/completions", &body("acme/m", &json!("A: yes"), &more)).json();
    assert_eq!(other["model"], "acme/m");
    other["model"] = json!("vllm-mock");
    assert_eq!(other, post(&server, PATH, &named).json());
    let listed = get(&server, "/vllm/v1/models").json();
    assert_eq!(listed["data"][0]["owned_by"], "vllm");
    let ids = post(&server, "/vllm/tokenize", &json!({ "prompt": "A: yes" })).json();
    assert_eq!(ids["count"], 4);
    assert_eq!(get(&server, "/vllm/health").status, 200);
    let refused = post(
        &server,
        "/vllm/v1/completions",
        &body("acme/m", &json!("A"), &json!({ "logprobs": 21 })),
    );
    assert_eq!(
        (refused.status, &refused.json()["error"]["type"]),
        (400, &json!("BadRequestError"))
    );
}

#[test]
fn echo_scores_a_prompt_and_ids_are_taken_as_they_are() {
    let server = start(Settings::default());
    let more = json!({ "echo": true, "logprobs": 1, "max_tokens": 1, "temperature": 0 });
    let of = |model: &str, prompt: Value| {
        let reply = post(&server, PATH, &body(model, &prompt, &more)).json();
        reply["choices"][0]["logprobs"].clone()
    };
    let plain = of("davinci-002", json!("A: yes"));
    assert_eq!(plain["tokens"].as_array().unwrap()[..3], [json!("A"), json!(":"), json!(" yes")]);
    assert_eq!(plain["tokens"].as_array().unwrap().len(), 4);
    assert_eq!(plain["token_logprobs"][0], Value::Null);
    assert_eq!(plain["top_logprobs"][0], Value::Null);
    assert_eq!(plain["text_offset"], json!([0, 1, 2, 6]));
    // vLLM has a BOS before a text, and none before ids.
    let vllm = of("vllm-mock", json!("A: yes"));
    assert_eq!(vllm["tokens"][0], "<s>");
    assert_eq!(vllm["token_logprobs"][3], plain["token_logprobs"][2]);
    let ids = post(&server, "/openai/tokenize", &json!({ "prompt": "A: yes" })).json();
    assert_eq!((&ids["count"], &ids["tokens"][0]), (&json!(4), &json!(1)));
    assert_eq!(of("vllm-mock", ids["tokens"].clone()), vllm);
    let text = post(&server, "/openai/detokenize", &json!({ "tokens": ids["tokens"] })).json();
    assert_eq!(text["prompt"], "A: yes");
    let bare =
        json!({ "prompt": "A: yes", "add_special_tokens": false, "return_token_strs": true });
    let bare = post(&server, "/openai/v1/tokenize", &bare).json();
    assert_eq!(bare["token_strs"], json!(["A", ":", " yes"]));
    assert_eq!(of("davinci-002", bare["tokens"].clone()), plain);
}

#[test]
fn vllm_ranks_the_tokens_of_a_prompt() {
    let server = start(Settings::default());
    let more = json!({ "prompt_logprobs": 0, "max_tokens": 1, "add_special_tokens": false });
    let reply = post(&server, PATH, &body("vllm-mock", &json!("A: yes"), &more)).json();
    let ranked = &reply["choices"][0]["prompt_logprobs"];
    assert_eq!(ranked.as_array().unwrap().len(), 3);
    assert_eq!(ranked[0], Value::Null);
    let last = ranked[2].as_object().unwrap();
    let (id, entry) = last.iter().next().unwrap();
    assert_eq!((last.len(), id.as_str()), (1, "1936029984"));
    assert_eq!(entry["decoded_token"], " yes");
    assert!(entry["rank"].as_u64().unwrap() >= 1);
    let nothing = json!({ "echo": true, "logprobs": 1, "max_tokens": 0 });
    let reply = post(&server, PATH, &body("vllm-mock", &json!("A: yes"), &nothing)).json();
    assert_eq!(reply["choices"][0]["text"], "A: yes");
    assert_eq!(reply["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), 4);
    assert!(reply["choices"][0]["prompt_logprobs"].is_array());
}

#[test]
fn a_batch_is_numbered_prompt_by_prompt() {
    let server = start(Settings::default());
    let prompts = json!(["What is 17 + 26?", "What is 1 + 2?"]);
    let more = json!({ "n": 2, "max_tokens": 8 });
    let reply = post(&server, PATH, &body("davinci-002", &prompts, &more)).json();
    let mut choices = reply["choices"].as_array().unwrap().clone();
    assert_eq!(choices[0]["index"], 3);
    choices.sort_by_key(|choice| choice["index"].as_u64());
    assert_eq!((&choices[0]["text"], choices.len()), (&json!("43"), 4));
    let alone = post(&server, PATH, &body("davinci-002", &prompts[1], &json!({ "max_tokens": 8 })));
    assert_eq!(alone.json()["choices"][0]["text"], choices[2]["text"]);
}

#[test]
fn a_stream_says_the_same_as_the_whole_reply() {
    let server = start(Settings::default());
    let prompt = json!("What is 17 + 26?\n####");
    for more in [
        json!({ "max_tokens": 20 }),
        json!({ "max_tokens": 20, "echo": true, "logprobs": 2, "stop": ["\n"] }),
        json!({ "max_tokens": 20, "include_stop_str_in_output": true, "stop": ["\n"] }),
    ] {
        let whole = post(&server, PATH, &body("vllm-mock", &prompt, &more)).json();
        let mut streamed = body("vllm-mock", &prompt, &more);
        streamed["stream"] = json!(true);
        let mut events = post(&server, PATH, &streamed).events();
        assert_eq!(events.pop(), Some(json!("[DONE]")));
        let text: String =
            events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
        let choice = &whole["choices"][0];
        assert_eq!(text, choice["text"].as_str().unwrap());
        let last = &events.last().unwrap()["choices"][0];
        assert_eq!(last["finish_reason"], choice["finish_reason"]);
        assert_eq!(last["stop_reason"], choice["stop_reason"]);
        for name in ["tokens", "token_logprobs", "text_offset"] {
            let parts =
                events.iter().filter_map(|event| event["choices"][0]["logprobs"][name].as_array());
            let parts: Vec<Value> = parts.flatten().cloned().collect();
            let expected = choice["logprobs"][name].as_array().cloned().unwrap_or_default();
            assert_eq!(parts, expected, "{name}");
        }
    }
}
