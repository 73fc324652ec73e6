//! What a user can get wrong: each with a text that says what and where, and its exit code.

use host_tests::sandbox::{Outcome, Sandbox};

use super::{CHOICE, CHOICE_DATA, ECHO, echoes, hostile, run};

/// A run file on disk with no data file beside it.
fn without_data(text: &str) -> Outcome {
    Sandbox::with_hostile().run(text)
}

#[test]
fn a_data_file_that_is_not_there_or_no_file() {
    let text = format!("{}{CHOICE}", hostile("ok"));
    let outcome = without_data(&text).exits(2).says(&["task `t`", "cannot read", "data.jsonl"]);
    assert!(outcome.folders().is_empty());
    let sandbox = Sandbox::with_hostile();
    std::fs::create_dir(sandbox.path("data.jsonl")).unwrap();
    let _ = sandbox.run(&text).exits(2).says(&["data.jsonl"]);
}

#[test]
fn a_bad_line_stops_the_run_or_is_left_out() {
    let data = format!("{}not json\n{}", echoes(1), echoes(1));
    let stopped = run(&hostile("echo"), ECHO, &data).exits(2).says(&["data.jsonl:2"]);
    assert_eq!(stopped.left().summary["run"]["state"], "failed");
    let task = format!("{ECHO}data.on_bad_sample = \"skip\"\n");
    let left =
        run(&hostile("echo"), &task, &data).exits(0).says(&["left out", "data.jsonl:2"]).left();
    assert_eq!(left.counts(), [2, 2, 0]);
    assert_eq!(left.result()["samples"]["skipped"], 1);
}

#[test]
fn a_label_that_names_no_option() {
    let data = CHOICE_DATA.replace("\"label\": 1", "\"label\": 7");
    let _ = run(&hostile("ok"), CHOICE, &data).exits(2).says(&[
        "data.jsonl:2",
        "sample `1`",
        "wrong label",
        "7",
    ]);
}

#[test]
fn a_data_set_without_samples_is_never_a_finished_run() {
    for data in ["", "\n\n"] {
        let outcome = run(&hostile("ok"), CHOICE, data).exits(2).says(&["has no samples"]);
        assert_eq!(outcome.left().summary["run"]["state"], "failed");
    }
    let task = format!("{ECHO}data.on_bad_sample = \"skip\"\n");
    let _ = run(&hostile("ok"), &task, "nothing\n").exits(2).says(&["none of the 1 records"]);
}

#[test]
fn a_template_that_names_no_field() {
    let task = CHOICE.replace("Q: {{ q }}\\nA:", "Q:\\n{{ question }}");
    let _ = run(&hostile("ok"), &task, CHOICE_DATA).exits(2).says(&[
        "data.jsonl:1",
        "sample `0`",
        "`prompt.user`, line 2",
        "question",
    ]);
    let task = CHOICE.replace("{{ q }}", "{{ q ");
    let _ = run(&hostile("ok"), &task, CHOICE_DATA).exits(2).says(&["`prompt.user`"]);
}

#[test]
fn a_plugin_that_is_not_there_has_a_nearest_name() {
    let text = format!("[[backend]]\nplugin = \"hostle\"\n{ECHO}");
    let _ = run(&text, "", &echoes(1))
        .exits(2)
        .says(&["no plugin `hostle`", "did you mean `hostile`?"]);
}

#[test]
fn a_plugin_folder_that_is_not_there() {
    let sandbox = Sandbox::new();
    let command =
        sandbox.run_command(&format!("{}{ECHO}", hostile("ok")), &["--plugin-dir", "nowhere"]);
    let _ = sandbox.finish(command).exits(2).says(&["nowhere", "--plugin-dir"]);
}

#[test]
fn an_unknown_key_has_its_line_and_the_nearest_one() {
    let text = format!("[run]\nconcurency = 3\n{}{ECHO}", hostile("ok"));
    let _ = without_data(&text).exits(2).says(&["run.toml:2", "concurency", "concurrency"]);
    let text = format!("{}config.mod = \"ok\"\n{ECHO}", hostile("ok"));
    let _ = run(&text, "", &echoes(1)).exits(2).says(&["run.toml:4", "config.mod", "mode"]);
    let _ = without_data("[[backend]\n").exits(2).says(&["run.toml:1"]);
    let sandbox = Sandbox::new();
    let _ = sandbox.finish(sandbox.host(["run", "nowhere.toml"])).exits(2).says(&["nowhere.toml"]);
}

#[test]
fn results_that_have_nowhere_to_go() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(1));
    sandbox.write("taken", "");
    let text = format!("{}{ECHO}", hostile("abort_close"));
    let command = sandbox.run_command(&text, &["--out", "taken/runs"]);
    // What went wrong besides is told, too.
    let closed = "warning: backend `hostile`: plugin `hostile` 0.1.0: its worker ended with signal 6 (SIGABRT) while \
                  its backend was closed";
    let _ = sandbox.finish(command).exits(2).says(&["taken/runs", "run directory", closed]);
}

#[test]
fn a_command_that_does_not_exist() {
    let sandbox = Sandbox::new();
    let _ = sandbox.finish(sandbox.host(["ruin"])).exits(2).says(&["ruin", "run"]);
    let _ = sandbox.finish(sandbox.host(["run"])).exits(2);
    let help = sandbox.finish(sandbox.host(["--help"])).exits(0);
    assert!(help.stdout.contains("Exit codes"));
}

#[test]
fn unscored_samples_are_allowed_by_count_or_by_share() {
    // One of four fails.
    let backend = |most: &str| {
        format!(
            "run.max_retries = 0\nrun.concurrency = 1\nrun.max_unscored = {most}\n{}config.after = 3\n",
            hostile("fail")
        )
    };
    for (most, code) in [("0", 3), ("1", 0), ("0.2", 3), ("0.25", 0)] {
        let left = run(&backend(most), ECHO, &echoes(4)).exits(code).left();
        assert_eq!(left.counts(), [4, 3, 1], "{most}");
        assert_eq!(left.summary["run"]["state"], "complete");
    }
}
