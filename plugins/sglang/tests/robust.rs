//! Broken replies, early ends and odd requests: what every plugin must survive, with this server's routes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::LazyLock;

use common::{
    drive::{generate, output, scores, tokens},
    golden,
};
use plugin_api::{
    Generate, Loglikelihood, Message, Prompt, Request, Rolling,
    testkit::{Scripted, Sent, Stage, drop_at_every_step, garbage, no_panic},
};
use serde_json::{Value, json};
use sglang::Sglang;

static GOLDEN: LazyLock<[Value; 2]> =
    LazyLock::new(|| ["streams.json", "descriptions.json"].map(golden));

fn stage() -> Stage<Sglang> {
    Stage::open(json!({ "base_url": "http://sglang:30000/" }))
}

/// Ids of a text: a token before it, and one for each of its words.
fn ids(text: &str) -> Vec<u32> {
    let words = text.split_inclusive(' ').filter(|word| !word.trim().is_empty());
    [1].into_iter().chain(words.zip(5..).map(|(_, id)| id)).collect()
}

/// The server, as far as the golden files and the other tests show it.
fn server(sent: &Sent) -> Option<Scripted> {
    let [streams, descriptions] = &*GOLDEN;
    let body = sent.json();
    let of = |name: &str| Scripted::json(&descriptions[name]["reply"]);
    Some(match sent.path() {
        "/generate" if body["stream"] == true => {
            Scripted::new(200, streams["one"][0]["body"].as_str().unwrap())
        }
        "/generate" => {
            let lists = match &body["input_ids"] {
                Value::Array(lists) if lists.iter().all(Value::is_array) => lists.clone(),
                Value::Null => vec![Value::Null],
                list => vec![list.clone()],
            };
            let starts = &body["logprob_start_len"];
            let each = lists.iter().enumerate().map(|(index, list)| {
                let ids: Vec<u32> = serde_json::from_value(list.clone()).unwrap_or_default();
                let start = starts.get(index).unwrap_or(starts).as_u64();
                match start {
                    Some(start) if !ids.is_empty() => {
                        scores(&ids, usize::try_from(start).unwrap().min(ids.len() - 1))
                    }
                    _ => output(" B", ids.len().max(5)),
                }
            });
            let all: Vec<Value> = each.collect();
            Scripted::json(&if body["input_ids"][0].is_array() {
                json!(all)
            } else {
                all[0].clone()
            })
        }
        "/tokenize" => {
            let lists: Vec<Vec<u32>> =
                common::strings(&body["prompt"]).into_iter().map(ids).collect();
            Scripted::json(&tokens(&lists.iter().map(Vec::as_slice).collect::<Vec<_>>()))
        }
        "/v1/tokenize" => Scripted::json(&json!({ "tokens": [1, 5, 6], "count": 3 })),
        "/detokenize" => Scripted::json(&json!({ "text": "<s>Hi there" })),
        "/model_info" => of("model_info"),
        "/server_info" => of("server_info"),
        "/v1/models" => of("models"),
        "/health" => Scripted::new(200, ""),
        _ => return None,
    })
}

fn requests() -> Vec<Request<'static>> {
    let chat = || Prompt::Messages(vec![Message::text("user", "Hi")]);
    let score = |prompt| {
        let continuations = vec![" yes", " no"];
        Request::Loglikelihood(Loglikelihood { prompt, continuations, token_logprobs: true })
    };
    vec![
        Request::Generate(generate(Prompt::Text("Q"))),
        Request::Generate(Generate {
            stream: true,
            logprobs: Some(0),
            ..generate(Prompt::Text("Q"))
        }),
        Request::Generate(generate(chat())),
        score(Prompt::Text("Q: x\nA:")),
        score(chat()),
        Request::Rolling(Rolling { text: "Q: x" }),
        Request::Render(vec![Message::text("user", "Hi")]),
        Request::Tokenize("a b"),
        Request::Describe,
        Request::Health,
    ]
}

#[test]
fn no_broken_reply_becomes_an_answer() {
    for request in requests() {
        let tried = garbage(stage, std::slice::from_ref(&request), || server);
        assert!(tried.cases > 200, "{request:?}: {tried:?}");
    }
}

#[test]
fn a_session_may_end_at_any_step() {
    for request in requests() {
        drop_at_every_step(stage, &[request], || server);
    }
    let both = ["a", "b"].map(|text| Request::Generate(generate(Prompt::Text(text))));
    let batch = |sent: &Sent| match sent.json()["text"].as_array() {
        Some(texts) => Scripted::json(&json!(vec![output(" B", 5); texts.len()])),
        None => Scripted::new(404, ""),
    };
    drop_at_every_step(stage, &both, || batch);
}

#[test]
fn no_request_and_no_server_makes_it_panic() {
    no_panic(0..400, stage, || server);
}
