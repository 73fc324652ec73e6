//! Plugins that are scripts: as good as libraries in a worker when they are good, and as harmless when they are not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::{Child, Command},
};

use host_tests::{
    built,
    left::{Left, counts},
    patience::until,
    processes::children,
    python,
    sandbox::{Outcome, Sandbox},
    scripted::{Scripted, reply},
    skip::skipped,
};
use serde_json::{Value, json};

use super::{CHOICE, CHOICE_DATA, ECHO, QUESTIONS, assert_close, echoes};

/// A sandbox whose plugin folder holds these files of the tests' scripts, and the helper.
fn sandbox(files: &[&str], data: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let sources = files.iter().map(|name| built::scripts().join(name));
    for source in sources.chain([built::script_helper()]) {
        let bytes = fs::read(&source).unwrap();
        let name = source.file_name().unwrap().to_str().unwrap();
        let path = sandbox.write(&format!("plugins/{name}"), bytes);
        let mode = fs::metadata(&source).unwrap().permissions().mode() & 0o755;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    sandbox.write("data.jsonl", data);
    sandbox
}

/// A sandbox with the script that does what it is told.
fn with_trial(data: &str) -> Sandbox {
    let sandbox = sandbox(&["trial.py"], data);
    sandbox.write("plugins/trial.plugin.toml", TRIAL);
    sandbox
}

const TRIAL: &str = r#"kind = "script"
format = 1
id = "trial"
version = "0.1.0"
abi = "1.0"
command = ["python3", "{folder}/trial.py"]
files = ["host_plugin.py"]
capabilities = ["generate", "chat"]
[config_schema.properties]
mode.type = "string"
after.type = "integer"
count.type = "integer"
port.type = "integer"
"#;

const RAW: &str = "kind = \"script\"\nformat = 1\nid = \"raw\"\nversion = \"1.0\"\nabi = \"1.0\"\n\
                   command = [\"./raw.py\"]\ncapabilities = [\"generate\"]\n";

fn trial(mode: &str) -> String {
    format!("[[backend]]\nplugin = \"trial\"\nid = \"{mode}\"\nconfig.mode = \"{mode}\"\n")
}

/// Runs backends of the trial script over the echo task.
fn run(backends: &str, n: usize) -> Outcome {
    let sandbox = with_trial(&echoes(n));
    let outcome = sandbox.run(&format!("{backends}{ECHO}"));
    outcome.keep(sandbox)
}

/// The texts, or failures, of a backend's samples.
fn said<'a>(left: &'a Left, backend: &str) -> Vec<&'a str> {
    let lines = left.journal.iter().filter(|line| line["backend"] == backend);
    lines
        .map(|line| {
            let text = &line["response"]["completion"]["choices"][0]["text"];
            text.as_str().or(line["error"]["message"].as_str()).unwrap_or_default()
        })
        .collect()
}

/// The key that the example needs.
const KEY: [(&str, &str); 1] = [("ACME_API_KEY", "acme-key-1234")];
const ACME: [&str; 3] = ["acme.plugin.toml", "acme.py", "acme.schema.json"];

fn acme(server: &Scripted) -> String {
    let url = server.url();
    format!(
        "run.max_retries = 0\n[[backend]]\nplugin = \"acme\"\nbase_url = \"{url}\"\nsecrets = [\"api_key\"]\n"
    )
}

fn body(asked: &host_tests::scripted::Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap()
}

#[test]
fn the_guides_script_is_scored_and_named_by_its_bytes() {
    if !python::is_there() {
        return;
    }
    let server = Scripted::start(|asked| {
        let answer =
            json!({ "text": body(asked)["prompt"], "ended_by": "limit", "tokens": [3, 4] });
        reply(200, "", &answer.to_string())
    });
    let sandbox = sandbox(&ACME, &echoes(2));
    let text = format!("{}{ECHO}generate.max_tokens = 9\n", acme(&server));
    let left = sandbox.run_with(&text, &KEY).exits(0).left();
    assert_close(left.metric("exact_match"), 1.0);
    assert_eq!(left.result()["tokens"], json!({ "prompt": 6, "completion": 8 }));
    assert_eq!(left.journal[0]["response"]["completion"]["choices"][0]["finish_reason"], "length");
    assert_eq!(server.asked()[0].line, "POST /complete");
    assert!(server.asked()[0].headers.contains("authorization: Bearer acme-key-1234\n"));
    assert!(server.asked()[0].headers.contains("content-type: application/json\n"));
    assert_eq!(body(&server.asked()[0])["limit"], 9);

    let plugin = &left.manifest["plugins"][0];
    assert_eq!((&plugin["id"], &plugin["version"]), (&json!("acme"), &json!("0.1.0")));
    assert_eq!(plugin["isolation"], "worker");
    let sums = "sha256sum acme.plugin.toml acme.py acme.schema.json host_plugin.py | sha256sum";
    let mut command = Command::new("sh");
    let output = command.args(["-c", sums]).current_dir(sandbox.path("plugins")).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap();
    assert_eq!(plugin["sha256"].as_str(), digest.split_whitespace().next());
}

