//! `host report`, and the report that a run leaves.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use host_tests::{
    page,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{CHOICE, CHOICE_DATA, ECHO, echoes, hostile};

/// A run of ten samples of which three are wrong; the sandbox, and the run directory.
fn ran(settings: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_hostile();
    let wrong = "{\"says\": \"a | <b>\", \"target\": \"c\"}\n".repeat(3);
    sandbox.write("data.jsonl", format!("{}{wrong}", echoes(7)));
    let outcome = sandbox.run(&format!("{settings}{}{ECHO}", hostile("echo"))).exits(0);
    let directory = outcome.left().path;
    (sandbox, directory)
}

fn report(sandbox: &Sandbox, directory: &Path, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.host(["report"]);
    command.arg(directory).args(arguments);
    sandbox.finish(command)
}

#[test]
fn a_run_leaves_its_report_unless_it_is_told_not_to() {
    let (_sandbox, directory) = ran("");
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    for part in
        ["<td class=\"n value\">0.7000</td>", "0.3968 – 0.8922", ">complete<", "data-index=\"10\""]
    {
        assert!(page.contains(part), "{part}");
    }
    let (sandbox, directory) = ran("run.report = false\n");
    assert!(!directory.join("report.html").exists());
    let outcome = report(&sandbox, &directory, &[]).exits(0);
    assert_eq!(outcome.stdout, format!("{}\n", directory.join("report.html").display()));
    assert!(directory.join("report.html").exists());
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning_and_no_failure() {
    let (sandbox, directory) = ran("run.report = false\n");
    fs::create_dir(directory.join("report.html")).unwrap();
    let set = format!("{}{ECHO}", hostile("echo"));
    let resume = format!("--resume={}", directory.display());
    let outcome = sandbox.finish(sandbox.run_command(&set, &[&resume])).exits(0);
    let _ = outcome.says(&["warning: there is no report: ", "report.html"]);
    let _ =
        report(&sandbox, &directory, &[]).exits(2).says(&["report.html: cannot write the report"]);
}

#[test]
fn tables_say_what_the_summary_says() {
    let (sandbox, directory) = ran("");
    let markdown = report(&sandbox, &directory, &["--format", "md"]).exits(0).stdout;
    let row = "| t | hostile | exact_match | 0.7000 | 0.3968 – 0.8922 | 10 | 0 |\n";
    assert!(markdown.contains(row), "{markdown}");
    let csv = report(&sandbox, &directory, &["--format", "csv"]).exits(0).stdout;
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let of = |name: &str| {
        let column = lines[0].iter().position(|column| *column == name).unwrap();
        lines[1][column]
    };
    assert_eq!((of("value"), of("interval"), of("scored")), ("0.7", "wilson", "10"));
    let json = report(&sandbox, &directory, &["--format", "json"]).exits(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let summary: Value =
        serde_json::from_slice(&fs::read(directory.join("summary.json")).unwrap()).unwrap();
    assert_eq!(json["runs"][0]["results"][0]["result"], summary["results"][0]);
    assert_eq!(json["runs"][0]["results"][0]["metrics"][0]["interval"]["method"], "wilson");
}

#[test]
fn junit_has_a_case_for_each_sample() {
    let (sandbox, directory) = ran("");
    let out = sandbox.path("junit.xml");
    let arguments = ["--format", "junit", "--out", out.to_str().unwrap()];
    let outcome = report(&sandbox, &directory, &arguments).exits(0);
    assert_eq!(outcome.stdout, format!("{}\n", out.display()));
    let xml = fs::read_to_string(out).unwrap();
    assert!(xml.contains("<testsuite name=\"t @ hostile\""), "{xml}");
    assert!(xml.contains("tests=\"10\" failures=\"3\" errors=\"0\""), "{xml}");
    assert_eq!(xml.matches("<testcase ").count(), 10);
    let failure = "message=\"expected `c`, found `a | &lt;b&gt;`\"";
    assert_eq!(xml.matches(failure).count(), 3, "{xml}");
    assert!(xml.ends_with("</testsuites>\n"));
}

#[test]
fn a_dash_is_stdout_and_never_a_file() {
    let (sandbox, directory) = ran("");
    let printed = report(&sandbox, &directory, &["--format", "csv"]).exits(0).stdout;
    let dashed = report(&sandbox, &directory, &["--format", "csv", "--out", "-"]).exits(0).stdout;
    assert_eq!(dashed, printed);
    for format in ["html", "lm-eval"] {
        let refused = report(&sandbox, &directory, &["--format", format, "--out", "-"]).exits(2);
        let _ = refused.says(&["--out -", "name a file"]);
    }
    assert!(!sandbox.path("-").exists());
}

#[test]
fn a_run_without_a_summary_is_shown_as_far_as_it_came() {
    let (sandbox, directory) = ran("");
    let whole = report(&sandbox, &directory, &["--format", "json"]).exits(0).stdout;
    fs::remove_file(directory.join("summary.json")).unwrap();
    let outcome = report(&sandbox, &directory, &["--format", "json"]).exits(0);
    let outcome = outcome.says(&["this run is not finished"]);
    let metrics = |text: &str| {
        let json: Value = serde_json::from_str(text).unwrap();
        json["runs"][0]["results"][0]["metrics"].clone()
    };
    assert_eq!(metrics(&outcome.stdout), metrics(&whole));
    let _ = report(&sandbox, &directory, &[]).exits(0);
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(page.contains(">not finished<"));
}

#[test]
fn a_run_without_a_summary_has_the_results_that_its_summary_would_have() {
    for store in ["full", "hash"] {
        let sandbox = Sandbox::new();
        sandbox.write("data.jsonl", CHOICE_DATA);
        // No log-likelihood: the task is asked in its generative form. The model is named by the run file alone.
        let task = CHOICE.replace("kind", "fallback = \"generate\"\nkind");
        let text = format!(
            "run.store = \"{store}\"\n[[backend]]\nid = \"b\"\nplugin = \"litellm\"\nmodel = \"openai/gpt-4o\"\n\
             base_url = \"mock:openai\"\n{task}[[group]]\nid = \"g\"\ntasks = [\"t\"]\nmetric = \"exact_match\"\n"
        );
        let directory = sandbox.run(&text).exits(0).left().path;
        let run = || -> Value {
            let text = report(&sandbox, &directory, &["--format", "json"]).exits(0).stdout;
            let json: Value = serde_json::from_str(&text).unwrap();
            json["runs"][0].clone()
        };
        let mut whole = run();
        assert_eq!(whole["results"][0]["result"]["fallback"], true);
        assert!(whole["results"][0]["result"]["metrics"]["exact_match"].is_object());
        fs::remove_file(directory.join("summary.json")).unwrap();
        let mut killed = run();
        // Only the process itself knows how fast it was.
        for run in [&mut whole, &mut killed] {
            run["results"][0]["result"]["samples_per_second"] = Value::Null;
        }
        assert_eq!(killed["results"], whole["results"], "{store}");
        assert_eq!(killed["groups"], whole["groups"], "{store}");
        assert!(killed["groups"].is_array());
    }
}

/// A run of echoing backends of these names; its directory.
fn echoed(sandbox: &Sandbox, backends: &[&str], task: &str) -> PathBuf {
    let one = |id: &&str| {
        format!("[[backend]]\nid = \"{id}\"\nplugin = \"hostile\"\nconfig.mode = \"echo\"\n")
    };
    let backends: String = backends.iter().map(one).collect();
    let text = format!("run.report = false\n{backends}{task}");
    sandbox.run(&text).exits(0).left().path
}

#[test]
fn two_runs_stand_side_by_side_as_they_are_compared() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(3));
    let [xy, z, zw] =
        [&["x", "y"][..], &["z"], &["z", "w"]].map(|backends| echoed(&sandbox, backends, ECHO));
    let units = |first: &Path, second: &Path, arguments: &[&str]| {
        let arguments = [&[second.to_str().unwrap(), "--out", "both.html"], arguments].concat();
        let _ = report(&sandbox, first, &arguments).exits(0);
        let page = fs::read_to_string(sandbox.path("both.html")).unwrap();
        let sides: Vec<(u64, bool)> = page::rows(&page)
            .iter()
            .map(|row| {
                let is_paired = row[4].as_array().unwrap().iter().all(|side| !side.is_null());
                (row[1].as_u64().unwrap(), is_paired)
            })
            .collect();
        let units = page::meta(&page)["units"].clone();
        let named: Vec<(String, usize, usize)> = (0..)
            .zip(units.as_array().unwrap())
            .map(|(number, name)| {
                let own = || sides.iter().filter(move |(unit, _)| *unit == number);
                let paired = own().filter(|(_, is_paired)| *is_paired).count();
                (name.as_str().unwrap().to_owned(), own().count(), paired)
            })
            .collect();
        named
    };
    let unit = |name: &str, rows, paired| (name.to_owned(), rows, paired);
    // One backend stands beside each of the other run.
    let expected = [unit("t @ x / z", 3, 3), unit("t @ y / z", 3, 3)];
    assert_eq!(units(&xy, &z, &[]), expected);
    assert_eq!(units(&z, &xy, &[]), [unit("t @ z / x", 3, 3), unit("t @ z / y", 3, 3)]);
    // Nobody knows which of several belong together, until it is said.
    let alone = ["t @ x", "t @ y", "t @ z", "t @ w"].map(|name| unit(name, 3, 0));
    assert_eq!(units(&xy, &zw, &[]), alone);
    let said = ["--backend", "x", "--backend", "w"];
    assert_eq!(units(&xy, &zw, &said), [unit("t @ x / w", 3, 3)]);
    let csv = report(&sandbox, &xy, &["--format", "csv", "--backend", "y"]).exits(0).stdout;
    assert!(csv.lines().count() == 2 && csv.contains(",t,y,"), "{csv}");
    let _ = report(&sandbox, &xy, &["--backend", "v"])
        .exits(2)
        .says(&["no run has the backend `v`; there is x, y"]);
    let _ = report(&sandbox, &xy, &["--task", "u"]).exits(2).says(&["no run has the task `u`"]);
}

