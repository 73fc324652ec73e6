//! A template and a matrix give a run for each cell, each by itself: one that fails stops no other, what is finished is
//! not asked again, and what there is can be collected.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use host_tests::{
    built,
    fake_tgi::{FakeTgi, Fault},
    left::{Left, counts},
    mock::Mock,
    patience::until,
    sandbox::{Outcome, Sandbox},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{ECHO, echoes};

/// The hostile plugin in a model's mode, at the task of a file beside the template.
const TEMPLATE: &str = r#"max_samples = "${MOST:-{{ model.most | default(100) }}}"
run.max_retries = 0
[[backend]]
id = "b"
plugin = {{ model.plugin }}
model = {{ model.name }}
config.mode = {{ model.mode }}
[[task]]
file = "task.toml"
"#;

const DEFAULTS: &str = "[defaults]\nplugin = \"hostile\"\nmode = \"echo\"\n";

/// A template with its task in the folder `conf`, and a matrix.
fn sandbox(samples: usize, template: &str, matrix: &str) -> Sandbox {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("conf/data.jsonl", echoes(samples));
    sandbox.write("conf/task.toml", ECHO.replace("[[task]]\n", ""));
    sandbox.write("conf/template.toml", template);
    sandbox.write("matrix.toml", matrix);
    sandbox
}

fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.host(["sweep", "conf/template.toml", "--matrix", "matrix.toml"]);
    command.args(["--out", "out", "--plugin-dir", "plugins"]).args(arguments);
    command
}

fn sweep(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.finish(command(sandbox, arguments))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The run directories of a cell, by name.
fn runs(sandbox: &Sandbox, cell: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path("out").join(cell)).unwrap();
    let mut runs: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    runs.sort();
    runs
}

/// The only run of a cell.
fn left(sandbox: &Sandbox, cell: &str) -> Left {
    let [run] = runs(sandbox, cell).try_into().unwrap();
    Left::read(&run)
}

