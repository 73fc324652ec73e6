//! The response cache: what was answered once is not asked again, in whatever run.

use std::{fs, time::Duration};

use host_tests::{
    fake_tgi::{FakeTgi, Fault},
    sandbox::Sandbox,
};
use serde_json::Value;

use super::{ECHO, echoes, hostile, tgi};

/// A server that echoes, and the run file that asks it with the cache.
fn echoing() -> (FakeTgi, String) {
    let fake = FakeTgi::builder().text(|inputs| inputs.to_owned()).start_blocking().unwrap();
    let text = format!("run.cache = true\n{}{ECHO}", tgi(&fake));
    (fake, text)
}

fn sandbox(records: usize) -> Sandbox {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(records));
    sandbox
}

/// What `host cache` prints under `--json` before it is done.
fn cache(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let mut command = sandbox.host(["--json", "cache"]);
    command.args(arguments);
    let outcome = sandbox.finish(command).exits(0);
    serde_json::from_str(outcome.stdout.lines().next().unwrap()).unwrap()
}

#[test]
fn what_was_answered_once_is_not_asked_again() {
    let (fake, text) = echoing();
    let sandbox = sandbox(20);
    let first = sandbox.run(&text).exits(0).left();
    assert_eq!((fake.generations(), first.counts()), (20, [20, 20, 0]));
    assert!(first.result()["cached"].is_null());
    let outcome = sandbox.run(&text).exits(0);
    let second = outcome.left();
    assert_eq!(fake.generations(), 20);
    assert_eq!(second.result()["cached"], 20);
    assert_eq!(second.result()["metrics"], first.result()["metrics"]);
    assert_eq!(second.result()["tokens"], first.result()["tokens"]);
    assert_eq!(second.result()["latency_ms"]["p50"], 0.0);
    for (line, before) in second.journal.iter().zip(&first.journal) {
        assert_eq!(line["response"], before["response"]);
        assert_eq!((&line["cached"], &line["attempts"]), (&true.into(), &0.into()));
        assert!(line["replica"].is_null(), "{line}");
    }
    let said = "20 of 20 samples answered from the response cache";
    assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
    // Who does not want it is not given it.
    let without = sandbox.run(&text.replace("run.cache = true", "")).exits(0).left();
    assert_eq!(fake.generations(), 40);
    assert!(without.result()["cached"].is_null());
}

#[test]
fn each_repeat_is_a_draw_of_its_own_in_the_cache_too() {
    let (fake, text) = echoing();
    let sandbox = sandbox(3);
    let text = format!("{text}repeats = 4\n");
    for expected in [12, 12] {
        let _ = sandbox.run(&text).exits(0);
        assert_eq!(fake.generations(), expected);
    }
}

#[test]
fn a_failure_and_an_answer_that_was_cut_off_are_asked_again() {
    let fake = FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .faults(|number, _| (number <= 2).then_some(Fault::Incomplete))
        .start_blocking()
        .unwrap();
    let text = format!("run.cache = true\nrun.max_retries = 0\n{}{ECHO}", tgi(&fake));
    let sandbox = sandbox(2);
    let _ = sandbox.run(&text).exits(3);
    let _ = sandbox.run(&text).exits(0);
    assert_eq!(fake.generations(), 4);
    // Two tokens are fewer than the answer has.
    let cut = format!("{text}generate.max_tokens = 1\n");
    for expected in [6, 8] {
        let _ = sandbox.run(&cut);
        assert_eq!(fake.generations(), expected);
    }
}

#[test]
fn another_configuration_is_another_question() {
    let sandbox = sandbox(4);
    let with =
        |id: &str, mode: &str| format!("run.cache = true\n{}id = \"{id}\"\n{ECHO}", hostile(mode));
    let cached = |text: &str| sandbox.run(text).left().result()["cached"].as_u64().unwrap_or(0);
    assert_eq!(cached(&with("one", "echo")), 0);
    assert_eq!(cached(&with("one", "echo")), 4);
    assert_eq!(cached(&with("two", "echo")), 0);
    assert_eq!(cached(&with("one", "ok")), 0);
}

#[test]
fn an_answer_of_the_cache_costs_nothing_again() {
    let sandbox = sandbox(4);
    let text = format!("run.cache = true\n{}config.cost_usd_nanos = 1000\n{ECHO}", hostile("echo"));
    assert_eq!(sandbox.run(&text).exits(0).left().result()["cost"]["usd"], 4e-6);
    let cost = sandbox.run(&text).exits(0).left().result()["cost"].clone();
    assert_eq!((&cost["usd"], &cost["priced_samples"]), (&0.0.into(), &4.into()));
}