#[test]
fn what_flipped_is_what_the_comparison_says_flipped() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(4));
    let first = echoed(&sandbox, &["b"], ECHO);
    // The third record is another one, and it happens to be wrong.
    sandbox.write(
        "data.jsonl",
        echoes(4).replace("\"target\": \"word 2\"", "\"target\": \"another\""),
    );
    let task = ECHO.replace("{{ says }}", "{{ says }}{{ '!' if says.endswith('1') else '' }}");
    let second = echoed(&sandbox, &["b"], &task);
    let marks = |first: &Path, second: &Path| -> Vec<u64> {
        let arguments = [second.to_str().unwrap(), "--out", "both.html"];
        let _ = report(&sandbox, first, &arguments).exits(0);
        let page = fs::read_to_string(sandbox.path("both.html")).unwrap();
        let mut rows = page::rows(&page);
        rows.sort_by_key(|row| row[0].as_str().unwrap().to_owned());
        rows.iter().map(|row| row[5].as_u64().unwrap()).collect()
    };
    let (gained, lost, other_record) = (1, 2, 3);
    assert_eq!(marks(&first, &second), [0, lost, other_record, 0]);
    assert_eq!(marks(&second, &first), [0, gained, other_record, 0]);
}

#[test]
fn tasks_whose_names_are_one_in_a_file_name_have_files_of_their_own() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(3));
    let named = |id: &str| ECHO.replace("id = \"t\"", &format!("id = \"{id}\"\nrepeats = 2"));
    let task = format!("{}{}", named("a-b"), named("a_b"));
    let directory = echoed(&sandbox, &["b"], &task);
    let outcome = report(&sandbox, &directory, &["--format", "lm-eval"]).exits(0);
    let files: Vec<&str> = outcome.stdout.lines().collect();
    let [results, samples @ ..] = files.as_slice() else { panic!("{files:?}") };
    let lines = |path: &&str| fs::read_to_string(path).unwrap().lines().count();
    assert_eq!(samples.iter().map(lines).collect::<Vec<_>>(), [3, 3]);
    assert_ne!(samples[0], samples[1]);
    let results: Value = serde_json::from_slice(&fs::read(results).unwrap()).unwrap();
    for task in ["a-b", "a_b"] {
        // Documents, and not their repeats.
        assert_eq!(results["results"][task]["sample_len"], 3);
        assert_eq!(results["n-samples"][task]["effective"], 3);
        assert_eq!(results["n-samples"][task]["original"], 3);
    }
}