/// Name and state of each cell.
fn states(sandbox: &Sandbox) -> Vec<(String, String)> {
    let record = json(&sandbox.path("out/sweep.json"));
    assert_eq!(record["format"], 1);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    record["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| (text(&cell["id"]), text(&cell["state"])))
        .collect()
}

fn last_line(outcome: &Outcome) -> &str {
    outcome.stderr.lines().last().unwrap_or_default()
}

#[test]
fn the_sweeps_that_come_with_it_run_as_they_stand() {
    for (name, cells, results) in [("tgi", 4, 4), ("sglang", 3, 3), ("litellm", 10, 10)] {
        let sandbox = Sandbox::new();
        let folder = built::root().join("config/sweeps").join(name);
        let mut command = sandbox.host(["sweep"]);
        command.arg(folder.join("template.toml")).arg("--matrix").arg(folder.join("matrix.toml"));
        command.args(["--jobs", "2"]).env("MAX_SAMPLES", "2");
        let outcome = sandbox.finish(command).exits(0);
        assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
        assert_eq!(last_line(&outcome), format!("all {cells} cells are done"));
        let index = json(&sandbox.path(&format!("runs/{name}/summary.index.json")));
        let runs = index["runs"].as_array().unwrap();
        assert_eq!((runs.len(), &index["broken"]), (cells, &json!([])));
        let found: Vec<&Value> =
            runs.iter().flat_map(|run| run["results"].as_array().unwrap()).collect();
        assert_eq!(found.len(), results);
        for result in found {
            assert_eq!(counts(result), [2, 2, 0], "{result}");
            assert_eq!(result["mock"], true);
        }
        assert!(outcome.stdout.contains("(mock)"), "{}", outcome.stdout);
        // The run file of a cell needs nothing else.
        let directory = runs[0]["directory"].as_str().unwrap();
        let cell = sandbox.path(&format!("runs/{name}/{directory}/../run.toml"));
        let mut command = sandbox.host(["run", "--resume"]);
        command.arg(cell).env("MAX_SAMPLES", "2");
        let _ = sandbox.finish(command).exits(0).says(&["nothing is missing"]);
    }
}

#[test]
fn a_cell_that_fails_or_crashes_stops_no_other() {
    let matrix = format!(
        "{DEFAULTS}[[model]]\nid = \"crashes\"\nmode = \"abort\"\n[[model]]\nid = \"absent\"\nplugin = \"hostil\"\n\
         [[model]]\nid = \"wrong\"\nmost = 0\n[[model]]\nid = \"fails\"\nmode = \"fail\"\n[[model]]\nid = \"good\"\n"
    );
    // What ends a plugin in this process ends the whole cell.
    let template = TEMPLATE
        .replace("{{ model.most | default(100) }}", "{{ model.most | default(3) }}")
        .replace("id = \"b\"\n", "id = \"b\"\nisolation = \"in-process\"\n");
    let sandbox = sandbox(3, &template, &matrix);
    let _ = sandbox.lock(&["hostile", "--grant", "hostile=in-process"]).exits(0);
    let outcome = sweep(&sandbox, &["--jobs", "2"]).exits(1);
    let last = last_line(&outcome);
    assert!(
        last.starts_with(
            "error: 4 of 5 cells failed: crashes (crashed: its process was ended by signal 6"
        ),
        "{last}"
    );
    assert!(
        last.contains("absent (exit 2: ") && last.contains("did you mean `hostile`?"),
        "{last}"
    );
    assert!(
        last.contains("wrong (exit 2: ") && last.contains("run.toml:7: max_samples: "),
        "{last}"
    );
    assert!(last.contains("fails (exit 3: more samples are unscored"), "{last}");
    let failed = |name: &str| (name.to_owned(), "failed".to_owned());
    let expected = [
        failed("crashes"),
        failed("absent"),
        failed("wrong"),
        ("fails".to_owned(), "unscored".to_owned()),
        ("good".to_owned(), "done".to_owned()),
    ];
    assert_eq!(states(&sandbox), expected);
    assert_eq!(left(&sandbox, "good").counts(), [3, 3, 0]);
    assert_eq!(left(&sandbox, "fails").counts(), [3, 0, 3]);
    let index = json(&sandbox.path("out/summary.index.json"));
    assert_eq!(index["runs"].as_array().unwrap().len(), 2);
    let log = fs::read_to_string(sandbox.path("out/absent/cell.log")).unwrap();
    assert!(log.contains("hostil"), "{log}");
}

#[test]
fn a_dry_run_checks_and_counts_everything_and_starts_nothing() {
    let mock = Mock::start(&[]);
    let template = "[[backend]]\nplugin = \"tgi\"\nmodel = {{ model.name }}\nbase_url = {{ model.base_url }}\n\
                    [[task]]\nfile = \"task.toml\"\nrepeats = 2\n";
    let matrix = format!(
        "[[model]]\nid = \"served\"\nbase_url = \"{}\"\n[[model]]\nid = \"wrong\"\nbase_url = \"nonsense\"\n\
         [[model]]\nid = \"mocked\"\nbase_url = \"mock:tgi\"\n",
        mock.url("tgi")
    );
    let sandbox = sandbox(5, template, &matrix);
    for as_variable in [false, true] {
        let mut command = command(&sandbox, if as_variable { &[] } else { &["--dry-run"] });
        if as_variable {
            command.env("DRY_RUN", "1");
        }
        let outcome = sandbox.finish(command).exits(2);
        let last = last_line(&outcome);
        assert_eq!(last, "error: 1 of 3 cells would not run: wrong");
        assert!(outcome.stderr.contains("base_url: expected a URL"), "{}", outcome.stderr);
        let row = outcome.stdout.lines().find(|line| line.contains("served")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        // Five samples, twice each; what they cost nobody knows.
        assert_eq!(words[..5], ["served", "10", "≈", "10", "–"], "{row}");
        assert!(row.contains("≤ 2560"), "{row}");
        assert!(outcome.stderr.contains("only a plugin knows prices"), "{}", outcome.stderr);
    }
    let outcome = sandbox.finish(command(&sandbox, &["--dry-run", "--json"])).exits(2);
    let lines: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["launch", "cell_planned", "cell_planned", "cell_planned", "done"]);
    assert_eq!(lines[1]["units"][0]["estimate"]["amount"]["samples"], 10);
    // `word 0` to `word 4`.
    assert_eq!(lines[1]["units"][0]["estimate"]["amount"]["prompt_characters"], 2 * 5 * 6);
    assert!(lines[2]["error"].as_str().unwrap().contains("expected a URL"));
    assert_eq!(mock.requests(), 0);
    for cell in ["served", "wrong", "mocked"] {
        assert!(runs(&sandbox, cell).is_empty());
        assert!(sandbox.path("out").join(cell).join("run.toml").is_file());
    }
    assert!(!sandbox.path("out/sweep.json").exists());
    let mut command = command(&sandbox, &[]);
    command.env("DRY_RUN", "perhaps");
    let _ = sandbox.finish(command).exits(2).says(&["DRY_RUN is \"perhaps\"; expected 1 or 0"]);
}

#[test]
fn what_a_few_samples_cost_tells_what_all_may_cost() {
    let mock = Mock::start(&[]);
    let template = "[[backend]]\nplugin = \"litellm\"\nmodel = \"openai/{{ model.name }}\"\nbase_url = \"${URL}\"\n\
                    secrets = [\"openai\"]\n[[task]]\nfile = \"task.toml\"\nprompt.format = \"chat\"\n";
    let sandbox = sandbox(40, template, "[[model]]\nid = \"a\"\nname = \"gpt-4o-mini\"\n");
    let at_mock = |arguments: &[&str]| {
        let mut command = command(&sandbox, arguments);
        command.env("URL", mock.url("openai")).env("OPENAI_API_KEY", "sk-of-the-test");
        sandbox.finish(command).exits(0)
    };
    let planned = || {
        let stdout = at_mock(&["--dry-run", "--json"]).stdout;
        let mut lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.find(|line| line["event"] == "cell_planned").unwrap()["units"][0].clone()
    };
    assert!(planned().get("cost_usd").is_none());
    let _ = at_mock(&["--max-samples", "4"]);
    let run = left(&sandbox, "a");
    let four = run.result()["cost"]["usd"].as_f64().unwrap();
    let unit = planned();
    assert!(four > 0.0);
    super::assert_close(unit["cost_usd"].as_f64().unwrap(), four * 10.0);
    assert_eq!(unit["cost_from"], run.manifest["id"]);
    let text = fs::read_to_string(sandbox.path("out/a/run.toml")).unwrap();
    assert!(!text.contains("sk-of-the-test"), "{text}");
}

/// A server that answers ten samples, is silent for ever to the next four, and answers from then on.
fn falls_silent() -> FakeTgi {
    FakeTgi::builder()
        .text(|inputs| inputs.to_owned())
        .faults(|number, _| (11..=14).contains(&number).then_some(Fault::Silence))
        .start_blocking()
        .unwrap()
}

fn at(fake: &FakeTgi) -> (String, String) {
    let template = "run.concurrency = 4\n[[backend]]\nplugin = \"tgi\"\nmodel = {{ model.name }}\n\
                    base_url = \"${URL}\"\n[[task]]\nfile = \"task.toml\"\n";
    let url = fake.url().to_string();
    (template.to_owned(), url)
}

#[test]
fn a_sweep_that_is_killed_leaves_no_process_and_goes_on_where_it_was() {
    let fake = falls_silent();
    let (template, url) = at(&fake);
    let sandbox = sandbox(30, &template, "[[model]]\nid = \"first\"\n[[model]]\nid = \"second\"\n");
    let mut killed = command(&sandbox, &[]);
    killed.env("URL", &url).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = killed.spawn().unwrap();
    assert!(fake.wait_for(14, Duration::from_secs(60)));
    child.kill().unwrap();
    child.wait().unwrap();
    // The cell's process hears of it, and ends as after Ctrl-C.
    let [run] = runs(&sandbox, "first").try_into().unwrap();
    let summary = until("the cell has ended", || fs::read_to_string(run.join("summary.json")).ok());
    assert!(summary.contains("\"interrupted\""), "{summary}");
    assert_eq!(states(&sandbox)[0].1, "running");
    // Its lock may outlive its summary by a moment.
    let outcome = until("the run is free", || {
        let mut again = command(&sandbox, &[]);
        again.env("URL", &url);
        Some(sandbox.finish(again)).filter(|outcome| !outcome.stderr.contains("another process"))
    });
    let outcome = outcome.exits(0);
    assert_eq!(last_line(&outcome), "all 2 cells are done");
    for cell in ["first", "second"] {
        let left = left(&sandbox, cell);
        assert_eq!((left.journal.len(), left.counts()), (30, [30, 30, 0]));
    }
    // A complete cell is not asked again.
    let before = fake.generations();
    let mut third = command(&sandbox, &[]);
    third.env("URL", &url);
    let _ = sandbox.finish(third).exits(0);
    assert_eq!(fake.generations(), before);
    // What the environment says stays there.
    let text = fs::read_to_string(sandbox.path("out/first/run.toml")).unwrap();
    assert!(text.contains("base_url = \"${URL}\"") && !text.contains(&url), "{text}");
}

#[test]
fn an_interrupt_ends_the_cells_and_leaves_an_index() {
    let fake = falls_silent();
    let (template, url) = at(&fake);
    let sandbox = sandbox(30, &template, "[[model]]\nid = \"first\"\n[[model]]\nid = \"second\"\n");
    let mut command = command(&sandbox, &["--json"]);
    command.env("URL", &url);
    let child = sandbox.spawn(command);
    assert!(fake.wait_for(14, Duration::from_secs(60)));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let outcome = sandbox.wait(child).exits(4);
    let last = last_line(&outcome);
    assert_eq!(
        last,
        "error: 1 of 2 cells failed: first (exit 4: stopped); 1 of 2 cells were not begun"
    );
    let lines: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["launch", "cell_started", "interrupted", "cell_ended", "done"]);
    assert_eq!((&lines[3]["state"], &lines[4]["exit_code"]), (&json!("stopped"), &json!(4)));
    assert_eq!(left(&sandbox, "first").counts(), [10, 10, 0]);
    let index = json(&sandbox.path("out/summary.index.json"));
    assert_eq!(index["runs"][0]["state"], "interrupted");
}

