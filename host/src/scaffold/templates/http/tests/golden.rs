//! Whole exchanges, one a file in `golden/`: what the host asks, what must be sent for it, what the server replies and
//! what must come of it. A new one is a new file; `host run --record FILE` shows what a real server says.

mod common;

use std::{fs, path::Path};

use plugin_api::{
    Message, Prompt, json,
    serde_json::{self, Value},
    testkit::{self, Played, Scripted, Stage},
};

use common::{generate, stage};

use my_plugin::Server;

fn prompt(asked: &Value) -> Prompt<'_> {
    let Some(messages) = asked["messages"].as_array() else {
        return Prompt::Text(asked["text"].as_str().unwrap());
    };
    let messages = messages.iter().map(|message| {
        let part = |at: usize| message[at].as_str().unwrap();
        Message::text(part(0), part(1))
    });
    Prompt::Messages(messages.collect())
}

/// The answer, or the failure, as a golden file has it.
fn outcome(played: &Played) -> Value {
    if let Err(error) = played.result() {
        return json!({ "failure": { "kind": error.kind, "message": error.message } });
    }
    let completion = played.completion();
    let choice = &completion.choices[0];
    json!({ "answer": {
        "text": choice.text,
        "finish_reason": choice.finish_reason,
        "prompt_tokens": completion.usage.prompt_tokens,
        "completion_tokens": completion.usage.completion_tokens,
    } })
}

#[test]
fn the_schema_is_fresh() {
    testkit::check_schema::<Server>(env!("CARGO_MANIFEST_DIR")).unwrap();
}

#[test]
fn every_golden_exchange_is_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let golden: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let status = golden["reply"]["status"].as_u64().unwrap();
        let reply = Scripted::json(&golden["reply"]["body"]).status(status.try_into().unwrap());
        let played = stage().ask(generate(prompt(&golden["asked"])), reply);
        let sent = &played.requests[0];
        let sent = json!({ "url": sent.url, "body": sent.json() });
        assert_eq!(sent, golden["sent"], "{}", path.display());
        let outcome = outcome(&played);
        for part in ["answer", "failure"] {
            assert_eq!(outcome[part], golden[part], "{}", path.display());
        }
        files += 1;
    }
    assert!(files > 3);
}

#[test]
fn the_key_is_named_and_never_known() {
    let asked = || generate(Prompt::Text("2 + 3 ="));
    let config = json!({ "base_url": "http://server", "model": "small" });
    let with_key = Stage::<Server>::granted(config, &["api_key"]);
    let played = with_key.ask(asked(), Scripted::new(503, ""));
    played.requests[0].assert_secret("authorization", "api_key");
    let played = stage().ask(asked(), Scripted::new(503, ""));
    played.requests[0].assert_secrets(&[]);
}
