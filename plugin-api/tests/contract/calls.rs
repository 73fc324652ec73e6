//! Calls, waits and turns of one session, one at a time and several at once.

use plugin_api::{
    Backend as _, abi,
    message::{Action, HeaderPart, HeaderValue},
};
use serde_json::json;

use crate::{
    minihost::{open, table},
    subject::{Subject, generate},
};

fn opened() -> crate::minihost::Opened {
    open(table::<Subject>(), json!({})).unwrap()
}

#[test]
fn a_request_becomes_http_and_its_reply_becomes_done() {
    let opened = opened();
    let mut session = opened.begin();
    let step = session.generate(&["send:x"]);
    assert_eq!(step.briefs(), ["http 1"]);
    assert_eq!(step.pushed[0].body.as_slice(), br#"{"text":"x"}"#);
    let Action::Http(http) = step.pushed[0].action() else { panic!("{step:?}") };
    assert_eq!((&*http.method, &*http.url), ("POST", "https://a.test/x"));
    let (name, value) = &http.headers[0];
    assert_eq!(&**name, "authorization");
    let parts = vec![HeaderPart::Text("Bearer ".into()), HeaderPart::Secret("api_key".into())];
    assert_eq!(*value, HeaderValue::Parts(parts));
    let step = session.reply(1, "hello");
    assert_eq!((step.status, step.briefs()), (abi::STATUS_OK, vec!["done 0: hello".to_owned()]));
}

#[test]
fn joined_calls_may_be_answered_in_any_order() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let opened = opened();
        let mut session = opened.begin();
        let step = session.generate(&["join:a,b,c"]);
        assert_eq!(step.briefs(), ["http 1", "http 2", "http 3"]);
        let [first, second, last] = order;
        for call in [first, second] {
            assert!(session.reply(call, &format!("r{call}")).pushed.is_empty());
        }
        assert_eq!(session.reply(last, &format!("r{last}")).briefs(), ["done 0: r1+r2+r3"]);
    }
}

#[test]
fn a_transport_error_keeps_its_kind() {
    let opened = opened();
    let mut session = opened.begin();
    session.generate(&["send:x"]);
    let event =
        json!({ "transport_error": { "call": "1", "kind": "forbidden_origin", "message": "no" } });
    let step = session.event(event, b"");
    assert_eq!((step.status, step.briefs()), (0, vec!["fail 0: forbidden_origin".to_owned()]));
    assert_eq!(step.failure(), "no");
}

#[test]
fn an_error_of_the_joined_calls_cancels_nothing_that_is_complete() {
    let opened = opened();
    let mut session = opened.begin();
    session.generate(&["join:a,b"]);
    session.reply(2, "b");
    let event = json!({ "transport_error": { "call": "1", "kind": "timeout" } });
    assert_eq!(session.event(event, b"").briefs(), ["fail 0: timeout"]);
}

