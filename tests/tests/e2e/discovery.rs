//! Plugin files: which are found, which are refused and why, and what they say of themselves.

use std::fs;

use host_tests::{built, sandbox::Sandbox, skip::skipped};
use serde_json::Value;

use super::{ECHO, echoes, hostile};

/// The ids that `host plugin list --json` gives.
fn listed(sandbox: &Sandbox) -> Vec<String> {
    let outcome = sandbox
        .finish(sandbox.host(["plugin", "list", "--json", "--plugin-dir", "plugins"]))
        .exits(0);
    let records = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let id = |record: Value| record["manifest"]["plugin"]["id"].as_str().map(str::to_owned);
    records.filter_map(id).collect()
}

#[test]
fn a_plugin_comes_and_goes_with_its_file() {
    let sandbox = Sandbox::with_own_host();
    fs::create_dir(sandbox.path("plugins")).unwrap();
    assert!(listed(&sandbox).is_empty());
    let file = sandbox.install(built::hostile(), "plugins");
    assert_eq!(listed(&sandbox), ["hostile"]);
    sandbox.install(&built::tgi(), "bin");
    assert_eq!(listed(&sandbox), ["hostile", "tgi"]);
    sandbox.write("data.jsonl", echoes(1));
    let text = format!("{}{ECHO}", hostile("echo"));
    let _ = sandbox.run(&text).exits(0);
    fs::remove_file(file).unwrap();
    assert_eq!(listed(&sandbox), ["tgi"]);
    let _ = sandbox.run(&text).exits(2).says(&["no plugin `hostile`"]);
}

#[test]
fn files_that_are_no_plugins_are_refused_and_the_others_go_on() {
    let sandbox = Sandbox::with_own_host();
    let good = sandbox.install(built::hostile(), "plugins");
    let bytes = fs::read(&good).unwrap();
    sandbox.write("plugins/libtext.so", "I am a text\n");
    sandbox.write("plugins/libhalf.so", &bytes[..bytes.len() / 2]);
    sandbox.write("plugins/libempty.so", "");
    let mut reasons = vec![
        ("libtext.so", "not an ELF file"),
        ("libhalf.so", "truncated or damaged"),
        ("libempty.so", "the file is empty"),
    ];
    let other = sandbox.write("other.c", "int other(void) { return 1; }\n");
    match built::c_library(&other, &sandbox.path("plugins/libother.so")) {
        Some(()) => reasons.push(("libother.so", "not a plugin of this host")),
        None => skipped("in part: there is no `cc`"),
    }
    sandbox.write("data.jsonl", echoes(1));
    let text = format!("{}{ECHO}", hostile("echo"));
    let outcome = sandbox.run(&text).exits(0);
    for (file, reason) in reasons {
        let line = outcome.stderr.lines().find(|line| line.contains(file));
        assert!(line.is_some_and(|line| line.contains(reason)), "{file}: {line:?}");
    }
    let strict = sandbox.finish(sandbox.run_command(&text, &["--strict"])).exits(5);
    let _ = strict.says(&["--strict"]);
}

#[test]
fn of_two_files_with_one_id_neither_is_used() {
    let sandbox = Sandbox::with_own_host();
    let first = sandbox.install(built::hostile(), "plugins");
    fs::copy(first, sandbox.path("plugins/libtwin.so")).unwrap();
    sandbox.install(built::acme(), "plugins");
    assert_eq!(listed(&sandbox), ["acme"]);
    sandbox.write("data.jsonl", echoes(1));
    let outcome = sandbox.run(&format!("{}{ECHO}", hostile("echo"))).exits(2);
    let _ = outcome.says(&["has the id `hostile`", "libtwin.so", "remove one of them"]);
}

#[test]
fn a_file_that_anybody_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with_own_host();
    let file = sandbox.install(built::hostile(), "plugins");
    fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    sandbox.write("data.jsonl", echoes(1));
    let outcome = sandbox.run(&format!("{}{ECHO}", hostile("echo"))).exits(2);
    let _ = outcome.says(&["writable by everybody", "chmod o-w"]);
}

#[test]
fn a_file_says_what_it_is_without_being_run() {
    let sandbox = Sandbox::new();
    let file = sandbox.install(built::hostile(), "plugins").display().to_string();
    let table = sandbox.finish(sandbox.host(["plugin", "inspect", &file])).exits(0);
    for text in ["hostile", "0.1.0", "sha256", "loglikelihood_rolling", "$HOSTILE_API_KEY", "mode"]
    {
        assert!(table.stdout.contains(text), "no {text}:\n{}", table.stdout);
    }
    let json = sandbox.finish(sandbox.host(["plugin", "inspect", "--json", &file])).exits(0);
    let record: Value = serde_json::from_str(json.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(record["manifest"]["plugin"]["id"], "hostile");
    assert_eq!(record["sha256"].as_str().unwrap().len(), 64);
    assert!(record["manifest"]["config_schema"]["properties"]["mode"].is_object());

    let text = sandbox.write("libtext.so", "text").display().to_string();
    let _ = sandbox
        .finish(sandbox.host(["plugin", "inspect", &text]))
        .exits(5)
        .says(&["not an ELF file"]);
    let _ = sandbox
        .finish(sandbox.host(["plugin", "inspect", "nowhere.so"]))
        .exits(2)
        .says(&["nowhere.so"]);
}

#[test]
fn the_list_is_a_table_for_people() {
    let sandbox = Sandbox::with_own_host();
    sandbox.install(built::hostile(), "plugins");
    let outcome =
        sandbox.finish(sandbox.host(["plugin", "list", "--plugin-dir", "plugins"])).exits(0);
    for text in ["plugin", "version", "hostile", "0.1.0", "libhostile.so"] {
        assert!(outcome.stdout.contains(text), "no {text}:\n{}", outcome.stdout);
    }
}
