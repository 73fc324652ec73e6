//! The OpenAI shape over real connections: what each vendor takes, refuses and answers.

mod completions;
mod replies;
mod vendors;

use serde_json::{Value, json};

use crate::mock::{
    Server, Settings,
    testkit::{get, post, post_text, send, start},
};

/// A chat of one message, with more fields, and without those that are null.
fn chat(model: &str, more: &Value) -> Value {
    let mut body =
        json!({ "model": model, "messages": [{ "role": "user", "content": "What is 17 + 26?" }] });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

/// Status, code and parameter of the answer to a chat.
fn told(server: &Server, path: &str, body: &Value) -> (u16, String, String) {
    let got = post(server, path, body);
    let error = &got.json()["error"];
    let text = |name: &str| match &error[name] {
        Value::Null => String::new(),
        value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    (got.status, text("code"), text("param"))
}

fn check(path: &str, table: &[(&str, Value, u16, &str, &str)]) {
    let server = start(Settings::default());
    for (model, more, status, code, param) in table {
        let got = told(&server, path, &chat(model, more));
        let expected = (*status, (*code).to_owned(), (*param).to_owned());
        assert_eq!(got, expected, "{model} {more}");
    }
}

#[test]
fn openai_refuses_what_it_has_not_with_its_own_code_and_parameter() {
    let user = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let path = "/openai/v1/chat/completions";
    check(
        path,
        &[
            (
                "gpt-4o-mini",
                json!({ "max_tokens": 5, "temperature": 0, "stop": ["\n"], "seed": 7 }),
                200,
                "",
                "",
            ),
            ("gpt-4o-mini", json!({ "colour": 1 }), 400, "unknown_parameter", "colour"),
            ("gpt-4o-mini", json!({ "top_k": 1 }), 400, "unknown_parameter", "top_k"),
            (
                "gpt-4o-mini",
                json!({ "stream_options": { "x": 1 }, "stream": true }),
                400,
                "unknown_parameter",
                "stream_options.x",
            ),
            (
                "gpt-4o-mini",
                json!({ "temperature": 2.5 }),
                400,
                "decimal_above_max_value",
                "temperature",
            ),
            (
                "gpt-4o-mini",
                json!({ "temperature": -1 }),
                400,
                "decimal_below_min_value",
                "temperature",
            ),
            ("gpt-4o-mini", json!({ "temperature": "warm" }), 400, "invalid_type", "temperature"),
            ("gpt-4o-mini", json!({ "n": 0 }), 400, "integer_below_min_value", "n"),
            ("gpt-4o-mini", json!({ "n": 1.5 }), 400, "invalid_type", "n"),
            (
                "gpt-4o-mini",
                json!({ "max_tokens": 0 }),
                400,
                "integer_below_min_value",
                "max_tokens",
            ),
            (
                "gpt-4o-mini",
                json!({ "max_tokens": 1, "max_completion_tokens": 1 }),
                400,
                "invalid_parameter_combination",
                "max_tokens",
            ),
            (
                "gpt-4o-mini",
                json!({ "stop": ["a", "b", "c", "d", "e"] }),
                400,
                "array_above_max_length",
                "stop",
            ),
            ("gpt-4o-mini", json!({ "stop": 7 }), 400, "invalid_type", "stop"),
            ("gpt-4o-mini", json!({ "top_logprobs": 2 }), 400, "invalid_value", "top_logprobs"),
            (
                "gpt-4o-mini",
                json!({ "logprobs": true, "top_logprobs": 21 }),
                400,
                "integer_above_max_value",
                "top_logprobs",
            ),
            ("gpt-4o-mini", json!({ "logprobs": 5 }), 400, "invalid_type", "logprobs"),
            (
                "gpt-4o-mini",
                json!({ "stream_options": { "include_usage": true } }),
                400,
                "invalid_value",
                "stream_options",
            ),
            (
                "gpt-4o-mini",
                json!({ "response_format": { "type": "xml" } }),
                400,
                "invalid_value",
                "response_format.type",
            ),
            (
                "gpt-4o-mini",
                json!({ "response_format": { "type": "json_schema" } }),
                400,
                "missing_required_parameter",
                "response_format.json_schema",
            ),
            (
                "gpt-4o-mini",
                json!({ "reasoning_effort": "low" }),
                400,
                "unsupported_parameter",
                "reasoning_effort",
            ),
            (
                "gpt-4o-mini",
                json!({ "thinking": { "type": "enabled" } }),
                400,
                "unknown_parameter",
                "thinking",
            ),
            ("gpt-4o-mini", json!({ "messages": [] }), 400, "empty_array", "messages"),
            (
                "gpt-4o-mini",
                json!({ "messages": [{ "role": "boss", "content": "x" }] }),
                400,
                "invalid_value",
                "messages[0].role",
            ),
            (
                "gpt-4o-mini",
                json!({ "messages": [{ "role": "user" }] }),
                400,
                "invalid_type",
                "messages[0].content",
            ),
            (
                "gpt-4o-mini",
                json!({ "messages": [{ "role": "user", "content": "x", "mood": 1 }] }),
                400,
                "unknown_parameter",
                "messages[0].mood",
            ),
            (
                "gpt-4o-mini",
                json!({ "messages": [{ "content": "x" }] }),
                400,
                "missing_required_parameter",
                "messages[0].role",
            ),
            ("gpt-4o-mini", user(json!([{ "type": "text", "text": "x" }])), 200, "", ""),
            (
                "gpt-4o-mini",
                user(json!([{ "type": "video", "text": "x" }])),
                400,
                "invalid_value",
                "messages[0].content[0]",
            ),
            (
                "gpt-4o-mini",
                user(json!([{ "type": "image_url", "text": "x" }])),
                400,
                "unknown_parameter",
                "messages[0].content[0].text",
            ),
            (
                "gpt-4o-mini",
                user(json!([{ "type": "image_url", "image_url": { "url": "cat.png" } }])),
                400,
                "invalid_image_url",
                "messages[0].content[0].image_url.url",
            ),
            (
                "gpt-4o-mini",
                user(
                    json!([{ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==", "detail": "low" } }]),
                ),
                200,
                "",
                "",
            ),
            ("mock-missing", json!({}), 404, "model_not_found", "model"),
            ("", json!({}), 400, "", ""),
        ],
    );
}

#[test]
fn openai_reasoning_models_take_less() {
    check(
        "/openai/chat/completions",
        &[
            (
                "o1",
                json!({ "max_completion_tokens": 500, "stop": ["x"], "temperature": 1 }),
                200,
                "",
                "",
            ),
            ("o3-mini", json!({ "max_tokens": 500 }), 400, "unsupported_parameter", "max_tokens"),
            ("o3-mini", json!({ "temperature": 0 }), 400, "unsupported_value", "temperature"),
            ("o3-mini", json!({ "top_p": 1 }), 400, "unsupported_parameter", "top_p"),
            (
                "o3-mini",
                json!({ "presence_penalty": 0.5 }),
                400,
                "unsupported_parameter",
                "presence_penalty",
            ),
            ("o3-mini", json!({ "logprobs": true }), 400, "unsupported_parameter", "logprobs"),
            ("o4-mini", json!({ "stop": ["x"] }), 400, "unsupported_parameter", "stop"),
            (
                "o4-mini",
                json!({ "reasoning_effort": "minimal" }),
                400,
                "unsupported_value",
                "reasoning_effort",
            ),
            ("gpt-5-mini", json!({ "reasoning_effort": "minimal" }), 200, "", ""),
            ("gpt-5-mini", json!({ "stop": ["x"] }), 400, "unsupported_parameter", "stop"),
            ("gpt-5-mini", json!({ "logit_bias": {} }), 400, "unsupported_parameter", "logit_bias"),
            ("gpt-5-mini", json!({ "temperature": 0.5 }), 400, "unsupported_value", "temperature"),
            (
                "gpt-5.1",
                json!({ "temperature": 0.5, "top_p": 0.5, "reasoning_effort": "none" }),
                200,
                "",
                "",
            ),
            ("gpt-5.1", json!({ "temperature": 0.5 }), 400, "unsupported_value", "temperature"),
            (
                "gpt-5-chat-latest",
                json!({ "temperature": 0.5, "stop": ["x"], "max_tokens": 5 }),
                200,
                "",
                "",
            ),
        ],
    );
}

#[test]
fn vllm_takes_its_own_parameters_and_refuses_in_its_own_words() {
    check(
        "/openai/v1/chat/completions",
        &[
            (
                "vllm-mock",
                json!({ "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.0, "min_tokens": 1, "max_tokens": 9 }),
                200,
                "",
                "",
            ),
            (
                "vllm-mock",
                json!({ "chat_template_kwargs": { "x": 1 }, "prompt_logprobs": 1 }),
                200,
                "",
                "",
            ),
            ("vllm-mock", json!({ "top_p": 1.5 }), 400, "400", "top_p"),
            ("vllm-mock", json!({ "min_tokens": 9, "max_tokens": 2 }), 400, "400", "min_tokens"),
            (
                "vllm-mock",
                json!({ "prompt_logprobs": 1, "stream": true }),
                400,
                "400",
                "prompt_logprobs",
            ),
            ("vllm-mock", json!({ "max_tokens": 40_000 }), 400, "400", "messages"),
            ("vllm-mock-missing", json!({}), 404, "404", "model"),
        ],
    );
}

#[test]
fn a_key_is_wanted_in_the_vendors_own_header() {
    let server = start(Settings { api_key: Some("secret".to_owned()), ..Settings::default() });
    let azure = "/azure/openai/v1/chat/completions";
    let body = chat("gpt-4o-mini", &json!({})).to_string();
    let json = ("content-type", "application/json");
    let table = [
        ("/openai/v1/chat/completions", ("authorization", "Bearer secret"), 200),
        ("/openai/v1/chat/completions", ("authorization", "Bearer other"), 401),
        ("/openai/v1/chat/completions", ("api-key", "secret"), 401),
        (azure, ("api-key", "secret"), 200),
        (azure, ("authorization", "Bearer secret"), 200),
        (azure, ("api-key", "other"), 401),
        ("/xai/v1/chat/completions", ("authorization", "Bearer other"), 400),
        ("/moonshot/v1/chat/completions", ("authorization", "Bearer other"), 401),
    ];
    for (path, header, status) in table {
        let got = send(&server, "POST", path, &[json, header], &body).unwrap();
        assert_eq!(got.status, status, "{path} {header:?}");
        assert!(!got.text().contains("other"), "a key must not be repeated");
    }
    let got = get(&server, "/openai/v1/models");
    assert_eq!(got.json()["error"]["code"], "invalid_api_key");
    assert_eq!(get(&server, "/openai/health").status, 200);
}

#[test]
fn routes_are_found_with_and_without_the_version() {
    let server = start(Settings::default());
    for path in ["/openai/models", "/openai/v1/models", "/xai/v1/models", "/moonshot/v1/models"] {
        assert_eq!(get(&server, path).json()["object"], "list", "{path}");
    }
    let model = get(&server, "/openai/v1/models/vllm-mock").json();
    assert_eq!((&model["owned_by"], &model["max_model_len"]), (&json!("vllm"), &json!(32_768)));
    assert_eq!(get(&server, "/openai/version").json()["version"], "0.33.0");
    for path in ["/openai/v1/chat", "/openai/v1/chat/completions", "/moonshot/v1/nothing"] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    assert_eq!(post(&server, "/moonshot/v1/completions", &json!({})).status, 404);
    let got = post_text(&server, "/openai/v1/chat/completions", "{");
    assert!(got.status == 400 && got.text().contains("could not parse the JSON body"));
    let got = send(&server, "POST", "/openai/v1/chat/completions", &[], "{}").unwrap();
    assert_eq!(got.json()["error"]["code"], "unsupported_content_type");
}

#[test]
fn no_beginning_of_a_body_and_no_other_value_in_it_breaks_the_server() {
    let server = start(Settings::default());
    let text = json!({ "role": "user", "content": [{ "type": "text", "text": "é\n\"" }] });
    let chat = json!({ "model": "vllm-think", "messages": [text], "stop": ["é"], "max_tokens": 3, "logprobs": true });
    let completion = json!({ "model": "vllm-x", "prompt": [[65, 4_294_967_295_u32]], "echo": true, "logprobs": 1 });
    let content = json!({ "contents": [{ "parts": [{ "text": "é" }] }], "generationConfig": { "stopSequences": ["é"] } });
    for (path, body) in [
        ("/openai/v1/chat/completions", &chat),
        ("/openai/v1/completions", &completion),
        ("/gemini/v1beta/models/gemini-2.5-flash:generateContent", &content),
    ] {
        assert_eq!(post(&server, path, body).status, 200, "{path}");
        let whole = body.to_string();
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert_eq!(post_text(&server, path, &whole[..end]).status, 400, "{path} {end}");
        }
        for name in body.as_object().unwrap().keys() {
            for value in [json!({}), json!([[]]), json!("x"), json!(-1), json!(1e300), json!(true)]
            {
                let mut changed = body.clone();
                changed[name] = value;
                let status = post(&server, path, &changed).status;
                assert!(matches!(status, 200 | 400), "{path} {changed}: {status}");
            }
        }
    }
}
