//! Wakes from outside threads, at every moment a thread can choose.

use std::{collections::VecDeque, thread, time::Duration};

use serde_json::json;

use crate::{
    minihost::{Running, open, table, wakes_of},
    subject::{Subject, open_gate, waker_at},
};

#[test]
fn a_session_that_waits_for_a_thread_parks_once_and_is_woken() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["gate:plain"]).briefs(), ["park"]);
    assert_eq!(session.take_wakes(), 0);
    open_gate("plain");
    assert_eq!(session.take_wakes(), 1);
    assert_eq!(session.event(json!({ "woken": {} }), b"").briefs(), ["done 0: passed"]);
}

#[test]
fn a_gate_that_was_open_before_needs_no_park() {
    open_gate("before");
    let opened = open(table::<Subject>(), json!({})).unwrap();
    assert_eq!(opened.begin().generate(&["gate:before"]).briefs(), ["done 0: passed"]);
}

#[test]
fn a_wake_during_a_step_is_answered_by_another_turn_and_not_by_the_host() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["wake in a step"]).briefs(), ["again"]);
    assert_eq!(session.take_wakes(), 0);
    assert_eq!(session.event(json!({ "resumed": {} }), b"").briefs(), ["done 0: woken in a step"]);
}

#[test]
fn a_wake_for_nothing_parks_again() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["gate:for nothing"]);
    waker_at("for nothing").unwrap().wake();
    assert_eq!(session.take_wakes(), 1);
    assert_eq!(session.event(json!({ "woken": {} }), b"").briefs(), ["park"]);
    open_gate("for nothing");
    assert_eq!(session.event(json!({ "woken": {} }), b"").briefs(), ["done 0: passed"]);
}

#[test]
fn another_event_while_parked_does_not_park_twice() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["gate:two things", "send:x"]).briefs(), ["http 1", "park"]);
    assert_eq!(session.reply(1, "x").briefs(), ["done 1: x"]);
    assert_eq!(session.take_wakes(), 0, "the reply is no reason to wake");
    open_gate("two things");
    assert_eq!(session.event(json!({ "woken": {} }), b"").briefs(), ["done 0: passed"]);
}

#[test]
fn a_wake_after_the_end_goes_to_the_host_alone() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["gate:after the end"]);
    let token = session.token;
    drop(session);
    drop(opened);
    thread::spawn(|| open_gate("after the end")).join().unwrap();
    assert_eq!(wakes_of(token), 1);
}

#[test]
fn what_another_thread_pushes_asks_for_a_step() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let first = session.generate(&["thread:pushing"]).briefs();
    let mut host = LatchingHost::default();
    let all = host.run(&mut session, first);
    assert!(all.contains(&"delta from a thread".to_owned()), "{all:?}");
    assert_eq!(all.last().map(String::as_str), Some("done 0: joined"));
}

/// Steps a session as the contract says: again, latched wakes; gives up after two seconds without either.
#[derive(Default)]
struct LatchingHost {
    latched: bool,
}

impl LatchingHost {
    fn run(&mut self, session: &mut Running<'_>, first: Vec<String>) -> Vec<String> {
        let mut all = Vec::new();
        let mut fresh: VecDeque<String> = first.into();
        let mut parked = false;
        let mut idle = 0;
        loop {
            let again = fresh.contains(&"again".to_owned());
            parked |= fresh.contains(&"park".to_owned());
            let done = fresh.iter().any(|brief| brief.starts_with("done"));
            all.extend(fresh.drain(..));
            if done {
                return all;
            }
            self.latched |= session.take_wakes() > 0;
            let event = if again {
                json!({ "resumed": {} })
            } else if parked && std::mem::take(&mut self.latched) {
                parked = false;
                json!({ "woken": {} })
            } else {
                assert!(parked, "nothing outstanding after {all:?}");
                idle += 1;
                assert!(idle < 20_000, "a wake was lost after {all:?}");
                thread::sleep(Duration::from_micros(100));
                continue;
            };
            fresh = session.event(event, b"").briefs().into();
        }
    }
}

#[test]
fn no_wake_is_lost_however_threads_and_steps_meet() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    thread::scope(|scope| {
        for thread in 0..3_u32 {
            let opened = &opened;
            scope.spawn(move || {
                for round in 0..700_u32 {
                    let name = format!("race {thread} {round}");
                    let gate = name.clone();
                    let opener = thread::spawn(move || {
                        // From before the first step to well after it.
                        for _ in 0..(round * 37) % 3_000 {
                            std::hint::spin_loop();
                        }
                        if let Some(waker) = waker_at(&gate) {
                            waker.wake_by_ref();
                        }
                        open_gate(&gate);
                    });
                    let mut session = opened.begin();
                    let first = session.generate(&[&format!("gate:{name}")]).briefs();
                    LatchingHost::default().run(&mut session, first);
                    opener.join().unwrap();
                }
            });
        }
    });
}
