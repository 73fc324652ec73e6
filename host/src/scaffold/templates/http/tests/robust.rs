//! What every backend must survive: broken replies, early ends, odd requests. None of it may become an answer that the
//! server did not give.

mod common;

use plugin_api::{
    Message, Prompt, Request, json,
    testkit::{Scripted, Sent, drop_at_every_step, garbage, no_panic},
};

use common::{generate, stage};

/// A server in whose replies nothing is wrong.
fn server() -> impl FnMut(&Sent) -> Option<Scripted> {
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 2 });
    move |sent| {
        let choice = match sent.path() {
            "/v1/chat/completions" => json!({ "message": { "role": "assistant", "content": "5" } }),
            "/v1/completions" => json!({ "text": " 5" }),
            "/v1/models" => return Some(Scripted::json(&json!({ "data": [{ "id": "small" }] }))),
            _ => return None,
        };
        let mut reply = json!({ "model": "small-1", "choices": [choice], "usage": usage });
        reply["choices"][0]["finish_reason"] = json!("stop");
        Some(Scripted::json(&reply))
    }
}

fn requests() -> [Request<'static>; 3] {
    [
        generate(Prompt::Text("2 + 3 =")),
        generate(Prompt::Messages(vec![Message::text("user", "2 + 3?")])),
        Request::Health,
    ]
}

#[test]
fn no_broken_reply_becomes_an_answer() {
    for request in requests() {
        let tried = garbage(stage, &[request], server);
        assert!(tried.cases > 100, "{tried:?}");
    }
}

#[test]
fn a_session_may_end_at_any_step() {
    for request in requests() {
        drop_at_every_step(stage, &[request], server);
    }
}

#[test]
fn no_request_and_no_server_makes_it_panic() {
    no_panic(0..100, stage, server);
}
