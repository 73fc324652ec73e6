//! stdout is data, stderr is talk.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use host_tests::sandbox::Sandbox;
use serde_json::Value;

use super::{ECHO, echoes, hostile};

fn sandbox(samples: usize) -> (Sandbox, String) {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(samples));
    (sandbox, format!("{}{ECHO}", hostile("echo")))
}

#[test]
fn json_lines_begin_with_launch_and_end_with_done() {
    let (sandbox, text) = sandbox(3);
    let outcome = sandbox.finish(sandbox.run_command(&text, &["--json"])).exits(0);
    let lines: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "launch");
    assert_eq!(lines.iter().filter(|line| line["event"] == "sample").count(), 3);
    let done = lines.last().unwrap();
    assert_eq!((&done["event"], &done["exit_code"]), (&"done".into(), &0.into()));
    assert_eq!(done["summary"], outcome.left().summary);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_run_that_cannot_begin_ends_with_done_too() {
    let (sandbox, text) = sandbox(1);
    let text = text.replace("data.jsonl", "nowhere.jsonl");
    let outcome = sandbox.finish(sandbox.run_command(&text, &["--json"])).exits(2);
    let done: Value = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&done["event"], &done["exit_code"]), (&"done".into(), &2.into()));
    assert!(done["error"].as_str().unwrap().contains("nowhere.jsonl"));
}

#[test]
fn quiet_says_nothing_but_the_table() {
    let (sandbox, text) = sandbox(1);
    let outcome = sandbox.finish(sandbox.run_command(&text, &["--quiet"])).exits(0);
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.contains("exact_match"), "{}", outcome.stdout);
}

#[test]
fn the_table_shows_values_and_their_errors() {
    let (sandbox, text) = sandbox(3);
    let outcome = sandbox.run(&text).exits(0).says(&["run directory: runs/run-", "summary.json"]);
    assert!(outcome.stdout.contains("1.0000 ± 0.0000"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains('\x1b') && !outcome.stderr.contains('\x1b'));
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let (sandbox, text) = sandbox(2000);
    let mut command = sandbox.run_command(&text, &["--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("launch"));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
    let folder = std::fs::read_dir(sandbox.path("runs")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(host_tests::left::Left::read(&folder).counts(), [2000, 2000, 0]);
}

#[test]
fn output_that_is_lost_is_no_success() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.host(["schema"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot write to stdout"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
