//! The run files in `config/` run as they stand, against the mock that they bring.

use std::{fs, path::PathBuf};

use host_tests::{built, sandbox::Sandbox};
use serde_json::Value;

fn config() -> PathBuf {
    built::root().join("config")
}

/// The run files that need no model.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(config())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| fs::read_to_string(path).unwrap().contains("[[backend]]"))
        .filter(|path| !fs::read_to_string(path).unwrap().contains("plugin = \"local\""))
        .collect();
    files.sort();
    files
}

#[test]
fn every_run_file_runs_as_it_stands_and_scores_every_sample() {
    let files = files();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let sandbox = Sandbox::new();
        let mut command = sandbox.host(["run"]);
        command.arg(&file).env("MAX_SAMPLES", "12");
        let outcome = sandbox.finish(command);
        assert_eq!(outcome.code, Some(0), "{name}: {}{}", outcome.stderr, outcome.stdout);
        assert!(outcome.stdout.contains("mock"), "{name}: {}", outcome.stdout);
        let left = outcome.left();
        for result in left.summary["results"].as_array().unwrap() {
            assert_eq!(host_tests::left::counts(result), [12, 12, 0], "{name}: {result}");
            assert!(result["tokens"]["completion"].as_u64().is_some(), "{name}: {result}");
        }
        // What the run rented is given back, and only one of them rents anything.
        let resources = left.path.join("resources.jsonl");
        let lines = fs::read_to_string(resources).unwrap_or_default();
        let deeds: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |deed: &str| deeds.iter().filter(|line| line["deed"] == deed).count();
        let (held, freed) = (count("hold"), count("free"));
        assert_eq!(held > 0, name == "piqa_huggingface", "{name}: {lines}");
        assert_eq!((held, held + freed), (freed, deeds.len()), "{name}: {lines}");
        if let Some(last) = deeds.last() {
            assert_eq!(last["deed"], "free", "{name}: {lines}");
        }
    }
}

#[test]
fn every_task_is_listed_with_where_its_data_is() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.host(["task", "list"]);
    command.env("HOST_CONFIG_DIR", config());
    let outcome = sandbox.finish(command).exits(0);
    for text in ["piqa", "piqa_mini", "arithmetic", "gsm8k", "set PIQA_DIR", "set GSM8K_DIR"] {
        assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
    }
}

#[test]
fn a_task_runs_by_its_name_without_a_run_file() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.host(["run", "--task", "piqa_mini", "--backend", "tgi"]);
    command.args(["--set", "base_url=mock:tgi", "--max-samples", "5"]);
    command.env("HOST_CONFIG_DIR", config());
    let left = sandbox.finish(command).exits(0).left();
    assert_eq!(left.counts(), [5, 5, 0]);
}
