//! `host compare`: two runs on the same samples, from what they left.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::Stdio,
};

use host_tests::{
    fake_tgi::FakeTgi,
    left::Left,
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use super::{ECHO, assert_close};

/// Texts of so many samples; a cluster holds three.
fn data(samples: usize) -> String {
    let one = |i| {
        let cluster = i / 3;
        format!(
            "{{\"says\": \"word {i}.\", \"target\": \"word {i}.\", \"about\": \"text {cluster}\"}}\n"
        )
    };
    (0..samples).map(one).collect()
}

/// A server that says what it is told, but for the samples of these numbers.
fn wrong_about(numbers: fn(usize) -> bool) -> FakeTgi {
    let text = move |inputs: &str| {
        let number = inputs.trim_start_matches("word ").trim_end_matches('.').parse();
        if number.is_ok_and(numbers) { "something\nelse".to_owned() } else { inputs.to_owned() }
    };
    FakeTgi::builder().text(text).start_blocking().unwrap()
}

/// A backend of this name at a server.
fn backend(id: &str, fake: &FakeTgi) -> String {
    format!("[[backend]]\nid = \"{id}\"\nplugin = \"tgi\"\nbase_url = \"{}\"\n", fake.url())
}

/// Runs into `folder` and gives the run directory, relative to the sandbox.
fn run(sandbox: &Sandbox, folder: &str, text: &str, arguments: &[&str]) -> String {
    let arguments = [&["--out", folder], arguments].concat();
    let _ = sandbox.finish(sandbox.run_command(text, &arguments)).exits(0);
    let mut entries = fs::read_dir(sandbox.path(folder)).unwrap();
    let name = entries.next().unwrap().unwrap().file_name();
    format!("{folder}/{}", name.to_str().unwrap())
}

fn compare(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.finish(sandbox.host([&["compare"], arguments].concat()))
}

/// What `--json` prints: the first is `launch`, the last `done`.
fn records(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let outcome = compare(sandbox, &[arguments, &["--json"]].concat()).exits(0);
    assert_eq!(outcome.stderr, "");
    let lines: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["event"], "launch");
    assert_eq!(lines.last().unwrap(), &serde_json::json!({"event": "done", "exit_code": 0}));
    lines
}

fn of_event<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

#[test]
fn samples_with_a_perplexity_are_scored_and_said_not_to_be_compared() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data(5));
    let fake = wrong_about(|_| false);
    let task = "[[task]]\nid = \"t\"\nkind = \"perplexity\"\ndata.path = \"data.jsonl\"\nprompt.user = \"{{ says }}\"\n";
    let text = format!("{}{task}", backend("m", &fake));
    let [a, b] = ["a", "b"].map(|folder| run(&sandbox, folder, &text, &[]));
    let outcome = compare(&sandbox, &[&a, &b]).exits(0).says(&["perplexities are not compared"]);
    assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("unscored"));
}

/// Two runs of 60 samples: the baseline has 30 wrong, the candidate 12 others.
fn two_runs() -> (Sandbox, [String; 2]) {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data(60));
    let (a, b) = (wrong_about(|i| i < 30), wrong_about(|i| (48..60).contains(&i)));
    let text = |fake| format!("{}{ECHO}generate.stop = [\"never\"]\n", backend("m", fake));
    let directories = [run(&sandbox, "a", &text(&a), &[]), run(&sandbox, "b", &text(&b), &[])];
    (sandbox, directories)
}

