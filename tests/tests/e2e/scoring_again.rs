//! `host score`: the same answers, read in another way, without a request.

use std::fs;

use host_tests::{
    fake_tgi::FakeTgi,
    left::counts,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{CHOICE, CHOICE_DATA, ECHO, echoes, hostile, tgi};

const NUMBERS: &str = r#"
[[backend]]
id = "openai"
plugin = "litellm"
model = "openai/gpt-4o"
base_url = "mock:openai"
[[task]]
id = "sums"
kind = "generate"
repeats = 4
target = "{{ a + b }}"
[task.data]
path = "sums.jsonl"
[task.prompt]
user = "How much is {{ a }} + {{ b }}?"
format = "chat"
[task.generate]
max_tokens = 40
temperature = 1.0
[task.extract]
kind = "number"
"#;

fn sums(sandbox: &Sandbox) {
    let lines = (0..12).map(|a| format!("{{\"a\": {a}, \"b\": {}}}\n", a * 3));
    sandbox.write("sums.jsonl", lines.collect::<String>());
}

fn score(sandbox: &Sandbox, folder: &std::path::Path, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.host(["score"]);
    command.arg(folder).args(arguments);
    sandbox.finish(command)
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn unchanged_it_is_the_summary_of_the_run_and_knows_repeats() {
    let sandbox = Sandbox::new();
    sums(&sandbox);
    let run = sandbox.run(NUMBERS).exits(0);
    let folder = run.left().path.clone();
    // Neither data nor server is needed any more.
    fs::remove_file(sandbox.path("sums.jsonl")).unwrap();
    let outcome = score(&sandbox, &folder, &[]).exits(0);
    assert!(outcome.stdout.contains("0 samples are worth something else"), "{}", outcome.stdout);
    let (own, scored) = (run.left().summary, json(&folder.join("summary.score-1.json")));
    assert_eq!(scored["summary"]["results"][0], own["results"][0]);
    let values = &scored["over_repeats"][0]["values"];
    let of =
        |name: &str| values[name]["value"].as_f64().unwrap_or_else(|| panic!("{name}: {values}"));
    let acc = own["results"][0]["metrics"]["exact_match"]["value"].as_f64().unwrap();
    assert_eq!(of("mean@4"), acc);
    assert_eq!(of("pass@1"), acc);
    assert!(of("pass@1") <= of("pass@2") && of("pass@2") <= of("pass@4"), "{values}");
    assert_eq!(values["majority@4"]["samples"], 12);
}

#[test]
fn another_way_to_read_answers_is_told_by_what_it_changes() {
    let sandbox = Sandbox::new();
    sums(&sandbox);
    let run = sandbox.run(NUMBERS).exits(0);
    let folder = run.left().path.clone();
    let first = "task.sums.extract={kind=\"regex\", pattern=\"no such answer\"}";
    let outcome = score(&sandbox, &folder, &["--set", first, "--json"]).exits(0);
    let told: Value = serde_json::from_str(outcome.stdout.lines().next().unwrap()).unwrap();
    let scored = &told["score"];
    assert_eq!(scored["summary"]["results"][0]["metrics"]["exact_match"]["value"], 0.0);
    let keys: Vec<&str> = scored["rescored"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["key"].as_str().unwrap())
        .collect();
    assert!(keys.contains(&"task.sums.extract.kind"), "{keys:?}");
    let right =
        run.left().journal.iter().filter(|line| line["scores"]["exact_match"] == 1.0).count();
    assert_eq!(scored["rescored"]["differing"], right);
    assert_eq!(scored["summary"]["results"][0]["incidents"]["no_answer"], 48);
    // The run's own is as it was, and a second scoring has a file of its own.
    let _ = score(&sandbox, &folder, &["--set", "task.on_no_answer=unscored"]).exits(0);
    assert!(folder.join("summary.score-2.json").exists());
    assert_eq!(json(&folder.join("summary.json")), run.left().summary);
}

#[test]
fn metrics_may_be_others_as_far_as_the_answers_go() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", CHOICE_DATA);
    let fake = FakeTgi::start_blocking().unwrap();
    let run = |metrics: &str| {
        let text = format!("{}{CHOICE}metrics = [{metrics}]\n", tgi(&fake));
        sandbox.run(&text).exits(0).left().path.clone()
    };
    let both = run("\"acc\", \"acc_mutual_info\"");
    let fewer = "task.t.metrics=[\"acc\"]";
    let outcome = score(&sandbox, &both, &["--set", fewer]).exits(0);
    assert!(outcome.stdout.contains("0 samples are worth something else"), "{}", outcome.stdout);
    let metrics = &json(&both.join("summary.score-1.json"))["summary"]["results"][0]["metrics"];
    assert_eq!(metrics.as_object().unwrap().keys().collect::<Vec<_>>(), ["acc"]);
    let more = "task.t.metrics=[\"acc\", \"acc_mutual_info\"]";
    let refused = score(&sandbox, &run("\"acc\""), &["--set", more]).exits(2);
    let _ = refused.says(&["acc_mutual_info cannot be had", "without a context"]);
}

#[test]
fn a_pattern_that_took_too_long_may_be_another_one() {
    let sandbox = Sandbox::with_hostile();
    let line = "{\"says\": \"the river ran along the quiet hills\", \"target\": \"the\"}\n";
    sandbox.write("data.jsonl", line.repeat(2));
    let endless = "extract = { kind = \"regex\", pattern = '((?:\\w|\\w\\w|\\s)+)+\\1QQQ' }\n";
    let text = format!("run.max_unscored = 1.0\n{}{ECHO}{endless}", hostile("echo"));
    let left = sandbox.run(&text).exits(0).left();
    assert_eq!(left.counts(), [2, 0, 2]);
    let better = "task.t.extract.pattern=(\\w+)";
    let _ = score(&sandbox, &left.path, &["--set", better]).exits(0);
    let scored = json(&left.path.join("summary.score-1.json"));
    let result = &scored["summary"]["results"][0];
    assert_eq!(counts(result), [2, 2, 0]);
    assert_eq!(result["metrics"]["exact_match"]["value"], 1.0);
}

#[test]
fn errors_over_repeats_are_by_clusters_as_those_of_the_run() {
    let sandbox = Sandbox::with_hostile();
    let one = |i: usize| {
        let (cluster, target) = (i / 5, if i < 10 { "yes" } else { "no" });
        format!("{{\"says\": \"yes\", \"target\": \"{target}\", \"about\": \"{cluster}\"}}\n")
    };
    sandbox.write("data.jsonl", (0..20).map(one).collect::<String>());
    let text = format!("{}{ECHO}cluster = \"about\"\nrepeats = 2\n", hostile("echo"));
    let left = sandbox.run(&text).exits(0).left();
    let own = &left.result()["metrics"]["exact_match"];
    assert_eq!((&own["value"], &own["stderr"]), (&0.5.into(), &0.25.into()));
    let _ = score(&sandbox, &left.path, &[]).exits(0);
    let scored = json(&left.path.join("summary.score-1.json"));
    for name in ["mean@2", "pass@1", "majority@2"] {
        assert_eq!(scored["over_repeats"][0]["values"][name]["stderr"], 0.25, "{name}");
    }
}

#[test]
fn what_was_asked_cannot_be_changed() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(3));
    let text = format!("{}{ECHO}", hostile("echo"));
    let folder = sandbox.run(&text).exits(0).left().path.clone();
    let refused = |set: &str, says: &str| {
        let _ = score(&sandbox, &folder, &["--set", set]).exits(2).says(&[says]);
    };
    refused("task.prompt.user=x", "`task.t.prompt.user` says what is asked");
    refused("run.store=hash", "`run.store` says what is asked");
    refused("task.extrct.kind=number", "extrct");
    let _ = score(&sandbox, &sandbox.path("nowhere"), &[]).exits(2).says(&["there is no run here"]);
    let hashed =
        sandbox.run(&format!("[run]\nstore = \"hash\"\n{text}")).exits(0).left().path.clone();
    let _ = score(&sandbox, &hashed, &[]).exits(2).says(&["is stored as a digest"]);
}
