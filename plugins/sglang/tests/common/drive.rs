//! Sessions driven by hand: what a backend asks for, what it answers, and the replies that a server would give.

use std::sync::Arc;

use plugin_api::{
    Answer, Completion, Error, ErrorKind, Generate, Message, Prompt,
    testkit::{self, Pushed, Sent, answer, open},
};
use serde_json::{Value, json};
use sglang::Sglang;

use super::accepted;

pub(crate) fn configured(over: &Value) -> Arc<Sglang> {
    let mut config = json!({ "base_url": "http://sglang:30000/" });
    for (key, value) in over.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    Arc::new(open(config).unwrap())
}

pub(crate) fn sglang() -> Arc<Sglang> {
    configured(&Value::Null)
}

pub(crate) fn generate(prompt: Prompt<'_>) -> Generate<'_> {
    Generate {
        max_tokens: Some(8),
        temperature: Some(0.0),
        stop: vec!["\n\n".into()],
        ..Generate::new(prompt)
    }
}

pub(crate) fn chat<'a>() -> Vec<Message<'a>> {
    vec![Message::text("user", "Hi"), Message::text("assistant", "The answer is")]
}

/// Call number, route and body of each request among the actions. Every body must be one that the server takes.
pub(crate) fn calls(pushed: &[Pushed]) -> Vec<(u64, String, Value)> {
    let call = |sent: Sent| {
        let body = sent.json();
        if sent.method == "POST" {
            accepted(sent.path(), &body);
        }
        (sent.call, sent.path().to_owned(), body)
    };
    testkit::requests(pushed).into_iter().map(call).collect()
}

/// The only call among the actions, which must go to `route`.
pub(crate) fn call(pushed: &[Pushed], route: &str) -> (u64, Value) {
    let calls = calls(pushed);
    let [(call, found, body)] = calls.as_slice() else { panic!("{pushed:?}") };
    assert_eq!(found, route, "{pushed:?}");
    (*call, body.clone())
}

/// The answers of a batch by item.
pub(crate) fn answers(pushed: &[Pushed]) -> Vec<(u32, Result<Completion, Error>)> {
    let mut all: Vec<_> = testkit::answers(pushed)
        .into_iter()
        .map(|(item, answer)| match answer {
            Ok(Answer::Completion(completion)) => (item, Ok(completion)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => (item, Err(error)),
        })
        .collect();
    all.sort_by_key(|(item, _)| *item);
    all
}

pub(crate) fn kind(pushed: &[Pushed]) -> ErrorKind {
    answer(pushed).unwrap_err().kind
}

/// A finished output.
pub(crate) fn output(text: &str, prompt_tokens: usize) -> Value {
    json!({ "text": text, "output_ids": [4, 2], "meta_info": {
        "id": "r", "finish_reason": { "type": "stop", "matched": 2 },
        "prompt_tokens": prompt_tokens, "completion_tokens": 2, "cached_tokens": 0 } })
}

/// The output of a scoring of `ids` from `start` on: each token's log-probability is minus its id over ten, and it
/// is the likeliest.
pub(crate) fn scores(ids: &[u32], start: usize) -> Value {
    let entry = |id: &u32| json!([-f64::from(*id) / 10.0, id, null]);
    let mut entries: Vec<Value> = ids[start..].iter().map(entry).collect();
    let top: Vec<Value> = ids[start..].iter().map(|id| json!([entry(id)])).collect();
    entries[0][0] = Value::Null;
    let mut scored = output(".", ids.len());
    scored["meta_info"]["input_token_logprobs"] = json!(entries);
    scored["meta_info"]["input_top_logprobs"] = json!(top);
    scored
}

pub(crate) fn tokens(lists: &[&[u32]]) -> Value {
    let counts: Vec<usize> = lists.iter().map(|list| list.len()).collect();
    json!({ "tokens": lists, "count": counts, "max_model_len": 4096 })
}
