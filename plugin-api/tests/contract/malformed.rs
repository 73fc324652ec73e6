//! What the host must never send is refused in words, without a panic.

use plugin_api::abi;
use serde_json::json;

use crate::{
    minihost::{open, start, table},
    subject::{Subject, generate},
};

#[test]
fn a_first_event_that_is_no_start_is_refused() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    for (head, expected) in [
        (&b""[..], "the host's event cannot be read"),
        (b"\xff\xfe", "the host's event cannot be read"),
        (b"{\"start\":", "the host's event cannot be read"),
        (b"[]", "the host's event cannot be read"),
        (b"{\"woken\":{}}", "the first event of a session is not start"),
        (b"{\"dance\":{}}", "the host's event cannot be read"),
        (b"{\"start\":{\"requests\":[]}}", "a start event without a request"),
        (b"{\"start\":{\"requests\":[{\"sing\":{}}]}}", "the host's event cannot be read"),
    ] {
        let step = opened.begin().step(head, b"");
        assert_eq!(
            (step.status, step.briefs()),
            (1, vec!["fail: protocol".to_owned()]),
            "{head:?}"
        );
        assert!(step.failure().starts_with(expected), "{}", step.failure());
    }
}

#[test]
fn a_span_outside_its_body_or_inside_a_character_is_refused() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    for span in ["[0,9]", "[9,0]", "[1,1]", "[18446744073709551615,2]"] {
        let head = format!(
            r#"{{"start":{{"requests":[{{"generate":{{"prompt":{{"text":{span}}}}}}}]}}}}"#
        );
        let step = opened.begin().step(head.as_bytes(), "é".as_bytes());
        assert_eq!(step.status, abi::STATUS_FAILED, "{span}");
        assert!(step.failure().contains("is not text inside the message's body"));
    }
}

#[test]
fn a_later_event_that_cannot_be_read_fails_the_session() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    for head in
        [&b"\xff"[..], b"{}", b"{\"dance\":{}}", b"{\"reply\":{\"call\":\"x\",\"status\":200}}"]
    {
        let mut session = opened.begin();
        session.generate(&["send:x"]);
        let step = session.step(head, b"");
        assert_eq!(
            (step.status, step.briefs()),
            (1, vec!["fail: protocol".to_owned()]),
            "{head:?}"
        );
    }
}

#[test]
fn a_second_start_is_refused() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["send:x"]);
    let (head, body) = start(&[generate("say:x")]);
    let step = session.step(head.as_bytes(), &body);
    assert_eq!((step.status, step.failure().as_str()), (1, "a second start event in one session"));
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let head = json!({ "start": { "mood": 1, "requests": [
        { "generate": { "prompt": { "text": [0, 6] }, "tone": "calm" } }] } });
    assert_eq!(session.event(head, b"send:x").briefs(), ["http 1"]);
    let head = json!({ "reply": { "call": "1", "status": 200, "protocol": "h3" } });
    assert_eq!(session.event(head, b"ok").briefs(), ["done 0: ok"]);
}