#[test]
fn only_some_cells_run_and_the_others_keep_their_state() {
    let matrix = format!(
        "name = \"n\"\n{DEFAULTS}[[model]]\nid = \"a\"\nunheard_of = 1\n[[model]]\nid = \"b\"\nmode = \"fail\"\n[[model]]\nid = \"c\"\n"
    );
    let sandbox = sandbox(5, TEMPLATE, &matrix);
    let _ = sweep(&sandbox, &["--only", "b"]).exits(3);
    let mut command = command(&sandbox, &["--only", "a", "--only", "c*"]);
    command.env("MOST", "2");
    let unused = "warning: matrix.toml:7: model.a.unheard_of: the template never uses it";
    let outcome = sandbox.finish(command).exits(0).says(&[unused]);
    assert_eq!(last_line(&outcome), "all 2 cells are done");
    let state = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(states(&sandbox), [state("a", "done"), state("c", "done"), state("b", "unscored")]);
    assert_eq!(left(&sandbox, "a").counts(), [2, 2, 0]);
    let _ = sweep(&sandbox, &["--only", "z"])
        .exits(2)
        .says(&["--only z: no cell is called so; there are: a, b, c"]);
}

#[test]
fn any_text_can_be_a_value() {
    let names = [
        "say \"hi\"",
        "back\\slash\\n",
        "{{ braces }} {% x %}",
        "tab\tand 'quotes' # no comment",
        "$5 $HOME",
    ];
    let models: String = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            format!("[[model]]\nid = \"m{number}\"\nname = {}\n", Value::from(*name))
        })
        .collect();
    let sandbox = sandbox(1, TEMPLATE, &format!("{DEFAULTS}{models}"));
    let _ = sweep(&sandbox, &["--jobs", "3"]).exits(0);
    for (number, name) in names.iter().enumerate() {
        assert_eq!(left(&sandbox, &format!("m{number}")).result()["model"], *name);
    }
}

