//! Whole sessions, driven event by event as the host would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use plugin_api::{
    Answer, ErrorKind, FinishReason, Generate, Message, Prompt, Request,
    testkit::{Driver, Scripted, Stage, answer, completion, requests},
};
use serde_json::{Value, json};

use common::{BASE, ask, completed, golden, open, played, replied, request, shipped};

const SHIPPED: [(&str, &str, &str); 3] = [
    ("openai.json", "piqa_custom.toml", "openai-compatible"),
    ("ollama_generate.json", "ollama.toml", "ollama-generate"),
    ("ollama_chat.json", "ollama.toml", "ollama-chat"),
];

fn openai() -> Arc<custom::Custom> {
    open(shipped("piqa_custom.toml", "openai-compatible"), &[]).unwrap()
}

fn ollama() -> Arc<custom::Custom> {
    open(shipped("ollama.toml", "ollama-generate"), &[]).unwrap()
}

/// The least that a run file may say, and what `over` adds at its top.
fn least(over: Value) -> Value {
    let mut config = json!({
        "base_url": "http://server:80/", "model": "m",
        "generate": { "path": "/ask?v=1", "body": "{\"q\": {{ prompt | tojson }}}" },
        "reply": { "text": "/answer" },
    });
    for (key, value) in over.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[test]
fn a_stream_cut_short_is_a_transport_failure_wherever_it_is_cut() {
    for (file, run_file, id) in SHIPPED {
        let custom = open(shipped(run_file, id), &[]).unwrap();
        for case in golden(file)["streams"].as_array().unwrap() {
            let body = case["body"].as_str().unwrap().trim_end().as_bytes();
            for cut in 0..body.len() {
                let error =
                    completed(&played(&custom, &case["request"], Scripted::new(200, &body[..cut])));
                let error = error.unwrap_err();
                assert_eq!(error.kind, ErrorKind::Transport, "{file} cut at {cut}: {error}");
            }
            let broken = Scripted::new(200, &body[..body.len() / 2]).breaking(ErrorKind::Timeout);
            let played = played(&custom, &case["request"], broken);
            assert_eq!(played.error().kind, ErrorKind::Timeout);
        }
    }
}

#[test]
fn a_reply_cut_short_or_of_another_shape_is_an_unexpected_reply() {
    for (file, run_file, id) in SHIPPED {
        let custom = open(shipped(run_file, id), &[]).unwrap();
        let case = &golden(file)["replies"][0];
        let body = case["reply"].to_string();
        let fails = |body: &[u8]| {
            let error = replied(&custom, &case["request"], 200, &[], body).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnexpectedReply, "{error}");
            assert!(error.excerpt.is_some());
        };
        for cut in 0..body.len() {
            fails(&body.as_bytes()[..cut]);
        }
        for other in ["null", "[]", "true", "\"text\"", "{}", "<html>", "\u{feff}", "{\"data\":[]}"]
        {
            fails(other.as_bytes());
        }
        fails(&[0xff, 0xfe, 0]);
        fails(&vec![b' '; 10 << 20]);
        fails(&vec![b'['; 10 << 20]);
    }
}

#[test]
fn a_very_long_answer_is_an_answer() {
    let text = "é ".repeat(4 << 20);
    let reply = json!({ "model": "m", "response": text, "done": true, "done_reason": "stop" });
    let found =
        replied(&ollama(), &ask("Q", false), 200, &[], reply.to_string().as_bytes()).unwrap();
    assert_eq!(found.choices[0].text.len(), text.len());
}