/// The first block of this language in a page, after this text.
fn block<'a>(page: &'a str, after: &str, language: &str) -> &'a str {
    let (_, rest) = page.split_once(after).unwrap();
    let (_, rest) = rest.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn what_the_guide_and_the_readme_show_is_run() {
    if !python::is_there() {
        return;
    }
    let read = |name: &str| fs::read_to_string(built::root().join(name)).unwrap();
    let (readme, guide) = (read("README.md"), read("plugin-api/docs/script.md"));
    let description = block(&guide, "## The description", "toml");
    for script in
        [block(&readme, "### As a script", "python"), block(&guide, "## In Python", "python")]
    {
        let server = Scripted::start(|asked| {
            let answer = json!({ "text": body(asked)["prompt"], "ended_by": "stop" });
            reply(200, "", &answer.to_string())
        });
        let sandbox = sandbox(&["acme.schema.json"], &echoes(2));
        sandbox.write("plugins/acme.py", script);
        sandbox.write("plugins/acme.plugin.toml", description);
        assert!(script.lines().count() < 30);
        let left = sandbox.run_with(&format!("{}{ECHO}", acme(&server)), &KEY).exits(0).left();
        assert_close(left.metric("exact_match"), 1.0);
        assert!(server.asked()[0].headers.contains("authorization: Bearer acme-key-1234\n"));
    }
}

#[test]
fn a_script_says_why_it_fails() {
    if !python::is_there() {
        return;
    }
    let data = (0..4).map(|i| format!("{{\"says\": \"{i}\", \"target\": \"x\"}}\n"));
    let server = Scripted::start(|asked| match body(asked)["prompt"].as_str() {
        Some("0") => reply(402, "", "pay first"),
        Some("1") => reply(429, "retry-after: 7\r\n", "slow down"),
        Some("2") => reply(200, "", "<html>"),
        _ => reply(200, "", "{}"),
    });
    let sandbox = sandbox(&ACME, &data.collect::<String>());
    let text = format!("run.concurrency = 1\n{}{ECHO}", acme(&server));
    let left = sandbox.run_with(&text, &KEY).exits(3).left();
    let mut found: Vec<_> = left.journal.iter().map(|line| &line["error"]).collect();
    found.sort_by_key(|error| error["kind"].as_str());
    let told: Vec<_> = found
        .iter()
        .map(|error| (error["kind"].as_str().unwrap(), error["message"].as_str().unwrap()))
        .collect();
    assert_eq!(told[0], ("rate_limited", "the server asks for fewer requests"));
    assert_eq!(told[1], ("unauthorized", "the account is empty"));
    assert_eq!((told[2].0, &found[2]["excerpt"]), ("unexpected_reply", &json!("<html>")));
    assert_eq!(told[3], ("unexpected_reply", "no completion: KeyError('text')"));
}

#[test]
fn a_script_scores_continuations_all_at_once() {
    if !python::is_there() {
        return;
    }
    let server = Scripted::start(|asked| {
        let pair = body(asked);
        let [context, text] = [&pair[0], &pair[1]].map(|part| part.as_str().unwrap().trim());
        let (_, options, right) = QUESTIONS.iter().find(|one| one.0 == context).unwrap();
        let is_right = options[*right] == text;
        reply(200, "", if is_right { "-1.0" } else { "-2.5" })
    });
    let sandbox = sandbox(&ACME, CHOICE_DATA);
    let left = sandbox.run_with(&format!("{}{CHOICE}", acme(&server)), &KEY).exits(0).left();
    assert_close(left.metric("acc"), 1.0);
    assert_eq!((left.counts(), server.asked().len()), ([3, 3, 0], 6));
}

#[test]
fn a_script_passes_a_stream_on() {
    if !python::is_there() {
        return;
    }
    let server = Scripted::start(|asked| {
        let prompt = body(asked)["prompt"].as_str().unwrap().to_owned();
        let (first, rest) = prompt.split_once(' ').unwrap();
        let events = format!(": hello\n\ndata: {first}\n\ndata:  {rest}\r\n\r\n");
        reply(200, "content-type: text/event-stream\r\n", &events)
    });
    let sandbox = sandbox(&ACME, "{\"says\": \"fünf Wörter\", \"target\": \"fünf Wörter\"}\n");
    let text = format!("{}stream = true\n{ECHO}", acme(&server));
    let left = sandbox.run_with(&text, &KEY).exits(0).left();
    assert_close(left.metric("exact_match"), 1.0);
    assert!(left.journal[0]["timing_ms"]["first_text"].is_number());
    assert_eq!(server.asked()[0].line, "POST /stream");

    let server = Scripted::start(|_| reply(503, "", "later"));
    let text = format!("{}stream = true\n{ECHO}", acme(&server));
    let left = sandbox.run_with(&text, &KEY).exits(3).left();
    assert_eq!(left.journal[0]["error"]["kind"], "overloaded");
    assert_eq!(left.journal[0]["error"]["excerpt"], "later");
}

