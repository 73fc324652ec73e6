//! Servers that are loading: waited for within a budget of their own.

use serde_json::Value;

use super::{ECHO, echoes, hostile, run};

#[test]
fn a_loading_server_is_waited_for_without_a_retry() {
    let backend = format!("run.max_retries = 0\n{}config.loads = 3\n", hostile("echo"));
    let outcome = run(&backend, ECHO, &echoes(3)).exits(0);
    let outcome =
        outcome.says(&["backend `hostile`: the model is being loaded; it is waited for, 10m"]);
    assert_eq!(outcome.left().counts(), [3, 3, 0]);
}

#[test]
fn a_server_that_loads_for_longer_than_its_budget_leaves_samples_unscored() {
    let engine = "run.max_retries = 1\nrun.concurrency = 1\nrun.loading_timeout = \"1s\"\n";
    let mode = "config.after = 1\nconfig.kind = \"loading\"\n";
    let backend = format!("{engine}{}{mode}", hostile("fail"));
    let left = run(&backend, ECHO, &echoes(2)).exits(3).left();
    assert_eq!(left.counts(), [2, 1, 1]);
    assert!(left.reasons().contains(&"loading"), "{:?}", left.reasons());
    let waited = left.journal.iter().find(|line| line["attempts"].as_u64() > Some(1)).unwrap();
    assert!(waited["timing_ms"]["total"].as_f64() >= Some(1000.0), "{waited}");
    let is_wait = |event: &Value| event["event"] == "retry" && event["kind"] == "loading";
    assert!(left.events.iter().any(is_wait));
}

#[test]
fn no_retry_means_that_a_loading_server_is_asked_once() {
    let engine = "run.max_retries = 0\nrun.concurrency = 1\n";
    let mode = "config.after = 1\nconfig.kind = \"loading\"\n";
    let backend = format!("{engine}{}{mode}", hostile("fail"));
    let left = run(&backend, ECHO, &echoes(2)).exits(3).left();
    assert_eq!(left.counts(), [2, 1, 1]);
    assert!(left.journal.iter().all(|line| line["attempts"] == 1), "{:?}", left.journal);
}

#[test]
fn without_a_budget_a_loading_server_is_one_that_fails() {
    let engine = "run.max_retries = 0\nrun.loading_timeout = \"0s\"\n";
    let backend = format!("{engine}{}config.loads = 1\n", hostile("echo"));
    let _ = run(&backend, ECHO, &echoes(1)).exits(5).says(&["is not ready: loading"]);
}
