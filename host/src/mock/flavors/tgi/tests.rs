//! The TGI flavor over real connections (wire.md 2.1 to 2.8, 7.4).

use serde_json::{Value, json};

use crate::mock::{
    Reply, Settings,
    testkit::{get, post, post_text, send, start},
};

fn greedy(extra: Value) -> Value {
    let mut parameters = json!({ "do_sample": false, "details": true, "max_new_tokens": 50 });
    for (name, value) in extra.as_object().unwrap() {
        parameters[name] = value.clone();
    }
    json!({ "inputs": "What is 17 + 26?", "parameters": parameters })
}

#[test]
fn a_generation_is_answered_on_every_route() {
    let server = start(Settings::default());
    let got = post(&server, "/tgi/generate", &greedy(json!({})));
    assert_eq!((got.status, got.header("content-type")), (200, Some("application/json")));
    let reply = got.json();
    assert_eq!(reply["generated_text"], "43");
    let details = &reply["details"];
    assert_eq!(details["finish_reason"], "eos_token");
    assert_eq!(details["seed"], Value::Null);
    assert_eq!(details["prefill"], json!([]));
    assert_eq!(details["generated_tokens"], 2);
    assert_eq!(details["tokens"][0]["text"], "43");
    assert_eq!(details["tokens"][1]["special"], true);
    assert_eq!(got.header("x-generated-tokens"), Some("2"));
    let tokens = post(&server, "/tgi/tokenize", &json!({"inputs": "What is 17 + 26?"})).json();
    let count = tokens.as_array().unwrap().len().to_string();
    assert_eq!(got.header("x-prompt-tokens"), Some(count.as_str()));

    let mut body = greedy(json!({}));
    assert_eq!(post(&server, "/tgi", &body).json(), json!([reply]));
    let got = post(&server, "/tgi/generate_stream", &body);
    assert_eq!(got.header("content-type"), Some("text/event-stream"));
    assert_eq!(got.header("x-accel-buffering"), Some("no"));
    let events = got.events();
    assert_eq!(events.len(), 2);
    assert_eq!(got.chunks.len(), 2);
    assert_eq!((&events[0]["index"], &events[0]["generated_text"]), (&json!(1), &Value::Null));
    assert_eq!(events[1]["generated_text"], "43");
    assert_eq!(events[1]["details"]["input_length"], tokens.as_array().unwrap().len());
    body["stream"] = json!(true);
    assert_eq!(post(&server, "/tgi/", &body).events(), events);
}

#[test]
fn the_stop_text_stays_in_the_answer() {
    let server = start(Settings::default());
    let mut body = greedy(json!({ "stop": ["\n"] }));
    body["inputs"] = json!("What is 17 + 26?\n####");
    let reply = post(&server, "/tgi/generate", &body).json();
    assert_eq!(reply["generated_text"], "17 + 26 = 43.\n");
    assert_eq!(reply["details"]["finish_reason"], "stop_sequence");
    let cut = post(&server, "/tgi/generate", &greedy(json!({ "max_new_tokens": 1 }))).json();
    assert_eq!(cut["details"]["finish_reason"], "length");
}

#[test]
fn a_prompt_is_scored_token_by_token_unless_the_server_does_not() {
    let server = start(Settings::default());
    let wanted = json!({ "decoder_input_details": true, "max_new_tokens": 1, "top_n_tokens": 3 });
    let reply = post(&server, "/tgi/generate", &greedy(wanted.clone())).json();
    let details = &reply["details"];
    let ids = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|token| token["id"].clone()).collect()
    };
    let tokens = post(&server, "/tgi/tokenize", &json!({"inputs": "What is 17 + 26?"})).json();
    assert_eq!(ids(&details["prefill"]), ids(&tokens));
    assert_eq!(details["prefill"][0], json!({ "id": 1, "text": "<s>", "logprob": null }));
    assert!(details["prefill"][1]["logprob"].as_f64().unwrap() < 0.0);
    assert_eq!(tokens[0], json!({ "id": 1, "text": "", "start": 0, "stop": 0 }));
    let top = details["top_tokens"][0].as_array().unwrap();
    assert_eq!(top.len(), 3);
    assert_eq!(top[0], details["tokens"][0]);

    let without = start(Settings { prefill_logprobs: false, ..Settings::default() });
    let reply = post(&without, "/tgi/generate", &greedy(wanted)).json();
    assert_eq!(reply["details"]["prefill"], json!([]));
}

#[test]
fn the_best_of_two_names_the_other_and_a_seed_is_told() {
    let server = start(Settings::default());
    let body = greedy(json!({ "best_of": 2, "do_sample": true }));
    let reply = post(&server, "/tgi/generate", &body).json();
    assert_eq!(reply["details"]["best_of_sequences"].as_array().unwrap().len(), 1);
    let body = greedy(json!({ "do_sample": true, "seed": 7, "return_full_text": true }));
    let reply = post(&server, "/tgi/generate", &body).json();
    assert_eq!(reply["details"]["seed"], 7);
    assert!(reply["generated_text"].as_str().unwrap().starts_with("What is 17 + 26?"));
}