#[test]
fn a_script_reaches_no_origin_that_is_not_granted_and_sends_no_key_there() {
    if !python::is_there() {
        return;
    }
    let left = run(&format!("run.max_retries = 0\n{}", trial("forbidden")), 1).exits(3).left();
    assert_eq!(left.reasons(), ["forbidden_origin"]);
    let server = Scripted::start(|_| reply(200, "", "{}"));
    let sandbox = sandbox(&ACME, &echoes(1));
    let ungranted = acme(&server).replace("secrets = [\"api_key\"]\n", "");
    let outcome = sandbox.run_with(&format!("{ungranted}{ECHO}"), &KEY);
    assert_ne!(outcome.code, Some(0));
    assert!(server.asked().is_empty());
}

/// What is the end of a script, and what is said of it.
const DEATHS: [(&str, &str); 4] = [
    ("exit", "its worker ended with exit status 3"),
    ("kill", "its worker ended with signal 9 (SIGKILL)"),
    ("abort", "its worker ended with signal 6 (SIGABRT)"),
    (
        "garbage",
        "its worker sent what is no message (a head of 1835081801 bytes, and 16777216 is the most; it begins with \
         `I am no frame, I am a text.",
    ),
];

/// What is one sample's end alone, and what is said of it.
const FAULTS: [(&str, &str); 10] = [
    (
        "no_number",
        "TypeError: `TokenLogprob.logprob` must be a number, and is True (host_plugin.py:",
    ),
    (
        "half_a_token",
        "TypeError: `Usage.prompt_tokens` must be a whole number from 0 to 18446744073709551615, and is 12.5 (host_plugin.py:",
    ),
    (
        "no_reason",
        "TypeError: `Completion.finish_reason` must be str, and is NoneType (host_plugin.py:",
    ),
    ("no_text", "TypeError: `Completion.text` must be str, and is NoneType (host_plugin.py:"),
    (
        "wrong_choices",
        "TypeError: `Completion.choices` must be list of Choice, and holds dict (host_plugin.py:",
    ),
    (
        "late",
        "TypeError: `PluginError.retry_after_ms` must be a whole number from 0 to 18446744073709551615, and is 'soon' (host_plugin.py:",
    ),
    ("raise_error", "ValueError: a fault of mine (trial.py:"),
    (
        "no_answer",
        "TypeError: `generate` must return Completion, and returned NoneType (host_plugin.py:",
    ),
    ("asyncio", "TypeError: only what `io` gives can be awaited here, and not 'a future' (asyncio"),
    ("eat_memory", "MemoryError: "),
];

#[test]
fn whatever_a_script_dies_of_is_told_and_the_others_go_on() {
    if !python::is_there() {
        return;
    }
    let mut text = "run.max_retries = 0\nrun.max_unscored = 1.0\nrun.concurrency = 1\n".to_owned();
    for (mode, _) in DEATHS.iter().chain(&FAULTS) {
        text.push_str(&trial(mode));
    }
    text.push_str(&trial("echo"));
    let left = run(&text, 2).exits(0).left();
    for (mode, expected) in DEATHS {
        let whole = format!("plugin `trial` 0.1.0: {expected}");
        let found = said(&left, mode);
        assert!(found.iter().all(|text| text.starts_with(&whole)), "{mode}: {found:?}");
        assert_eq!(found.len(), 2, "{mode}");
        let lines: Vec<_> = left.journal.iter().filter(|line| line["backend"] == mode).collect();
        assert!(lines.iter().all(|line| line["status"]["unscored"] == "crashed"), "{lines:?}");
    }
    for (mode, expected) in FAULTS {
        let found = said(&left, mode);
        assert!(found.iter().all(|text| text.starts_with(expected)), "{mode}: {found:?}");
        assert_eq!(found.len(), 2, "{mode}");
        let lines: Vec<_> = left.journal.iter().filter(|line| line["backend"] == mode).collect();
        assert!(lines.iter().all(|line| line["status"]["unscored"] == "panic"), "{lines:?}");
    }
    assert_eq!(counts(left.of_backend("echo")), [2, 2, 0]);
}