#[test]
fn an_error_inside_a_stream_is_a_failure_of_its_own_kind() {
    let sse = |data: Value| format!("data: {data}\n\n");
    let chunk = sse(json!({ "choices": [{ "index": 0, "delta": { "content": "a" } }] }));
    let too_long = json!({ "error": { "message": "x", "code": "context_length_exceeded" } });
    for (custom, body, kind) in [
        (openai(), chunk.clone() + &sse(too_long.clone()), ErrorKind::ContextLength),
        (openai(), chunk + &sse(json!({ "error": { "message": "died" } })), ErrorKind::Other),
        // Not an event at all, though a stream was asked for.
        (openai(), too_long.to_string(), ErrorKind::ContextLength),
        (openai(), "<html>".to_owned(), ErrorKind::UnexpectedReply),
        (openai(), "{\"choices\":[]}".to_owned(), ErrorKind::UnexpectedReply),
        (openai(), "data: <html>\n\n".to_owned(), ErrorKind::UnexpectedReply),
        (
            openai(),
            "data: {\"choices\":[{\"delta\":{\"content\":1}}]}\n\n".to_owned(),
            ErrorKind::UnexpectedReply,
        ),
        (
            ollama(),
            "{\"response\":\"a\",\"done\":false}\n{\"error\":\"died\"}\n".to_owned(),
            ErrorKind::Other,
        ),
        (ollama(), "{\"error\":\"died\"}".to_owned(), ErrorKind::Other),
        (ollama(), "<html>\n</html>\n".to_owned(), ErrorKind::UnexpectedReply),
        (ollama(), "{\"response\":{},\"done\":false}\n".to_owned(), ErrorKind::UnexpectedReply),
        // The end came, but never a text.
        (
            ollama(),
            "{\"done\":true,\"done_reason\":\"stop\"}\n".to_owned(),
            ErrorKind::UnexpectedReply,
        ),
    ] {
        let reply = Scripted::new(200, body.as_str());
        let error = completed(&played(&custom, &ask("Q", true), reply));
        assert_eq!(error.unwrap_err().kind, kind, "{body}");
    }
}

/// An event of the stream of a chat, whose finish reason may be null.
fn piece(text: &str, finish_reason: Value) -> String {
    let choice =
        json!({ "index": 0, "delta": { "content": text }, "finish_reason": finish_reason });
    format!("data: {}\n\n", json!({ "choices": [choice] }))
}

#[test]
fn a_stream_that_the_server_broke_off_is_no_answer() {
    for word in ["abort", "error"] {
        let body = piece("42", Value::Null) + &piece("", word.into()) + "data: [DONE]\n\n";
        let played = played(&openai(), &ask("Q", true), Scripted::new(200, body));
        assert_eq!(played.error().kind, ErrorKind::Overloaded, "{word}");
    }
}

#[test]
fn a_stream_whose_end_comes_before_its_reason_broke_off() {
    let done = "data: [DONE]\n\n";
    let usage = format!("data: {}\n\n", json!({ "choices": [], "usage": { "prompt_tokens": 3 } }));
    for (body, kind) in [
        (piece("42", Value::Null) + done, ErrorKind::Transport),
        (piece("42", "".into()) + &usage + done, ErrorKind::Transport),
        // Never an event.
        (done.to_owned(), ErrorKind::UnexpectedReply),
    ] {
        let played = played(&openai(), &ask("Q", true), Scripted::new(200, body.as_str()));
        assert_eq!(played.error().kind, kind, "{body}");
    }
    // A stop text ends the answer before the server does.
    let cut = piece("4\n\n2", Value::Null) + done;
    let played = played(&openai(), &ask("Q", true), Scripted::new(200, cut));
    assert_eq!(played.completion().choices[0].text, "4");
    // The run file names no place for a reason, or an event that is the server's last word.
    let config = least(json!({
        "generate": { "path": "/ask", "body": "{\"q\": {{ prompt | tojson }}, \"stream\": {{ stream | tojson }}}" },
        "stream": { "format": "sse", "text": "/choices/0/delta/content", "done": "[DONE]" },
    }));
    let body = piece("42", Value::Null) + done;
    let silent =
        self::played(&open(config, &[]).unwrap(), &ask("Q", true), Scripted::new(200, body));
    assert_eq!(silent.completion().choices[0].text, "42");
    let body = "{\"response\":\"42\",\"done\":true}\n";
    let told = self::played(&ollama(), &ask("Q", true), Scripted::new(200, body));
    assert_eq!(told.completion().choices[0].text, "42");
}

