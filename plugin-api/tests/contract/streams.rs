//! Streamed replies, cut anywhere.

use serde_json::json;

use crate::{
    minihost::{Opened, open, table},
    subject::Subject,
};

const BODY: &str = "data: {\"é\":1}\r\n\r\n: ping\n\ndata: two\ndata: lines\n\ndata: end\n\n";

fn streamed(opened: &Opened, chunks: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let mut session = opened.begin();
    let step = session.generate(&["stream"]);
    assert!(step.pushed[0].head.contains(r#""stream":true"#));
    assert!(
        session.event(json!({ "reply": { "call": "1", "status": 200 } }), b"").pushed.is_empty()
    );
    let mut deltas = Vec::new();
    for chunk in chunks {
        deltas.extend(session.event(json!({ "chunk": { "call": "1" } }), chunk).briefs());
    }
    let done = session.event(json!({ "end": { "call": "1" } }), b"").briefs();
    (deltas, done)
}

#[test]
fn a_stream_reads_the_same_wherever_it_is_cut() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let whole = streamed(&opened, &[BODY.as_bytes()]);
    assert_eq!(whole.0, ["delta {\"é\":1}", "delta two\nlines", "delta end"]);
    assert_eq!(whole.1, ["done 0: {\"é\":1}two\nlinesend"]);
    for cut in 0..=BODY.len() {
        let (first, second) = BODY.as_bytes().split_at(cut);
        assert_eq!(streamed(&opened, &[first, second]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = BODY.as_bytes().chunks(1).collect();
    assert_eq!(streamed(&opened, &bytes), whole, "byte by byte");
}

#[test]
fn a_failing_status_can_be_collected() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["stream"]);
    session.event(json!({ "reply": { "call": "1", "status": 429 } }), b"");
    session.event(json!({ "chunk": { "call": "1" } }), b"slow ");
    session.event(json!({ "chunk": { "call": "1" } }), b"down");
    let step = session.event(json!({ "end": { "call": "1" } }), b"");
    assert_eq!(step.briefs(), ["fail 0: rate_limited"]);
    assert!(step.pushed[0].head.contains(r#""excerpt":"slow down""#));
}

#[test]
fn chunks_that_came_before_a_broken_connection_are_read_first() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["stream"]);
    session.event(json!({ "reply": { "call": "1", "status": 200 } }), b"");
    let step = session.event(json!({ "chunk": { "call": "1" } }), b"data: a\n\n");
    assert_eq!(step.briefs(), ["delta a"]);
    let event = json!({ "transport_error": { "call": "1", "kind": "transport" } });
    assert_eq!(session.event(event, b"").briefs(), ["fail 0: transport"]);
}

#[test]
fn bytes_that_are_not_text_pass_through_unharmed() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["collect"]);
    session.event(json!({ "reply": { "call": "1", "status": 200 } }), b"");
    session.event(json!({ "chunk": { "call": "1" } }), &[0xff, 0x00]);
    session.event(json!({ "chunk": { "call": "1" } }), &[]);
    assert_eq!(
        session.event(json!({ "end": { "call": "1" } }), b"").briefs(),
        ["done 0: \u{fffd}\0"]
    );
}
