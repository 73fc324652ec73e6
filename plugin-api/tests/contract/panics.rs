//! A panic ends its session, says where it was, and shows on no terminal.

use plugin_api::abi;
use serde_json::json;

use crate::{
    minihost::{logged, open, open_raw, table},
    subject::Subject,
};

#[test]
fn a_panic_in_open_is_described() {
    let (status, reason) = open(table::<Subject>(), json!({ "panic_open": true })).err().unwrap();
    assert_eq!(status, abi::STATUS_PANICKED);
    assert!(reason.starts_with("the plugin panicked at "), "{reason}");
    assert!(reason.contains("subject.rs:") && reason.ends_with(": no open today"), "{reason}");
}

#[test]
fn a_configuration_that_is_wrong_names_its_key() {
    for (config, expected) in [
        (
            json!({ "strict": { "count": "x" } }),
            "config.strict.count: invalid type: string \"x\", expected u32",
        ),
        (json!({ "refuse": true }), "base_url: refused"),
        (json!([1]), "config"),
    ] {
        let (status, reason) = open(table::<Subject>(), config).err().unwrap();
        assert_eq!(status, abi::STATUS_FAILED);
        assert!(reason.starts_with(expected), "{reason}");
    }
    let (status, reason) = open_raw(table::<Subject>(), b"\xff{").err().unwrap();
    assert_eq!(status, abi::STATUS_FAILED);
    assert!(reason.starts_with("the host's open message cannot be read"), "{reason}");
}

#[test]
fn a_panic_in_the_first_poll_or_a_later_one_fails_the_session() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    let step = session.generate(&["panic"]);
    assert_eq!((step.status, step.briefs()), (2, vec!["fail: panic".to_owned()]));
    assert!(step.failure().ends_with(": at once"), "{}", step.failure());

    let mut session = opened.begin();
    session.generate(&["panic later"]);
    let step = session.reply(1, "a");
    assert_eq!((step.status, step.briefs()), (2, vec!["fail: panic".to_owned()]));
}

#[test]
fn a_step_after_a_panic_runs_none_of_the_authors_code() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["panic"]);
    let step = session.event(json!({ "resumed": {} }), b"");
    assert_eq!((step.status, step.failure().as_str()), (1, "a step of a session that panicked"));
}

#[test]
fn a_panic_in_a_destructor_during_a_step_fails_the_session() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    session.generate(&["panic in drop"]);
    let step = session.reply(1, "a");
    assert_eq!((step.status, step.briefs()), (2, vec!["fail: panic".to_owned()]));
    assert!(step.failure().ends_with(": in drop"));
}

#[test]
fn a_panic_on_a_thread_of_the_plugins_own_goes_to_the_log() {
    let opened = open(table::<Subject>(), json!({})).unwrap();
    let mut session = opened.begin();
    assert_eq!(session.generate(&["panic on a thread"]).briefs(), ["done 0: true"]);
    assert!(logged("on a thread of its own"));
}

/// Runs in a process of its own, see below.
#[test]
#[ignore = "the child of nothing_of_a_panic_reaches_stderr"]
fn child() {
    let _ = open(table::<Subject>(), json!({ "panic_open": true }));
    let opened = open(table::<Subject>(), json!({})).unwrap();
    for prompt in ["panic", "panic later", "panic in drop"] {
        let mut session = opened.begin();
        session.generate(&[prompt]);
        session.reply(1, "a");
    }
    opened.begin().generate(&["panic in drop"]);
}

#[test]
fn nothing_of_a_panic_reaches_stderr() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panics::child", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    // The very first panic comes before the hook only if the hook is set too late.
    assert_eq!(stderr, "");
}
