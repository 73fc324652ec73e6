//! `host ctl`: a run that goes on is asked, held, steered and ended.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
};

use host_tests::{
    left::Left,
    patience,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{ECHO, echoes};

/// A run whose samples take a while, two at a time, and its events as they come.
struct Going {
    sandbox: Sandbox,
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    directory: PathBuf,
}

const SAMPLES: usize = 400;

fn going() -> Going {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(SAMPLES));
    let backend =
        "[[backend]]\nplugin = \"hostile\"\nconfig = { mode = \"thread_wake\", ms = 30 }\n";
    let text = format!("[run]\nconcurrency = 2\nsync = \"every\"\n{backend}{ECHO}");
    let mut command = sandbox.run_command(&text, &["--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let launch: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(launch["units"][0]["samples"], SAMPLES);
    let directory = sandbox.path(launch["directory"].as_str().unwrap());
    let mut going = Going { sandbox, child, lines, directory };
    going.until("sample");
    going
}

impl Going {
    /// Reads events up to the next of this kind.
    fn until(&mut self, kind: &str) -> Value {
        loop {
            let line = self.lines.next().unwrap().unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn ctl(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.sandbox.host(["ctl"]);
        command.arg(&self.directory).args(arguments);
        self.sandbox.finish(command)
    }

    fn status(&self) -> Value {
        let told = self.ctl(&["status", "--json"]).exits(0);
        let record: Value = serde_json::from_str(told.stdout.lines().next().unwrap()).unwrap();
        record["status"].clone()
    }

    fn ends(mut self, code: i32) -> Left {
        let done = self.until("done");
        assert_eq!(done["exit_code"], code, "{done}");
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
        assert!(!self.directory.join("control.sock").exists());
        Left::read(&self.directory)
    }
}

#[test]
fn a_held_run_begins_nothing_and_goes_on_where_it_was() {
    let mut going = going();
    let _ = going.ctl(&["pause"]).exits(0);
    let held = patience::until("nothing is in flight", || {
        let status = going.status();
        (status["backends"][0]["in_flight"] == 0).then_some(status)
    });
    assert_eq!(held["state"], "paused");
    // Nothing is in flight any more, so that what is finished now is all that will be.
    let finished = going.status()["units"][0]["finished"].as_u64().unwrap();
    let again = going.status();
    assert_eq!(
        (&again["backends"][0]["in_flight"], &again["units"][0]["finished"]),
        (&0.into(), &finished.into())
    );
    assert!(finished < SAMPLES as u64);
    let _ = going.ctl(&["set", "concurrency=50"]).exits(0);
    let told = going.ctl(&["resume"]).exits(0);
    assert!(told.stdout.contains("running"), "{}", told.stdout);
    going.until("control");
    let left = going.ends(0);
    assert_eq!(left.counts(), [SAMPLES as u64, SAMPLES as u64, 0]);
    let commands: Vec<&str> = left
        .events
        .iter()
        .filter(|event| event["event"] == "control")
        .map(|event| event["command"].as_str().unwrap())
        .collect();
    assert_eq!(commands, ["pause", "set concurrency=50", "resume"]);
}

#[test]
fn more_is_in_flight_when_more_is_allowed_and_what_makes_no_sense_is_refused() {
    let mut going = going();
    let _ = going.ctl(&["set", "hostile.concurrency=40"]).exits(0);
    let most = patience::until("more is in flight", || {
        let status = going.status();
        let in_flight = status["backends"][0]["in_flight"].as_u64().unwrap();
        (in_flight > 2).then_some(status["backends"][0]["limit"].clone())
    });
    assert_eq!(most, 40);
    let _ = going
        .ctl(&["set", "other.concurrency=4"])
        .exits(2)
        .says(&["no backend `other`; it has hostile"]);
    for wrong in ["concurrency=0", "concurrency=many", "speed=4", "concurrency"] {
        let _ = going.ctl(&["set", wrong]).exits(2).says(&["expected concurrency=N"]);
    }
    let _ = going.ctl(&["set", "concurrency=70000"]).exits(2).says(&["from 1 to 65536"]);
    going.until("sample");
    let _ = going.ctl(&["cancel"]).exits(0);
    going.until("interrupted");
    assert!(going.ends(4).counts()[0] < SAMPLES as u64);
}

#[test]
fn what_an_earlier_process_made_of_a_run_is_gone_once_more_is_known() {
    let mut going = going();
    let _ = going.ctl(&["cancel"]).exits(0);
    going.until("done");
    assert_eq!(going.child.wait().unwrap().code(), Some(4));
    let results = ["summary.json", "report.html"].map(|name| going.directory.join(name));
    assert!(results.iter().all(|path| path.exists()));
    let mut command = going.sandbox.host(["resume", "--json", "--plugin-dir", "plugins"]);
    let mut child = command
        .arg(&going.directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    going.lines = BufReader::new(child.stdout.take().unwrap()).lines();
    going.child = child;
    going.until("sample");
    assert!(!results.iter().any(|path| path.exists()), "they would tell of another time");
    let _ = going.ctl(&["cancel"]).exits(0);
    going.until("done");
    assert_eq!(going.child.wait().unwrap().code(), Some(4));
    assert!(results.iter().all(|path| path.exists()));
}

#[test]
fn nobody_else_is_let_in_and_a_run_that_is_over_is_told() {
    let going = going();
    let mode =
        std::fs::metadata(going.directory.join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _ = going.ctl(&["cancel"]).exits(0);
    let (sandbox, directory) = {
        let Going { sandbox, mut child, lines, directory } = going;
        lines.for_each(drop);
        assert_eq!(child.wait().unwrap().code(), Some(4));
        (sandbox, directory)
    };
    let mut command = sandbox.host(["ctl"]);
    command.arg(&directory).arg("status");
    let _ = sandbox.finish(command).exits(2).says(&["no run goes on here", "host resume"]);
    let nowhere = sandbox.finish(sandbox.host(["ctl", "nowhere", "status"]));
    let _ = nowhere.exits(2).says(&["nowhere: there is no run here"]);
}
