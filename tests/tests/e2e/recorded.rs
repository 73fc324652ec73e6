//! What a run leaves: summary, journal, manifest.

use std::fs;

use host_tests::{built, fake_tgi::FakeTgi, sandbox::Sandbox};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{CHOICE, CHOICE_DATA, ECHO, echoes, hostile, run, tgi};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Whether every one of `expected` is among the keys of `value`.
fn has_keys(value: &Value, expected: &[&str]) {
    let found = keys(value);
    for key in expected {
        assert!(found.contains(key), "no {key} in {found:?}");
    }
}

#[test]
fn a_summary_has_its_documented_form() {
    let left =
        run(&format!("name = \"mine\"\n{}", hostile("echo")), ECHO, &echoes(5)).exits(0).left();
    assert_eq!(left.summary["format"], 1);
    let identity = &left.summary["run"];
    has_keys(identity, &["id", "name", "started", "finished", "host_version", "config_blake3"]);
    assert_eq!(identity["name"], "mine");
    assert_eq!(identity["state"], "complete");
    assert_eq!(identity["id"], left.path.file_name().unwrap().to_str().unwrap());
    assert_eq!(identity["config_blake3"].as_str().unwrap().len(), 64);
    let result = left.result();
    has_keys(
        result,
        &[
            "task",
            "backend",
            "model",
            "unscored_reasons",
            "metrics",
            "tokens",
            "latency_ms",
            "samples_per_second",
        ],
    );
    assert_eq!(left.counts(), [5, 5, 0]);
    assert_eq!(result["unscored_reasons"], json!({}));
    has_keys(&result["metrics"]["exact_match"], &["value", "stderr"]);
    // Two words in, two words out.
    assert_eq!(result["tokens"], json!({ "prompt": 10, "completion": 10 }));
    let latency = ["p50", "p90", "p99"].map(|p| result["latency_ms"][p].as_f64().unwrap());
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{latency:?}");
    assert!(result["samples_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_journal_line_holds_all_that_scoring_again_needs() {
    let left = run(&hostile("echo"), ECHO, &echoes(2)).exits(0).left();
    assert_eq!(left.journal.len(), 2);
    let line = &left.journal[1];
    assert_eq!(line["sample"]["id"], "1");
    assert_eq!(
        line["question"]["full"]["document"],
        json!({ "says": "word 1", "target": "word 1" })
    );
    assert_eq!(line["question"]["full"]["prompt"]["text"], "word 1");
    assert_eq!(line["question"]["full"]["form"]["generate"]["references"], json!(["word 1"]));
    let choice = &line["response"]["completion"]["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("word 1"), &json!("stop")));
    assert_eq!(line["status"], "scored");
    assert_eq!(line["scores"], json!({ "exact_match": 1.0 }));
    assert_eq!(line["usage"], json!({ "prompt": 2, "completion": 2 }));
    assert_eq!(line["attempts"], 1);
    assert!(line["timing_ms"]["total"].as_f64().unwrap() > 0.0);

    let left = run(&hostile("ok"), CHOICE, CHOICE_DATA).exits(0).left();
    let options =
        left.journal[0]["response"]["likelihoods"]["conditional"].as_array().unwrap().clone();
    assert_eq!(options.len(), 2);
    assert_eq!(
        (&options[0]["logprob"], &options[0]["tokens"], &options[0]["greedy"]),
        (&json!(-2.0), &json!(1), &json!(true))
    );
    assert_eq!(left.journal[0]["question"]["full"]["form"]["multiple_choice"]["gold"], json!([0]));
}

#[test]
fn hashes_alone_hold_no_text() {
    let data = "{\"says\": \"canary 42\", \"target\": \"42\"}\n";
    for task in [format!("{ECHO}extract.kind = \"number\"\n"), ECHO.to_owned()] {
        let text = format!("run.store = \"hash\"\n{}", hostile("echo"));
        let outcome = run(&text, &task, data).exits(0);
        let left = outcome.left();
        let journal = fs::read_to_string(left.path.join("journal.jsonl")).unwrap();
        assert!(!journal.contains("canary"), "{journal}");
        assert!(left.journal[0]["question"]["hash"]["blake3"].is_string());
    }
    let choice = format!("run.store = \"hash\"\n{}", hostile("ok"));
    let outcome = run(&choice, CHOICE, CHOICE_DATA).exits(0);
    let left = outcome.left();
    assert!(!fs::read_to_string(left.path.join("journal.jsonl")).unwrap().contains("grass"));
}

#[test]
fn the_same_run_twice_has_the_same_scores_byte_for_byte() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", CHOICE_DATA.repeat(30));
    let fake = FakeTgi::start_blocking().unwrap();
    let text = format!("{}{CHOICE}", tgi(&fake));
    let metrics = [0, 1].map(|_| {
        let left = sandbox.run(&text).exits(0).left();
        let scores: Vec<String> =
            left.journal.iter().map(|line| line["scores"].to_string()).collect();
        (left.result()["metrics"].to_string(), scores, left.summary["run"]["config_blake3"].clone())
    });
    assert_eq!(metrics[0], metrics[1]);
}

#[test]
fn the_manifest_names_the_exact_bytes_that_ran() {
    let manifest = run(&hostile("echo"), ECHO, &echoes(1)).exits(0).left().manifest;
    let plugin = &manifest["plugins"][0];
    let digest: String = Sha256::digest(fs::read(built::hostile()).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(plugin["sha256"], digest);
    assert_eq!((&plugin["id"], &plugin["isolation"]), (&json!("hostile"), &json!("worker")));
    assert_eq!(plugin["installed"], false);
    assert_eq!(manifest["data"][0]["blake3"], blake3::hash(echoes(1).as_bytes()).to_hex().as_str());
    assert_eq!(manifest["config"]["backends"][0]["plugin"], "hostile");
}

#[test]
fn a_plugin_that_came_with_the_host_needs_no_warning() {
    let fake = FakeTgi::start_blocking().unwrap();
    let outcome = run(&tgi(&fake), CHOICE, CHOICE_DATA).exits(0);
    assert!(!outcome.stderr.contains("in-process"), "{}", outcome.stderr);
    let plugin = &outcome.left().manifest["plugins"][0];
    assert_eq!((&plugin["installed"], &plugin["isolation"]), (&json!(true), &json!("in-process")));
}

#[test]
fn what_answers_cost_is_summed_and_shown_as_an_estimate() {
    let priced = format!("{}id = \"priced\"\nconfig.cost_usd_nanos = 12345678\n", hostile("echo"));
    let free = format!("{}id = \"free\"\n", hostile("echo"));
    let outcome = run(&format!("{priced}{free}"), ECHO, &echoes(4)).exits(0);
    let left = outcome.left();
    let result = left.of_backend("priced");
    let expected =
        json!({ "usd": 0.049382712, "estimate": true, "priced_samples": 4, "prices": "hostile 1" });
    assert_eq!(result["cost"], expected);
    assert_eq!(result["tokens"], json!({ "prompt": 8, "completion": 8, "cached": 4 }));
    let line = left.journal.iter().find(|line| line["backend"] == "priced").unwrap();
    let usage = json!({ "prompt": 2, "completion": 2, "cached": 1, "cost_usd_nanos": 12345678 });
    assert_eq!(line["usage"], usage);
    assert!(left.of_backend("free")["cost"].is_null());
    for text in ["cost (est.)", "$0.0494", "p50", " ms"] {
        assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
    }
    // Nothing is made up where no price is known.
    let outcome = run(&hostile("echo"), ECHO, &echoes(1)).exits(0);
    assert!(!outcome.stdout.contains("cost"), "{}", outcome.stdout);
}

#[test]
fn a_local_asset_is_named_by_its_digest() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(1));
    let prices = sandbox.write("prices.json", "{}");
    let backend = format!(
        "{}[backend.asset.prices]\nsources = [{{ path = \"prices.json\" }}]\n",
        hostile("echo")
    );
    let left = sandbox.run(&format!("{backend}{ECHO}")).exits(0).left();
    let digest: String = Sha256::digest(fs::read(&prices).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(left.manifest["backends"][0]["assets"], json!({ "prices": digest }));
    fs::remove_file(prices).unwrap();
    let _ = sandbox.run(&format!("{backend}{ECHO}")).exits(2).says(&["cannot get `prices.json`"]);
}
