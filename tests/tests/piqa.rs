//! PIQA through the real binary, with the real model, against llama.cpp's figures for the same file.
//!
//! The first 50 samples; all 1,838 with `HOST_TEST_FULL=1`, which wants a release build: `cargo test --release`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop anywhere, and says why it is skipped"
)]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use host_tests::{built, real};
use serde_json::Value;

#[test]
fn piqa_through_the_binary_is_llama_cpps_and_the_same_every_time() {
    let (Some(model), Some(data)) = (real::model(), real::piqa()) else { return };
    let all = std::env::var_os("HOST_TEST_FULL").is_some();
    let references = references();
    let count = if all { references.len() } else { 50 };
    println!("{count} samples; set HOST_TEST_FULL for all");

    let host = program();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("piqa");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("run.toml");
    fs::write(&file, run_file(&model, &data)).unwrap();

    let first = run(&host, &file, &folder.join("first"), count);
    let second = run(&host, &file, &folder.join("second"), count);
    assert_eq!(first.scores, second.scores);
    assert_eq!(first.metrics, second.metrics);

    assert_eq!(first.log_likelihoods.len(), count);
    let mut differences: Vec<f64> = first
        .log_likelihoods
        .iter()
        .zip(&references)
        .flat_map(|(ours, theirs)| [0, 1].map(|choice| (ours[choice] - theirs[choice]).abs()))
        .collect();
    differences.sort_by(f64::total_cmp);
    let median = differences[differences.len() / 2];
    println!(
        "|difference| in nats: median {median:.6}, largest {:.6}",
        differences.last().unwrap()
    );
    assert!(median < 0.02);

    for (metric, theirs) in reference_metrics(&references[..count], &data) {
        let ours = first.metrics[metric]["value"].as_f64().unwrap();
        let standard_error = (theirs * (1.0 - theirs) / (count as f64 - 1.0)).sqrt();
        println!("{metric}: ours {ours:.4}, llama.cpp {theirs:.4} ± {standard_error:.4}");
        assert!((ours - theirs).abs() < standard_error);
    }
}

struct Finished {
    /// In the order of the data set.
    log_likelihoods: Vec<[f64; 2]>,
    /// Index and scores, a line a sample.
    scores: String,
    metrics: Value,
}

fn run(host: &Path, file: &Path, out: &Path, count: usize) -> Finished {
    let output = Command::new(host)
        .args(["run", "--quiet", "--max-samples", &count.to_string(), "--out"])
        .args([out, file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let directory = fs::read_dir(out).unwrap().next().unwrap().unwrap().path();
    let mut samples: Vec<Value> = fs::read_to_string(directory.join("journal.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["sample"].is_object())
        .collect();
    samples.sort_by_key(|sample| sample["sample"]["index"].as_u64());
    let mut scores = String::new();
    for sample in &samples {
        let likelihoods = &sample["response"]["likelihoods"]["conditional"];
        writeln!(scores, "{} {} {likelihoods}", sample["sample"]["index"], sample["scores"])
            .unwrap();
    }
    let log_likelihoods = samples.iter().map(|sample| {
        let likelihoods = &sample["response"]["likelihoods"]["conditional"];
        [0, 1].map(|choice| likelihoods[choice]["logprob"].as_f64().unwrap())
    });
    let summary = fs::read_to_string(directory.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    Finished {
        log_likelihoods: log_likelihoods.collect(),
        scores,
        metrics: summary["results"][0]["metrics"].clone(),
    }
}

fn run_file(model: &Path, data: &Path) -> String {
    let labels = data.with_file_name("valid-labels.lst");
    format!(
        r#"
[run]
concurrency = 2

[[backend]]
id = "smollm2"
plugin = "local"

[backend.asset.model]
name = "SmolLM2-135M-Instruct.Q4_1.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
sources = [{{ path = {model:?} }}]

[[task]]
id = "piqa"
kind = "multiple_choice"
target = "{{{{ label }}}}"
metrics = ["acc", "acc_norm"]
data.path = {data:?}
data.labels = {labels:?}
prompt.user = "Question: {{{{ goal }}}}\nAnswer:"
choices.texts = ["{{{{ sol1 }}}}", "{{{{ sol2 }}}}"]
"#
    )
}

/// The program that is run, in the profile of this test.
fn program() -> PathBuf {
    if cfg!(debug_assertions) { built::host() } else { built::released().join("host") }
}

/// llama.cpp's log-likelihoods, in the order of the data set.
fn references() -> Vec<[f64; 2]> {
    let text =
        fs::read_to_string(built::root().join("tests/fixtures/piqa_llama_cpp.jsonl")).unwrap();
    let lines = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| [0, 1].map(|choice| line["ll"][choice].as_f64().unwrap())).collect()
}

/// acc and acc_norm (per character) of llama.cpp's log-likelihoods.
fn reference_metrics(references: &[[f64; 2]], data: &Path) -> [(&'static str, f64); 2] {
    let samples = fs::read_to_string(data).unwrap();
    let labels = fs::read_to_string(data.with_file_name("valid-labels.lst")).unwrap();
    let mut right = [0.0; 2];
    for ((scores, sample), label) in references.iter().zip(samples.lines()).zip(labels.lines()) {
        let sample: Value = serde_json::from_str(sample).unwrap();
        let label: usize = label.trim().parse().unwrap();
        let characters = ["sol1", "sol2"].map(|key| sample[key].as_str().unwrap().chars().count());
        let per_character = [0, 1].map(|choice| scores[choice] / characters[choice] as f64);
        for (right, scores) in right.iter_mut().zip([*scores, per_character]) {
            *right += f64::from(u8::from(usize::from(scores[1] > scores[0]) == label));
        }
    }
    let count = references.len() as f64;
    [("acc", right[0] / count), ("acc_norm", right[1] / count)]
}
