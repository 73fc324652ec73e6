//! `host plugin check`: what ships keeps the contract, and what breaks it is told.

use host_tests::{
    built,
    sandbox::{Outcome, Sandbox},
    scripted::{Scripted, reply},
};
use serde_json::Value;

use super::hostile;

/// What a plugin is opened with.
const SHIPPED: [(&str, &[&str]); 7] = [
    ("tgi", &["--set", "base_url=mock:tgi"]),
    ("sglang", &["--set", "base_url=mock:sglang"]),
    ("huggingface", &["--set", "base_url=mock:huggingface", "--set", "model=acme/model-7b"]),
    (
        "litellm",
        &[
            "--set",
            "base_url=mock:openai",
            "--set",
            "config.provider=openai",
            "--set",
            "model=gpt-4o",
        ],
    ),
    (
        "litellm",
        &[
            "--set",
            "base_url=mock:anthropic",
            "--set",
            "config.provider=anthropic",
            "--set",
            "model=claude-sonnet-4-5",
        ],
    ),
    (
        "litellm",
        &[
            "--set",
            "base_url=mock:gemini",
            "--set",
            "config.provider=gemini",
            "--set",
            "model=gemini-2.5-flash",
        ],
    ),
    ("custom", &["--with", "config/ollama.toml"]),
];

fn check(sandbox: &Sandbox, file: &str, arguments: &[&str]) -> Outcome {
    let mut all = vec!["plugin", "check", file];
    all.extend_from_slice(arguments);
    sandbox.finish(sandbox.host(&all))
}

/// The findings of a check that was told as JSON, by their names.
fn findings(outcome: &Outcome) -> Vec<(String, String, String)> {
    let records = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records
        .filter(|record| record["event"] == "plugin_finding")
        .map(|record| {
            let word = |key: &str| record["finding"][key].as_str().unwrap().to_owned();
            (word("check"), word("verdict"), word("detail"))
        })
        .collect()
}

#[test]
fn every_plugin_that_ships_keeps_the_contract() {
    let sandbox = Sandbox::new();
    for (plugin, arguments) in SHIPPED {
        let file = built::installed().join(format!("lib{plugin}.so")).display().to_string();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| match argument.strip_prefix("config/") {
                Some(_) => built::root().join(argument).display().to_string(),
                None => (*argument).to_owned(),
            })
            .collect();
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.extend(["--strict", "--json"]);
        let outcome = check(&sandbox, &file, &arguments).exits(0);
        let findings = findings(&outcome);
        let open: Vec<_> = findings.iter().filter(|(_, verdict, _)| verdict != "passed").collect();
        assert!(open.iter().all(|(check, _, _)| check == "batches"), "{plugin}: {open:?}");
        assert!(findings.len() > 20, "{plugin}: {findings:?}");
    }
}

