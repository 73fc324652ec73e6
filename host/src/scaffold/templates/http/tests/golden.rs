//! Whole exchanges, one a file in `golden/`: what the host asks, what must be sent for it, what the server replies and
//! what must come of it. A new one is a new file; `host run --record FILE` shows what a real server says.

use std::{fs, path::Path, sync::Arc};

use plugin_api::{
    Answer, Generate, Message, Prompt, Request, json,
    message::Action,
    serde_json::{self, Value},
    testkit::{self, Driver, Pushed},
};

use my_plugin::Server;

fn server() -> Arc<Server> {
    let config = json!({ "base_url": "http://server/", "model": "small" });
    Arc::new(testkit::open(config).unwrap())
}

/// A greedy request for few tokens.
fn generate(prompt: Prompt<'_>) -> Request<'_> {
    Request::Generate(Generate {
        max_tokens: Some(16),
        temperature: Some(0.0),
        stop: vec!["\n".into()],
        ..Generate::new(prompt)
    })
}

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

fn sent(pushed: &Pushed) -> Value {
    let Action::Http(http) = pushed.action() else {
        panic!("not a request: {pushed:?}");
    };
    let body: Value = serde_json::from_slice(&pushed.body).unwrap();
    json!({ "url": http.url, "body": body })
}

/// The answer, or the failure, as a golden file has it.
fn outcome(pushed: &Pushed) -> Value {
    if let Some(failure) = testkit::failure(pushed) {
        return json!({ "failure": { "kind": failure.kind, "message": failure.message } });
    }
    let Action::Done(done) = pushed.action() else {
        panic!("no answer: {pushed:?}");
    };
    let Answer::Completion(completion) = Answer::resolve(done.answer, &pushed.body).unwrap() else {
        panic!("no completion: {pushed:?}");
    };
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
        let mut session = Driver::new(server());
        let first = session.start(&[generate(prompt(&golden["asked"]))]);
        assert_eq!(sent(&first[0]), golden["sent"], "{}", path.display());
        let status = golden["reply"]["status"].as_u64().unwrap();
        let body = golden["reply"]["body"].to_string();
        let last = session.reply(1, u16::try_from(status).unwrap(), body.as_bytes());
        let outcome = outcome(&last[0]);
        for part in ["answer", "failure"] {
            assert_eq!(outcome[part], golden[part], "{}", path.display());
        }
        files += 1;
    }
    assert!(files > 3);
}

#[test]
fn no_reply_makes_it_panic_or_gives_an_answer_that_is_none() {
    let none = "{\"choices\":[]}";
    let null = "{\"choices\":[null]}";
    for body in ["", "{", "null", "[]", "<html>", "\u{1}", none, null] {
        for status in [200, 400, 500] {
            let mut session = Driver::new(server());
            session.start(&[generate(Prompt::Text("2 + 3 ="))]);
            let last = session.reply(1, status, body.as_bytes());
            assert!(testkit::failure(&last[0]).is_some(), "{status} {body}");
        }
    }
}

#[test]
fn the_key_is_named_and_never_known() {
    let config = json!({ "base_url": "http://server", "model": "small" });
    let granted = plugin_api::message::OpenHead {
        config,
        secrets: vec!["api_key".to_owned()],
        ..Default::default()
    };
    let mut session = Driver::new(Arc::new(testkit::open_with::<Server>(granted).unwrap()));
    let first = session.start(&[generate(Prompt::Text("2 + 3 ="))]);
    assert!(first[0].head().contains("{\"secret\":\"api_key\"}"));
    let mut without = Driver::new(server());
    let first = without.start(&[generate(Prompt::Text("2 + 3 ="))]);
    assert!(!first[0].head().contains("authorization"));
}