#[test]
fn runs_at_the_same_time_share_the_cache() {
    let (fake, text) = echoing();
    let sandbox = sandbox(300);
    let children = [0, 1, 2].map(|_| sandbox.spawn(sandbox.run_command(&text, &[])));
    for child in children {
        let outcome = sandbox.wait(child).exits(0);
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    }
    let asked = fake.generations();
    let left = sandbox.run(&text).exits(0).left();
    assert_eq!((left.result()["cached"].as_u64(), fake.generations()), (Some(300), asked));
    assert_eq!(cache(&sandbox, &["stats"])["entries"], 300);
}

#[test]
fn a_cache_that_cannot_be_used_is_a_warning_and_no_failure() {
    let (fake, text) = echoing();
    let sandbox = sandbox(3);
    sandbox.write("cache/host/assets/responses.redb", "no database ".repeat(1000));
    let outcome = sandbox.run(&text).exits(0).says(&["response cache", "prune --all"]);
    assert_eq!((outcome.left().counts(), fake.generations()), ([3, 3, 0], 3));
    let _ = sandbox.finish(sandbox.host(["cache", "stats"])).exits(2).says(&["prune --all"]);
    let _ = sandbox.finish(sandbox.host(["cache", "prune", "--all"])).exits(0);
    for cached in [0, 3] {
        let left = sandbox.run(&text).exits(0).left();
        assert_eq!(left.result()["cached"].as_u64().unwrap_or(0), cached);
    }
}

#[test]
fn the_cache_can_be_looked_at_and_made_smaller() {
    let (_fake, text) = echoing();
    let sandbox = sandbox(5);
    assert_eq!(cache(&sandbox, &["stats"])["entries"], 0);
    for _ in 0..2 {
        let _ = sandbox.run(&text).exits(0);
    }
    let stats = cache(&sandbox, &["stats"]);
    let backend = &stats["backends"][0];
    assert_eq!((&stats["entries"], &backend["entries"]), (&5.into(), &5.into()));
    assert_eq!((&backend["backend"], &backend["model"]), (&"tgi".into(), &"fake/model".into()));
    assert_eq!(backend["hits"], 5);
    let path = sandbox.path("cache/host/assets/responses.redb");
    assert_eq!(stats["path"].as_str(), path.to_str());
    let shown = sandbox.finish(sandbox.host(["cache", "stats"])).exits(0).stdout;
    for text in ["fake/model", "5 entries", "responses.redb"] {
        assert!(shown.contains(text), "no `{text}` in\n{shown}");
    }
    assert_eq!(cache(&sandbox, &["prune", "--older-than", "1h"])["removed"], 0);
    assert_eq!(cache(&sandbox, &["prune", "--max-size", "1GiB"])["removed"], 0);
    assert_eq!(cache(&sandbox, &["prune", "--max-size", "0"])["removed"], 5);
    let _ = sandbox.run(&text).exits(0);
    assert_eq!(cache(&sandbox, &["prune", "--all"])["removed"], 5);
    assert!(fs::metadata(path).is_err());
    let _ = sandbox.finish(sandbox.host(["cache", "prune"])).exits(2).says(&["--older-than"]);
    let _ = sandbox
        .finish(sandbox.host(["cache", "prune", "--max-size", "big"]))
        .exits(2)
        .says(&["expected a size"]);
}

#[test]
fn a_host_that_is_killed_leaves_the_cache_usable() {
    let fake = FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .latency(Duration::from_millis(2))
        .without_record()
        .start_blocking()
        .unwrap();
    let sandbox = sandbox(4000);
    let text = format!("run.cache = true\nrun.concurrency = 4\n{}{ECHO}", tgi(&fake));
    // Some of these are killed while they write.
    for _ in 0..3 {
        let asked = fake.generations();
        let mut child = sandbox.spawn(sandbox.run_command(&text, &[]));
        assert!(fake.wait_for(asked + 1000, Duration::from_secs(120)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let kept = cache(&sandbox, &["stats"])["entries"].as_u64().unwrap();
    let outcome = sandbox.run(&text).exits(0);
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
    let left = outcome.left();
    assert_eq!(left.counts(), [4000, 4000, 0]);
    assert_eq!(left.result()["cached"].as_u64().unwrap_or(0), kept);
}