#[test]
fn a_stream_that_is_refused_tells_why() {
    let body = r#"{"error":{"message":"slow down","code":null}}"#;
    let reply = Scripted::new(429, body).header("retry-after", "3");
    let played = played(&openai(), &ask("Q", true), reply);
    let error = played.error();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(3000)));
    assert_eq!(error.message, "slow down");
}

#[test]
fn a_stop_text_that_the_server_misses_cancels_the_stream_and_is_never_passed_on() {
    let pieces =
        ["A\n", "\nB", "C"].map(|text| format!("{}\n", json!({ "response": text, "done": false })));
    let reply = Scripted::new(200, pieces.concat()).cut_every(pieces[0].len());
    let played = played(&ollama(), &ask("Q", true), reply);
    let choice = &played.completion().choices[0];
    assert_eq!((choice.text.as_str(), &choice.finish_reason), ("A", &FinishReason::Stop));
    assert_eq!(played.streamed(), "A");
    assert_eq!(played.cancelled, [1]);
}

#[test]
fn a_stream_without_a_last_event_ends_with_its_reason_and_its_bytes() {
    let config = least(json!({
        "generate": { "path": "/ask", "body": "{\"q\": {{ prompt | tojson }}}" },
        "stream": { "format": "ndjson", "path": "/ask-slowly", "text": "/t", "finish_reason": "/why" },
    }));
    let custom = open(config, &[]).unwrap();
    let nobody = played(&custom, &ask("Q", true), Scripted::new(503, ""));
    assert_eq!(nobody.paths(), ["/ask-slowly"]);
    let run = |body: &str| completed(&played(&custom, &ask("Q", true), Scripted::new(200, body)));
    let whole = run("{\"t\":\"a\"}\n{\"t\":\"b\",\"why\":\"length\"}\n{}").unwrap();
    assert_eq!(
        (whole.choices[0].text.as_str(), &whole.choices[0].finish_reason),
        ("ab", &FinishReason::Length)
    );
    assert_eq!(run("{\"t\":\"a\"}\n").unwrap_err().kind, ErrorKind::Transport);
}

#[test]
fn reasoning_inside_the_text_is_taken_out_by_pattern_in_replies_and_streams() {
    let text = json!({ "pointer": "/t", "regex": r"(?s)^(?:\s*<think>.*?</think>\s*)?(.*)$" });
    let reasoning = json!({ "pointer": "/t", "regex": r"(?s)<think>(.*?)</think>" });
    let config = least(json!({
        "generate": { "path": "/ask", "body": "{\"q\": {{ prompt | tojson }}, \"stream\": {{ stream | tojson }}}" },
        "reply": { "text": text, "reasoning": reasoning, "finish_reason": "/why" },
        "stream": { "format": "ndjson", "text": text, "reasoning": reasoning, "finish_reason": "/why" },
    }));
    let custom = open(config, &[]).unwrap();
    let whole = "<think>a\n\nb</think>\n\nB\n\nC";
    let body = json!({ "t": whole, "why": "stop" }).to_string();
    let reply = replied(&custom, &ask("Q", false), 200, &[], body.as_bytes()).unwrap();
    let events: Vec<String> = whole
        .chars()
        .map(|c| format!("{}\n", json!({ "t": c.to_string() })))
        .chain(["{\"why\":\"stop\"}\n".to_owned()])
        .collect();
    let stream = played(&custom, &ask("Q", true), Scripted::new(200, events.concat()));
    assert_eq!(&reply, stream.completion());
    assert_eq!(reply.choices[0].text, "B");
    assert_eq!(reply.choices[0].reasoning.as_deref(), Some("a\n\nb"));
    assert_eq!(stream.streamed(), "B");
}

