//! Runs without a run file.

use host_tests::{
    built,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{ECHO, echoes};

/// A sandbox with a task `echoes`, whose data is there, and one whose data is not.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_own_host();
    sandbox.install(built::hostile(), "plugins");
    let (_, task) = ECHO.split_once("[[task]]").unwrap();
    let task = task
        .replace("data.jsonl", "../data.jsonl")
        .replace("id = \"t\"", "description = \"says it again\"");
    sandbox.write("config/tasks/echoes.toml", &task);
    let elsewhere = task.replace("../data.jsonl", "${SET_OF_MINE}/data.jsonl");
    sandbox.write("elsewhere/tasks/mine.toml", format!("id = \"my_task\"\n{elsewhere}"));
    sandbox.write("config/data.jsonl", echoes(4));
    sandbox
}

fn host(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.finish(sandbox.host(arguments))
}

#[test]
fn tasks_are_listed_with_what_they_lack() {
    let sandbox = sandbox();
    let outcome = host(&sandbox, &["task", "list", "--config-dir", "elsewhere"]).exits(0);
    for text in
        ["echoes", "says it again", "there", "my_task", "missing: set SET_OF_MINE", "generate"]
    {
        assert!(outcome.stdout.contains(text), "no `{text}` in\n{}", outcome.stdout);
    }
    let mut command = sandbox.host(["task", "list", "--json"]);
    command.env("HOST_CONFIG_DIR", "elsewhere").env("SET_OF_MINE", sandbox.path("config"));
    let outcome = sandbox.finish(command).exits(0);
    let lines: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "task")
        .map(|line| (line["id"].as_str().unwrap(), line["data"]["present"].as_bool().unwrap()))
        .collect();
    assert_eq!(ids, [("echoes", true), ("my_task", true)]);
    let _ = host(&sandbox, &["task", "list", "--config-dir", "home"])
        .exits(2)
        .says(&["has no folder `tasks`"]);
}

#[test]
fn a_task_and_a_plugin_are_a_run() {
    let sandbox = sandbox();
    let run = |arguments: &[&str]| {
        let start = ["run", "--plugin-dir", "plugins", "--backend", "hostile"];
        host(&sandbox, &[&start, arguments].concat())
    };
    let echo = ["--task", "echoes", "--set", "config.mode=echo", "--max-samples", "3"];
    let left = run(&[&echo[..], &["--model", "mine"]].concat()).exits(0).left();
    assert_eq!((left.counts(), left.metric("exact_match")), ([3, 3, 0], 1.0));
    assert_eq!(
        (&left.result()["task"], &left.result()["model"]),
        (&"echoes".into(), &"mine".into())
    );
    assert_eq!(left.summary["run"]["name"], "echoes-hostile");
    let _ = run(&["--task", "echo"])
        .exits(2)
        .says(&["there is no task `echo`", "did you mean `echoes`?"]);
    let _ = run(&["--task", "my_task", "--config-dir", "elsewhere"])
        .exits(2)
        .says(&["elsewhere/tasks/mine.toml", "the environment variable SET_OF_MINE is not set"]);
    let _ = run(&["--task", "echoes", "--set", "base_ulr=x"]).exits(2).says(&["--set base_ulr"]);
    let _ = host(&sandbox, &["run", "--task", "echoes"]).exits(2).says(&["--backend"]);
    let _ = run(&["run.toml", "--task", "echoes"]).exits(2).says(&["cannot be used with"]);
}