#[test]
fn what_a_script_says_a_little_wrong_is_what_it_means() {
    if !python::is_there() {
        return;
    }
    let mut text = "run.max_retries = 0\nrun.max_unscored = 1.0\n".to_owned();
    for mode in ["whole_floats", "limited", "half_a_character"] {
        text.push_str(&trial(mode));
    }
    let left = run(&text, 1).exits(0).left();
    let line = |mode: &str| left.journal.iter().find(|line| line["backend"] == mode).unwrap();
    assert_eq!(counts(left.of_backend("whole_floats")), [1, 1, 0]);
    assert_eq!(line("limited")["status"]["unscored"], "rate_limited");
    assert_eq!(line("limited")["error"]["http_status"], 429);
    assert_eq!(line("half_a_character")["status"]["unscored"], "unexpected_reply");
    assert_eq!(
        said(&left, "half_a_character"),
        [r"`Completion.text` is no text: it holds the lone surrogate '\ud83d' at character 13"]
    );
}

#[test]
fn a_script_that_does_not_open_is_told_in_its_own_words() {
    if !python::is_there() {
        return;
    }
    for (mode, expected) in [
        ("refuse", "does not open: not today"),
        ("broken", "KeyError: 'nothing' (trial.py:"),
        ("die_at_open", "its worker ended with exit status 7"),
    ] {
        let _ = run(&trial(mode), 1).exits(5).says(&["backend `", expected]);
    }
}

#[test]
fn a_script_that_is_stuck_is_ended_and_another_one_goes_on() {
    if !python::is_there() {
        return;
    }
    let text = "run.max_retries = 0\nrun.max_unscored = 1.0\nrun.concurrency = 1\nrun.attempt_timeout = \"2s\"\n";
    let left = run(&format!("{text}{}", trial("hang")), 2).exits(0).left();
    assert_eq!(left.reasons(), ["timeout", "crashed"]);
    let expected =
        "plugin `trial` 0.1.0: its worker was stuck in a step for more than 1s and was ended";
    assert_eq!(said(&left, "hang")[1], expected);
}

#[test]
fn a_script_that_dies_three_times_in_a_minute_is_given_up() {
    if !python::is_there() {
        return;
    }
    let text =
        format!("run.max_retries = 10\nrun.concurrency = 1\n{}{}", trial("kill"), trial("echo"));
    let outcome = run(&text, 5).exits(5).says(&[
        "backend `kill`: plugin `trial` 0.1.0: its worker ended with signal 9 (SIGKILL); it died 3 times within a \
         minute and is not started again",
    ]);
    assert_eq!(counts(outcome.left().of_backend("echo")), [5, 5, 0]);
}

#[test]
fn what_a_script_prints_is_shown_and_comes_between_no_frames() {
    if !python::is_there() {
        return;
    }
    let outcome = run(&trial("print"), 1).exits(0).says(&[
        "plugin `trial` 0.1.0 writes: trial to stdout",
        "plugin `trial` 0.1.0 writes: trial to stderr",
        "plugin `trial` 0.1.0 writes: trial to the descriptor",
    ]);
    assert!(!outcome.stdout.contains("trial to"), "{}", outcome.stdout);
    assert_close(outcome.left().metric("exact_match"), 1.0);
}

#[test]
fn a_script_may_not_reach_what_it_does_not_need() {
    if !python::is_there() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let denied = "permission denied";
    // What stands in the way of each, as the manifest names it, and what comes of it.
    let modes = [
        ("connect", "seccomp", "operation not permitted"),
        ("fork", "seccomp", "operation not permitted"),
        ("start_program", "seccomp", "operation not permitted"),
        ("signal", "seccomp", "operation not permitted"),
        ("read_file", "landlock", denied),
        ("write_file", "landlock", denied),
        ("write_own", "landlock", denied),
        ("read_neighbour", "", "no such file or directory"),
        ("environment", "", "PATH"),
    ];
    let mut text = "run.max_unscored = 1.0\n".to_owned();
    for (mode, _, _) in modes {
        text.push_str(&format!("{}config.port = {port}\n", trial(mode)));
    }
    let sandbox = with_trial(&echoes(1));
    sandbox.write("plugins/unnamed.txt", "Not named by the plugin.");
    let key = [("TRIAL_API_KEY", "sk-very-secret"), ("PYTHONPATH", "/nowhere")];
    let left = sandbox.run_with(&format!("{text}{ECHO}"), &key).exits(0).left();
    let by = left.manifest["plugins"][0]["sandbox"].as_array().unwrap();
    assert!(by.contains(&json!("no_new_privs")) && by.contains(&json!("limits")), "{by:?}");
    for (mode, means, expected) in modes {
        if means.is_empty() || by.contains(&json!(means)) {
            assert_eq!(said(&left, mode), [expected], "{mode}");
        }
    }
}