#[test]
fn figures_are_those_of_scipy_and_statsmodels() {
    let (sandbox, [a, b]) = two_runs();
    let records = records(&sandbox, &[&a, &b]);
    let [row] = of_event(&records, "comparison").try_into().unwrap();
    assert_eq!((&row["task"], &row["metric"]), (&"t".into(), &"exact_match".into()));
    assert_eq!(
        (&row["samples"], &row["gained"], &row["lost"]),
        (&60.into(), &30.into(), &12.into())
    );
    let number = |pointer: &str| row.pointer(pointer).unwrap().as_f64().unwrap();
    assert_close(number("/baseline/score/value"), 0.5);
    assert_close(number("/candidate/score/value"), 0.8);
    assert_close(number("/difference"), 0.3);
    // statsmodels 0.15.0: mcnemar([[0, 30], [12, 0]], exact=True), proportion_confint(30, 60, method="wilson").
    assert_close(number("/p_value"), 0.007_915_897_334_896_727);
    assert_close(number("/adjusted_p_value"), 0.007_915_897_334_896_727);
    assert_close(number("/baseline/score/interval/low"), 0.37735024241555765);
    // NumPy: std([1]*30 + [-1]*12 + [0]*18, ddof=1) / sqrt(60), and 2.8016 times that.
    assert_close(number("/stderr"), 0.10168078997946199);
    assert!((number("/minimal_detectable_effect") / number("/stderr") - 2.801_585_2).abs() < 1e-6);
    // scipy.stats.bootstrap(..., method="percentile") gives 0.1 to 0.5 (1.17.1).
    assert!((number("/interval/low") - 0.1).abs() < 0.018, "{row}");
    assert!((number("/interval/high") - 0.5).abs() < 0.018, "{row}");
    assert_eq!((&row["test"], &row["verdict"]), (&"mcnemar_exact".into(), &"better".into()));
    let flips = of_event(&records, "flip");
    assert_eq!(flips.len(), 42);
    let first = flips[0];
    assert_eq!((&first["gained"], &first["answers"]["sample"]), (&true.into(), &"0".into()));
    assert_eq!(first["answers"]["target"], "word 0.");
    assert_eq!(first["answers"]["baseline"], "something\nelse");
    assert_eq!(first["answers"]["candidate"], "word 0.");
    assert!(of_event(&records, "difference").is_empty(), "{records:?}");
    // The same again, the other way round.
    let back = self::records(&sandbox, &[&b, &a, "--flips", "0"]);
    let [row] = of_event(&back, "comparison").try_into().unwrap();
    assert_eq!((&row["gained"], &row["verdict"]), (&12.into(), &"worse".into()));
    assert!(of_event(&back, "flip").is_empty());
}

#[test]
fn people_see_a_table_and_what_flipped() {
    let (sandbox, [a, b]) = two_runs();
    let outcome = compare(&sandbox, &[&a, &b, "--flips", "2"]).exits(0);
    assert_eq!(outcome.stderr, "");
    let expected = "\
baseline:  A @ m, fake/model
candidate: B @ m, fake/model
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
 task   metric        samples   baseline   candidate   difference [95 %]            p (Holm)          gained   lost   verdict 
══════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════════
 t      exact_match        60     0.5000      0.8000   +0.3000 [+0.1000, +0.5000]   0.0079 (0.0079)       30     12   better  
──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

t exact_match: 42 samples flipped, 2 of them shown (--flips 42 shows all)
───────────────────────────────────────────────────────
 sample   now     target    baseline         candidate 
═══════════════════════════════════════════════════════
 0        right   word 0.   something else   word 0.   
 1        right   word 1.   something else   word 1.   
───────────────────────────────────────────────────────
";
    let shown = outcome.stdout.replace(&a, "A").replace(&b, "B");
    assert_eq!(shown, expected);
}