#[test]
fn lm_eval_files_have_the_shapes_that_its_readers_know() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", CHOICE_DATA);
    let text = format!(
        "[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\nmodel = \"org/m\"\n{CHOICE}"
    );
    let directory = sandbox.run(&text).exits(0).left().path;
    let outcome = report(&sandbox, &directory, &["--format", "lm-eval"]).exits(0);
    let files: Vec<&Path> = outcome.stdout.lines().map(Path::new).collect();
    let [results, samples] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(results.parent().unwrap(), directory.join("lm-eval/org__m"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name(results).starts_with("results_") && !name(results).contains(':'));
    assert!(name(samples).starts_with("samples_t_") && name(samples).ends_with(".jsonl"));
    let results: Value = serde_json::from_slice(&fs::read(results).unwrap()).unwrap();
    let summary: Value =
        serde_json::from_slice(&fs::read(directory.join("summary.json")).unwrap()).unwrap();
    let acc = &summary["results"][0]["metrics"]["acc"];
    assert_eq!(results["results"]["t"]["acc,none"], acc["value"]);
    assert_eq!(results["results"]["t"]["acc_stderr,none"], acc["stderr"]);
    assert_eq!(results["n-samples"]["t"]["effective"], 3);
    assert_eq!(results["higher_is_better"]["t"]["acc"], true);
    assert_eq!(results["model_name_sanitized"], "org__m");
    assert!(results["total_evaluation_time_seconds"].is_string());
    let lines = fs::read_to_string(samples).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["doc_id"], number);
        assert_eq!(line["filter"], "none");
        let first = &line["resps"][0][0];
        assert!(first[0].as_str().unwrap().parse::<f64>().unwrap() < 0.0, "{first}");
        assert_eq!(&line["filtered_resps"][0], first);
        assert!(line["acc"].is_f64());
        assert_eq!(line["doc_hash"].as_str().unwrap().len(), 64);
    }
    assert_eq!(lines[1]["target"], "1");
    assert_eq!(lines[0]["arguments"]["gen_args_0"]["arg_0"], "Q: Is grass green?\nA:");
    assert_eq!(lines[0]["arguments"]["gen_args_1"]["arg_1"], " no, never");
}

