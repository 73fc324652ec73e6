//! Anthropic over real connections (wire.md 4.3, 7.4).

use serde_json::{Value, json};

use crate::mock::{
    Faults, Server, Settings,
    testkit::{Got, get, post, send, start},
};

fn message(more: &Value) -> Value {
    let mut body = json!({
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "messages": [{ "role": "user", "content": "What is 17 + 26?" }],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

fn ask_at(server: &Server, path: &str, body: &Value) -> Got {
    let headers = [("content-type", "application/json"), ("anthropic-version", "2023-06-01")];
    send(server, "POST", path, &headers, &body.to_string()).unwrap()
}

fn ask(server: &Server, more: &Value) -> Got {
    ask_at(server, "/anthropic/v1/messages", &message(more))
}

#[test]
fn what_is_not_taken_is_refused_in_anthropics_words() {
    let server = start(Settings::default());
    let newer = "claude-opus-4-7";
    let user = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let thinking = |budget: i64| json!({ "type": "enabled", "budget_tokens": budget });
    let prefill = json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": "The answer is" }]);
    let trailing =
        json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": "The " }]);
    let table = [
        (
            json!({ "temperature": 0, "top_k": 5, "stop_sequences": ["END"], "system": "Be brief." }),
            "",
        ),
        (
            json!({ "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }] }),
            "",
        ),
        (json!({ "messages": prefill }), ""),
        (json!({ "colour": 1 }), "colour: Extra inputs are not permitted"),
        (json!({ "n": 2 }), "n: Extra inputs are not permitted"),
        (json!({ "max_tokens": 0 }), "max_tokens: Input should be greater than or equal to 1"),
        (json!({ "max_tokens": "9" }), "max_tokens: Input should be a valid integer"),
        (json!({ "max_tokens": 999_999 }), "max_tokens: 999999 > 128000"),
        (
            json!({ "stop_sequences": ["x", " \n"] }),
            "stop_sequences: each stop sequence must contain non-whitespace",
        ),
        (json!({ "stop_sequences": "x" }), "stop_sequences: Input should be a valid list"),
        (json!({ "temperature": 1.5 }), "temperature: range: 0..1"),
        (
            json!({ "model": newer, "temperature": 0 }),
            "`temperature` is deprecated for this model.",
        ),
        (json!({ "model": newer, "top_p": 0.5 }), "`top_p` is deprecated for this model."),
        (
            json!({ "model": newer, "messages": prefill }),
            "does not support assistant message prefill",
        ),
        (
            json!({ "model": newer, "thinking": thinking(1024), "max_tokens": 4096 }),
            "thinking.type.enabled",
        ),
        (
            json!({ "model": newer, "thinking": { "type": "adaptive" }, "output_config": { "effort": "low" } }),
            "",
        ),
        (json!({ "output_config": { "effort": "huge" } }), "output_config.effort"),
        (
            json!({ "thinking": thinking(1000), "max_tokens": 4096 }),
            "greater than or equal to 1024",
        ),
        (
            json!({ "thinking": thinking(1024), "max_tokens": 1024 }),
            "`max_tokens` must be greater than",
        ),
        (
            json!({ "thinking": thinking(1024), "max_tokens": 4096, "temperature": 0 }),
            "may only be set to 1",
        ),
        (
            json!({ "thinking": { "type": "enabled" } }),
            "thinking.enabled.budget_tokens: Field required",
        ),
        (json!({ "thinking": { "type": "disabled", "budget_tokens": 5 } }), "Extra inputs"),
        (json!({ "messages": [] }), "messages: at least one message is required"),
        (
            json!({ "messages": [{ "role": "system", "content": "x" }] }),
            "Unexpected role \"system\"",
        ),
        (
            json!({ "messages": [{ "role": "tool", "content": "x" }] }),
            "messages.0.role: Input should be 'user' or 'assistant'",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "content": "x" }] }),
            "first message must use the \"user\" role",
        ),
        (json!({ "messages": trailing }), "cannot end with trailing whitespace"),
        (
            json!({ "messages": [{ "role": "user", "content": "x", "name": "y" }] }),
            "messages.0.name: Extra inputs",
        ),
        (user(json!("")), "non-empty content"),
        (user(json!([{ "type": "text", "text": "" }])), "text content blocks must be non-empty"),
        (
            user(json!([{ "type": "image_url", "text": "x" }])),
            "messages.0.content.0: Input tag 'image_url'",
        ),
        (user(json!([{ "type": "text" }])), "messages.0.content.0.text.text: Field required"),
        (
            user(json!([{ "type": "image", "source": { "type": "base64", "data": "AA==" } }])),
            "base64.media_type: Field required",
        ),
        (
            user(
                json!([{ "type": "image", "source": { "type": "url", "url": "https://x/y.png" } }, { "type": "text", "text": "?" }]),
            ),
            "",
        ),
        (user(json!("long ".repeat(110_000))), "prompt is too long"),
    ];
    for (more, words) in table {
        let got = ask(&server, &more);
        if words.is_empty() {
            assert_eq!(got.status, 200, "{more}: {}", got.text());
            continue;
        }
        let error = got.json();
        assert_eq!((got.status, &error["type"]), (400, &json!("error")), "{words}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert!(error["error"]["message"].as_str().unwrap().contains(words), "{words}: {error}");
        assert!(error["request_id"].is_string());
    }
    let mut body = message(&json!({}));
    body.as_object_mut().unwrap().remove("max_tokens");
    let got = ask_at(&server, "/anthropic/v1/messages", &body);
    assert_eq!(got.json()["error"]["message"], "max_tokens: Field required");
    let got = ask(&server, &json!({ "model": "claude-mock-missing" }));
    assert_eq!((got.status, &got.json()["error"]["type"]), (404, &json!("not_found_error")));
}

#[test]
fn the_version_and_the_key_stand_in_headers() {
    let server = start(Settings::default());
    let got = post(&server, "/anthropic/v1/messages", &message(&json!({})));
    assert_eq!(got.json()["error"]["message"], "anthropic-version: header is required");
    let server = start(Settings { api_key: Some("secret".to_owned()), ..Settings::default() });
    let with = |key: (&str, &str)| {
        let headers =
            [("content-type", "application/json"), ("anthropic-version", "2023-06-01"), key];
        send(&server, "POST", "/anthropic/v1/messages", &headers, &message(&json!({})).to_string())
    };
    assert_eq!(with(("x-api-key", "secret")).unwrap().status, 200);
    let got = with(("x-api-key", "other")).unwrap();
    assert_eq!((got.status, &got.json()["error"]["type"]), (401, &json!("authentication_error")));
}

#[test]
fn an_answer_has_blocks_a_reason_and_its_tokens() {
    let server = start(Settings::default());
    let got = ask(&server, &json!({}));
    assert!(got.header("request-id").is_some());
    assert!(got.header("anthropic-ratelimit-output-tokens-remaining").is_some());
    let reply = got.json();
    assert_eq!(reply["content"], json!([{ "type": "text", "text": "43", "citations": null }]));
    assert_eq!(
        (&reply["stop_reason"], &reply["stop_sequence"]),
        (&json!("end_turn"), &Value::Null)
    );
    assert_eq!(reply["usage"]["output_tokens"], 2);
    let body = json!({ "model": "claude-haiku-4-5", "messages": message(&json!({}))["messages"] });
    let count = ask_at(&server, "/anthropic/v1/messages/count_tokens", &body).json();
    assert_eq!(count["input_tokens"], reply["usage"]["input_tokens"]);

    let messages = json!([{ "role": "user", "content": "What is 17 + 26?\n####" }]);
    let reply = ask(&server, &json!({ "messages": messages, "stop_sequences": ["#", "="] })).json();
    assert_eq!(
        (&reply["stop_reason"], &reply["stop_sequence"]),
        (&json!("stop_sequence"), &json!("="))
    );
    assert_eq!(reply["content"][0]["text"], "17 + 26 ");
    let reply = ask(&server, &json!({ "messages": messages, "max_tokens": 1 })).json();
    assert_eq!(reply["stop_reason"], "max_tokens");
    let thinking = json!({ "type": "enabled", "budget_tokens": 1024 });
    let reply = ask(&server, &json!({ "thinking": thinking, "max_tokens": 2000 })).json();
    assert_eq!(reply["content"][0]["type"], "thinking");
    assert_eq!(reply["content"][1]["text"], "43");
    assert_eq!(reply["usage"]["output_tokens_details"]["thinking_tokens"], 32);
    let spent =
        json!({ "model": "claude-opus-4-7", "thinking": { "type": "adaptive" }, "max_tokens": 10 });
    let reply = ask(&server, &spent).json();
    assert_eq!(
        (reply["content"].as_array().unwrap().len(), &reply["stop_reason"]),
        (1, &json!("max_tokens"))
    );
}

#[test]
fn a_refusal_is_a_reason_to_stop() {
    let server = start(Settings::default());
    let of = |word: &str| {
        ask(&server, &json!({ "messages": [{ "role": "user", "content": word }] })).json()
    };
    let reply = of("mock-content-filter");
    assert_eq!((&reply["stop_reason"], &reply["content"]), (&json!("refusal"), &json!([])));
    assert_eq!(reply["stop_details"]["type"], "refusal");
    let reply = of("mock-answer-filter");
    assert_eq!(reply["stop_reason"], "refusal");
    assert!(!reply["content"][0]["text"].as_str().unwrap().is_empty());
}

#[test]
fn a_stream_has_every_event_in_order() {
    let server = start(Settings::default());
    let thinking = json!({ "type": "enabled", "budget_tokens": 1024 });
    let more = json!({ "thinking": thinking, "max_tokens": 2000, "stream": true });
    let got = ask(&server, &more);
    let names: Vec<&str> =
        got.text().lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let mut order = names.clone();
    order.dedup();
    assert_eq!(
        order,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let events = got.events();
    assert!(events.iter().zip(&names).all(|(event, name)| event["type"] == **name));
    let joined = |name: &str| -> String {
        events.iter().filter_map(|event| event["delta"][name].as_str()).collect()
    };
    let mut whole = more;
    whole["stream"] = json!(false);
    let whole = ask(&server, &whole).json();
    assert_eq!(joined("thinking"), whole["content"][0]["thinking"].as_str().unwrap());
    assert_eq!(joined("text"), "43");
    assert!(!joined("signature").is_empty());
    let end = &events[events.len() - 2];
    assert_eq!(
        (&end["delta"]["stop_reason"], &end["usage"]),
        (&json!("end_turn"), &whole["usage"])
    );
}

#[test]
fn overload_is_529_and_models_are_listed() {
    let faults = Faults { fail_rate: "1".parse().unwrap(), ..Faults::default() };
    let server = start(Settings { faults, ..Settings::default() });
    let statuses = [ask(&server, &json!({})).status, ask(&server, &json!({})).status];
    assert!(statuses.contains(&529) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(get(&server, "/anthropic/v1/models").status, 400);
    let version = [("anthropic-version", "2023-06-01")];
    let list = send(&server, "GET", "/anthropic/v1/models", &version, "").unwrap().json();
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
}