#[test]
fn what_differs_beside_the_answers_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data(6));
    let fake = wrong_about(|i| i == 0);
    let text = format!("{}{ECHO}", backend("m", &fake));
    let a = run(&sandbox, "a", &text, &[]);
    // One record is another one, one is gone, and the prompt is another one.
    let mut lines: Vec<String> = data(6).lines().map(str::to_owned).collect();
    lines[2] = lines[2].replace("text 0", "text 9");
    lines.pop();
    sandbox.write("data.jsonl", lines.join("\n"));
    let text = text.replace("{{ says }}", "Say: {{ says }}");
    let b = run(&sandbox, "b", &text, &["--set", "task.t.few_shot.n=1"]);
    let outcome = compare(&sandbox, &[&a, &b]).exits(0).says(&[
        "warning: differs: task `t`: 1 of the samples are other records and not compared, first `2`: BLAKE3 ",
        "4 of 4 samples were asked with another prompt or options, first `0`: BLAKE3 ",
        "task `t`: prompt.user: \"{{ says }}\" / \"Say: {{ says }}\"",
        "task `t`: few_shot: none / {",
        "contents of the data file",
    ]);
    let said = "t: samples that are not compared: 1 only in the baseline, 1 with another record";
    assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
    let records = records(&sandbox, &[&a, &b]);
    let kinds: Vec<&Value> = of_event(&records, "difference")
        .iter()
        .map(|record| &record["difference"]["kind"])
        .collect();
    assert_eq!(kinds, ["records", "prompts", "task", "few_shot", "data"]);
}

#[test]
fn what_is_unscored_on_a_side_is_counted_apart_and_not_wrong() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", data(9));
    let fake = wrong_about(|_| false);
    let a = run(&sandbox, "a", &format!("{}{ECHO}", backend("m", &fake)), &[]);
    // A reply without its number is unscored here.
    let task = format!(
        "{ECHO}on_no_answer = \"unscored\"\nextract = {{ kind = \"regex\", pattern = \"word [0-3].\" }}\n"
    );
    let text = format!("run.max_unscored = 9\n{}{task}", backend("m", &fake));
    let b = run(&sandbox, "b", &text, &[]);
    let records = records(&sandbox, &[&a, &b]);
    let [row] = of_event(&records, "comparison").try_into().unwrap();
    assert_eq!((&row["samples"], &row["counts"]["compared"]), (&4.into(), &4.into()));
    assert_eq!(row["counts"]["unscored_by_candidate"], 5);
    assert_eq!(row["verdict"], "same_scores");
}

