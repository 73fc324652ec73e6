//! A real server, llama.cpp's, asked through the real binary: greedy texts are those of the `local` plugin, which
//! computes the same file by itself.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop anywhere, and says why it is skipped"
)]

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use host_tests::{python, real, sandbox::Sandbox};
use serde_json::Value;

/// Tokens of each answer. Beyond these the two engines' rounding may tell alternatives of nearly the same
/// probability apart.
const TOKENS: u32 = 16;

const PROMPTS: [&str; 20] = [
    "The capital of France is",
    "Water boils at",
    "Once upon a time there was a fox who",
    "The three primary colours are",
    "To make a cup of tea, first",
    "The opposite of hot is",
    "In the year 1969, humans",
    "A triangle has",
    "My favourite animal is",
    "The sun rises in the",
    "Bread is made of",
    "The largest planet of the solar system is",
    "Two plus two is",
    "A good friend is someone who",
    "The sea is blue because",
    "How do plants make their food?",
    "Name a fruit that is yellow.",
    "What is the purpose of a bridge?",
    "Write one sentence about rain.",
    "Who wrote Romeo and Juliet?",
];

/// The server; it ends with its standard input.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(python: &Path, model: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama_server.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.map(Result::unwrap).find(|line| line.starts_with("http://")).unwrap();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

#[test]
fn greedy_texts_of_a_real_server_are_those_of_the_local_model() {
    let Some(model) = real::model() else { return };
    let Some(python) = python::with("xllamacpp", &["xllamacpp"]) else { return };
    let server = Server::start(&python, &model);
    let sandbox = Sandbox::new();
    let mut data = String::new();
    for prompt in PROMPTS {
        writeln!(data, "{}", serde_json::json!({ "q": prompt })).unwrap();
    }
    sandbox.write("data.jsonl", data);
    let outcome = sandbox.run(&run_file(&model, &server.address));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let left = outcome.left();
    let mut differing = Vec::new();
    for form in ["chat", "text"] {
        let texts = |backend: &str| texts(&left.journal, form, backend);
        let (ours, theirs) = (texts("local"), texts(&format!("llama-{form}")));
        assert_eq!((ours.len(), theirs.len()), (PROMPTS.len(), PROMPTS.len()));
        for ((prompt, ours), theirs) in PROMPTS.iter().zip(ours).zip(theirs) {
            if ours != theirs {
                differing.push(format!("{form} {prompt:?}: local {ours:?}, llama.cpp {theirs:?}"));
            }
        }
    }
    println!("{} of {} texts differ\n{}", differing.len(), 2 * PROMPTS.len(), differing.join("\n"));
    assert!(differing.is_empty(), "{differing:#?}");
}

/// The texts of one task at one backend, in the order of the prompts.
fn texts(journal: &[Value], task: &str, backend: &str) -> Vec<String> {
    let samples =
        journal.iter().filter(|sample| sample["task"] == task && sample["backend"] == backend);
    let text = |sample: &Value| {
        assert_eq!(
            sample["usage"]["completion"].as_u64().map(|n| n <= u64::from(TOKENS)),
            Some(true)
        );
        sample["response"]["completion"]["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    samples.map(text).collect()
}

fn run_file(model: &Path, address: &str) -> String {
    let task = |form: &str| {
        format!(
            r#"
[[task]]
id = "{form}"
kind = "generate"
target = "whatever"
backends = ["local", "llama-{form}"]
data.path = "data.jsonl"
prompt.user = "{{{{ q }}}}"
prompt.format = "{form}"
generate.max_tokens = {TOKENS}
generate.temperature = 0.0
"#
        )
    };
    format!(
        r#"
[run]
concurrency = 2

[[backend]]
id = "local"
plugin = "local"

[backend.asset.model]
name = "SmolLM2-135M-Instruct.Q4_1.gguf"
sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
sources = [{{ path = {model:?} }}]

[[backend]]
id = "llama-chat"
plugin = "litellm"
model = "smollm2"
base_url = "{address}"

[[backend]]
id = "llama-text"
plugin = "litellm"
model = "smollm2"
base_url = "{address}"
config.mode = "completions"
{}{}"#,
        task("chat"),
        task("text")
    )
}