#[test]
fn a_script_serves_many_sessions_at_once() {
    if !python::is_there() {
        return;
    }
    let waits =
        format!("run.concurrency = 60\n{}config.count = 60\nconcurrency = 60\n", trial("wait"));
    let left = run(&format!("{waits}{}", trial("thread")), 60).exits(0).left();
    for backend in ["wait", "thread"] {
        assert_eq!(counts(left.of_backend(backend)), [60, 60, 0]);
        assert_eq!(left.of_backend(backend)["metrics"]["exact_match"]["value"], 1.0);
    }
}

#[test]
fn the_frames_need_no_helper() {
    if !python::is_there() {
        return;
    }
    let sandbox = with_raw(str::to_owned, &echoes(50));
    let left = sandbox.run(&format!("[[backend]]\nplugin = \"raw\"\n{ECHO}")).exits(0).left();
    assert_eq!(left.counts(), [50, 50, 0]);
    assert_close(left.metric("exact_match"), 1.0);
}

/// A sandbox with the example that speaks the frames by itself, changed.
fn with_raw(change: impl FnOnce(&str) -> String, data: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", data);
    let raw = fs::read_to_string(built::root().join("plugin-api/examples/raw.py")).unwrap();
    let path = sandbox.write("plugins/raw.py", change(&raw));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.write("plugins/raw.plugin.toml", RAW);
    sandbox
}

#[test]
fn what_a_script_does_unasked_ends_it() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    // It parks, and answers though nobody has stepped it.
    let parks = ANSWERS.replace("action,", "{\"park\": {}},").replace(", text)", ")");
    let sandbox = changed_raw(ANSWERS, &format!("{parks}{ANSWERS}"), 1);
    let text = format!("run.max_retries = 0\n[[backend]]\nplugin = \"raw\"\n{ECHO}");
    let _ = sandbox.run(&text).exits(5).says(&[
        "its worker sent what is no message (a session did something without a step), and was ended",
    ]);
}

#[test]
fn a_script_that_dies_when_it_is_closed_is_told_and_the_answers_stay() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    for (lines, how) in [
        (CLOSED, None),
        // It need not answer, if it ends with what it reads.
        ("        pass\n", None),
        (
            "        sys.exit(5)\n",
            Some("its worker ended with exit status 5 while its backend was closed"),
        ),
        (
            "        os.abort()\n",
            Some("its worker ended with signal 6 (SIGABRT) while its backend was closed"),
        ),
        // It neither answers nor ends.
        ("        time.sleep(1000)\n", Some("its backend is not closed within 2s")),
    ] {
        let sandbox = changed_raw(CLOSED, lines, 2);
        let outcome = sandbox.run(&format!("[[backend]]\nplugin = \"raw\"\n{ECHO}")).exits(0);
        assert_eq!(outcome.left().counts(), [2, 2, 0]);
        let expected: Vec<String> = how
            .iter()
            .map(|how| format!("warning: backend `raw`: plugin `raw` 1.0: {how}"))
            .collect();
        let warnings: Vec<&str> =
            outcome.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings, expected, "{}", outcome.stderr);
    }
}

#[test]
fn a_script_that_dies_when_no_sample_waits_for_it_is_told_and_the_answers_stay() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let prepares = "    if kind in (\"prepare\", \"release\"):\n";
    let aborts = format!("    if kind == \"release\":\n        os.abort()\n{prepares}");
    let leaves =
        format!("{ANSWERS}        if text.endswith(b\"word 1\"):\n            sys.exit(3)\n");
    for (place, lines, how) in
        [(prepares, aborts, "signal 6 (SIGABRT)"), (ANSWERS, leaves, "exit status 3")]
    {
        let sandbox = changed_raw(place, &lines, 2);
        let text = format!("run.concurrency = 1\n[[backend]]\nplugin = \"raw\"\n{ECHO}");
        let outcome = sandbox.run(&text).exits(0);
        let left = outcome.left();
        assert_eq!(left.counts(), [2, 2, 0]);
        let message = format!("plugin `raw` 1.0: its worker ended with {how}");
        let warnings: Vec<&str> =
            outcome.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings, [format!("warning: backend `raw`: {message}")], "{}", outcome.stderr);
        let told = left.events.iter().filter(|event| event["event"] == "warning");
        assert_eq!(told.map(|event| &event["message"]).collect::<Vec<_>>(), [&message]);
    }
}

/// Where the example answers a step.
const ANSWERS: &str = "        write({\"did\": {\"session\": session, \"action\": action, \"stepped\": \"ok\"}}, text)\n";
/// Where it answers that it is closed.
const CLOSED: &str = "        write({\"closed\": {\"threads\": 0}})\n";

