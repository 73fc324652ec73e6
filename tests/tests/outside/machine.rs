//! Under `--json` every line of stdout of every command is a record that `config/output.schema.json` describes, and the
//! last is `done`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use host_tests::built;
use jsonschema::Validator;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cases::{CASES, Case, Place, every_command};

/// The committed schema.
struct Contract {
    line: Validator,
    schema: Value,
}

impl Contract {
    fn read() -> Self {
        let text = fs::read_to_string(built::root().join("config/output.schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        Self { line: jsonschema::validator_for(&schema).unwrap(), schema }
    }

    /// Checks every line; the events that there were.
    fn holds(&self, of: &str, stdout: &str, code: i32) -> Vec<String> {
        let mut events = Vec::new();
        for line in stdout.lines() {
            let record: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{of}: {error} in the line {line}"));
            assert!(self.line.is_valid(&record), "{of}: {}\n{record:#}", self.why_not(&record));
            events.push(record["event"].as_str().unwrap().to_owned());
        }
        let last: Value = serde_json::from_str(stdout.lines().last().unwrap_or("{}")).unwrap();
        assert_eq!((&last["event"], &last["exit_code"]), (&"done".into(), &code.into()), "{of}");
        // That samples are unscored, or that the user has stopped it, is what the exit code says.
        let says_why = last.get("error").is_some();
        assert!(says_why || matches!(code, 0 | 3 | 4), "{of}: {last}");
        assert!(!says_why || code != 0, "{of}: {last}");
        assert_eq!(events.iter().filter(|event| *event == "done").count(), 1, "{of}: {events:?}");
        events
    }

    /// What each record of this event would have in another way.
    fn why_not(&self, record: &Value) -> String {
        let records = self.schema["oneOf"].as_array().unwrap();
        let same =
            records.iter().filter(|one| one["properties"]["event"]["const"] == record["event"]);
        let problems = same.map(|one| {
            let mut schema = one.clone();
            schema["$defs"] = self.schema["$defs"].clone();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let errors = validator.iter_errors(record);
            let errors: Vec<String> =
                errors.map(|error| format!("{error} at {}", error.instance_path())).collect();
            format!("{}: {errors:?}", one["title"])
        });
        problems.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn every_line_of_every_command_is_a_record_of_the_committed_schema() {
    let contract = Contract::read();
    let mut seen = BTreeSet::new();
    for case in CASES {
        let place = Place::new();
        let outcome = place.sandbox().finish(place.command(&format!("{} --json", case.typed)));
        let outcome = outcome.exits(case.code);
        seen.extend(contract.holds(case.name, &outcome.stdout, case.code));
        // What is not data is an error.
        let is_error = outcome.stderr.is_empty() || outcome.stderr.starts_with("error: ");
        assert!(is_error, "{}: {}", case.name, outcome.stderr);
    }
    for event in ["sample", "run_ended", "cell_ended", "comparison", "setting", "preview", "fact"] {
        assert!(seen.contains(event), "{event} in {seen:?}");
    }
}

#[test]
fn help_is_a_record_too() {
    let contract = Contract::read();
    let place = Place::new();
    for typed in ["--json --help", "run --json -h", "--version --json"] {
        let outcome = place.sandbox().finish(place.command(typed)).exits(0);
        assert_eq!(contract.holds(typed, &outcome.stdout, 0), ["help", "done"]);
    }
    // After `--` it is the name of a file.
    let outcome = place.sandbox().finish(place.command("run --absent -- --json")).exits(2);
    assert_eq!(outcome.stdout, "");
}

/// Reads the lines of a command that goes on, up to the one of this event.
fn until(reader: &mut impl BufRead, event: &str) -> String {
    let mut said = String::new();
    loop {
        let start = said.len();
        assert!(reader.read_line(&mut said).unwrap() > 0, "no {event} in {said}");
        let record: Value = serde_json::from_str(&said[start..]).unwrap();
        if record["event"] == event {
            return said;
        }
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn commands_that_go_on_until_they_are_stopped_keep_to_it_too() {
    let contract = Contract::read();
    let place = Place::new();
    let spawn = |typed: &str| {
        let mut command = place.command(typed);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut mock = spawn("mock --json");
    let mut of_mock = BufReader::new(mock.stdout.take().unwrap());
    let mut said = until(&mut of_mock, "launch");
    interrupt(&mock);
    of_mock.read_to_string(&mut said).unwrap();
    assert_eq!(mock.wait().unwrap().code(), Some(0));
    assert_eq!(contract.holds("mock", &said, 0), ["launch", "done"]);

    let mut run = spawn("run endless.toml --json --plugin-dir strange");
    let mut of_run = BufReader::new(run.stdout.take().unwrap());
    let mut told = until(&mut of_run, "launch");
    let launch: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let directory = launch["directory"].as_str().unwrap();
    for order in ["status", "pause", "resume", "set concurrency=2", "cancel"] {
        let asked = place.command(&format!("ctl {directory} {order} --json"));
        let outcome = place.sandbox().finish(asked).exits(0);
        assert_eq!(contract.holds(order, &outcome.stdout, 0), ["status", "done"]);
    }
    told.push_str(&until(&mut of_run, "interrupted"));
    // The second time nothing is waited for.
    interrupt(&run);
    of_run.read_to_string(&mut told).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(4));
    let _ = contract.holds("run", &told, 4);
}

#[test]
fn every_command_has_its_cases() {
    let all = every_command();
    let names = all.iter().filter(|command| !command.is_empty() && !command.contains(' '));
    for name in names.map(String::as_str) {
        let of = CASES.iter().filter(|case| case.typed.split(' ').next() == Some(name));
        let (good, bad): (Vec<&Case>, Vec<&Case>) = of.partition(|case| case.code == 0);
        // These two are good only while something goes on; another test has them.
        assert!(!good.is_empty() || ["mock", "ctl"].contains(&name), "{name} has no success here");
        assert!(!bad.is_empty(), "{name} has no error here");
    }
}
