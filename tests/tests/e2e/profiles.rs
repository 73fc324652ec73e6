//! Run files that suit several occasions: profiles, settings from the environment, and a mock for a server.

use host_tests::{
    left::Left,
    sandbox::{Outcome, Sandbox},
};

use super::{ECHO, echoes};

const KEY: &str = "sk-canary-0123456789abcdef";

/// The hostile plugin twice, whose answers are right under one profile only.
const FILE: &str = r#"
profile = "${WHERE:-wrong}"
max_samples = "${MAX_SAMPLES:-3}"
run.max_retries = 0
run.max_unscored = 1.0
[[backend]]
id = "a"
plugin = "hostile"
config.after = "${AFTER:-0}"
[[backend]]
id = "b"
plugin = "hostile"
[profiles.wrong]
backend.config.mode = "ok"
[profiles.right]
backend.config.mode = "ok"
backend.b.config.mode = "echo"
[profiles.unset]
backend.config.text = "${NOWHERE_SET}"
"#;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(5));
    let mut command = sandbox.run_command(&format!("{FILE}{ECHO}"), arguments);
    command.envs(variables.iter().copied());
    sandbox.finish(command).keep(sandbox)
}

fn accuracies(left: &Left) -> [f64; 2] {
    ["a", "b"].map(|id| left.of_backend(id)["metrics"]["exact_match"]["value"].as_f64().unwrap())
}

#[test]
fn a_profile_is_taken_from_the_file_the_environment_or_the_command_line() {
    let digest = |left: &Left| left.manifest["config_blake3"].clone();
    let plain = run(&[], &[]).exits(0).left();
    assert_eq!(accuracies(&plain), [0.0, 0.0]);
    assert_eq!(plain.manifest["config"]["profile"], "wrong");
    let by_variable = run(&[], &[("WHERE", "right")]).exits(0).left();
    assert_eq!(accuracies(&by_variable), [0.0, 1.0]);
    assert_eq!(by_variable.manifest["config"]["profile"], "right");
    let by_flag = run(&["--profile", "right"], &[("WHERE", "wrong")]).exits(0).left();
    assert_eq!(digest(&by_flag), digest(&by_variable));
    let set = run(&["--profile", "right", "--set", "backend.a.config.mode=echo"], &[]).exits(0);
    assert_eq!(accuracies(&set.left()), [1.0, 1.0]);
    let unset = run(&["--profile", "unset"], &[]).exits(2);
    let _ = unset.says(&["backend.a.config.text: the environment variable NOWHERE_SET is not set"]);
    let _ = run(&["--profile", "wright"], &[]).exits(2).says(&["did you mean `right`?"]);
}

#[test]
fn numbers_come_from_the_environment() {
    let left = run(&["--profile", "right"], &[("MAX_SAMPLES", "2")]).exits(0).left();
    assert_eq!(host_tests::left::counts(left.of_backend("b")), [2, 2, 0]);
    let left = run(&["--set", "backend.config.mode=fail"], &[("AFTER", "1")]).exits(0).left();
    assert_eq!(host_tests::left::counts(left.of_backend("a")), [3, 1, 2]);
    assert_eq!(left.manifest["config"]["backends"][0]["config"]["after"], "1");
    let _ = run(&[], &[("MAX_SAMPLES", "few")]).exits(2).says(&[
        "run.toml:3: max_samples: expected an integer, and the environment variable MAX_SAMPLES",
        "gives \"few\"",
    ]);
    let _ = run(&[], &[("AFTER", "-1")]).exits(2).says(&["config.after: expected at least 0"]);
}

/// A backend of the hostile plugin that posts the prompt to its server.
const POSTS: &str = "run.max_retries = 0\nrun.max_unscored = 1.0\n[[backend]]\nplugin = \"hostile\"\nbase_url = \"mock:tgi\"\nsecrets = [\"api_key\"]\nconfig.mode = \"http\"\n";

#[test]
fn a_mock_stands_for_a_server_and_nobody_takes_it_for_a_score() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(2));
    let outcome = sandbox.run_with(&format!("{POSTS}{ECHO}"), &[("HOSTILE_API_KEY", KEY)]).exits(0);
    let left = outcome.left();
    assert!(left.journal.iter().all(|line| line["replica"] == "mock:tgi"));
    // The mock knows no such route: what counts is that it answered.
    assert!(
        left.journal.iter().all(|line| line["error"]["http_status"].is_u64()),
        "{:?}",
        left.journal
    );
    assert_eq!(left.manifest["config"]["backends"][0]["base_url"], "mock:tgi");
    assert_eq!(left.manifest["backends"][0]["mock"], true);
    assert_eq!(left.result()["mock"], true);
    assert!(
        outcome.stdout.contains("answered by the host's own mock and by no model"),
        "{}",
        outcome.stdout
    );
    let written = String::from_utf8_lossy(&left.bytes()).into_owned();
    assert!(!written.contains(KEY) && !written.contains("127.0.0.1"), "{written}");
    // The same run anywhere has the same configuration.
    let again = sandbox.run(&format!("{POSTS}{ECHO}")).exits(0).left();
    assert_eq!(left.manifest["config_blake3"], again.manifest["config_blake3"]);
}

#[test]
fn a_wire_that_the_mock_does_not_speak_is_told() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(1));
    let outcome = sandbox.run(&format!("{}{ECHO}", POSTS.replace("mock:tgi", "mock:tgj"))).exits(2);
    let _ = outcome.says(&["the mock does not speak `tgj`", "did you mean `mock:tgi`?"]);
    let outcome = sandbox.run(&format!("{}{ECHO}", POSTS.replace("mock:tgi", "mock:zzzzz")));
    let _ = outcome.exits(2).says(&["it speaks: ", "tgi"]);
}