/// The example with these lines in the place of others.
fn changed_raw(place: &str, lines: &str, samples: usize) -> Sandbox {
    let change = |raw: &str| {
        assert_eq!(raw.matches(place).count(), 1);
        raw.replace("import sys\n", "import os\nimport sys\nimport time\n").replace(place, lines)
    };
    with_raw(change, &echoes(samples))
}

/// The example that takes so many seconds to answer and leaves out the first sample, whose step goes on and on.
fn leaving_one_out(pause: &str, samples: usize) -> Sandbox {
    let pause = format!("        time.sleep({pause})\n");
    let leave = "        if text.endswith(b\"word 0\"):\n            continue\n";
    changed_raw(ANSWERS, &format!("{leave}{pause}{ANSWERS}"), samples)
}

const LEAVES_OUT: &str = "run.max_retries = 0\nrun.max_unscored = 1.0\nrun.concurrency = 2\n\
                          [[backend]]\nplugin = \"raw\"\n";

#[test]
fn a_step_that_is_left_out_ends_the_script_though_others_are_answered() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let sandbox = leaving_one_out("0", 4);
    let left = sandbox.run(&format!("{LEAVES_OUT}{ECHO}")).exits(0).left();
    assert_eq!(left.counts(), [4, 3, 1]);
    assert_eq!(left.reasons(), ["crashed", "", "", ""]);
    let message = left.journal[0]["error"]["message"].as_str().unwrap();
    let expected = "plugin `raw` 1.0: its worker left a step without an answer for more than 10s, though it answered \
                    later ones, and was ended";
    assert_eq!(message, expected);
}

#[test]
fn a_step_that_goes_on_after_its_sample_ends_the_script_though_others_are_answered() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let sandbox = leaving_one_out("0.3", 20);
    let text = format!("run.attempt_timeout = \"3s\"\n{LEAVES_OUT}{ECHO}");
    let left = sandbox.run(&text).exits(0).left();
    // The first sample's own time was over before its step was given up, and with it went what was asked then.
    assert_eq!(left.reasons()[0], "timeout");
    let crashed = left.journal.iter().filter(|line| line["status"]["unscored"] == "crashed");
    let messages: Vec<_> = crashed.map(|line| line["error"]["message"].as_str().unwrap()).collect();
    let expected = "plugin `raw` 1.0: its worker left a step without an answer for more than 1s, though it answered \
                    later ones, and was ended";
    // Others may be late, too, where much goes on beside this.
    assert!(!messages.is_empty() && messages.iter().all(|it| *it == expected), "{messages:?}");
}

fn command_line(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default()
}

/// Waits until the host has become, or started, its script.
fn script_of(host: &Child) -> Vec<u32> {
    until("the script runs", || {
        let children = children(host.id());
        let are_scripts = children.iter().any(|child| command_line(*child).contains("trial.py"));
        are_scripts.then_some(children)
    })
}

#[test]
fn no_script_outlives_a_host_that_is_killed() {
    if !python::is_there() {
        return;
    }
    let sandbox = with_trial(&echoes(2));
    let text = format!("{}{ECHO}", trial("wait_for_ever"));
    let mut host = sandbox.spawn(sandbox.run_command(&text, &[]));
    let scripts = script_of(&host);
    host.kill().unwrap();
    host.wait().unwrap();
    // The command line of one that has ended is empty.
    until("no script is left", || {
        scripts.iter().all(|script| command_line(*script).is_empty()).then_some(())
    });
}

