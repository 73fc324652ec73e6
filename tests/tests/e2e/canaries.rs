//! The key of every plugin that takes one: sent to its own server only, and written nowhere, whatever the server says.

use host_tests::{
    left::counts,
    sandbox::{Outcome, Sandbox},
    scripted::{Asked, Scripted, reply},
};
use serde_json::{Value, json};

use super::{
    CUSTOM, ECHO, echoes,
    vendors::{CANARY, canary, nowhere, refused},
};

/// Backend, slot and variable of its key; the rest of its table.
const KEYED: [(&str, &str, &str, &str); 4] = [
    ("openai", "openai", "OPENAI_API_KEY", "plugin = \"litellm\"\nmodel = \"openai/gpt-4o-mini\""),
    ("router", "hf_token", "HF_TOKEN", "plugin = \"huggingface\"\nmodel = \"acme/model:novita\""),
    ("custom", "mine", "CUSTOM_KEY", CUSTOM),
    ("sglang", "api_key", "SGLANG_API_KEY", "plugin = \"sglang\""),
];

/// What `custom` must be told of a key.
const SLOT: &str = r#"config.headers.x-token = [{ text = "Token " }, { secret = "mine" }]
[[backend.slot]]
slot = "mine"
env = ["CUSTOM_KEY"]
"#;

/// A run file of a server for each backend, each with its key.
fn run_file(servers: &[Scripted], stream: bool) -> String {
    let mut text = String::from("[run]\nmax_retries = 0\nattempt_timeout = \"20s\"\n");
    for ((id, slot, _, table), server) in KEYED.iter().zip(servers) {
        let url = server.url();
        text.push_str(&format!(
            "[[backend]]\nid = \"{id}\"\nbase_url = \"{url}\"\nstream = {stream}\nsecrets = [\"{slot}\"]\n{table}\n"
        ));
        if *id == "custom" {
            text.push_str(SLOT);
        }
    }
    text.push_str(ECHO);
    text
}

/// Runs two samples at a server for each backend, each with its key.
fn run(servers: &[Scripted], stream: bool) -> (Outcome, Sandbox) {
    let text = run_file(servers, stream);
    let keys = KEYED.map(|(_, _, variable, _)| (variable, canary(variable)));
    let variables = keys.each_ref().map(|(variable, key)| (*variable, key.as_str()));
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(2));
    (sandbox.run_with(&text, &variables), sandbox)
}

/// A server for each backend, each ready.
fn servers(answer: fn(&Asked) -> Vec<u8>) -> Vec<Scripted> {
    let answer = move |asked: &Asked| match asked.line.as_str() {
        "GET /health" => reply(200, "", ""),
        "GET /model_info" => reply(200, "", "{\"model_path\": \"m\", \"is_generation\": true}"),
        _ => answer(asked),
    };
    KEYED.iter().map(|_| Scripted::start(answer)).collect()
}

/// Every request to a server has its own key, in one header, and no other one.
fn assert_own_keys_only(servers: &[Scripted]) {
    for ((id, _, variable, _), server) in KEYED.iter().zip(servers) {
        let asked = server.asked();
        assert!(!asked.is_empty(), "{id}");
        for request in asked {
            let all = format!("{}\n{}\n{}", request.line, request.headers, request.body);
            assert!(request.headers.contains(&canary(variable)), "{id}: {all}");
            assert_eq!(all.matches(CANARY).count(), 1, "{id}: {all}");
        }
    }
}

fn assert_written_nowhere(outcome: &Outcome) {
    nowhere(&[outcome.stdout.as_bytes(), outcome.stderr.as_bytes(), &outcome.left().bytes()]);
}

#[test]
fn a_server_that_refuses_with_the_key_gets_it_written_nowhere() {
    for stream in [false, true] {
        let servers = servers(refused);
        let (outcome, _sandbox) = run(&servers, stream);
        let outcome = outcome.exits(3);
        assert_written_nowhere(&outcome);
        assert_own_keys_only(&servers);
        for line in &outcome.left().journal {
            let backend = line["backend"].as_str().unwrap();
            let (_, slot, ..) = KEYED.iter().find(|(id, ..)| *id == backend).unwrap();
            assert!(line["error"].to_string().contains(&format!("[redacted:{slot}]")), "{line}");
        }
    }
}

/// The key that came with a request.
fn key(asked: &Asked) -> &str {
    asked.headers.split_whitespace().find(|word| word.starts_with(CANARY)).unwrap_or("none")
}

