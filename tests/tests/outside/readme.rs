//! What the READMEs tell a reader to type is run here as it stands, but for what stands for something of the reader's:
//! a server, a folder with data, a run of another day.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    process::{Child, Command, Stdio},
};

use host_tests::{built, patience, sandbox::Sandbox};
use rustix::process::{Pid, Signal, kill_process};

use super::cases::Place;

/// Lines that are not run here, and why.
const NOT_RUN: [(&str, &str); 3] = [
    (
        "cargo build --release && target/release/host run config/demo.toml",
        "an optimised build and a download of 98 MB; the gate runs it",
    ),
    ("cargo test --workspace", "that is what runs this"),
    (
        "host run acme/run.toml --plugin-dir acme/target/release",
        "the plugin must be built first; the tests of authoring build it and run it",
    ),
];

/// What stands in the READMEs, and what it is here.
const HERE: [(&str, &str); 3] = [
    ("http://127.0.0.1:8080", "mock:tgi"),
    // Another may have it.
    ("--port 8080", "--port 0"),
    ("PIQA_DIR=/data/piqa", "PIQA_DIR=[HERE]/piqa"),
];

/// The run of another day.
const KEPT: &str = "runs/piqa-20260102-030405";

/// The commands of a README, each on one line and without its comment.
fn commands(path: &str) -> Vec<String> {
    let text = fs::read_to_string(built::root().join(path)).unwrap().replace("\\\n", " ");
    let (mut fence, mut found) = (None, Vec::new());
    for line in text.lines() {
        match (fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            // Of what is no shell's block, lines that are no commands are what one prints.
            (Some(language), None) if language == "sh" || language == "text" => {
                let typed = line.split(" #").next().unwrap_or_default().trim();
                let mut words = typed.split(' ').skip_while(|word| word.contains('='));
                if language == "sh" || words.next() == Some("host") {
                    found.push(typed.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// A folder with what the commands name.
fn place() -> Sandbox {
    let sandbox = Sandbox::new();
    symlink(built::root().join("config"), sandbox.path("config")).unwrap();
    let question =
        "{\"goal\": \"To open a jar,\", \"sol1\": \"turn the lid\", \"sol2\": \"sing\"}\n";
    sandbox.write("piqa/valid.jsonl", question.repeat(3));
    sandbox.write("piqa/valid-labels.lst", "0\n0\n0\n");
    let question = "{\"question\": \"What is 1 + 17?\", \"answer\": \"1 + 17\\n#### 18\"}\n";
    sandbox.write("gsm8k/test.jsonl", question.repeat(3));
    fs::create_dir(sandbox.path("runs")).unwrap();
    for (task, file, name) in [
        ("piqa", "config/piqa_tgi.toml", KEPT),
        ("gsm8k", "config/gsm8k_tgi.toml", "runs/gsm8k-20260102-030405"),
        ("piqa_mini", "config/piqa_tgi.toml", "runs/zero_shot"),
        ("piqa_mini", "config/piqa_tgi.toml", "runs/five_shot"),
        ("piqa", "config/piqa_tgi.toml", "runs/a"),
        ("piqa", "config/piqa_tgi.toml", "runs/b"),
    ] {
        let mut command = sandbox.host(["run", file, "--max-samples", "2", "--out", "made"]);
        if name == "runs/b" {
            command.args(["--set", "backend.id=vllm"]);
        }
        command.env("TASK", task).env("PIQA_DIR", sandbox.path("piqa"));
        let _ = sandbox.finish(with_data(command, &sandbox)).exits(0);
        let made = fs::read_dir(sandbox.path("made")).unwrap().next().unwrap().unwrap().path();
        fs::rename(made, sandbox.path(name)).unwrap();
    }
    sandbox
}

fn with_data(mut command: Command, sandbox: &Sandbox) -> Command {
    command.env("GSM8K_DIR", sandbox.path("gsm8k")).env("MAX_SAMPLES", "2");
    command
}

/// A run that goes on until it is ended.
struct Going {
    place: Place,
    child: Child,
}

impl Going {
    fn start() -> Self {
        let place = Place::new();
        let mut command =
            place.command("run endless.toml --plugin-dir strange --out going --quiet");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { place, child }
    }

    /// Its directory, once it can be asked.
    fn directory(&self) -> String {
        patience::until("a run that can be asked", || {
            let run = fs::read_dir(self.place.path("going")).ok()?.next()?.ok()?.path();
            run.join("control.sock").exists().then(|| run.display().to_string())
        })
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The host as a line starts it.
fn host(sandbox: &Sandbox, line: &str) -> Command {
    let (variables, arguments) = line.split_once("host ").unwrap();
    let mut command = with_data(sandbox.host(arguments.split_whitespace()), sandbox);
    let variables = variables.split_whitespace().filter_map(|variable| variable.split_once('='));
    command.envs(variables);
    command
}

/// A server says where it is, and ends when it is told to.
fn serves(mut command: Command, line: &str) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{line}: {url}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
}

#[test]
fn what_a_reader_is_told_to_type_works() {
    let sandbox = place();
    let going = Going::start();
    let typed = [commands("README.md"), commands("config/README.md")].concat();
    let mut not_run: Vec<&str> = NOT_RUN.iter().map(|(line, _)| *line).collect();
    let mut run = 0;
    for line in &typed {
        if let Some(at) = not_run.iter().position(|other| other == line) {
            not_run.remove(at);
            continue;
        }
        let mut here = line.clone();
        for (readers, ours) in HERE {
            here = here.replace(readers, ours);
        }
        here = here.replace("[HERE]", &sandbox.path("").display().to_string());
        if here.starts_with("host ctl ") {
            here = here.replace(KEPT, &going.directory());
        }
        let command = host(&sandbox, &here);
        if here.starts_with("host mock ") {
            serves(command, line);
        } else {
            let outcome = sandbox.finish(command);
            assert_eq!(outcome.code, Some(0), "{line}\n{}\n{}", outcome.stdout, outcome.stderr);
        }
        run += 1;
    }
    assert!(not_run.is_empty(), "in no README any more: {not_run:?}");
    assert!(run > 25, "{typed:#?}");
}