#[test]
fn the_copy_that_a_killed_host_leaves_is_removed_by_the_next_and_no_living_ones() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let sandbox = with_trial(&echoes(2));
    fs::create_dir(sandbox.path("temporary")).unwrap();
    let command = |mode: &str| {
        let mut command = sandbox.run_command(&format!("{}{ECHO}", trial(mode)), &[]);
        command.env("TMPDIR", sandbox.path("temporary"));
        command
    };
    let copies = || -> Vec<PathBuf> {
        let entries = fs::read_dir(sandbox.path("temporary")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut living = sandbox.spawn(command("wait_for_ever"));
    let _ = script_of(&living);
    let its = copies();
    let mut killed = sandbox.spawn(command("wait_for_ever"));
    let _ = script_of(&killed);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(copies().len(), 2);

    let _ = sandbox.finish(command("echo")).exits(0);
    assert_eq!(copies(), its);
    assert!(its[0].join("trial.py").is_file());
    living.kill().unwrap();
    living.wait().unwrap();
}

#[test]
fn a_script_that_is_edited_during_a_run_does_not_disturb_it() {
    if !python::is_there() {
        return;
    }
    let sandbox = with_trial(&echoes(25));
    // Its first process dies after fifteen samples; the next one is started from the bytes of the beginning.
    let text = format!(
        "run.max_retries = 3\nrun.concurrency = 1\nrun.sync = \"every\"\n{}config.after = 15\n{ECHO}",
        trial("exit")
    );
    fs::create_dir(sandbox.path("temporary")).unwrap();
    let mut command = sandbox.run_command(&text, &[]);
    command.env("TMPDIR", sandbox.path("temporary"));
    let host = sandbox.spawn(command);
    let _ = script_of(&host);
    let copies = || fs::read_dir(sandbox.path("temporary")).unwrap().count();
    assert_eq!(copies(), 1);
    sandbox.write("plugins/trial.py", "raise SystemExit('edited')\n");
    sandbox.write("plugins/host_plugin.py", "raise SystemExit('edited')\n");
    let left = sandbox.wait(host).exits(0).left();
    let retried = left.journal.iter().filter(|line| line["attempts"] == 2).count();
    assert_eq!(retried, 1, "another process was started");
    assert_eq!(left.counts(), [25, 25, 0]);
    // The copy that it ran from is gone with the run.
    assert_eq!(copies(), 0);

    let again = sandbox.run(&text).exits(5);
    let _ = again.says(&["edited"]);
}

#[test]
fn a_changed_file_of_a_script_is_told_when_a_run_is_taken_up_again() {
    if !python::is_there() {
        return;
    }
    let sandbox = with_trial(&echoes(2));
    let text = format!("run.max_retries = 0\n{}{ECHO}", trial("raise_error"));
    let run = sandbox.run(&text).exits(3).folders().remove(0);
    let helper = fs::read_to_string(sandbox.path("plugins/host_plugin.py")).unwrap();
    sandbox.write("plugins/host_plugin.py", format!("{helper}# changed\n"));
    let mut command = sandbox.host(["resume", "--plugin-dir", "plugins"]);
    command.arg(run);
    let outcome = sandbox.finish(command);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("trial"), "{}", outcome.stderr);
}

#[test]
fn a_script_runs_in_no_process_but_its_own() {
    let sandbox = with_trial(&echoes(1));
    let text = format!("{}isolation = \"in-process\"\n{ECHO}", trial("echo"));
    let _ = sandbox.run(&text).exits(2).says(&[
        "backend `echo`: isolation = \"in-process\" cannot be had: plugin `trial` is a script",
        "leave `isolation` out",
    ]);
}

/// What is done to a plugin's files.
type Change<'a> = &'a dyn Fn(&Sandbox);