#[test]
fn backends_of_one_run_are_compared_with_the_first_and_p_values_are_adjusted() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data(60));
    let (a, b, c) =
        (wrong_about(|i| i < 8), wrong_about(|_| false), wrong_about(|i| i.is_multiple_of(2)));
    let text = format!("{}{}{}{ECHO}", backend("a", &a), backend("b", &b), backend("c", &c));
    let run = run(&sandbox, "runs", &text, &[]);
    let records = records(&sandbox, &[&run]);
    let rows = of_event(&records, "comparison");
    let told: Vec<[&Value; 2]> =
        rows.iter().map(|row| [&row["candidate"]["side"]["backend"], &row["verdict"]]).collect();
    assert_eq!(told, [["b", "better"], ["c", "worse"]]);
    // Of 8 to none: 2/256, and the larger of two.
    assert_close(rows[0]["p_value"].as_f64().unwrap(), 2.0 / 256.0);
    assert_close(rows[0]["adjusted_p_value"].as_f64().unwrap(), 2.0 / 256.0);
    let [p, adjusted] = ["p_value", "adjusted_p_value"].map(|key| rows[1][key].as_f64().unwrap());
    assert_close(adjusted, 2.0 * p);
    // Two that are named are compared with each other.
    let arguments = [&*run, "--backend", "b", "--backend", "c", "--json"];
    let outcome = compare(&sandbox, &arguments).exits(0);
    assert_eq!(outcome.stdout.matches("\"event\":\"comparison\"").count(), 1, "{}", outcome.stdout);
    for (arguments, said) in [
        (vec![&*run, "--backend", "d"], "no run has the backend `d`; there is a, b, c"),
        (vec![&*run, "--task", "u"], "no run has the task `u`; there is t"),
        (vec![&*run, "--backend", "a"], "no task of this run was asked at two backends"),
        (vec!["runs", &*run], "there is no run here: it has no manifest.json"),
        (vec![&*run, "--metric", "f1"], "there is no such metric; there is acc, "),
    ] {
        let outcome = compare(&sandbox, &arguments).exits(2).says(&[said]);
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn clusters_count_in_errors_of_runs_and_of_comparisons_however_they_are_stored() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data(60));
    let (a, b) = (wrong_about(|i| i < 30), wrong_about(|_| false));
    let text = |fake| format!("{}{ECHO}cluster = \"about\"\n", backend("m", fake));
    let full = run(&sandbox, "full", &text(&a), &[]);
    let hash = run(&sandbox, "hash", &text(&a), &["--set", "run.store=hash"]);
    let other = run(&sandbox, "other", &text(&b), &["--set", "run.store=hash"]);
    let [full_left, hash_left] = [&full, &hash].map(|run| Left::read(&sandbox.path(run)));
    assert_eq!(full_left.journal[4]["sample"]["cluster"], "text 1");
    let digest = blake3::hash(b"text 1").to_hex().to_string();
    assert_eq!(hash_left.journal[4]["sample"]["cluster"], *digest);
    for left in [full_left, hash_left] {
        let metric = &left.result()["metrics"]["exact_match"];
        // 20 clusters of three, half of them wrong: off by 3/2 each, sqrt(20·9/4)/60.
        assert_eq!(metric["stderr_clusters"], 20);
        assert_close(metric["stderr"].as_f64().unwrap(), 45.0_f64.sqrt() / 60.0);
    }
    // Prompts are told equal, also where one run has only their digests.
    for baseline in [&full, &hash] {
        let records = records(&sandbox, &[baseline, &other]);
        let [row] = of_event(&records, "comparison").try_into().unwrap();
        assert_eq!((&row["clusters"], &row["test"]), (&20.into(), &"paired_z".into()));
        assert_close(row["stderr"].as_f64().unwrap(), 45.0_f64.sqrt() / 60.0);
        let prompts = of_event(&records, "difference");
        assert!(prompts.iter().all(|one| one["difference"]["kind"] != "prompts"), "{prompts:?}");
    }
    let missing = format!("{}{ECHO}cluster = \"nowhere\"\n", backend("m", &a));
    let said = "`cluster` is `nowhere`, and the record has no text or number of this name";
    let _ = sandbox.run(&missing).exits(2).says(&[said]);
}

#[test]
fn a_resumed_run_has_the_clusters_of_one_that_was_never_stopped() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data(30));
    let fake = wrong_about(|i| i % 5 < 2);
    let text = format!("{}{ECHO}cluster = \"about\"\n", backend("m", &fake));
    for store in ["run.store=full", "run.store=hash"] {
        let directory = sandbox.path(&run(&sandbox, store, &text, &["--set", store]));
        let whole = Left::read(&directory);
        // As a kill leaves it, in the middle of a line.
        let journal = directory.join("journal.jsonl");
        let bytes = fs::read(&journal).unwrap();
        fs::write(&journal, &bytes[..bytes.len() * 2 / 3]).unwrap();
        fs::remove_file(directory.join("summary.json")).unwrap();
        let _ = sandbox.finish(sandbox.host(["resume".as_ref(), directory.as_os_str()])).exits(0);
        assert_eq!(Left::read(&directory).results(), whole.results());
    }
}

#[test]
fn it_works_without_a_home_a_folder_to_write_to_and_a_reader() {
    let (sandbox, [a, b]) = two_runs();
    let absolute: Vec<PathBuf> = [&a, &b].map(|run| sandbox.path(run)).into();
    let mut command = sandbox.host(["compare"]);
    command.args(&absolute).env_clear().env("NO_COLOR", "1").current_dir("/proc");
    let outcome = sandbox.finish(command).exits(0);
    assert!(outcome.stdout.contains("better") && !outcome.stdout.contains('\x1b'));
    let mut command = sandbox.host(["compare", "--json", &a, &b]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("launch"));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}