/// An answer whose text is the key: OpenAI's chat, or SGLang's own routes. Streamed, the key comes in two pieces.
fn told(asked: &Asked) -> Vec<u8> {
    let (first, second) = ("your key is sk-can", key(asked).trim_start_matches("sk-can"));
    let text = format!("{first}{second}");
    let streamed = asked.body.replace(' ', "").contains("\"stream\":true");
    let route = asked.line.rsplit_once('/').map_or("", |(_, route)| route);
    match (route, streamed) {
        ("tokenize", _) => reply(200, "", &json!({ "tokens": [1, 2] }).to_string()),
        ("generate", false) => reply(200, "", &generated(&text, true).to_string()),
        ("generate", true) => events(&[generated(first, false), generated(&text, true)]),
        ("completions", false) => reply(200, "", &chat("message", &text, true).to_string()),
        ("completions", true) => {
            events(&[chat("delta", first, false), chat("delta", second, true)])
        }
        _ => reply(404, "", "{}"),
    }
}

/// OpenAI's chat completion, or a piece of one.
fn chat(place: &str, text: &str, last: bool) -> Value {
    let reason = last.then_some("stop");
    let message = json!({ "role": "assistant", "content": text });
    json!({
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, place: message, "finish_reason": reason }],
        "usage": { "prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5 },
    })
}

/// SGLang's answer so far.
fn generated(text: &str, last: bool) -> Value {
    let reason = last.then(|| json!({ "type": "stop", "matched": 2 }));
    let counts = json!({
        "id": "x", "finish_reason": reason, "prompt_tokens": 2, "completion_tokens": 3,
        "cached_tokens": 0,
    });
    json!({ "text": text, "output_ids": [1, 2, 3], "meta_info": counts })
}

fn events(pieces: &[Value]) -> Vec<u8> {
    let mut body: String = pieces.iter().map(|piece| format!("data: {piece}\n\n")).collect();
    body.push_str("data: [DONE]\n\n");
    reply(200, "content-type: text/event-stream\r\n", &body)
}

#[test]
fn a_server_that_answers_with_the_key_gets_it_written_nowhere() {
    for stream in [false, true] {
        let servers = servers(told);
        let (outcome, _sandbox) = run(&servers, stream);
        let outcome = outcome.exits(0);
        assert_written_nowhere(&outcome);
        assert_own_keys_only(&servers);
        let left = outcome.left();
        for (id, slot, ..) in KEYED {
            assert_eq!(counts(left.of_backend(id)), [2, 2, 0], "{id}");
            for line in left.journal.iter().filter(|line| line["backend"] == id) {
                let text = &line["response"]["completion"]["choices"][0]["text"];
                assert_eq!(*text, format!("your key is [redacted:{slot}]"), "{line}");
            }
        }
        for (server, (id, ..)) in servers.iter().zip(KEYED) {
            let streamed = |asked: Asked| asked.body.replace(' ', "").contains("\"stream\":true");
            assert_eq!(server.asked().into_iter().any(streamed), stream, "{id}");
        }
    }
}

#[test]
fn a_recording_of_servers_that_answer_with_the_key_holds_none_and_is_replayed_without_any() {
    for (stream, answer) in
        [(false, told as fn(&Asked) -> Vec<u8>), (true, told), (false, refused), (true, refused)]
    {
        let servers = servers(answer);
        let text = run_file(&servers, stream);
        let sandbox = Sandbox::new();
        sandbox.write("data.jsonl", echoes(2));
        let file = sandbox.path("run.jsonl");
        let name = file.display().to_string();
        let mut command = sandbox.run_command(&text, &["--record", &name]);
        for (_, _, variable, _) in KEYED {
            command.env(variable, canary(variable));
        }
        let recorded = sandbox.finish(command);
        assert_written_nowhere(&recorded);
        let recording = std::fs::read(&file).unwrap();
        nowhere(&[&recording]);
        // Nor in pieces that only need to be put together.
        let recording = String::from_utf8(recording).unwrap();
        assert!(!recording.contains("5f1c7e93"), "{recording}");
        let before = recorded.left();
        drop(servers);
        let replayed = super::replaying::run(&sandbox, &text, "--replay", &file);
        assert_eq!(replayed.code, recorded.code, "{}", replayed.stderr);
        let after = replayed.left();
        for (line, before) in after.journal.iter().zip(&before.journal) {
            assert_eq!(line["response"], before["response"]);
            assert_eq!(line["status"], before["status"]);
        }
    }
}