#[test]
fn the_guides_example_keeps_the_contract() {
    let sandbox = Sandbox::new();
    sandbox.install(built::acme(), "plugins");
    let server = Scripted::start(|_| {
        reply(200, "", r#"{"text": "yes", "ended_by": "stop", "tokens": [3, 4]}"#)
    });
    let set = format!("base_url={}", server.url());
    let grant = "secrets=[\"api_key\"]";
    let mut command = sandbox.host(["plugin", "check", "plugins", "--set", &set, "--set", grant]);
    command.env("ACME_API_KEY", "acme-key-1234");
    let outcome = sandbox.finish(command).exits(0);
    assert!(outcome.stdout.contains(" 0 failed"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("acme 0.1.0 (plugins/libacme.so)"), "{}", outcome.stdout);
}

/// What a plugin does, which check finds it, and in which words.
const BREACHES: [(&str, &str, &str); 18] = [
    ("panic_open", "opens", "panic_open"),
    ("panic_first_poll", "capabilities", "generate: it panics: "),
    ("panic_later_poll", "capabilities", "generate: it panics: "),
    ("never_ready", "capabilities", "generate: a session waits for nothing and has not answered"),
    ("answer_twice", "capabilities", "generate: the item 0 was answered twice"),
    ("unknown_item", "capabilities", "generate: the item 4000000000 does not exist"),
    ("bad_action", "capabilities", "generate: an action cannot be read"),
    ("call_twice", "capabilities", "generate: the call number 9 is used twice"),
    ("again_forever", "capabilities", "generate: it comes to no end in 10000 steps"),
    ("exit", "capabilities", "its worker ended with exit status 0"),
    ("forbidden_url", "requests", "forbidden origin: https://forbidden.invalid"),
    ("wrong_secret_slot", "requests", "the slot `no_such_slot` is not declared"),
    ("header_injection", "requests", "the header x-a has a value that no header can carry"),
    ("print", "output", "it writes to stdout or stderr, which are the host's: "),
    ("burn", "short steps", "generate: a step takes "),
    (
        "abort_close",
        "closes",
        "its worker ended with signal 6 (SIGABRT) while its backend was closed",
    ),
    ("exit_close", "closes", "its worker ended with exit status 0 while its backend was closed"),
    ("leave_thread", "closes", "threads go on after its backend is closed"),
];

#[test]
fn what_breaks_the_contract_is_told() {
    let sandbox = Sandbox::with_hostile();
    let server = Scripted::start(|_| reply(200, "", "yes"));
    for (mode, check_name, words) in BREACHES {
        let url = format!("base_url={}", server.url());
        let mode_set = format!("config.mode={mode}");
        let arguments =
            ["--set", &url, "--set", &mode_set, "--set", "config.bytes=30000", "--json"];
        let outcome = check(&sandbox, "plugins/libhostile.so", &arguments).exits(5);
        let findings = findings(&outcome);
        let found = findings.iter().find(|(check, _, _)| check == check_name);
        let Some((_, verdict, detail)) = found else { panic!("{mode}: {findings:?}") };
        assert_eq!(verdict, "failed", "{mode}: {detail}");
        assert!(detail.contains(words), "{mode}: {detail}");
    }
}

#[test]
fn what_no_server_answers_is_not_said_to_be_shown() {
    let sandbox = Sandbox::with_hostile();
    sandbox.install(built::acme(), "plugins");
    let of = |outcome: &Outcome, name: &str| {
        let found = findings(outcome).into_iter().find(|(check, _, _)| check == name);
        let (_, verdict, detail) = found.unwrap();
        (verdict, detail)
    };
    // Nobody is there, and the plugin knows it.
    let outcome =
        check(&sandbox, "plugins/libacme.so", &["--set", "base_url=http://127.0.0.1:9", "--json"]);
    let outcome = outcome.exits(5);
    let (verdict, detail) = of(&outcome, "answers");
    assert_eq!(verdict, "skipped", "{detail}");
    assert!(detail.starts_with("not shown: generate; shown: none"), "{detail}");
    // It computes: what it does not answer it cannot.
    let set = |mode| format!("config.mode={mode}");
    let good =
        check(&sandbox, "plugins/libhostile.so", &["--set", &set("stream"), "--json"]).exits(0);
    let shown = "generate, chat, stream, loglikelihood, loglikelihood_rolling, health";
    assert_eq!(of(&good, "answers"), ("passed".to_owned(), shown.to_owned()));
    let bad = check(&sandbox, "plugins/libhostile.so", &["--set", &set("fail"), "--json"]).exits(5);
    let (verdict, detail) = of(&bad, "capabilities");
    assert_eq!(verdict, "failed", "{detail}");
    assert!(detail.contains("generate is declared, and fails: "), "{detail}");
    assert_eq!(of(&bad, "answers").0, "skipped");
    // Without a server some of it can be shown, and the rest is named.
    let some = check(&sandbox, "plugins/libhostile.so", &["--set", &set("http"), "--json"]);
    let (verdict, detail) = of(&some, "answers");
    assert_eq!(verdict, "skipped", "{detail}");
    assert!(detail.contains("that takes a server: --with RUN_FILE"), "{detail}");
}

#[test]
fn what_is_no_plugin_is_told_and_the_others_are_looked_at() {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("plugins/libbroken.so", "no library");
    sandbox.write("run.toml", hostile("ok"));
    let outcome = check(&sandbox, "plugins", &["--with", "run.toml"]).exits(5);
    assert!(outcome.stdout.contains("not an ELF file"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("hostile 0.1.0 (plugins/libhostile.so)"), "{}", outcome.stdout);
    let _ = check(&sandbox, "nowhere.so", &[]).exits(2).says(&["cannot read nowhere.so"]);
    sandbox.write("empty/readme", "");
    let _ = check(&sandbox, "empty", &[]).exits(2).says(&["no plugin in empty"]);
    let other = "[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n";
    sandbox.write("other.toml", other);
    let outcome = check(&sandbox, "plugins/libhostile.so", &["--with", "other.toml"]).exits(2);
    assert!(outcome.stdout.contains("none of the run files has a backend of plugin `hostile`"));
    // What is typed wrong is no fault of the plugin.
    let outcome = check(&sandbox, "plugins/libhostile.so", &["--set", "nope=1"]).exits(2);
    assert!(outcome.stdout.contains(" 0 failed"), "{}", outcome.stdout);
    let hint = "hint: a key of the plugin's own is written `config.nope`; known keys: ";
    let told = format!("key\n             {hint}");
    assert!(outcome.stdout.contains(&told), "{}", outcome.stdout);
    let _ = outcome.says(&["a plugin is not given what it needs to open"]);
    // A program is told the text without the margin of the table.
    let outcome = check(&sandbox, "plugins/libhostile.so", &["--set", "nope=1", "--json"]).exits(2);
    let told = format!("key\n  {hint}");
    assert!(findings(&outcome).iter().any(|(_, _, detail)| detail.contains(&told)));
}
