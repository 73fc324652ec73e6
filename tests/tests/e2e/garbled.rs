//! Replies that are no answers, from every wire, whole and streamed: unscored with an excerpt, never graded.

use host_tests::{left::Left, mock::Mock, sandbox::Sandbox};

use super::{CUSTOM, ECHO, echoes};

/// What `host mock --reply` may be told.
const REPLIES: [&str; 7] =
    ["html", "empty", "truncated", "wrong-types", "error-in-200", "huge", "unknown-shape"];

/// A backend's table but for its address: id, flavor, table, further configuration.
const BACKENDS: [(&str, &str, &str); 14] = [
    ("tgi", "tgi", "plugin = \"tgi\""),
    ("sglang", "sglang", "plugin = \"sglang\""),
    ("openai", "openai", "plugin = \"litellm\"\nmodel = \"openai/gpt-4o-mini\""),
    (
        "completions",
        "openai",
        "plugin = \"litellm\"\nmodel = \"openai/davinci-002\"\nconfig.mode = \"completions\"",
    ),
    ("anthropic", "anthropic", "plugin = \"litellm\"\nmodel = \"anthropic/claude-sonnet-4-5\""),
    ("gemini", "gemini", "plugin = \"litellm\"\nmodel = \"gemini/gemini-2.5-flash\""),
    ("kimi", "moonshot", "plugin = \"litellm\"\nmodel = \"moonshot/kimi-k2.6\""),
    ("router", "huggingface", "plugin = \"huggingface\"\nmodel = \"acme/model:novita\""),
    (
        "serverless",
        "huggingface",
        "plugin = \"huggingface\"\nmodel = \"acme/model\"\nconfig.mode = \"serverless\"",
    ),
    // An Inference Endpoint at its own address.
    ("endpoint", "tgi", "plugin = \"huggingface\"\nconfig.mode = \"endpoint\""),
    ("azure", "azure", "plugin = \"litellm\"\nmodel = \"azure/dep\""),
    ("grok", "xai", "plugin = \"litellm\"\nmodel = \"xai/grok-4.20-non-reasoning\""),
    ("custom", "openai", CUSTOM),
    ("ollama", "ollama", OLLAMA),
];

/// Ollama's own wire, whole or a JSON object a line.
const OLLAMA: &str = r#"plugin = "custom"
model = "m"
config.generate.path = "/api/chat"
config.generate.body = '{"model": {{ model | tojson }}, "messages": {{ messages | tojson }}, "stream": {{ stream | tojson }}, "options": {"temperature": {{ (0 if temperature is none else temperature) | tojson }}{% if max_tokens is not none %}, "num_predict": {{ max_tokens }}{% endif %}}}'
config.reply.text = "/message/content"
config.reply.finish_reason = "/done_reason"
config.stream.format = "ndjson"
config.stream.text = "/message/content"
config.stream.finish_reason = "/done_reason"
config.stream.done = { pointer = "/done", equals = true }"#;

/// Backends that score log-likelihoods.
const SCORING: [&str; 3] = ["tgi", "sglang", "completions"];

/// One question with two options.
const CHOICE: &str = r#"
[[task]]
id = "t"
kind = "multiple_choice"
target = "0"
data.path = "data.jsonl"
prompt.user = "Say: {{ says }}"
prompt.format = "text"
choices.texts = ["{{ target }}", "nothing"]
"#;

/// A run file of the backends that `wanted` names.
fn run_file(mock: &Mock, run: &str, stream: bool, wanted: impl Fn(&str) -> bool) -> String {
    let mut text = format!("[run]\n{run}\n");
    for (id, flavor, table) in BACKENDS.iter().filter(|(id, ..)| wanted(id)) {
        let url = mock.url(flavor);
        text.push_str(&format!(
            "[[backend]]\nid = \"{id}\"\nbase_url = \"{url}\"\nstream = {stream}\n{table}\n"
        ));
    }
    text
}

/// What `records` samples of a task come to at the backends of a run file.
fn run(text: &str, task: &str, records: usize, code: i32) -> Left {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(records));
    sandbox.run(&format!("{text}{task}")).exits(code).left()
}

/// No second attempt: it would be answered as the first one.
const ONCE: &str = "max_retries = 0\nattempt_timeout = \"60s\"";

/// All backends that generate, in one run at one mock.
fn generated(mock: &Mock, stream: bool) -> Left {
    run(&run_file(mock, ONCE, stream, |_| true), ECHO, 1, 3)
}

/// Every sample is unscored for a reason that fits, and what came is shown if anything came.
fn assert_unscored(left: &Left, backends: usize, kind: &str, expected: &[&str]) {
    assert_eq!(left.journal.len(), backends, "{kind}");
    for line in &left.journal {
        let backend = line["backend"].as_str().unwrap();
        let reason = line["status"]["unscored"].as_str().unwrap_or("scored");
        assert!(expected.contains(&reason), "{kind} at {backend}: {line}");
        assert!(line["scores"].is_null(), "{kind} at {backend}: {line}");
        if reason == "unexpected_reply" && kind != "empty" {
            let excerpt = line["error"]["excerpt"].as_str().unwrap_or_default();
            assert!(!excerpt.is_empty() && excerpt.len() < 2000, "{kind} at {backend}: {line}");
        }
    }
}

/// What whole replies of a kind may be taken for.
fn whole(kind: &str) -> &'static [&'static str] {
    match kind {
        // The vendor's own error keeps its kind; `custom` knows only what its run file says.
        "error-in-200" => &["overloaded", "rate_limited", "other"],
        _ => &["unexpected_reply"],
    }
}

#[test]
fn a_whole_reply_that_is_no_answer_is_never_graded() {
    for kind in REPLIES {
        let mock = Mock::start(&["--reply", kind]);
        assert_unscored(&generated(&mock, false), BACKENDS.len(), kind, whole(kind));
    }
}

#[test]
fn log_likelihoods_out_of_no_answer_are_never_graded() {
    let scoring = |id: &str| SCORING.contains(&id);
    // The same run at a mock that answers is scored: what fails below are the replies.
    let mock = Mock::start(&[]);
    let left = run(&run_file(&mock, ONCE, false, scoring), CHOICE, 1, 0);
    assert_eq!(left.reasons(), [""; SCORING.len()]);
    for kind in REPLIES {
        let mock = Mock::start(&["--reply", kind]);
        let left = run(&run_file(&mock, ONCE, false, scoring), CHOICE, 1, 3);
        assert_unscored(&left, SCORING.len(), kind, whole(kind));
    }
}

#[test]
fn a_stream_that_is_no_answer_is_never_graded() {
    for kind in REPLIES {
        let mock = Mock::start(&["--reply", kind]);
        let expected: &[&str] = match kind {
            "error-in-200" => &["overloaded", "rate_limited", "other"],
            // A stream that ends before its last event broke off.
            "empty" | "truncated" => &["transport", "unexpected_reply"],
            _ => &["unexpected_reply", "transport"],
        };
        assert_unscored(&generated(&mock, true), BACKENDS.len(), kind, expected);
    }
}

#[test]
fn faults_of_the_network_are_retried_until_every_sample_is_scored() {
    let mock =
        Mock::start(&["--fail-rate", "0.2", "--drop-rate", "0.1", "--truncate-stream-rate", "0.1"]);
    let text = run_file(&mock, "max_retries = 20", true, |_| true);
    let left = run(&text, ECHO, 5, 0);
    assert_eq!(left.journal.len(), 5 * BACKENDS.len());
}
