//! `host show`: what a run file means, and what would be asked.

use host_tests::{
    built,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

fn host(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.finish(sandbox.host(arguments))
}

/// A run file and a task of the repository's own.
fn config(name: &str) -> String {
    built::root().join("config").join(name).display().to_string()
}

#[test]
fn every_value_is_shown_with_where_it_came_from() {
    let sandbox = Sandbox::new();
    let file = config("piqa_tgi.toml");
    let mut command = sandbox.host(["show", &file, "--set", "run.concurrency=8"]);
    command.env("MAX_SAMPLES", "3");
    let shown = sandbox.finish(command).exits(0).stdout;
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no `{start}` in\n{shown}")).to_owned()
    };
    assert!(line("max_samples = 3 ").ends_with(", by $MAX_SAMPLES"), "{shown}");
    assert!(line("base_url = ").ends_with(", for want of $TGI_URL"), "{shown}");
    assert!(line("concurrency = 8 ").ends_with("# --set run.concurrency"), "{shown}");
    assert!(line("max_retries = 15 ").ends_with("# default"), "{shown}");
    assert!(line("kind = ").contains("piqa_mini.toml:"), "{shown}");
    // What is shown is a run file: it runs where the task's own paths can be found.
    let read: Value = toml::from_str(&shown).unwrap();
    assert_eq!(read["backend"][0]["plugin"], "tgi");
    let records = host(&sandbox, &["show", &file, "--json"]).exits(0).stdout;
    let records: Vec<Value> =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let retries = records.iter().find(|one| one["key"] == "run.max_retries").unwrap();
    assert_eq!((&retries["value"], &retries["from"]), (&15.into(), &Value::Null));
}

#[test]
fn a_samples_requests_are_shown_without_a_server_and_without_a_key() {
    let sandbox = Sandbox::new();
    let server = "backend.base_url=http://127.0.0.1:9";
    let file = config("gsm8k_sglang.toml");
    let mut command = sandbox.host(["show", &file, "--sample", "3", "--set", server]);
    command.env("SGLANG_API_KEY", "sk-very-secret");
    let shown = sandbox.finish(command).exits(0).stdout;
    for text in ["sample 3 (record 3", "right answers", "(not sent): POST http://127.0.0.1:9/"] {
        assert!(shown.contains(text), "no `{text}` in\n{shown}");
    }
    assert!(!shown.contains("very-secret"), "{shown}");
    let arguments = ["show", &file, "--sample", "no such", "--set", server];
    let _ = host(&sandbox, &arguments).exits(2).says(&["no sample `no such` in arithmetic"]);
    let arguments = ["show", &file, "--sample", "0", "--task", "other", "--set", server];
    let _ = host(&sandbox, &arguments).exits(2).says(&["no task `other` at a backend `*`"]);
}

#[test]
fn an_id_comes_before_a_position() {
    let sandbox = Sandbox::new();
    let lines =
        (0..5).map(|n| format!("{{\"id\": \"{}\", \"q\": \"{n}\", \"a\": \"{n}\"}}\n", 6 - n));
    sandbox.write("data.jsonl", lines.collect::<String>());
    let file = sandbox.write(
        "run.toml",
        r#"
        [[backend]]
        plugin = "tgi"
        base_url = "http://127.0.0.1:9"
        [[task]]
        id = "t"
        kind = "generate"
        target = "{{ a }}"
        data = { path = "data.jsonl", id_field = "id" }
        prompt = { user = "{{ q }}" }
        "#,
    );
    // Ids 6, 5, 4, 3, 2: 2 is the last record's, and no id is 1.
    for (sample, expected) in [("2", "sample 2 (record 4"), ("1", "sample 5 (record 1")] {
        let arguments = ["show", &file.display().to_string(), "--sample", sample];
        let shown = host(&sandbox, &arguments).exits(0).stdout;
        assert!(shown.contains(expected), "{sample}: {shown}");
    }
}

#[test]
fn a_mock_shows_all_requests_and_the_form_that_a_backend_takes() {
    let sandbox = Sandbox::new();
    let arguments = ["show", &config("piqa_tgi.toml"), "--sample", "0", "--json"];
    let shown = host(&sandbox, &arguments).exits(0).stdout;
    let preview: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(preview["event"], "preview");
    assert!(preview["form"]["multiple_choice"]["continuations"].as_array().unwrap().len() > 1);
    let requests = preview["requests"].as_array().unwrap();
    assert!(requests.len() > 2, "{requests:#?}");
    assert!(requests.iter().all(|request| request["sent"] == true), "{requests:#?}");
    assert_eq!(preview.get("stopped"), None);
    // A backend without log-likelihood is asked as the task's fallback says.
    let arguments =
        ["show", &config("piqa_litellm.toml"), "--sample", "0", "--backend", "anthropic"];
    let shown = host(&sandbox, &arguments).exits(0).stdout;
    assert!(shown.contains("as its `fallback` says") && shown.contains("/v1/messages"), "{shown}");
}
