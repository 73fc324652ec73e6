//! `host check`: what is wrong is told before anything is spent.

use host_tests::{
    built, python,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{CHOICE, CHOICE_DATA};

fn check(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let start = ["check"];
    sandbox.finish(sandbox.host([&start, arguments].concat()))
}

fn config(name: &str) -> String {
    built::root().join("config").join(name).display().to_string()
}

fn lines(outcome: &Outcome) -> Vec<Value> {
    outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn tokens_out(line: &Value) -> u64 {
    line["forecast"]["amount"]["max_output_tokens"].as_u64().unwrap()
}

#[test]
fn each_server_is_asked_and_what_would_be_asked_is_counted() {
    let sandbox = Sandbox::new();
    let file = config("gsm8k_litellm.toml");
    let outcome = check(&sandbox, &[&file, "--json", "--max-samples", "5"]).exits(0);
    let lines = lines(&outcome);
    let found: Vec<&Value> = lines.iter().filter(|line| line["event"] == "finding").collect();
    let says = |text: &str| {
        found.iter().any(|line| line["finding"]["message"].as_str().unwrap().contains(text))
    };
    assert!(says("answered and scored") && says("model `"), "{found:#?}");
    assert!(found.iter().all(|line| line["finding"]["level"] != "error"), "{found:#?}");
    let forecasts: Vec<&Value> = lines.iter().filter(|line| line["event"] == "forecast").collect();
    assert!(!forecasts.is_empty());
    for line in forecasts {
        assert_eq!(line["forecast"]["amount"]["samples"], 5, "{line}");
        assert!(
            tokens_out(line) > 0 && line["forecast"]["seconds"].as_f64().unwrap() > 0.0,
            "{line}"
        );
    }
    // A check leaves nothing behind.
    assert!(!sandbox.path("runs").exists());
}

#[test]
fn a_fallback_and_log_likelihoods_are_told() {
    let sandbox = Sandbox::new();
    let outcome = check(&sandbox, &[&config("piqa_litellm.toml")]).exits(0);
    assert!(outcome.stdout.contains("asked as its `fallback` says"), "{}", outcome.stdout);
    let outcome = check(&sandbox, &[&config("piqa_tgi.toml")]).exits(0);
    assert!(outcome.stdout.contains("log-likelihoods add up"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("it can run"), "{}", outcome.stdout);
}

#[test]
fn log_likelihoods_that_are_all_the_same_are_told() {
    if !python::is_there() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("plugins/host_plugin.py", std::fs::read(built::script_helper()).unwrap());
    sandbox.write(
        "plugins/flat.py",
        "from host_plugin import Backend, Likelihood, run\n\
         class Flat(Backend):\n    \
             async def loglikelihood(self, request, io):\n        \
                 return [Likelihood(0.0, tokens=1) for _ in request.continuations]\n\
         run(Flat)\n",
    );
    sandbox.write(
        "plugins/flat.plugin.toml",
        "kind = \"script\"\nformat = 1\nid = \"flat\"\nversion = \"0.1.0\"\nabi = \"1.0\"\n\
         command = [\"python3\", \"{folder}/flat.py\"]\nfiles = [\"host_plugin.py\"]\n\
         capabilities = [\"loglikelihood\"]\n",
    );
    sandbox.write("data.jsonl", CHOICE_DATA);
    sandbox.write("run.toml", format!("[[backend]]\nplugin = \"flat\"\n{CHOICE}"));
    let outcome = check(&sandbox, &["run.toml", "--plugin-dir", "plugins"]).exits(0);
    let words = "each of three texts the log-likelihood 0.00";
    assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
}

const FILE: &str = r#"
[[backend]]
plugin = "tgi"
base_url = "http://127.0.0.1:9"
[backend.config]
detail = true
[[backend]]
plugin = "no_such"
[[backend]]
id = "keyed"
plugin = "tgi"
base_url = "http://127.0.0.1:9"
slot = [{ slot = "other", env = ["MY_KEY"] }]
[[task]]
id = "t"
kind = "generate"
target = "{{ a }}"
[task.data]
path = "data.jsonl"
[task.prompt]
user = "<s>{{ q }}"
[task.generate]
stop = ['\n\n']
"#;

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", "{\"q\": \"1\", \"a\": \"1\"}\n");
    let file = sandbox.write("run.toml", FILE).display().to_string();
    let outcome = check(&sandbox, &[&file, "--offline"]).exits(2);
    for text in [
        "run.toml:6: backend.tgi.config.detail",
        "did you mean `details`?",
        "there is no plugin `no_such`",
        "the secret `other` was not found; set $MY_KEY",
        "a line end is likely meant",
        "it cannot run: 3 errors",
    ] {
        assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
    }
    // With a backend that can be asked, its prompts are looked at and its server is.
    let alone = FILE.split("[backend.config]").next().unwrap().to_owned()
        + "[[task]]"
        + FILE.split("[[task]]").nth(1).unwrap();
    let file = sandbox.write("alone.toml", alone).display().to_string();
    let outcome = check(&sandbox, &[&file, "--offline"]).exits(0);
    assert!(outcome.stdout.contains("its prompts begin with <s>"), "{}", outcome.stdout);
    let outcome = check(&sandbox, &[&file]).exits(5);
    assert!(outcome.stdout.contains("is not ready"), "{}", outcome.stdout);
    let wrong = sandbox.write("wrong.toml", "max_sample = 1\n[runn]\n").display().to_string();
    let outcome = check(&sandbox, &[&wrong, "--json"]).exits(2);
    let lines = lines(&outcome);
    assert_eq!(
        lines.iter().filter(|line| line["finding"]["level"] == "error").count(),
        2,
        "{lines:#?}"
    );
}
