//! The real binary, run as a user runs it. One promise a test, one idea a module.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod authoring;
mod authors;
mod bad_input;
mod broken;
mod caching;
mod canaries;
mod checking;
mod comparing;
mod conformance;
mod discovery;
mod faults;
mod garbled;
mod generated;
mod generating;
mod launching;
mod likelihood;
mod limits;
mod loading;
mod memory;
mod misbehaving;
mod named;
mod output;
mod profiles;
mod recorded;
mod replaying;
mod reporting;
mod resources;
mod resuming;
mod routing;
mod run_files;
mod scoring_again;
mod scripts;
mod secrets;
mod servers;
mod showing;
mod steering;
mod stopping;
mod sweeping;
mod together;
mod trusting;
mod vendors;
mod workers;

use host_tests::{
    fake_tgi::FakeTgi,
    sandbox::{Outcome, Sandbox},
};

/// Questions with two options; the second record's right answer is the longer option.
const CHOICE: &str = r#"
[[task]]
id = "t"
kind = "multiple_choice"
target = "{{ label }}"
data.path = "data.jsonl"
prompt.user = "Q: {{ q }}\nA:"
choices.texts = ["{{ a }}", "{{ b }}"]
"#;

const CHOICE_DATA: &str = r#"{"q": "Is grass green?", "a": "yes", "b": "no, never", "label": 0}
{"q": "Is snow black?", "a": "yes", "b": "no, it is white", "label": 1}
{"q": "Is the sky blue?", "a": "of course", "b": "no", "label": 0}
"#;

/// The options of [`CHOICE_DATA`] after their questions, and the right one.
const QUESTIONS: [(&str, [&str; 2], usize); 3] = [
    ("Q: Is grass green?\nA:", ["yes", "no, never"], 0),
    ("Q: Is snow black?\nA:", ["yes", "no, it is white"], 1),
    ("Q: Is the sky blue?\nA:", ["of course", "no"], 0),
];

/// A prompt that is the field `says`, so that a backend that echoes says it.
const ECHO: &str = r#"
[[task]]
id = "t"
kind = "generate"
target = "{{ target }}"
data.path = "data.jsonl"
prompt.user = "{{ says }}"
"#;

/// Requests with a body that the TGI plugin sends to learn about its server, before the first sample.
const OPENING: u64 = 2;

/// A backend's table but for its address: OpenAI's chat, described to the plugin `custom`.
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

/// A run file's start: the hostile plugin in this mode.
fn hostile(mode: &str) -> String {
    format!("[[backend]]\nplugin = \"hostile\"\nconfig.mode = \"{mode}\"\n")
}

/// A run file's start: the TGI plugin at this server.
fn tgi(fake: &FakeTgi) -> String {
    format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"{}\"\n", fake.url())
}

/// Runs backends and a task over `data.jsonl`.
fn run(backends: &str, task: &str, data: &str) -> Outcome {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", data);
    let outcome = sandbox.run(&format!("{backends}{task}"));
    // What a run leaves is read before the folder goes.
    outcome.keep(sandbox)
}

/// `n` records that a backend which echoes answers right.
fn echoes(n: usize) -> String {
    (0..n).map(|i| format!("{{\"says\": \"word {i}\", \"target\": \"word {i}\"}}\n")).collect()
}

/// `n` sums, of which the mock gets some wrong.
fn sums(n: usize) -> String {
    let one = |i| format!("{{\"says\": \"What is {i} + 17?\", \"target\": \"{}\"}}\n", i + 17);
    (0..n).map(one).collect()
}

/// Equal but for rounding.
fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}
