//! Record and replay: a run that asks no server is the run that did.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use host_tests::{
    built::root,
    fake_tgi::{FakeTgi, Fault},
    left::{Left, counts},
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{CHOICE, CHOICE_DATA, CUSTOM, ECHO, echoes, tgi};

/// Runs with `--record` or `--replay` and a file of this name in the sandbox.
pub(super) fn run(sandbox: &Sandbox, text: &str, flag: &str, file: &Path) -> Outcome {
    sandbox.finish(sandbox.run_command(text, &[flag, &file.display().to_string()]))
}

/// The results but for times.
fn results(left: &Left) -> Vec<Value> {
    let mut results = left.summary["results"].as_array().unwrap().clone();
    for result in &mut results {
        let result = result.as_object_mut().unwrap();
        result.remove("latency_ms");
        result.remove("samples_per_second");
    }
    results
}

/// What came back, sample by sample.
fn responses(left: &Left) -> Vec<[&Value; 3]> {
    let of = ["response", "status", "attempts"];
    left.journal.iter().map(|line| of.map(|key| &line[key])).collect()
}

/// Every plugin that speaks to a server, at the mock that speaks its wire.
fn at_the_mock() -> String {
    let mut text = String::new();
    for (id, table) in [
        ("tgi", "plugin = \"tgi\"\nbase_url = \"mock:tgi\"\nstream = true"),
        ("sglang", "plugin = \"sglang\"\nbase_url = \"mock:sglang\""),
        (
            "openai",
            "plugin = \"litellm\"\nmodel = \"openai/gpt-4o-mini\"\nbase_url = \"mock:openai\"\nstream = true",
        ),
        (
            "anthropic",
            "plugin = \"litellm\"\nmodel = \"anthropic/claude-sonnet-4-5\"\nbase_url = \"mock:anthropic\"",
        ),
        (
            "router",
            "plugin = \"huggingface\"\nmodel = \"acme/model:novita\"\nbase_url = \"mock:huggingface\"",
        ),
    ] {
        text.push_str(&format!("[[backend]]\nid = \"{id}\"\n{table}\n"));
    }
    text.push_str(&format!("[[backend]]\nid = \"custom\"\nbase_url = \"mock:openai\"\n{CUSTOM}\n"));
    format!("{text}{ECHO}")
}

fn sandbox(records: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(records));
    sandbox
}

#[test]
fn a_recorded_run_is_the_same_without_the_servers() {
    let sandbox = sandbox(3);
    let (text, file) = (at_the_mock(), sandbox.path("run.jsonl"));
    let recorded = run(&sandbox, &text, "--record", &file).exits(0).left();
    let outcome = run(&sandbox, &text, "--replay", &file).exits(0);
    let replayed = outcome.says(&["no server is asked"]).left();
    assert_eq!(results(&replayed), results(&recorded));
    assert_eq!(responses(&replayed), responses(&recorded));
    // What answered is named, byte by byte.
    let digest = blake3::hash(&fs::read(&file).unwrap()).to_hex();
    assert_eq!(replayed.manifest["recording"]["blake3"], digest.as_str());
    assert!(recorded.manifest["recording"].is_null());
}

/// Where the recording lies that the test below runs from.
fn committed() -> PathBuf {
    root().join("tests/fixtures/recordings/plugins.jsonl")
}

/// The plugins' own test by a recording: what they ask must be byte by byte what they asked when it was made, and what
/// was said then must read as it did. A change that is meant is recorded anew by `UPDATE_RECORDINGS=1`.
#[test]
fn every_plugin_asks_and_reads_as_it_did_when_it_was_recorded() {
    let sandbox = sandbox(2);
    let text = at_the_mock();
    if env::var_os("UPDATE_RECORDINGS").is_some() {
        let _ = fs::remove_file(committed());
        let _ = run(&sandbox, &text, "--record", &committed()).exits(0);
    }
    let left = run(&sandbox, &text, "--replay", &committed()).exits(0).left();
    assert_eq!(left.summary["results"].as_array().unwrap().len(), 6);
    for result in left.summary["results"].as_array().unwrap() {
        assert_eq!(counts(result), [2, 2, 0], "{result}");
        // What is described to `custom` above says nothing of tokens.
        let counted = result["tokens"]["completion"].as_u64().unwrap() > 0;
        assert_eq!(counted, result["backend"] != "custom", "{result}");
    }
    assert!(left.journal.iter().any(|line| line["timing_ms"]["first_text"].is_number()));
    for line in &left.journal {
        let choice = &line["response"]["completion"]["choices"][0];
        assert!(!choice["text"].as_str().unwrap().is_empty(), "{line}");
        assert_eq!(choice["finish_reason"], "stop", "{line}");
    }
}

#[test]
fn failures_and_retries_are_replayed_too() {
    let fake = FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .faults(|number, _| match number {
            1 => Some(Fault::Overloaded(Some(0))),
            2 => Some(Fault::Dropped(0)),
            3 => Some(Fault::Truncated(1)),
            _ => None,
        })
        .start_blocking()
        .unwrap();
    let sandbox = sandbox(4);
    let text = format!("run.concurrency = 1\n{}stream = true\n{ECHO}", tgi(&fake));
    let file = sandbox.path("run.jsonl");
    let recorded = run(&sandbox, &text, "--record", &file).left();
    drop(fake);
    let replayed = run(&sandbox, &text, "--replay", &file).left();
    assert!(recorded.result()["retries"].as_u64().unwrap() >= 2);
    assert_eq!(results(&replayed), results(&recorded));
    assert_eq!(responses(&replayed), responses(&recorded));
}