#[test]
fn a_wait_ends_when_it_has_elapsed() {
    let opened = opened();
    let mut session = opened.begin();
    let step = session.generate(&["wait"]);
    assert_eq!(step.pushed[0].head, r#"{"wait":{"call":"1","ms":50}}"#);
    let step = session.event(json!({ "elapsed": { "call": "1" } }), b"");
    assert_eq!(step.briefs(), ["done 0: waited"]);
}

#[test]
fn dropping_a_call_cancels_it_and_its_late_events_are_passed_over() {
    let opened = opened();
    let mut session = opened.begin();
    let step = session.generate(&["race"]);
    assert_eq!(step.briefs(), ["http 1", "wait 2"]);
    let step = session.event(json!({ "elapsed": { "call": "2" } }), b"");
    let mut briefs = step.briefs();
    briefs.sort();
    assert_eq!(briefs, ["cancel 1", "done 0: late"]);
    for late in [
        json!({ "reply": { "call": "1", "status": 200 } }),
        json!({ "chunk": { "call": "1" } }),
        json!({ "end": { "call": "1" } }),
        json!({ "transport_error": { "call": "1", "kind": "cancelled" } }),
        json!({ "elapsed": { "call": "77" } }),
    ] {
        let step = session.event(late, b"late");
        assert_eq!((step.status, step.pushed.len()), (abi::STATUS_OK, 0));
    }
}

#[test]
fn again_asks_for_one_turn_at_a_time() {
    let opened = opened();
    let mut session = opened.begin();
    let mut step = session.generate(&["again:3"]);
    for turn in 0..3 {
        assert_eq!(step.briefs(), [format!("delta {turn}"), "again".to_owned()]);
        step = session.event(json!({ "resumed": {} }), b"");
    }
    assert_eq!(step.briefs(), ["done 0: again"]);
    assert_eq!(session.take_wakes(), 0, "a turn is asked for by `again`, not by a wake");
}

#[test]
fn a_backend_that_computes_learns_that_it_is_cancelled() {
    let opened = opened();
    let mut session = opened.begin();
    session.generate(&["again:1"]);
    session.cancel();
    let step = session.event(json!({ "resumed": {} }), b"");
    assert_eq!(step.briefs(), ["done 0: cancelled"]);
}

#[test]
fn a_future_that_awaits_nothing_pushes_neither_park_nor_again() {
    let opened = opened();
    let mut session = opened.begin();
    let step = session.generate(&["never"]);
    assert_eq!((step.status, step.pushed.len()), (abi::STATUS_OK, 0));
    assert_eq!(session.take_wakes(), 0);
}

#[test]
fn a_call_that_ends_without_a_reply_fails_its_item() {
    let opened = opened();
    let mut session = opened.begin();
    session.generate(&["collect"]);
    let step = session.event(json!({ "end": { "call": "1" } }), b"");
    assert_eq!(step.briefs(), ["fail 0: protocol"]);
}

#[test]
fn the_start_event_names_request_attempt_and_deadline() {
    let opened = opened();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["who"]).briefs(), ["done 0: test/1 2 Some(9s)"]);
}

#[test]
fn unsupported_requests_say_so() {
    let opened = opened();
    let mut session = opened.begin();
    let step = session.start(&[plugin_api::Request::Tokenize("a")]);
    assert_eq!((step.status, step.briefs()), (0, vec!["fail 0: unsupported".to_owned()]));
}

#[test]
fn the_test_kit_drives_the_same_session() {
    let backend = plugin_api::testkit::open::<Subject>(json!({})).unwrap();
    let mut driver = plugin_api::testkit::Driver::new(std::sync::Arc::new(backend));
    let pushed = driver.start(&[generate("twice")]);
    assert!(matches!(pushed[0].action(), Action::Http(_)));
    driver.reply(1, 200, b"a");
    let pushed = driver.reply(2, 200, b"b");
    assert_eq!(pushed[0].body, b"ab");
    let _ = Subject::open;
}

#[test]
fn a_resource_is_noted_before_the_plugin_goes_on() {
    let opened = opened();
    let mut session = opened.begin();
    let step = session.generate(&["hold:machine"]);
    assert_eq!(step.briefs(), [r#"hold 1: machine {"delete":"machine"}"#]);
    let step = session.event(json!({ "stored": { "call": "1" } }), b"");
    assert_eq!(step.briefs(), ["free 2: machine"]);
    let step = session.event(json!({ "stored": { "call": "2" } }), b"");
    assert_eq!(step.briefs(), ["done 0: freed"]);
}

#[test]
fn a_note_that_cannot_be_stored_is_a_failure_of_its_own() {
    let opened = opened();
    let mut session = opened.begin();
    session.generate(&["hold:machine"]);
    let event =
        json!({ "transport_error": { "call": "1", "kind": "other", "message": "disk full" } });
    let step = session.event(event, b"");
    assert_eq!(
        (step.briefs(), step.failure()),
        (vec!["fail 0: other".to_owned()], "disk full".to_owned())
    );
}

#[test]
fn release_is_told_what_is_still_held() {
    let opened = opened();
    let mut session = opened.begin();
    let held = json!([{ "name": "a", "note": { "id": 1 } }]);
    let step = session.event(
        json!({ "start": { "request_id": "r", "attempt": 1, "requests": [{ "release": { "held": held } }] } }),
        b"",
    );
    assert_eq!(step.briefs(), [r#"delta {"id":1}"#, "free 1: a"]);
    let step = session.event(json!({ "stored": { "call": "1" } }), b"");
    assert_eq!(step.briefs(), ["done 0: "]);
}