#[test]
fn a_script_that_somebody_else_may_change_or_that_is_not_whole_is_refused() {
    let refusal = |change: &dyn Fn(&Sandbox)| {
        let sandbox = with_trial(&echoes(1));
        change(&sandbox);
        let list = sandbox.host(["plugin", "list", "--plugin-dir", "plugins"]);
        sandbox.finish(list).exits(0).stderr
    };
    let mode = |sandbox: &Sandbox, name: &str, mode: u32| {
        let path = sandbox.path("plugins").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let edit = |sandbox: &Sandbox, from: &str, to: &str| {
        sandbox.write("plugins/trial.plugin.toml", TRIAL.replace(from, to));
    };
    let cases: [(Change<'_>, &str); 9] = [
        (&|one| mode(one, "trial.py", 0o666), "trial.py: it is writable by everybody"),
        (&|one| mode(one, "host_plugin.py", 0o666), "host_plugin.py: it is writable by everybody"),
        (&|one| mode(one, "trial.plugin.toml", 0o666), "it is writable by everybody"),
        (&|one| mode(one, "", 0o777), "plugins is writable by everybody"),
        (
            &|one| {
                one.write("plugins/lib/part.py", "");
                mode(one, "lib", 0o777);
                edit(one, "\"host_plugin.py\"", "\"host_plugin.py\", \"lib/part.py\"");
            },
            "lib/part.py: the folder",
        ),
        (
            &|one| {
                one.write("outside.py", "");
                fs::remove_file(one.path("plugins/trial.py")).unwrap();
                symlink(one.path("outside.py"), one.path("plugins/trial.py")).unwrap();
            },
            "trial.py: a link that leads out of its folder",
        ),
        (
            &|one| fs::remove_file(one.path("plugins/trial.py")).unwrap(),
            "trial.py: cannot read it: No such file",
        ),
        (
            &|one| edit(one, "files", "fiels"),
            "line 7: fiels: unknown field `fiels`, expected one of",
        ),
        (
            &|one| {
                one.write("plugins/twin.plugin.toml", TRIAL);
            },
            "has the id `trial`",
        ),
    ];
    for (change, expected) in cases {
        let said = refusal(change);
        let line = said.lines().find(|line| line.contains("not used: "));
        assert!(line.is_some_and(|line| line.contains(expected)), "{expected}:\n{said}");
    }
    let sandbox = with_trial(&echoes(1));
    edit(&sandbox, "\"python3\"", "\"nopython\"");
    let outcome = sandbox.run(&format!("{}{ECHO}", trial("echo"))).exits(5);
    let _ = outcome.says(&["there is no program `nopython` in PATH"]);
}

#[test]
fn a_script_that_the_helper_serves_keeps_the_contract() {
    if !python::is_there() {
        return;
    }
    let sandbox = with_trial("");
    let command = sandbox.host(["plugin", "check", "plugins/trial.plugin.toml"]);
    let outcome = sandbox.finish(command).exits(0);
    for check in ["loads", "bad configuration", "malformed events", "early ends", "many at once"] {
        let line = outcome.stdout.lines().find(|line| line.contains(check));
        assert!(line.is_some_and(|line| line.trim().starts_with("ok ")), "{}", outcome.stdout);
    }
}

#[test]
fn the_example_scripts_keep_the_contract() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let server = Scripted::start(|asked| {
        let answer = json!({ "text": "yes", "ended_by": "stop", "tokens": [3, 4] });
        match asked.line.as_str() {
            "POST /complete" => reply(200, "", &answer.to_string()),
            "POST /stream" => reply(200, "content-type: text/event-stream\r\n", "data: yes\n\n"),
            _ => reply(200, "", "-1.5"),
        }
    });
    let sandbox = sandbox(&ACME, "");
    let set = format!("base_url={}", server.url());
    let mut command = sandbox.host(["plugin", "check", "plugins/acme.plugin.toml", "--set", &set]);
    command.args(["--set", "secrets=[\"api_key\"]"]).envs(KEY);
    let outcome = sandbox.finish(command).exits(0);
    assert!(outcome.stdout.contains(" 0 failed, 0 skipped"), "{}", outcome.stdout);

    let sandbox = with_raw(str::to_owned, "");
    let command = sandbox.host(["plugin", "check", "plugins/raw.plugin.toml"]);
    let outcome = sandbox.finish(command).exits(0);
    assert!(outcome.stdout.contains(" 0 failed"), "{}", outcome.stdout);
}

#[test]
fn why_a_script_does_not_begin_is_told_by_the_check() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let check = |sandbox: &Sandbox| {
        let command = sandbox.host(["plugin", "check", "plugins/raw.plugin.toml"]);
        sandbox.finish(command).exits(5).stdout
    };
    let has_line = |stdout: &str, check: &str, words: &str| {
        let mut lines = stdout.lines().filter(|line| line.trim().starts_with("FAILED"));
        let line = lines.find(|line| line.contains(check));
        assert!(line.is_some_and(|line| line.contains(words)), "{words}:\n{stdout}");
    };
    let long = "for line in range(30):\n    print(line, file=sys.stderr)\n";
    for (before, writes) in [("", "writes"), (long, "writes at last")] {
        let broken = format!("import sys\n{before}import nowhere\n");
        let sandbox = with_raw(|raw| raw.replace("import sys\n", &broken), "");
        let words = format!(
            "its worker ended with exit status 1; plugin `raw` 1.0 {writes}: ModuleNotFoundError: No module named \
             'nowhere'"
        );
        has_line(&check(&sandbox), "opens", &words);
    }

    let sandbox = with_raw(str::to_owned, "");
    fs::set_permissions(sandbox.path("plugins/raw.py"), fs::Permissions::from_mode(0o644)).unwrap();
    let words = "command: raw.py is no program that may be run; make it executable (chmod +x)";
    has_line(&check(&sandbox), "loads", words);

    let sandbox = with_raw(str::to_owned, "");
    sandbox.write("plugins/raw.plugin.toml", RAW.replace("./raw.py", "nopython"));
    has_line(&check(&sandbox), "loads", "command: there is no program `nopython` in PATH");
}

#[test]
fn a_script_says_what_it_is_without_being_run() {
    let sandbox = with_trial("");
    let path = "plugins/trial.plugin.toml";
    let table = sandbox.finish(sandbox.host(["plugin", "inspect", path])).exits(0);
    for text in ["trial", "python3 {folder}/trial.py", "host_plugin.py", "generate", "mode"] {
        assert!(table.stdout.contains(text), "no {text}:\n{}", table.stdout);
    }
    let json = sandbox.finish(sandbox.host(["plugin", "inspect", "--json", path])).exits(0);
    let record: Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(record["manifest"]["plugin"]["id"], "trial");
    assert_eq!(record["files"], json!(["host_plugin.py", "trial.py"]));
    sandbox.write(path, TRIAL.replace("kind = \"script\"\n", ""));
    let _ = sandbox
        .finish(sandbox.host(["plugin", "inspect", path]))
        .exits(5)
        .says(&["missing field `kind`"]);
}