#[test]
fn a_cell_that_has_changed_is_refused_until_that_is_accepted_or_a_new_run_begun() {
    let matrix = |most: u64| {
        format!("{DEFAULTS}[[model]]\nid = \"a\"\nmost = {most}\n[[model]]\nid = \"b\"\n")
    };
    let sandbox = sandbox(5, TEMPLATE, &matrix(2));
    let _ = sweep(&sandbox, &[]).exits(0);
    sandbox.write("matrix.toml", matrix(3));
    let outcome =
        sweep(&sandbox, &[]).exits(2).says(&["max_samples", "--fresh", "--accept-changes"]);
    assert!(
        last_line(&outcome).starts_with("error: 1 of 2 cells failed: a (exit 2: "),
        "{}",
        outcome.stderr
    );
    let _ = sweep(&sandbox, &["--accept-changes"]).exits(0);
    assert_eq!(left(&sandbox, "a").counts(), [3, 3, 0]);
    let _ = sweep(&sandbox, &["--fresh", "--only", "a"]).exits(0);
    assert_eq!(runs(&sandbox, "a").len(), 2);
    assert_eq!(runs(&sandbox, "b").len(), 1);
}

#[test]
fn what_is_wrong_with_a_sweep_is_told_before_anything_is_made() {
    let sandbox = sandbox(1, "a = {{ model. }}\n", "[[model]]\nid = \"a\"\n");
    let outcome =
        sweep(&sandbox, &["--json"]).exits(2).says(&["conf/template.toml:1: syntax error"]);
    let done: Value = serde_json::from_str(outcome.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&done["event"], &done["exit_code"]), (&json!("done"), &json!(2)));
    sandbox.write("conf/template.toml", "out = \"elsewhere\"\n");
    let _ = sweep(&sandbox, &["--only", "a"])
        .exits(2)
        .says(&["out: is what a sweep gives to each cell"]);
    sandbox.write("matrix.toml", "[[model]]\nname = 3\n");
    let _ =
        sweep(&sandbox, &[]).exits(2).says(&["matrix.toml:1: model: a [[model]] needs an `id`"]);
}

