//! The Ollama flavor over real connections.

use serde_json::{Value, json};

use crate::mock::{
    Reply, Settings,
    testkit::{get, post, post_text, start},
};

const QUESTION: &str = "Tell me something.";

#[test]
fn an_answer_comes_as_lines_or_whole() {
    let server = start(Settings::default());
    let mut body = json!({ "model": "m", "prompt": QUESTION, "options": { "temperature": 0 } });
    let got = post(&server, "/ollama/api/generate", &body);
    assert_eq!(got.header("content-type"), Some("application/x-ndjson"));
    let lines = got.lines();
    let joined: String = lines.iter().map(|line| line["response"].as_str().unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    assert!(lines[..lines.len() - 1].iter().all(|line| line["done"] == false));
    body["stream"] = json!(false);
    let whole = post(&server, "/ollama/api/generate", &body).json();
    assert_eq!(whole["response"], joined);
    assert_eq!((&whole["model"], &whole["eval_count"]), (&json!("m"), &last["eval_count"]));

    let mut chat = json!({
        "model": "m", "messages": [{ "role": "user", "content": QUESTION }],
        "options": { "temperature": 0 }, "logprobs": true, "top_logprobs": 2,
    });
    let lines = post(&server, "/ollama/api/chat", &chat).lines();
    let content = |line: &Value| line["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(lines.iter().map(content).collect::<String>(), joined);
    assert_eq!(lines[0]["logprobs"][0]["top_logprobs"].as_array().unwrap().len(), 2);
    chat["stream"] = json!(false);
    chat["options"] = json!({ "temperature": 0, "num_predict": 3 });
    let whole = post(&server, "/ollama/api/chat", &chat).json();
    assert_eq!((&whole["done_reason"], &whole["eval_count"]), (&json!("length"), &json!(3)));
}

#[test]
fn a_stop_text_is_trimmed_and_a_seed_changes_an_answer() {
    let server = start(Settings::default());
    let said = |options: Value| {
        let body = json!({ "model": "m", "prompt": QUESTION, "stream": false, "options": options });
        post(&server, "/ollama/api/generate", &body).json()["response"].as_str().unwrap().to_owned()
    };
    let greedy = said(json!({ "temperature": 0 }));
    let (first, _) = greedy.split_once(' ').unwrap();
    assert_eq!(said(json!({ "temperature": 0, "stop": [" "] })), first);
    assert_ne!(said(json!({ "seed": 1 })), said(json!({ "seed": 2 })));
}

#[test]
fn what_does_not_fit_is_refused() {
    let server = start(Settings::default());
    for (path, body, status, text) in [
        (
            "generate",
            "{\"model\":\"m\",\"prompt\":\"Q\",\"temperature\":0}",
            400,
            "temperature: unknown",
        ),
        (
            "chat",
            "{\"model\":\"m\",\"options\":{\"max_tokens\":1}}",
            400,
            "options.max_tokens: unknown",
        ),
        (
            "chat",
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[]}]}",
            400,
            "messages[0].content: ",
        ),
        ("generate", "{\"prompt\":\"Q\"}", 400, "model is required"),
        ("generate", "", 400, "missing request body"),
        ("generate", "{", 400, "EOF"),
        ("chat", "{\"model\":\"missing\"}", 404, "model 'missing' not found"),
    ] {
        let got = post_text(&server, &format!("/ollama/api/{path}"), body);
        assert_eq!(got.status, status, "{body}");
        let error = got.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(text), "{body}: {error}");
    }
    assert_eq!(get(&server, "/ollama/nothing").status, 404);
}

#[test]
fn the_model_is_listed_and_shown() {
    let server = start(Settings::default());
    let model = get(&server, "/ollama/api/tags").json()["models"][0]["name"].clone();
    let shown = post(&server, "/ollama/api/show", &json!({ "model": model })).json();
    assert_eq!(shown["details"]["family"], "mock");
    assert!(get(&server, "/ollama/api/version").json()["version"].is_string());
    let loaded = post(&server, "/ollama/api/generate", &json!({ "model": model })).json();
    assert_eq!(loaded["done_reason"], "load");
    assert_eq!(get(&server, "/ollama/").text(), "Ollama is running");
}

#[test]
fn an_error_in_a_stream_is_a_line() {
    let server = start(Settings { reply: Some(Reply::ErrorIn200), ..Settings::default() });
    let got = post(&server, "/ollama/api/generate", &json!({ "model": "m", "prompt": QUESTION }));
    assert!(got.lines().last().unwrap()["error"].is_string());
}