#[test]
fn what_does_not_fit_gets_the_servers_own_refusal() {
    let server = start(Settings::default());
    let refused = |body: &str| {
        let got = post_text(&server, "/tgi/generate", body);
        (got.status, got.text().to_owned())
    };
    let table = [
        ("{", 400, "Failed to parse the request body as JSON: "),
        (
            "{\"inputs\":3}",
            422,
            "Failed to deserialize the JSON body into the target type: inputs: ",
        ),
        (
            "{\"inputs\":\"Q\",\"parameters\":{\"top_q\":1}}",
            422,
            "Failed to deserialize the JSON body into the target type: parameters.top_q: unknown",
        ),
        (
            "{\"inputs\":\"Q\",\"parameters\":{\"top_p\":1.0}}",
            422,
            "{\"error\":\"Input validation error: `top_p` must be > 0.0 and < 1.0\",\"error_type\":\"validation\"}",
        ),
        (
            "{\"inputs\":\"\"}",
            422,
            "{\"error\":\"Input validation error: `inputs` cannot be empty\"",
        ),
    ];
    for (body, status, text) in table {
        let (got, said) = refused(body);
        assert_eq!(got, status, "{body}: {said}");
        assert!(said.starts_with(text), "{body}: {said}");
    }
    let plain = send(&server, "POST", "/tgi/generate", &[], "{}").unwrap();
    assert_eq!(plain.status, 415);
    let big = format!("{{\"inputs\":\"{}\"}}", "a".repeat(2_000_001));
    assert_eq!(refused(&big).0, 413);
    assert_eq!(get(&server, "/tgi/nothing").status, 404);
}

#[test]
fn a_chat_is_answered_as_its_template_would_be() {
    let server = start(Settings::default());
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": [{ "type": "text", "text": "What is 17 + 26?" }] },
    ]);
    let templated = post(&server, "/tgi/chat_tokenize", &json!({ "messages": messages })).json();
    let text = templated["templated_text"].as_str().unwrap();
    assert!(text.ends_with("<|assistant|>\n"));
    let pieces = templated["tokenize_response"].as_array().unwrap();
    let joined: String = pieces.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(joined, text);
    let body = json!({ "inputs": text, "parameters": { "do_sample": false } });
    let said = post(&server, "/tgi/generate", &body).json();

    let chat = json!({
        "model": "tgi", "messages": messages, "temperature": 0, "max_tokens": 20, "logprobs": true,
        "top_logprobs": 2,
    });
    let reply = post(&server, "/tgi/v1/chat/completions", &chat).json();
    let choice = &reply["choices"][0];
    assert_eq!(
        choice["message"],
        json!({ "role": "assistant", "content": said["generated_text"] })
    );
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["logprobs"]["content"][0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(reply["usage"]["completion_tokens"], 2);

    let mut streamed = chat.clone();
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let events = post(&server, "/tgi/v1/chat/completions", &streamed).events();
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(deltas.collect::<String>(), said["generated_text"].as_str().unwrap());
    assert_eq!(events[events.len() - 2]["usage"], reply["usage"]);
    assert_eq!(events.last().unwrap(), "[DONE]");

    let adapter = json!({ "model": "mine", "messages": messages });
    assert_eq!(post(&server, "/tgi/v1/chat/completions", &adapter).status, 422);
}

#[test]
fn completions_come_in_another_order_than_the_prompts() {
    let server = start(Settings::default());
    let body = json!({ "prompt": ["What is 1 + 2?", "What is 2 + 2?"], "temperature": 0 });
    let reply = post(&server, "/tgi/v1/completions", &body).json();
    let said: Vec<_> = reply["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| (choice["index"].as_u64().unwrap(), choice["logprobs"].clone()))
        .collect();
    assert_eq!(said, [(1, Value::Null), (0, Value::Null)]);
    let five = json!({ "prompt": ["1", "2", "3", "4", "5"] });
    let got = post(&server, "/tgi/v1/completions", &five);
    assert_eq!((got.status, &got.json()["error_type"]), (422, &json!("batch size exceeded")));
    let suffix = json!({ "prompt": "1", "suffix": "2" });
    let got = post(&server, "/tgi/v1/completions", &suffix);
    assert_eq!(got.json()["error_type"], "suffix not supported");
    let stream = json!({ "prompt": "What is 1 + 2?", "temperature": 0, "stream": true });
    let events = post(&server, "/tgi/v1/completions", &stream).events();
    assert_eq!(events[0]["choices"][0]["finish_reason"], "");
    assert_eq!(events[1]["choices"][0]["finish_reason"], "eos_token");
}

#[test]
fn a_key_is_wanted_where_the_server_wants_it() {
    let server = start(Settings { api_key: Some("secret".to_owned()), ..Settings::default() });
    let body = greedy(json!({})).to_string();
    let ask = |path: &str, key: &str| {
        let headers = [("content-type", "application/json"), ("authorization", key)];
        let got = send(&server, "POST", path, &headers, &body).unwrap();
        (got.status, got.body.len())
    };
    assert_eq!(ask("/tgi/generate", "Bearer other"), (401, 0));
    assert_eq!(ask("/tgi/generate", "Bearer secret").0, 200);
    assert_eq!(get(&server, "/tgi/info").status, 200);
}

#[test]
fn an_error_in_a_stream_is_an_event() {
    let server = start(Settings { reply: Some(Reply::ErrorIn200), ..Settings::default() });
    let got = post(&server, "/tgi/generate_stream", &greedy(json!({})));
    let events = got.events();
    assert_eq!(got.status, 200);
    assert_eq!(events.last().unwrap()["error_type"], "generation");
    let whole = post(&server, "/tgi/generate", &greedy(json!({})));
    assert_eq!((whole.status, &whole.json()["error_type"]), (200, &json!("generation")));
}
