//! Servers that are down, busy, slow, broken or others than they should be.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use host_tests::{
    fake_tgi::{FakeTgi, Fault},
    sandbox::Outcome,
    scripted::{Scripted, reply},
};

use super::{ECHO, echoes, run, tgi};

/// Runs four samples, whose answers are right, against a server that fails in this way.
fn against(
    engine: &str,
    fail: impl Fn(u64) -> Option<Fault> + Send + Sync + 'static,
) -> (Outcome, FakeTgi) {
    let fake = FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .faults(move |number, _| fail(number))
        .start_blocking()
        .unwrap();
    // A server that is left alone is probed, which may use up no retry: here each failure is the sample's.
    let backend = format!("{engine}{}eject_after = 100\n", tgi(&fake));
    (run(&backend, ECHO, &echoes(4)), fake)
}

const ONCE: &str = "run.max_retries = 0\n";

#[test]
fn a_server_that_is_down_is_told_before_the_first_sample() {
    // Bound and let go, so that nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let backend = format!("{ONCE}[[backend]]\nplugin = \"tgi\"\nbase_url = \"http://{address}\"\n");
    let outcome = run(&backend, ECHO, &echoes(1)).exits(5);
    let outcome = outcome.says(&["`tgi`", &address.to_string(), "is the server running"]);
    assert!(outcome.folders().is_empty());
}

#[test]
fn a_server_of_another_kind_is_told_before_the_first_sample() {
    let server =
        Scripted::start(|_| reply(200, "content-type: text/html\r\n", "<html>welcome</html>"));
    let backend = format!("{ONCE}[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n", server.url());
    let _ = run(&backend, ECHO, &echoes(1))
        .exits(5)
        .says(&["is not ready", "is base_url that of a server"]);
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let (outcome, fake) = against("", |number| (number == 1).then_some(Fault::Overloaded(Some(1))));
    let left = outcome.exits(0).left();
    assert_eq!(left.counts(), [4, 4, 0]);
    assert_eq!(fake.generations(), 5);
    assert_eq!(left.result()["retries"], 1);
    assert_eq!(left.journal.iter().filter(|line| line["attempts"] == 2).count(), 1);
    let retry = left.events.iter().find(|event| event["event"] == "retry").unwrap();
    assert!(retry["wait_ms"].as_u64().unwrap() >= 1000, "{retry}");
}

#[test]
fn a_failure_that_may_pass_is_tried_again() {
    let faults = [
        Fault::Incomplete,
        Fault::Unhealthy,
        Fault::Dropped(0),
        Fault::Page(500),
        Fault::Page(502),
    ];
    for fault in faults {
        let name = format!("{fault:?}");
        let (outcome, fake) = against("", move |number| (number == 2).then(|| fault.clone()));
        let left = outcome.left();
        assert_eq!(left.counts(), [4, 4, 0], "{name}: {:?}", left.reasons());
        assert_eq!(fake.generations(), 5, "{name}");
    }
}

#[test]
fn no_retry_means_none() {
    let (outcome, fake) =
        against(ONCE, |number| (number == 2).then_some(Fault::Overloaded(Some(0))));
    let left = outcome.exits(3).left();
    assert_eq!(left.counts(), [4, 3, 1]);
    assert_eq!(fake.generations(), 4);
    assert!(
        left.reasons().iter().any(|reason| ["overloaded", "rate_limited"].contains(reason)),
        "{:?}",
        left.reasons()
    );
}

#[test]
fn a_failure_that_stays_is_unscored_and_never_wrong() {
    let (outcome, fake) = against("run.max_retries = 1\n", |_| Some(Fault::Incomplete));
    let outcome = outcome.exits(3).says(&["more samples are unscored than max_unscored allows"]);
    let left = outcome.left();
    assert_eq!(left.counts(), [4, 0, 4]);
    assert_eq!(fake.generations(), 8);
    assert!(left.journal.iter().all(|line| line["scores"].is_null() && line["attempts"] == 2));
    assert!(left.journal.iter().all(|line| line["error"]["http_status"] == 500));
}

#[test]
fn samples_that_the_only_server_never_answers_end_by_their_retries() {
    // Those that the server fails, each time, are the last ones to be asked: nobody else shows that it is well.
    let table: [(Fault, &[&str]); 3] = [
        (Fault::Page(500), &["word 2", "word 3"]),
        (Fault::Silence, &["word 2", "word 3"]),
        (Fault::Dropped(0), &["word 3"]),
    ];
    for (fault, bad) in table {
        let name = format!("{fault:?}");
        let fake = FakeTgi::builder()
            .text(|inputs| inputs.to_owned())
            .faults(move |_, inputs| {
                bad.iter().any(|bad| inputs.contains(bad)).then(|| fault.clone())
            })
            .start_blocking()
            .unwrap();
        let engine =
            "run.max_retries = 3\nrun.attempt_timeout = \"300ms\"\nrun.sample_timeout = \"30s\"\n";
        let backend = format!("{engine}{}eject_after = 2\n", tgi(&fake));
        let left = run(&backend, ECHO, &echoes(4)).exits(3).left();
        let unscored = bad.len();
        assert_eq!(left.counts(), [4, 4 - unscored as u64, unscored as u64], "{name}");
        let attempts = left.journal.iter().filter(|line| !line["error"].is_null());
        let attempts: Vec<_> = attempts.map(|line| line["attempts"].as_u64().unwrap()).collect();
        assert_eq!(attempts, vec![4; unscored], "{name}");
    }
}

#[test]
fn an_answer_that_is_cut_off_on_its_way_is_unscored() {
    for fault in [Fault::Truncated(1), Fault::Raw(200, "{\"generated_text\": \"wo")] {
        let name = format!("{fault:?}");
        let (outcome, _fake) = against(ONCE, move |number| (number == 1).then(|| fault.clone()));
        let left = outcome.exits(3).left();
        assert_eq!(left.counts(), [4, 3, 1], "{name}");
        assert_eq!(left.reasons().iter().filter(|reason| !reason.is_empty()).count(), 1, "{name}");
    }
}

#[test]
fn a_body_that_ends_too_early_is_a_broken_connection() {
    let server = Scripted::start(|asked| match asked.line.as_str() {
        "POST /generate" => b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"generated".to_vec(),
        _ => reply(200, "", "{\"model_id\": \"m\", \"version\": \"3\"}"),
    });
    let backend = format!("{ONCE}[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n", server.url());
    let left = run(&backend, ECHO, &echoes(1)).exits(3).left();
    assert_eq!(left.reasons(), ["transport"]);
}

#[test]
fn a_server_that_hangs_is_cut_off() {
    let begun = Instant::now();
    let engine = format!("{ONCE}run.attempt_timeout = \"1s\"\n");
    let (outcome, _fake) = against(&engine, |number| (number == 1).then_some(Fault::Silence));
    let left = outcome.exits(3).left();
    assert_eq!(left.counts(), [4, 3, 1]);
    assert!(left.reasons().contains(&"timeout"));
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    let fake = FakeTgi::builder().latency(Duration::from_millis(5)).start_blocking().unwrap();
    let _ = run(&format!("run.concurrency = 3\n{}", tgi(&fake)), ECHO, &echoes(30)).exits(0);
    assert!(fake.peak() <= 3, "{}", fake.peak());
}