#[test]
fn choices_that_are_asked_for_one_by_one_come_in_order_and_fail_together() {
    let custom = ollama();
    let of = json!({ "prompt": "Q", "n": 3, "seed": 40 });
    let mut driver = Driver::new(Arc::clone(&custom));
    let start = driver.start(&[Request::Generate(request(&of))]);
    let seeds: Vec<_> =
        requests(&start).iter().map(|sent| sent.json()["options"]["seed"].clone()).collect();
    assert_eq!(seeds, [40, 41, 42]);
    let mut pushed = Vec::new();
    for (call, text) in [(3, "c"), (1, "a"), (2, "b")] {
        let body =
            json!({ "response": text, "done": true, "done_reason": "length", "eval_count": 8 });
        pushed = driver.reply(call, 200, body.to_string().as_bytes());
    }
    let found = completion(&pushed);
    let texts: Vec<_> = found.choices.iter().map(|choice| choice.text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!((found.usage.completion_tokens, found.model.as_deref()), (Some(24), Some("m")));

    let mut driver = Driver::new(custom);
    driver.start(&[Request::Generate(Generate { n: 2, ..request(&of) })]);
    assert!(driver.reply(1, 503, b"").is_empty());
    let error = answer(&driver.reply(2, 200, br#"{"response":"a","done":true}"#)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Overloaded);
}

#[test]
fn chat_messages_are_refused_where_the_template_takes_a_text() {
    let prompt = Prompt::Messages(vec![Message::text("user", "Q")]);
    let of = ask("", false);
    let chat = Generate { prompt, ..request(&of) };
    let pushed = Driver::new(ollama()).start(&[Request::Generate(chat)]);
    let error = answer(&pushed).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("`prompt`"), "{error}");
    assert!(requests(&pushed).is_empty());
}

#[test]
fn a_body_that_this_request_makes_no_json_of_is_refused_before_it_is_sent() {
    let body = "{\"q\": {{ prompt | tojson }},\n\"x\": {{ extra.x }}}";
    let config = least(json!({ "generate": { "path": "/ask", "body": body } }));
    let custom = open(config, &[]).unwrap();
    for (extra, says) in
        [(json!({}), "line 2"), (json!({ "x": "a b" }), "line 2 of the rendered body")]
    {
        let of = json!({ "prompt": "Q", "extra": extra });
        let pushed = Driver::new(Arc::clone(&custom)).start(&[Request::Generate(request(&of))]);
        let error = answer(&pushed).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest);
        assert!(
            error.message.starts_with("generate.body: ") && error.message.contains(says),
            "{error}"
        );
        assert!(requests(&pushed).is_empty());
    }
}

#[test]
fn log_probabilities_that_the_server_does_not_give_are_recorded() {
    let of = json!({ "prompt": "Q", "logprobs": 1 });
    let body = json!({ "response": "a", "done": true, "done_reason": "stop" }).to_string();
    let found = replied(&ollama(), &of, 200, &[], body.as_bytes()).unwrap();
    assert_eq!(found.changed.len(), 1);
    assert_eq!(found.changed[0].parameter, "logprobs");
}

#[test]
fn a_secret_is_named_in_its_header_and_only_if_there_is_one() {
    let optional = shipped("piqa_custom.toml", "openai-compatible");
    for (secrets, named) in [(&[][..], false), (&["api_key"][..], true)] {
        let custom = open(optional.clone(), secrets).unwrap();
        for request in [Request::Health, Request::Generate(request(&ask("Q", false)))] {
            let stage = Stage::new(Arc::clone(&custom));
            let played = stage.ask(request, Scripted::new(503, ""));
            let expected = [("authorization", "api_key")];
            played.requests[0].assert_secrets(if named { &expected } else { &[] });
            assert_eq!(played.requests[0].header("authorization").is_some(), named);
        }
    }
    let needed = |headers: Value| least(json!({ "headers": headers }));
    let error = open(needed(json!({ "X-Key": [{ "secret": "key" }] })), &["api_key"]).unwrap_err();
    assert!(error.starts_with("headers.X-Key: ") && error.contains("slot `key`"), "{error}");
    let custom = open(needed(json!({ "X-Key": [{ "secret": "key" }] })), &["key"]).unwrap();
    let played = played(&custom, &ask("Q", false), Scripted::new(503, ""));
    let sent = &played.requests[0];
    sent.assert_secret("x-key", "key");
    assert_eq!(sent.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(sent.headers.len(), 2);
    assert_eq!((sent.path(), sent.json()), ("/ask?v=1", json!({ "q": "Q" })));
}

#[test]
fn a_header_is_sent_as_it_stands() {
    let config = least(json!({
        "headers": { "Content-Type": "application/x+json", "X-Note": "{{ prompt }} {secret}", "Authorization": [{ "text": "none" }] },
        "error": { "retry_after_header": "X-Wait" },
    }));
    let custom = open(config, &["secret"]).unwrap();
    let played = played(&custom, &ask("Q", false), Scripted::new(503, ""));
    let sent = &played.requests[0];
    let shown: Vec<_> =
        sent.headers.iter().map(|(name, _)| (name.as_str(), sent.header(name).unwrap())).collect();
    assert_eq!(
        json!(shown),
        json!([
            ["authorization", "none"],
            ["content-type", "application/x+json"],
            ["x-note", "{{ prompt }} {secret}"]
        ])
    );
    sent.assert_secrets(&[]);
    assert_eq!(sent.reply_headers, ["x-wait"]);
    let error = replied(&custom, &ask("Q", false), 429, &[("x-wait", "2")], b"").unwrap_err();
    assert_eq!(error.retry_after_ms, Some(2000));
}

#[test]
fn a_server_is_ready_if_it_says_what_the_probe_expects() {
    let health = |custom: &Arc<custom::Custom>, status: u16, body: &str| {
        let stage = Stage::new(Arc::clone(custom));
        let played = stage.ask(Request::Health, Scripted::new(status, body));
        assert_eq!(played.requests[0].method, "GET");
        match played.result() {
            Ok(Answer::Health(health)) => Ok(health.ready),
            Err(error) => Err(error.kind),
            other => panic!("{other:?}"),
        }
    };
    let openai = openai();
    assert_eq!(health(&openai, 200, r#"{"data":[]}"#), Ok(true));
    assert_eq!(health(&openai, 200, "<html>"), Ok(false));
    assert_eq!(health(&openai, 503, ""), Ok(false));
    assert_eq!(health(&openai, 401, ""), Err(ErrorKind::Unauthorized));
    assert_eq!(health(&openai, 404, ""), Err(ErrorKind::InvalidRequest));

    let probe = json!({ "path": "/up", "status": [200, 503], "pointer": "/state", "matches": "^(up|busy)$" });
    let custom = open(least(json!({ "health": probe })), &[]).unwrap();
    assert_eq!(health(&custom, 503, r#"{"state":"busy"}"#), Ok(true));
    assert_eq!(health(&custom, 200, r#"{"state":"down"}"#), Ok(false));
    assert_eq!(health(&custom, 204, r#"{"state":"up"}"#), Ok(false));

    let silent = open(least(json!({})), &[]).unwrap();
    let error = answer(&Driver::new(silent).start(&[Request::Health])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}

#[test]
fn a_description_names_the_model() {
    let played = Stage::new(openai()).ask(Request::Describe, Scripted::new(503, ""));
    match played.answer() {
        Answer::Description(found) => assert_eq!(found.model.as_deref(), Some("m")),
        other => panic!("{other:?}"),
    }
    assert!(played.requests.is_empty());
}

#[test]
fn a_mistake_in_the_configuration_is_told_by_its_key_when_the_backend_opens() {
    let body = |body: &str| json!({ "generate": { "path": "/ask", "body": body } });
    let stream = |stream: Value| json!({ "generate": { "path": "/ask", "body": "{{ [prompt, stream] | tojson }}" }, "stream": stream });
    let reply = |reply: Value| json!({ "reply": reply });
    for (over, says) in [
        (json!({ "base_url": "server:80" }), "base_url: "),
        (json!({ "base_url": "http://server/v1?key=x" }), "base_url: "),
        (json!({ "generate": { "path": "ask", "body": "1" } }), "generate.path: "),
        (json!({ "generate": { "path": "/a b", "body": "1" } }), "generate.path: "),
        (body("{{ prompt"), "generate.body: line 1"),
        (
            body("{\"q\": \"{{ prompt }}\"}"),
            "generate.body: for a text prompt without parameters: line 1",
        ),
        (body("{\"q\": {{ messages[0].content | tojson }}, \"t\": {{ temperature }}}"), "None"),
        (body("[{% if temperature is not none %}1,{% endif %}]"), "with all parameters"),
        (body("{{ promt | tojson }}"), "`promt` is no variable"),
        (
            body("{{ messages[0].contnt | tojson }}"),
            "generate.body: for a text prompt without parameters: line 1",
        ),
        (reply(json!({ "text": "answer" })), "reply.text: "),
        (reply(json!({ "text": { "pointer": "/a", "regex": "(" } })), "reply.text: "),
        (reply(json!({ "text": "/a", "index": "/i" })), "reply.index: "),
        (reply(json!({ "text": "/a", "choices": "x" })), "reply.choices: "),
        (
            reply(json!({ "text": "/a", "usage": { "prompt_tokens": "x" } })),
            "reply.usage.prompt_tokens: ",
        ),
        (
            reply(
                json!({ "text": "/a", "logprobs": { "tokens": "/a", "token": "b", "logprob": "/c" } }),
            ),
            "reply.logprobs.token: ",
        ),
        (stream(json!({ "format": "sse", "text": "/a" })), "stream: expected `done`"),
        (stream(json!({ "format": "sse", "text": "/a", "done": " " })), "stream.done: "),
        (
            stream(json!({ "format": "sse", "text": "/a", "done": { "pointer": "a" } })),
            "stream.done.pointer: ",
        ),
        (
            stream(json!({ "format": "sse", "text": "/a", "done": "x", "logprobs": "/b" })),
            "stream.logprobs: ",
        ),
        (
            json!({ "stream": { "format": "sse", "text": "/a", "done": "x" } }),
            "stream: generate.body does not mention",
        ),
        (
            json!({ "error": { "rule": [{ "pointer": "/a", "matches": "(", "kind": "other" }] } }),
            "error.rule.0.matches: ",
        ),
        (json!({ "health": { "path": "x" } }), "health.path: "),
        (json!({ "health": { "path": "/x", "equals": 1 } }), "health: "),
        (json!({ "headers": { "a b": "x" } }), "headers.a b: "),
        (json!({ "headers": { "a": "x\ny" } }), "headers.a: "),
        (json!({ "headers": { "A": "x", "a": "y" } }), "headers.a: "),
        (
            json!({ "headers": { "Authorization": "Bearer sk-123" } }),
            "a credential does not belong",
        ),
        (
            json!({ "headers": { "a": [{ "optional_secret": "key" }, { "text": "x" }] } }),
            "last part",
        ),
        // What the types already say.
        (json!({ "strem": {} }), "unknown field `strem`"),
        (json!({ "stream": { "format": "xml", "text": "/a" } }), "xml"),
        (json!({ "error": { "rule": [{ "status": 1, "kind": "tired" }] } }), "tired"),
    ] {
        let error = open(least(over.clone()), &["key"]).err();
        assert!(error.as_deref().is_some_and(|error| error.contains(says)), "{over}: {error:?}");
    }
    let mut nameless = least(body("{\"m\": {{ model | tojson }}, \"q\": {{ prompt | tojson }}}"));
    nameless.as_object_mut().unwrap().remove("model");
    assert!(open(nameless, &[]).unwrap_err().contains("names none"));
    assert!(BASE.starts_with("http://server"));
}
