//! Replies that are no answers, from every wire, whole and streamed: unscored with an excerpt, never graded.

use host_tests::{left::Left, mock::Mock, sandbox::Sandbox};

use super::{ECHO, echoes};

/// What `host mock --reply` may be told.
const REPLIES: [&str; 7] =
    ["html", "empty", "truncated", "wrong-types", "error-in-200", "huge", "unknown-shape"];

/// A backend's table but for its address: id, flavor, table, further configuration.
const BACKENDS: [(&str, &str, &str); 10] = [
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
    ("custom", "openai", CUSTOM),
];

const CUSTOM: &str = r#"plugin = "custom"
model = "m"
config.generate.path = "/v1/chat/completions"
config.generate.body = '{"model": {{ model | tojson }}, "messages": {{ messages | tojson }}, "stream": {{ stream | tojson }}, "max_tokens": {{ max_tokens | tojson }}, "temperature": {{ temperature | tojson }}}'
config.reply.choices = "/choices"
config.reply.text = "/message/content"
config.reply.finish_reason = "/finish_reason"
config.stream.format = "sse"
config.stream.text = "/choices/0/delta/content"
config.stream.finish_reason = "/choices/0/finish_reason"
config.stream.done = "[DONE]""#;

/// All backends in one run at one mock.
fn run(mock: &Mock, stream: bool) -> Left {
    let mut text = String::from("[run]\nmax_retries = 0\nattempt_timeout = \"20s\"\n");
    for (id, flavor, table) in BACKENDS {
        let url = mock.url(flavor);
        text.push_str(&format!(
            "[[backend]]\nid = \"{id}\"\nbase_url = \"{url}\"\nstream = {stream}\n{table}\n"
        ));
    }
    text.push_str(ECHO);
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(1));
    sandbox.run(&text).exits(3).left()
}

/// Every sample is unscored for a reason that fits, and what came is shown if anything came.
fn assert_unscored(left: &Left, kind: &str, expected: &[&str]) {
    assert_eq!(left.journal.len(), BACKENDS.len(), "{kind}");
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

#[test]
fn a_whole_reply_that_is_no_answer_is_never_graded() {
    for kind in REPLIES {
        let mock = Mock::start(&["--reply", kind]);
        let expected: &[&str] = match kind {
            // The vendor's own error keeps its kind; `custom` knows only what its run file says.
            "error-in-200" => &["overloaded", "rate_limited", "other"],
            _ => &["unexpected_reply"],
        };
        assert_unscored(&run(&mock, false), kind, expected);
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
        assert_unscored(&run(&mock, true), kind, expected);
    }
}

#[test]
fn faults_of_the_network_are_retried_until_every_sample_is_scored() {
    let mock =
        Mock::start(&["--fail-rate", "0.2", "--drop-rate", "0.1", "--truncate-stream-rate", "0.1"]);
    let mut text = String::from("[run]\nmax_retries = 20\n");
    for (id, flavor, table) in BACKENDS {
        let url = mock.url(flavor);
        text.push_str(&format!(
            "[[backend]]\nid = \"{id}\"\nbase_url = \"{url}\"\nstream = true\n{table}\n"
        ));
    }
    text.push_str(ECHO);
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(5));
    let left = sandbox.run(&text).exits(0).left();
    assert_eq!(left.journal.len(), 5 * BACKENDS.len());
}
