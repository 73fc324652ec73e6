//! Several plugins in one run, and what a run does with its surroundings.

use host_tests::{built, fake_tgi::FakeTgi, sandbox::Sandbox};

use super::{ECHO, echoes, hostile, run, tgi};

/// A backend's table with an id of its own.
fn named(id: &str, backend: &str) -> String {
    format!("{backend}\n").replacen("[[backend]]\n", &format!("[[backend]]\nid = \"{id}\"\n"), 1)
}

#[test]
fn different_plugins_load_side_by_side_in_any_order() {
    // The linker knows a library by its name: a second one must not be taken for the first.
    let fake = FakeTgi::builder().text(|inputs| inputs.to_owned()).start_blocking().unwrap();
    let hostile = named("own", &hostile("echo"));
    let tgi = named("served", &tgi(&fake));
    for backends in [format!("{hostile}{tgi}"), format!("{tgi}{hostile}")] {
        let left = run(&backends, ECHO, &echoes(3)).exits(0).left();
        for id in ["own", "served"] {
            assert_eq!(host_tests::left::counts(left.of_backend(id)), [3, 3, 0], "{id}");
        }
    }
}

#[test]
fn a_streamed_answer_is_scored_and_its_first_text_is_timed() {
    let fake = FakeTgi::builder().text(|inputs| inputs.to_owned()).start_blocking().unwrap();
    let backend = format!("{}stream = true\n", tgi(&fake));
    let left = run(&backend, ECHO, &echoes(3)).exits(0).left();
    assert_eq!(left.counts(), [3, 3, 0]);
    assert!(fake.requests().iter().any(|seen| seen.route == "/generate_stream"));
    for line in &left.journal {
        let timing = &line["timing_ms"];
        assert!(timing["first_text"].as_f64().unwrap() <= timing["attempt"].as_f64().unwrap());
    }
}

#[test]
fn a_proxy_of_the_environment_never_sees_what_is_for_this_machine() {
    let fake = FakeTgi::builder().text(|inputs| inputs.to_owned()).start_blocking().unwrap();
    let sandbox = Sandbox::with_own_host();
    sandbox.install(&built::tgi(), "bin");
    sandbox.write("data.jsonl", echoes(1));
    // Nobody listens there: whatever goes to the proxy is lost.
    let nowhere = "http://127.0.0.1:9";
    let variables = [("HTTP_PROXY", nowhere), ("http_proxy", nowhere), ("ALL_PROXY", nowhere)];
    let outcome = sandbox.run_with(&format!("{}{ECHO}", tgi(&fake)), &variables).exits(0);
    assert_eq!(outcome.left().counts(), [1, 1, 0]);
}

#[test]
fn the_summary_follows_from_the_journal() {
    let fake = FakeTgi::builder().text(|inputs| inputs.to_owned()).start_blocking().unwrap();
    let mut data = echoes(40);
    data.push_str("{\"says\": \"said\", \"target\": \"another\"}\n");
    let left = run(&tgi(&fake), ECHO, &data).exits(0).left();
    let scored: Vec<f64> =
        left.journal.iter().filter_map(|line| line["scores"]["exact_match"].as_f64()).collect();
    let tokens = |kind: &str| -> u64 {
        left.journal.iter().filter_map(|line| line["usage"][kind].as_u64()).sum()
    };
    assert_eq!(left.counts(), [left.journal.len() as u64, scored.len() as u64, 0]);
    super::assert_close(
        left.metric("exact_match"),
        scored.iter().sum::<f64>() / scored.len() as f64,
    );
    for kind in ["prompt", "completion"] {
        assert_eq!(left.result()["tokens"][kind].as_u64(), Some(tokens(kind)), "{kind}");
    }
}
