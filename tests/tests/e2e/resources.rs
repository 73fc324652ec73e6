//! What a run rents outside is given back: at its end, after a failure, and after a kill from the directory alone.

use std::{fs, path::PathBuf};

use host_tests::{mock::Mock, patience::until, sandbox::Sandbox};
use serde_json::Value;

use super::{ECHO, echoes};

fn run_file(mock: &Mock, on_finish: &str) -> String {
    format!(
        r#"
[[backend]]
id = "endpoint"
plugin = "huggingface"
model = "acme/model"
base_url = "{}"

[backend.config]
mode = "endpoint"
namespace = "mock"
name = "host-test"
instance_type = "nvidia-t4"
instance_size = "x1"
on_finish = "{on_finish}"
poll_interval = 1
{ECHO}"#,
        mock.url("huggingface")
    )
}

/// The endpoint's state at the mock's management API; none if there is no endpoint.
fn state(mock: &Mock) -> Option<String> {
    let address = mock.url("huggingface");
    let (host, _) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let reply = host_tests::scripted::get(host, "/huggingface/v2/endpoint/mock/host-test");
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap();
    let value: Value = serde_json::from_str(&body).unwrap();
    value["status"]["state"].as_str().map(str::to_owned)
}

/// The only run directory.
fn directory(sandbox: &Sandbox) -> Option<PathBuf> {
    let mut runs = fs::read_dir(sandbox.path("runs")).ok()?;
    Some(runs.next()?.unwrap().path())
}

#[test]
fn an_endpoint_is_deleted_or_paused_at_the_end_as_the_run_file_says() {
    for (on_finish, after) in
        [("delete", None), ("pause", Some("paused")), ("keep", Some("running"))]
    {
        let mock = Mock::start(&[]);
        let sandbox = Sandbox::new();
        sandbox.write("data.jsonl", echoes(3));
        let left = sandbox.run(&run_file(&mock, on_finish)).exits(0).left();
        assert_eq!(left.counts(), [3, 3, 0]);
        assert_eq!(state(&mock).as_deref(), after, "{on_finish}");
    }
}

#[test]
fn an_interrupted_run_gives_back_what_it_rented() {
    let mock = Mock::start(&["--latency-ms", "200"]);
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(1000));
    let child = sandbox.spawn(sandbox.run_command(&run_file(&mock, "delete"), &[]));
    until("the endpoint runs", || state(&mock).filter(|state| state == "running"));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let _ = sandbox.wait(child).exits(4);
    assert_eq!(state(&mock), None);
}

#[test]
fn after_a_kill_the_directory_alone_is_enough_to_give_back_what_was_rented() {
    let mock = Mock::start(&["--latency-ms", "100"]);
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(1000));
    let mut child = sandbox.spawn(sandbox.run_command(&run_file(&mock, "delete"), &[]));
    until("the endpoint is there", || state(&mock));
    let directory = until("the run directory is there", || directory(&sandbox));
    // While the run goes on, nobody may take from it what it uses.
    let refused = sandbox.finish({
        let mut command = sandbox.host(["release"]);
        command.arg(&directory);
        command
    });
    let _ = refused.exits(2).says(&["still going"]);
    child.kill().unwrap();
    let _ = child.wait();
    assert!(state(&mock).is_some());
    let release = |arguments: &[&str]| {
        let mut command = sandbox.host(["release"]);
        command.arg(&directory).args(arguments);
        sandbox.finish(command)
    };
    let freed = release(&["--json"]).exits(0).stdout;
    let freed: Value = serde_json::from_str(freed.lines().next().unwrap()).unwrap();
    assert_eq!([&freed["backend"], &freed["freed"]], [&Value::from("endpoint"), &true.into()]);
    assert_eq!(state(&mock), None);
    let _ = release(&[]).exits(0).says(&["nothing to free"]);
}

#[test]
fn a_directory_that_is_none_is_told() {
    let sandbox = Sandbox::new();
    let _ = sandbox.finish(sandbox.host(["release", "absent"])).exits(2).says(&["absent"]);
}