#[test]
fn likelihoods_are_replayed_to_the_last_digit() {
    let fake = FakeTgi::start_blocking().unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", CHOICE_DATA);
    let (text, file) = (format!("{}{CHOICE}", tgi(&fake)), sandbox.path("run.jsonl"));
    let recorded = run(&sandbox, &text, "--record", &file).exits(0).left();
    drop(fake);
    let replayed = run(&sandbox, &text, "--replay", &file).exits(0).left();
    assert_eq!(responses(&replayed), responses(&recorded));
    // Nor is a server started that nobody would ask.
    let launched = text.replace("plugin =", "launch = [\"/no/such/program\"]\nplugin =");
    let _ = run(&sandbox, &launched, "--replay", &file).exits(0);
}

#[test]
fn a_request_that_was_not_recorded_fails_by_name_and_is_no_answer() {
    let sandbox = sandbox(2);
    let text = format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}");
    let file = sandbox.path("run.jsonl");
    let _ = run(&sandbox, &text, "--record", &file).exits(0);
    sandbox.write("data.jsonl", echoes(3));
    // Also where unscored samples are allowed.
    for allowed in ["", "run.max_unscored = 5\n"] {
        let outcome = run(&sandbox, &format!("{allowed}{text}"), "--replay", &file).exits(3);
        let outcome =
            outcome.says(&["1 requests are not in the recording", "/generate", "nearest"]);
        let left = outcome.says(&["asked is `", "word 2"]).left();
        assert_eq!(left.counts(), [3, 2, 1]);
        let line = &left.journal[2];
        assert_eq!((&line["status"]["unscored"], &line["attempts"]), (&"other".into(), &1.into()));
        let message = line["error"]["message"].as_str().unwrap();
        assert!(message.contains("run.jsonl has no answer to POST mock:tgi/generate"), "{message}");
        assert!(!message.contains("word"), "{message}");
    }
    // A backend that cannot even be asked who it is.
    let other = text.replace("\"tgi\"", "\"sglang\"").replace("mock:tgi", "mock:sglang");
    let _ = run(&sandbox, &other, "--replay", &file).exits(5).says(&["has no answer to"]);
}

#[test]
fn a_run_that_a_recording_answers_is_gone_on_with_by_the_same_one_only() {
    let sandbox = sandbox(6);
    let text = format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}");
    let (file, other) = (sandbox.path("run.jsonl"), sandbox.path("other.jsonl"));
    let _ = run(&sandbox, &text, "--record", &file).exits(0);
    // Of fewer samples: two recordings of one run may well be the same to the byte.
    let _ = run(&sandbox, &format!("max_samples = 5\n{text}"), "--record", &other).exits(0);
    let whole = run(&sandbox, &text, "--replay", &file).exits(0).left();
    let journal = whole.path.join("journal.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    let kept: String = lines.split_inclusive('\n').take(2).collect();
    fs::write(&journal, &kept).unwrap();
    let resume = |arguments: &[&str]| {
        let mut command = sandbox.host(["resume"]);
        command.arg(&whole.path).args(arguments);
        sandbox.finish(command)
    };
    for (arguments, says) in [
        (vec![], "servers now; name the recording by --replay"),
        (vec!["--replay", "other.jsonl"], "the recording that answers: "),
    ] {
        let _ = resume(&arguments).exits(2).says(&[says, "--accept-changes"]);
        assert_eq!(fs::read_to_string(&journal).unwrap(), kept);
    }
    let left = resume(&["--replay", "run.jsonl"]).exits(0).says(&["no server is asked"]).left();
    assert_eq!((left.counts(), left.journal.len()), ([6, 6, 0], 6));
    assert_eq!(left.manifest["recording"]["blake3"], whole.manifest["recording"]["blake3"]);
    // Nor is a run of servers gone on with by a recording, unless that is meant.
    let asked = sandbox.run(&text).exits(0).left();
    let mut command = sandbox.host(["resume", "--replay", "run.jsonl"]);
    command.arg(&asked.path);
    let _ = sandbox.finish(command).exits(2).says(&["who answers: servers before"]);
}

#[test]
fn a_recording_replaces_no_file_and_is_not_made_while_one_answers() {
    let sandbox = sandbox(1);
    let text = format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}");
    let file = sandbox.write("run.jsonl", "mine");
    let _ = run(&sandbox, &text, "--record", &file).exits(2).says(&["run.jsonl", "already"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let _ = run(&sandbox, &text, "--replay", &file).exits(2).says(&["run.jsonl:1", "--record"]);
    let both = ["--record", "a", "--replay", "b"];
    let _ = sandbox.finish(sandbox.run_command(&text, &both)).exits(2).says(&["--replay"]);
    // A run that cannot begin leaves no recording behind, so that it can be tried again.
    let none = sandbox.path("none.jsonl");
    let _ = run(&sandbox, "[[backend]]\nplugin = \"no\"\n", "--record", &none).exits(2);
    assert!(!none.exists());
}

#[test]
fn the_response_cache_keeps_out_of_a_recording() {
    let sandbox = sandbox(2);
    let text =
        format!("run.cache = true\n[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}");
    let _ = sandbox.run(&text).exits(0);
    let file = sandbox.path("run.jsonl");
    for flag in ["--record", "--replay"] {
        let outcome = run(&sandbox, &text, flag, &file).exits(0).says(&["cache is not used"]);
        assert!(outcome.left().result()["cached"].is_null());
    }
}
