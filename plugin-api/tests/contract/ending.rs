//! `end` at any point of a session releases everything, whatever was outstanding.

use plugin_api::abi;
use serde_json::{Value, json};

use crate::{
    alloc::live,
    minihost::{Opened, open, start, table},
    subject::{Subject, generate},
};

/// An event: head and body.
type Happening = (Value, &'static [u8]);

/// A prompt and the events of its whole session after `start`.
fn stories() -> Vec<(Vec<&'static str>, Vec<Happening>)> {
    let reply = |call: &str| json!({ "reply": { "call": call, "status": 200 } });
    let chunk = || json!({ "chunk": { "call": "1" } });
    vec![
        (vec!["send:x"], vec![(reply("1"), b"a")]),
        (vec!["join:a,b,c"], vec![(reply("3"), b"c"), (reply("1"), b"a"), (reply("2"), b"b")]),
        (vec!["send:a", "never", "wait"], vec![(reply("1"), b"a")]),
        (vec!["stream"], vec![(reply("1"), b""), (chunk(), b"data: a\n"), (chunk(), b"\ndata")]),
        (vec!["race"], vec![(reply("1"), b"a")]),
        (vec!["again:3"], vec![(json!({ "resumed": {} }), b""), (json!({ "resumed": {} }), b"")]),
        (vec!["gate:never opened"], vec![(json!({ "woken": {} }), b"")]),
        (vec!["panic later"], vec![(reply("1"), b"a")]),
        (vec!["panic in drop"], vec![(reply("1"), b"a")]),
    ]
}

fn play(opened: &Opened, prompts: &[&str], events: &[(Value, &[u8])]) {
    let mut session = opened.begin();
    let requests: Vec<_> = prompts.iter().map(|prompt| generate(prompt)).collect();
    let (head, body) = start(&requests);
    session.step(head.as_bytes(), &body);
    for (head, body) in events {
        session.event(head.clone(), body);
    }
}

#[test]
fn a_session_can_be_ended_after_every_step_and_leaves_nothing_behind() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    drop(opened.begin());
    for (prompts, events) in stories() {
        for steps in 0..=events.len() {
            let run = || play(&opened, &prompts, &events[..steps]);
            // A panic's payload is leaked on purpose, so those two stories are only played.
            let leaks = prompts[0].starts_with("panic");
            for _ in 0..50 {
                run();
            }
            let before = live();
            for _ in 0..200 {
                run();
            }
            let grown = live() - before;
            assert!(leaks || grown < 40, "{prompts:?} ended after {steps} events keeps {grown}");
        }
    }
}

#[test]
fn a_body_is_released_once_even_if_the_host_refuses_the_action() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let (head, body) = start(&[generate("send:x")]);
    let run = || {
        let mut session = opened.begin();
        assert_eq!(session.step_refused(head.as_bytes(), &body), abi::STATUS_OK);
    };
    for _ in 0..50 {
        run();
    }
    let before = live();
    for _ in 0..200 {
        run();
    }
    assert!((live() - before).abs() < 40);
}

#[test]
fn a_destructor_that_panics_does_not_pass_end() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["panic in drop"]);
    drop(session);
    let mut session = opened.begin();
    assert_eq!(session.generate(&["say:still here"]).briefs(), ["done 0: still here"]);
}

#[test]
fn backends_open_concurrently_and_close_apart() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let opened = open(table::<Subject>(), json!({})).unwrap();
                    assert_eq!(opened.begin().generate(&["say:a"]).briefs(), ["done 0: a"]);
                }
            });
        }
    });
}
