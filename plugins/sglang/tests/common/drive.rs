//! Sessions driven by hand: what a backend asks for, what it answers, and the replies that a server would give.

use std::sync::Arc;

use plugin_api::{
    Answer, Completion, Error, ErrorKind, Generate, Likelihood, Message, Prompt,
    message::{Action, Decimal},
    testkit::{Driver, Pushed, failure, open},
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
        prompt,
        n: 1,
        max_tokens: Some(8),
        temperature: Some(0.0),
        top_p: None,
        top_k: None,
        stop: vec!["\n\n".into()],
        seed: None,
        logprobs: None,
        stream: false,
        extra: serde_json::Map::new(),
    }
}

pub(crate) fn chat<'a>() -> Vec<Message<'a>> {
    vec![Message::text("user", "Hi"), Message::text("assistant", "The answer is")]
}

/// Call number, route and body of each request among the actions. Every body must be one that the server takes.
pub(crate) fn calls(pushed: &[Pushed]) -> Vec<(u64, String, Value)> {
    pushed
        .iter()
        .filter_map(|pushed| match pushed.action() {
            Action::Http(http) => {
                let route = http.url.strip_prefix("http://sglang:30000").unwrap().to_owned();
                let body = serde_json::from_slice(&pushed.body).unwrap_or(Value::Null);
                if &*http.method == "POST" {
                    accepted(&route, &body);
                }
                Some((http.call.0, route, body))
            }
            _ => None,
        })
        .collect()
}

/// The only call among the actions, which must go to `route`.
pub(crate) fn call(pushed: &[Pushed], route: &str) -> (u64, Value) {
    let calls = calls(pushed);
    let [(call, found, body)] = calls.as_slice() else { panic!("{pushed:?}") };
    assert_eq!(found, route, "{pushed:?}");
    (*call, body.clone())
}

pub(crate) fn answer(pushed: &[Pushed]) -> Result<Answer, Error> {
    let last = pushed.last().expect("an action");
    match last.action() {
        Action::Done(done) => Ok(Answer::resolve(done.answer, &last.body).unwrap()),
        _ => Err(failure(last).unwrap_or_else(|| panic!("done or fail: {pushed:?}"))),
    }
}

/// The answers of a batch by item.
pub(crate) fn answers(pushed: &[Pushed]) -> Vec<(u32, Result<Completion, Error>)> {
    let mut all: Vec<_> = pushed
        .iter()
        .filter_map(|pushed| match pushed.action() {
            Action::Done(done) => match Answer::resolve(done.answer, &pushed.body).unwrap() {
                Answer::Completion(completion) => Some((done.item, Ok(completion))),
                other => panic!("{other:?}"),
            },
            Action::Fail(fail) => Some((fail.item.unwrap(), Err(fail.into()))),
            _ => None,
        })
        .collect();
    all.sort_by_key(|(item, _)| *item);
    all
}

pub(crate) fn completion(pushed: &[Pushed]) -> Completion {
    match answer(pushed) {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn likelihoods(pushed: &[Pushed]) -> Vec<Likelihood> {
    match answer(pushed) {
        Ok(Answer::Likelihoods(likelihoods)) => likelihoods,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn kind(pushed: &[Pushed]) -> ErrorKind {
    answer(pushed).unwrap_err().kind
}

pub(crate) fn deltas(pushed: &[Pushed]) -> String {
    pushed
        .iter()
        .filter(|pushed| matches!(pushed.action(), Action::Delta(_)))
        .map(|pushed| std::str::from_utf8(&pushed.body).unwrap())
        .collect()
}

/// Whether the first call was cancelled.
pub(crate) fn cancels_first(pushed: &[Pushed]) -> bool {
    let first = |action| matches!(action, Action::Cancel(cancel) if cancel.call == Decimal(1));
    pushed.iter().any(|pushed| first(pushed.action()))
}

pub(crate) fn reply_json(driver: &mut Driver<Sglang>, call: u64, body: &Value) -> Vec<Pushed> {
    driver.reply(call, 200, body.to_string().as_bytes())
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
