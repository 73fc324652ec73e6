//! Whole sessions, driven event by event as the host would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use common::{
    drive::{call, chat, configured, generate, kind, output, sglang, tokens},
    golden,
};
use plugin_api::{
    Answer, Description, Error, ErrorKind, FinishReason, Generate, Message, Part, Prompt, Request,
    testkit::{Driver, Scripted, Sent, Stage, answer, completion},
};
use serde_json::{Value, json};
use sglang::Sglang;

#[test]
fn text_goes_as_text_and_its_answer_comes_back() {
    let mut driver = Driver::new(configured(&json!({ "model": "acme" })));
    let (id, body) =
        call(&driver.start(&[Request::Generate(generate(Prompt::Text("Q: x\nA:")))]), "/generate");
    assert_eq!(body["text"], "Q: x\nA:");
    let completion = completion(&driver.reply_json(id, &output(" B", 5)));
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
    let (id, body) = call(&driver.reply_json(id, &tokens(&[&[5, 6]])), "/generate");
    assert_eq!((&body["input_ids"], &body["text"]), (&json!([5, 6]), &Value::Null));
    // The server took fewer tokens than were sent: its answer is none to this prompt.
    assert_eq!(kind(&driver.reply_json(id, &output(" B", 1))), ErrorKind::ContextLength);
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
    let (id, body) = call(&driver.reply_json(id, &templated), "/tokenize");
    assert_eq!(body, json!({ "prompt": ["The answer is"], "add_special_tokens": false }));
    let (id, body) = call(&driver.reply_json(id, &tokens(&[&[30, 31]])), "/generate");
    assert_eq!(body["input_ids"], json!([1, 20, 21, 30, 31]));
    assert_eq!(completion(&driver.reply_json(id, &output(" B", 5))).choices[0].text, " B");
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
    let completion = completion(&driver.reply_json(id, &reply));
    let texts: Vec<_> = completion.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    // They share their prompt.
    assert_eq!(
        (completion.usage.prompt_tokens, completion.usage.completion_tokens),
        (Some(5), Some(6))
    );
}

#[test]
fn a_conversation_is_rendered_by_the_servers_own_tokens() {
    let mut driver = Driver::new(sglang());
    let (id, _) = call(&driver.start(&[Request::Render(chat())]), "/v1/tokenize");
    let (id, _) = call(&driver.reply_json(id, &json!({ "tokens": [1, 20] })), "/detokenize");
    match answer(&driver.reply_json(id, &json!({ "text": "<s>[INST] Hi [/INST]" }))) {
        Ok(Answer::Rendered(text)) => assert_eq!(text, "<s>[INST] Hi [/INST]The answer is"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_is_named_only_if_there_is_one() {
    let config = json!({ "base_url": "http://sglang:30000" });
    for (slots, secrets) in [(&[][..], &[][..]), (&["api_key"], &[("authorization", "api_key")])] {
        let stage = Stage::<Sglang>::granted(config.clone(), slots);
        let played = stage.ask(Request::Health, Scripted::new(200, ""));
        played.requests[0].assert_secrets(secrets);
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
    let server = |sent: &Sent| match of(sent.path()) {
        Some(body) => Scripted::json(&body),
        None => Scripted::new(404, ""),
    };
    match Stage::new(sglang).ask(Request::Describe, server).result() {
        Ok(Answer::Description(description)) => Ok(description.clone()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.clone()),
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
    match answer(&driver.reply_json(id, &tokens(&[&[1, 2]]))) {
        Ok(Answer::Tokens(ids)) => assert_eq!(ids, [1, 2]),
        other => panic!("{other:?}"),
    }
}