#[test]
fn runs_are_collected_wherever_they_are_and_broken_ones_are_told() {
    let matrix =
        format!("{DEFAULTS}[[model]]\nid = \"a\"\n[[model]]\nid = \"b\"\n[[model]]\nid = \"c\"\n");
    let sandbox = sandbox(2, TEMPLATE, &matrix);
    let _ = sweep(&sandbox, &[]).exits(0);
    let _ = sweep(&sandbox, &["--fresh", "--only", "a"]).exits(0);
    fs::remove_file(left(&sandbox, "b").path.join("summary.json")).unwrap();
    fs::write(left(&sandbox, "c").path.join("manifest.json"), "{").unwrap();
    let collect = |arguments: &[&str]| {
        let mut command = sandbox.host(["collect"]);
        command.args(arguments).env_remove("HOME").env("NO_COLOR", "1").current_dir("/");
        command
    };
    let out = sandbox.path("out").display().to_string();
    let outcome = sandbox.finish(collect(&[&out])).exits(0).says(&["not used: b/", "not used: c/"]);
    assert!(
        outcome.stdout.contains("1.0000 ± 0.0000") && outcome.stdout.contains("2 of 2"),
        "{}",
        outcome.stdout
    );
    let index = json(&sandbox.path("out/summary.index.json"));
    assert_eq!(index["format"], 1);
    let found: Vec<_> = index["runs"].as_array().unwrap().iter().collect();
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0]["latest"], &found[1]["latest"]), (&json!(false), &json!(true)));
    let result = &found[1]["results"][0];
    assert_eq!(
        (&result["task"], &result["backend"], &result["model"]),
        (&json!("t"), &json!("b"), &json!("a"))
    );
    assert_eq!(result["metrics"]["exact_match"]["value"], 1.0);
    assert!(sandbox.path("out").join(found[1]["summary"].as_str().unwrap()).is_file());
    let reasons: Vec<&str> = index["broken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    assert!(
        reasons[0].contains("no summary.json")
            && reasons[1].contains("manifest.json: it is not what"),
        "{reasons:?}"
    );

    let outcome = sandbox.finish(collect(&["--json", &out])).exits(0);
    let events: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["run", "run", "broken", "broken", "done"]);

    // A reader that goes away is no error.
    let mut child = collect(&[&out]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));

    let _ = sandbox
        .finish(collect(&[&sandbox.path("conf").display().to_string()]))
        .exits(2)
        .says(&["there is no run here"]);
    let _ = sandbox
        .finish(collect(&["/nowhere"]))
        .exits(2)
        .says(&["/nowhere: there is no such folder"]);
}