#[test]
fn texts_that_are_not_stored_are_in_no_report_and_asked_for_in_vain() {
    let (sandbox, directory) = ran("run.store = \"hash\"\n");
    let outcome = report(&sandbox, &directory, &["--format", "lm-eval"]).exits(2);
    let _ = outcome
        .says(&["the run stores digests only", "--format html, md, csv, junit and json need none"]);
    let _ = report(&sandbox, &directory, &[]).exits(0);
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(page.contains("there are no prompts"));
}

#[test]
fn programs_are_told_what_was_written() {
    let (sandbox, directory) = ran("");
    let records = |arguments: &[&str], code| {
        let outcome = report(&sandbox, &directory, arguments).exits(code);
        let lines = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let done = records(&["--json"], 0);
    let page = directory.join("report.html");
    assert_eq!(done.len(), 1);
    assert_eq!((&done[0]["event"], &done[0]["exit_code"]), (&"done".into(), &0.into()));
    assert_eq!(done[0]["written"], serde_json::json!([page]));
    let both = records(&["--json", "--format", "json"], 0);
    assert_eq!((&both[0]["event"], &both[1]["event"]), (&"report".into(), &"done".into()));
    let refused = records(&["--json", "--format", "csv"], 2);
    assert!(refused[0]["error"].as_str().unwrap().contains("--out"));
}

#[test]
fn a_folder_that_is_no_run_is_an_error_that_says_so() {
    let sandbox = Sandbox::new();
    let outcome = report(&sandbox, Path::new("nowhere"), &[]).exits(2);
    let _ = outcome.says(&["nowhere: there is no run here: it has no manifest.json"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (sandbox, directory) = ran("");
    let mut command = sandbox.host(["report", "--format", "junit"]);
    command.arg(&directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("<?xml"));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}
