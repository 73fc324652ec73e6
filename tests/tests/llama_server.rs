//! A real server, llama.cpp's, asked through the real binary: greedy texts are those of the `local` plugin, which
//! computes the same file by itself.
//!
//! The plugin's arithmetic is that of llama.cpp's prompt processing. Token by token llama.cpp rounds attention in
//! another way; its log-probabilities then differ from its own by 0.01 to 0.1, and by more once that has changed what
//! it remembers. So texts may part where the server itself finds two tokens about as likely, and the test says where.

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

/// Tokens of each answer.
const TOKENS: usize = 16;

/// Prompts of each form whose texts must be the same.
const SAME: usize = 20;

const PROMPTS: [&str; 40] = [
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
    "The first month of the year is",
    "A dog is an animal that",
    "The quick brown fox jumps over",
    "Milk comes from",
    "The currency of Japan is",
    "Snow is white and grass is",
    "There are seven days in a",
    "The human heart pumps",
    "An umbrella is used to",
    "The Earth orbits the",
    "Birds can fly because they have",
    "A library is a place where",
    "In winter it is often",
    "The alphabet begins with the letter",
    "What colour is the sky on a clear day?",
    "How many legs does a spider have?",
    "What do bees make?",
    "Name the season after spring.",
    "What is the opposite of big?",
    "Which animal is known as man's best friend?",
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
    for form in ["chat", "text"] {
        let answers = |backend: &str| answers(&left.journal, form, backend);
        let (ours, theirs) = (answers("local"), answers(&format!("llama-{form}")));
        assert_eq!((ours.len(), theirs.len()), (PROMPTS.len(), PROMPTS.len()));
        let mut same = 0;
        for ((prompt, ours), theirs) in PROMPTS.iter().zip(&ours).zip(&theirs) {
            if ours.text == theirs.text {
                same += 1;
                continue;
            }
            println!(
                "{form} {prompt:?}\n  local     {:?}\n  llama.cpp {:?}",
                ours.text, theirs.text
            );
            parting(ours, theirs);
        }
        println!("{form}: {same} of {} texts are the same", PROMPTS.len());
        assert!(same >= SAME);
    }
}

struct Answer {
    text: String,
    tokens: Vec<Token>,
}

struct Token {
    text: String,
    logprob: f64,
    /// The likeliest tokens at this place.
    top: Vec<(String, f64)>,
}

/// Where two texts part, the local model's token is one of the server's likeliest too; says how far apart it finds
/// them. Where one text is the other's beginning, its end was the other choice.
fn parting(ours: &Answer, theirs: &Answer) {
    let mut pairs = ours.tokens.iter().zip(&theirs.tokens);
    let Some((our, their)) = pairs.find(|(our, their)| our.text != their.text) else { return };
    let other = their.top.iter().find(|(text, _)| *text == our.text);
    let gap = other.map(|(_, logprob)| their.logprob - logprob);
    println!("  {:?} and {:?} are {gap:?} apart", their.text, our.text);
    assert!(gap.is_some(), "{:?} is none of the server's likeliest tokens", our.text);
}

/// The answers of one task at one backend, in the order of the prompts.
fn answers(journal: &[Value], task: &str, backend: &str) -> Vec<Answer> {
    let samples =
        journal.iter().filter(|sample| sample["task"] == task && sample["backend"] == backend);
    let answer = |sample: &Value| {
        assert!(sample["usage"]["completion"].as_u64().unwrap() <= TOKENS as u64, "{sample}");
        let choice = &sample["response"]["completion"]["choices"][0];
        let tokens = choice["logprobs"].as_array().unwrap().iter().map(token);
        Answer { text: choice["text"].as_str().unwrap().to_owned(), tokens: tokens.collect() }
    };
    samples.map(answer).collect()
}

fn token(token: &Value) -> Token {
    let pair = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_f64().unwrap());
    Token {
        text: token["token"].as_str().unwrap().to_owned(),
        logprob: token["logprob"].as_f64().unwrap(),
        top: token["top"].as_array().into_iter().flatten().map(pair).collect(),
    }
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
generate.logprobs = 5
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
