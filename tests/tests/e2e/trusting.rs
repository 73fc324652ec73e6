//! Which plugins are trusted, and with what: `plugins.lock`, and what becomes of everything that it does not say.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use host_tests::{
    built,
    left::counts,
    python,
    sandbox::{Outcome, Sandbox},
    scripted::{Scripted, reply},
    skip::skipped,
};
use serde_json::{Value, json};

use super::{ECHO, echoes, hostile};

/// The hostile plugin in `plugins`, and two samples.
fn with_hostile() -> Sandbox {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(2));
    sandbox
}

/// A run file of the hostile plugin that echoes, with these further keys.
fn echo(keys: &str) -> String {
    format!("{}{keys}{ECHO}", hostile("echo"))
}

fn lock_text(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("plugins.lock")).unwrap()
}

/// Makes a plugin's file another one that does the same.
fn change(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes.extend(b"another");
    fs::write(file, bytes).unwrap();
}

/// The records of a command, but for the last one.
fn records(outcome: &Outcome) -> Vec<Value> {
    let records = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["event"] != "done").collect()
}

/// Runs the command that an error names between backticks.
fn as_told(sandbox: &Sandbox, outcome: &Outcome) {
    let told = outcome.stderr.split('`').find(|text| text.starts_with("host plugin lock"));
    let mut words = told.unwrap_or_else(|| panic!("{}", outcome.stderr)).split_whitespace();
    assert_eq!(words.next(), Some("host"));
    let _ = sandbox.finish(sandbox.host(words)).exits(0);
}

#[test]
fn what_is_found_is_locked_once_and_stays_as_it_is() {
    let sandbox = with_hostile();
    sandbox.install(built::acme(), "plugins");
    let _ = sandbox.lock(&["--all", "--check"]).exits(5).says(&[
        "is out of date",
        "acme",
        "hostile",
        "tgi",
    ]);
    assert!(!sandbox.path("plugins.lock").exists());
    let outcome = sandbox.lock(&["--all", "--json"]).exits(0);
    let found = records(&outcome);
    let of = |id: &str| found.iter().find(|record| record["id"] == id).unwrap();
    assert_eq!((&of("hostile")["change"], &of("tgi")["change"]), (&json!("new"), &json!("new")));
    assert_eq!(of("acme")["granted"]["isolation"], "worker");
    assert_eq!(of("acme")["granted"]["asks"]["secrets"], json!(["api_key"]));
    assert_eq!(of("tgi")["granted"]["isolation"], Value::Null);
    assert_eq!(of("acme")["sha256"], sha256(built::acme()));

    let text = lock_text(&sandbox);
    let places: Vec<_> =
        ["[plugin.acme]", "[plugin.hostile]", "[plugin.tgi]"].map(|name| text.find(name)).into();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
    let again = sandbox.lock(&[]).exits(0).says(&["is up to date"]);
    assert!(again.stdout.contains("hostile 0.1.0: as it was"), "{}", again.stdout);
    assert_eq!(lock_text(&sandbox), text);
    let _ = sandbox.lock(&["--check"]).exits(0);

    // Another machine's file stays beside this one's, and so do entries of plugins that are not here.
    let other = "[plugin.acme.platform.other-os]\nversion = \"0\"\nsha256 = \"";
    let absent = "\n[plugin.absent.platform.other-os]\nversion = \"0\"\nsha256 = \"";
    let digest = "0".repeat(64);
    sandbox.write("plugins.lock", format!("{text}{other}{digest}\"\n{absent}{digest}\"\n"));
    change(&sandbox.path("plugins/libacme.so"));
    let _ = sandbox.lock(&["acme"]).exits(0);
    let text = lock_text(&sandbox);
    assert!(text.contains("acme.platform.other-os]") && text.contains("[plugin.absent]"), "{text}");
    let wrong = sandbox.lock(&["hostil"]).exits(2);
    let _ = wrong.says(&["no plugin `hostil`", "did you mean `hostile`?"]);
    let absent = "has `absent`, which is not found here";
    let _ = sandbox.lock(&[]).exits(0).says(&[absent, "is up to date as to acme, custom, "]);
    for all in [&["--check"][..], &["--check", "--all"]] {
        let _ = sandbox
            .lock(all)
            .exits(5)
            .says(&["has what is not found here: absent", "--plugin-dir"]);
    }
    let _ = sandbox.lock(&["--check", "acme"]).exits(0).says(&["is up to date as to acme\n"]);
}

/// The plugins that a lock file has.
fn locked(sandbox: &Sandbox, lock: &str) -> Vec<String> {
    let text = fs::read_to_string(sandbox.path(lock)).unwrap();
    let tables = text.lines().filter_map(|line| line.strip_prefix("[plugin.")?.strip_suffix(']'));
    tables.filter(|name| !name.contains('.')).map(str::to_owned).collect()
}

#[test]
fn nothing_is_locked_that_nobody_named() {
    let sandbox = with_hostile();
    sandbox.install(built::acme(), "plugins");
    let unsaid = sandbox.lock(&[]).exits(2);
    let _ =
        unsaid.says(&["not said which plugins to lock", "--with FILE", "--all", "acme, custom"]);
    let _ = sandbox.lock(&["--check"]).exits(2).says(&["not said which plugins to lock"]);
    assert!(!sandbox.path("plugins.lock").exists());
    // A grant names its plugin.
    let _ = sandbox.lock(&["--grant", "acme=in-process"]).exits(0);
    assert_eq!(locked(&sandbox, "plugins.lock"), ["acme"]);

    let task = "[[task]]\nfile = \"task.toml\"\n";
    sandbox.write("deep/task.toml", ECHO.replace("[[task]]\n", ""));
    sandbox.write("deep/data.jsonl", echoes(1));
    let mock = "[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n";
    sandbox.write("deep/run.toml", format!("{mock}{}{task}", hostile("echo")));
    sandbox.write("deep/wrong.toml", format!("[[backend]]\nplugin = \"hostil\"\n{task}"));
    let lock = |folder: &str, arguments: &[&str]| {
        let mut command = sandbox.host(["plugin", "lock", "--plugin-dir"]);
        command.arg(sandbox.path("plugins")).args(arguments).current_dir(sandbox.path(folder));
        sandbox.finish(command)
    };
    // The lock file that counts for a run file is the one that is written.
    let _ = lock("deep", &["--with", "run.toml"]).exits(0);
    assert_eq!(locked(&sandbox, "plugins.lock"), ["acme", "hostile", "tgi"]);
    let _ = lock("deep", &["--with", "run.toml", "--check"])
        .exits(0)
        .says(&["is up to date as to hostile, tgi"]);
    fs::rename(sandbox.path("plugins.lock"), sandbox.path("kept")).unwrap();
    let _ = lock("", &["--with", "deep/run.toml"]).exits(0);
    assert_eq!(locked(&sandbox, "plugins.lock"), ["hostile", "tgi"]);
    fs::remove_file(sandbox.path("plugins.lock")).unwrap();
    let _ = lock("plugins", &["--with", "../deep/run.toml"]).exits(0);
    assert_eq!(locked(&sandbox, "deep/plugins.lock"), ["hostile", "tgi"]);
    sandbox.write("run.toml", echo(""));
    let two = lock("", &["--with", "run.toml", "--with", "deep/run.toml"]).exits(2);
    let _ = two.says(&["plugins.lock does not count for deep/run.toml", "--lock"]);
    let wrong = lock("", &["--with", "deep/wrong.toml"]).exits(2);
    let _ = wrong.says(&["there is no plugin `hostil`", "did you mean `hostile`?"]);
}

#[test]
fn an_entry_can_be_taken_out() {
    let sandbox = with_hostile();
    let _ = sandbox.lock(&["hostile", "tgi", "sglang"]).exits(0);
    let before = lock_text(&sandbox);
    let wrong = sandbox.lock(&["--remove", "tgi", "--remove", "hostil"]).exits(2);
    let _ = wrong.says(&["no entry of a plugin `hostil`", "did you mean `hostile`?"]);
    assert_eq!(lock_text(&sandbox), before);
    let far = sandbox.lock(&["--remove", "zzz"]).exits(2);
    let _ = far.says(&["no entry of a plugin `zzz`", "it has: hostile, sglang, tgi"]);
    let twice = ["--remove", "tgi", "--remove", "sglang", "--remove", "tgi", "--json"];
    let outcome = sandbox.lock(&twice).exits(0);
    let ids: Vec<Value> = records(&outcome).iter().map(|record| record["id"].clone()).collect();
    assert_eq!(ids, ["sglang", "tgi"]);
    assert_eq!(locked(&sandbox, "plugins.lock"), ["hostile"]);
    let _ = sandbox.lock(&["--remove", "tgi", "hostile"]).exits(2);
}

#[test]
fn a_script_is_locked_for_all_machines() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(2));
    let example = fs::read(built::root().join("plugin-api/examples/raw.py")).unwrap();
    let script = sandbox.write("plugins/raw.py", &example);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let description = "plugins/raw.plugin.toml";
    sandbox.write(
        description,
        "kind = \"script\"\nformat = 1\nid = \"raw\"\nversion = \"1.0\"\nabi = \"1.0\"\ncommand = [\"./raw.py\"]\n\
         capabilities = [\"generate\"]\n",
    );
    let outcome = sandbox.lock(&["raw", "--json"]).exits(0);
    assert_eq!(records(&outcome)[0]["platform"], "any");
    let text = lock_text(&sandbox);
    assert_eq!(text.matches("[plugin.raw.platform.any]").count(), 1, "{text}");
    let inspected = sandbox.finish(sandbox.host(["plugin", "inspect", description])).exits(0);
    assert!(inspected.stdout.contains("has this very file"), "{}", inspected.stdout);
    let _ = sandbox.lock(&["raw", "--check"]).exits(0);

    let run = format!("[[backend]]\nplugin = \"raw\"\n{ECHO}");
    let locked = |sandbox: &Sandbox| {
        let mut command = sandbox.run_command(&run, &[]);
        command.arg("--locked");
        sandbox.finish(command)
    };
    // Another machine's file says nothing of this one's.
    sandbox.write("plugins.lock", text.replace("platform.any]", "platform.other-os]"));
    let _ = locked(&sandbox).exits(5).says(&["plugins.lock has no file of it for all machines"]);
    // One that was locked on this machine alone is held to that, until it is locked again.
    let here = format!("platform.{}-{}]", std::env::consts::ARCH, std::env::consts::OS);
    sandbox.write("plugins.lock", text.replace("platform.any]", &here));
    let change_it = || fs::write(&script, [&example[..], b"# changed\n"].concat()).unwrap();
    change_it();
    let _ = sandbox.run(&run).exits(5).says(&["raw.plugin.toml) is not the file that"]);
    fs::write(&script, &example).unwrap();
    let again = sandbox.lock(&["raw"]).exits(0);
    assert!(again.stdout.contains("raw 1.0: new for all machines"), "{}", again.stdout);
    assert_eq!(lock_text(&sandbox), text);
    // Locked for all machines it stands beside no single one.
    let rest = text.split_once("[plugin.raw.platform.any]").unwrap().1;
    sandbox.write("plugins.lock", format!("{text}\n[plugin.raw.{here}{rest}"));
    let _ = sandbox.lock(&["raw", "--check"]).exits(5).says(&["is out of date: raw"]);
    let again = sandbox.lock(&["raw"]).exits(0);
    assert!(again.stdout.contains("no longer beside files of single"), "{}", again.stdout);
    assert_eq!(lock_text(&sandbox), text);
    if python::is_there() {
        assert_eq!(locked(&sandbox).exits(0).left().counts(), [2, 2, 0]);
    }
    change_it();
    let _ = locked(&sandbox).exits(5).says(&["raw.plugin.toml) is not the file that"]);
}

/// The digest that the host tells of a file.
fn sha256(file: &Path) -> String {
    let sandbox = Sandbox::new();
    let mut command = sandbox.host(["plugin", "inspect", "--json"]);
    command.arg(file);
    records(&sandbox.finish(command).exits(0))[0]["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn a_changed_file_is_named_and_refused_until_it_is_locked_again() {
    let sandbox = with_hostile();
    let _ = sandbox.lock(&["hostile"]).exits(0);
    let left = sandbox.run(&echo("")).exits(0).left();
    let lock = &left.manifest["plugins_lock"];
    assert_eq!(lock["path"], sandbox.path("plugins.lock").display().to_string());
    assert_eq!(lock["sha256"].as_str().unwrap().len(), 64);
    let granted = &left.manifest["plugins"][0]["granted"];
    assert_eq!(
        (&granted["isolation"], &granted["asks"]["secrets"]),
        (&json!("worker"), &json!(["api_key"]))
    );

    let file = sandbox.path("plugins/libhostile.so");
    let before = sha256(&file);
    change(&file);
    let both = format!(
        "{}id = \"bad\"\n[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}",
        hostile("echo")
    );
    let refused = sandbox.run(&both).exits(5).says(&[
        &file.display().to_string(),
        "is not the file that",
        &before,
        &sha256(&file),
        "host plugin lock hostile",
        "the others go on",
    ]);
    assert_eq!(refused.left().result()["backend"], "tgi");
    let mut check = sandbox.host(["check", "run.toml", "--offline", "--plugin-dir", "plugins"]);
    let checked = sandbox.finish(check).exits(5);
    assert!(checked.stdout.contains("is not the file that"), "{}", checked.stdout);
    let _ = sandbox.lock(&["hostile", "--check"]).exits(5).says(&["out of date: hostile"]);

    check = sandbox.host(["plugin", "inspect"]);
    check.arg(&file);
    let shown = sandbox.finish(check).exits(0);
    assert!(shown.stdout.contains("has another file of it"), "{}", shown.stdout);

    as_told(&sandbox, &refused);
    let shown = sandbox.lock(&["hostile"]).exits(0);
    assert!(shown.stdout.contains("as it was"), "{}", shown.stdout);
    let _ = sandbox.run(&echo("")).exits(0);
}

#[test]
fn the_hosts_process_is_for_those_that_are_granted_it() {
    let sandbox = with_hostile();
    let asked = echo("isolation = \"in-process\"\n");
    let refused = sandbox.run(&asked).exits(2).says(&[
        "isolation = \"in-process\"",
        "did not come with this host, and there is no lock file",
        "--grant hostile=in-process",
    ]);
    let _ = sandbox.lock(&["hostile"]).exits(0);
    let _ = sandbox.run(&asked).exits(2).says(&["is to run in a worker, says"]);
    as_told(&sandbox, &refused);
    for (keys, expected) in [
        ("isolation = \"in-process\"\n", "in-process"),
        // The grant alone says where it runs.
        ("", "in-process"),
        ("isolation = \"worker\"\n", "worker"),
    ] {
        let left = sandbox.run(&echo(keys)).exits(0).left();
        let plugin = &left.manifest["plugins"][0];
        assert_eq!(plugin["isolation"], expected, "{keys}");
        assert_eq!(plugin["granted"]["isolation"], "in-process");
    }
    // What is granted is granted to the bytes; a lock may also take the host's process from what came with it.
    change(&sandbox.path("plugins/libhostile.so"));
    let _ = sandbox.run(&echo("")).exits(5).says(&["is not the file that"]);
    let _ = sandbox.lock(&["tgi"]).exits(0);
    let text = lock_text(&sandbox).replace("[plugin.tgi]", "[plugin.tgi]\nisolation = \"worker\"");
    sandbox.write("plugins.lock", text);
    let tgi = format!("[[backend]]\nplugin = \"tgi\"\nbase_url = \"mock:tgi\"\n{ECHO}");
    let left = sandbox.run(&tgi).exits(0).left();
    assert_eq!(left.manifest["plugins"][0]["isolation"], "worker");
}

#[test]
fn locked_means_that_nothing_else_is_used() {
    let sandbox = with_hostile();
    let strict = |arguments: &[&str]| {
        sandbox.finish(sandbox.run_command(&echo(""), &[&["--locked"], arguments].concat()))
    };
    let refused = strict(&[]).exits(5).says(&["there is no lock file", "--locked"]);
    assert!(refused.folders().is_empty());
    let _ = sandbox.lock(&["tgi"]).exits(0);
    let refused = strict(&[]).exits(5).says(&["has no entry for it"]);
    as_told(&sandbox, &refused);
    let left = strict(&[]).exits(0).left();
    let directory = left.path.display().to_string();

    let task = ECHO.replace("[[task]]\n", "");
    sandbox.write("conf/task.toml", task);
    sandbox.write(
        "conf/template.toml",
        format!("{}[[task]]\nfile = \"task.toml\"\n", hostile("echo")),
    );
    sandbox.write("conf/data.jsonl", echoes(2));
    sandbox.write("matrix.toml", "[[model]]\nid = \"m\"\n");
    let every: [&[&str]; 6] = [
        &["run", "run.toml"],
        &["resume", &directory, "--retry-unscored", "--accept-changes"],
        &["check", "run.toml", "--offline"],
        &["show", "run.toml", "--sample", "0"],
        &["sweep", "conf/template.toml", "--matrix", "matrix.toml", "--dry-run"],
        &["sweep", "conf/template.toml", "--matrix", "matrix.toml"],
    ];
    let finish = |arguments: &[&str]| {
        let mut command = sandbox.host(arguments);
        command.args(["--locked", "--plugin-dir", "plugins"]);
        sandbox.finish(command)
    };
    for arguments in every {
        let _ = finish(arguments).exits(0);
    }
    change(&sandbox.path("plugins/libhostile.so"));
    for arguments in every {
        let outcome = finish(arguments);
        assert_ne!(outcome.code, Some(0), "{arguments:?}");
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains("is not the file that"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_lock_file_is_named_by_flag_or_variable_and_else_the_nearest() {
    let sandbox = with_hostile();
    let _ = sandbox.lock(&["hostile"]).exits(0);
    fs::rename(sandbox.path("plugins.lock"), sandbox.path("other.lock")).unwrap();
    let _ = sandbox.finish(sandbox.run_command(&echo(""), &["--locked"])).exits(5);
    let _ = sandbox
        .finish(sandbox.run_command(&echo(""), &["--locked", "--lock", "other.lock"]))
        .exits(0);
    let mut command = sandbox.run_command(&echo(""), &["--locked"]);
    command.env("HOST_PLUGINS_LOCK", "other.lock");
    let _ = sandbox.finish(command).exits(0);
    let absent = sandbox.finish(sandbox.run_command(&echo(""), &["--lock", "absent.lock"]));
    let _ = absent.exits(2).says(&["absent.lock: there is no such lock file"]);
    // Of a run file in a folder the folder's, or the one above.
    fs::rename(sandbox.path("other.lock"), sandbox.path("plugins.lock")).unwrap();
    sandbox.write("deep/er/run.toml", echo(""));
    sandbox.write("deep/er/data.jsonl", echoes(1));
    let deep = |code: i32| {
        let mut command =
            sandbox.host(["run", "er/run.toml", "--locked", "--plugin-dir", "../plugins"]);
        command.current_dir(sandbox.path("deep"));
        sandbox.finish(command).exits(code)
    };
    let _ = deep(0);
    sandbox.write("deep/plugins.lock", "format = 1\n");
    let _ = deep(5).says(&["deep/plugins.lock has no entry for it"]);
    sandbox.write("deep/plugins.lock", "format = 1\n[plugin.hostile]\norigin = []\n");
    let _ = deep(2).says(&[
        "deep/plugins.lock:3: plugin.hostile.origin: unknown key",
        "did you mean `origins`?",
    ]);
    let doctor = sandbox.finish(sandbox.host(["doctor"])).exits(0);
    assert!(
        doctor.stdout.contains("lock file") && doctor.stdout.contains("plugins.lock, 1 plugins"),
        "{}",
        doctor.stdout
    );
}

#[test]
fn a_lock_file_that_anybody_could_have_written_is_not_believed() {
    let sandbox = with_hostile();
    let _ = sandbox.lock(&["hostile", "--grant", "hostile=in-process"]).exits(0);
    let file = sandbox.path("plugins.lock");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = sandbox.run(&echo("")).exits(2);
    let _ = refused.says(&["plugins.lock: it is writable by everybody", "is not believed"]);
    let _ = sandbox.lock(&["hostile"]).exits(2).says(&["is not believed"]);
}

#[test]
fn a_folder_above_that_anybody_may_write_is_refused_and_a_sticky_one_is_not() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(1));
    sandbox.install(built::hostile(), "above/plugins");
    let set = |mode| {
        fs::set_permissions(sandbox.path("above"), fs::Permissions::from_mode(mode)).unwrap();
    };
    let run = || {
        let mut command = sandbox.run_command(&echo(""), &[]);
        command.arg("--plugin-dir").arg(sandbox.path("above/plugins"));
        sandbox.finish(command)
    };
    set(0o1777);
    let _ = run().exits(0);
    set(0o777);
    let _ = run().exits(2).says(&["above is writable by everybody", "chmod o-w"]);
}

#[test]
fn what_cargo_builds_under_umask_002_is_not_in_the_way() {
    let sandbox = Sandbox::new();
    sandbox.write("crate/Cargo.toml", "[package]\nname = \"made\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n");
    sandbox.write("crate/src/lib.rs", "");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let copied = built::hostile().display();
    let script = format!(
        "umask 002 && \"{cargo}\" build --offline && cp {copied} target/debug/libhostile.so && chmod g+w target/debug/libhostile.so"
    );
    let built = Command::new("sh")
        .args(["-c", &script])
        .current_dir(sandbox.path("crate"))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let folder = sandbox.path("crate/target/debug");
    let mode = fs::metadata(folder.join("libmade.so")).unwrap().permissions().mode();
    assert_eq!(
        (mode & 0o020, fs::metadata(&folder).unwrap().permissions().mode() & 0o020),
        (0o020, 0o020)
    );
    let mut command = sandbox.host(["plugin", "list", "--json", "--plugin-dir"]);
    command.arg(&folder);
    let found = records(&sandbox.finish(command).exits(0));
    let own = found.iter().find(|one| one["path"].as_str().unwrap().ends_with("debug/libmade.so"));
    // Read, and found to be no plugin: whoever may write it was no reason.
    assert!(
        own.unwrap()["refused"].as_str().unwrap().starts_with("not a plugin of this host"),
        "{own:?}"
    );
    assert!(found.iter().any(|one| one["manifest"]["plugin"]["id"] == "hostile"), "{found:?}");
}

#[test]
fn an_origin_that_nobody_allows_is_told_once_and_without_its_path() {
    let other = Scripted::start(|_| reply(200, "", "reached"));
    let target = format!("{}/secret/path?key=1", other.url());
    let server = Scripted::start(move |_| reply(307, &format!("location: {target}\r\n"), ""));
    let text = format!(
        "run.max_retries = 0\nrun.max_unscored = 1.0\n{}id = \"stray\"\n{}id = \"sent\"\nbase_url = \"{}\"\n{}id = \"good\"\n{ECHO}",
        hostile("forbidden_url"),
        hostile("http"),
        server.url(),
        hostile("echo")
    );
    let sandbox = with_hostile();
    let outcome = sandbox.run(&text).exits(0);
    let left = outcome.left();
    let told: Vec<Value> = left
        .events
        .iter()
        .filter(|event| event["event"] == "forbidden_origin")
        .map(|event| json!([event["backend"], event["plugin"], event["origin"]]))
        .collect();
    let expected = [
        json!(["stray", "hostile", "https://forbidden.invalid"]),
        json!(["sent", "hostile", other.url()]),
    ];
    assert!(told.len() == 2 && expected.iter().all(|one| told.contains(one)), "{told:?}");
    assert!(
        outcome.stderr.contains("to https://forbidden.invalid are not made"),
        "{}",
        outcome.stderr
    );
    for line in left.journal.iter().filter(|line| line["backend"] != "good") {
        assert_eq!(line["status"]["unscored"], "forbidden_origin", "{line}");
    }
    assert!(other.asked().is_empty(), "a redirect to it was followed");
    assert_eq!(counts(left.of_backend("good")), [2, 2, 0]);
}

#[test]
fn an_entry_narrows_the_origins_and_secrets_that_a_manifest_asks_for() {
    let sandbox = Sandbox::new();
    sandbox.write("data.jsonl", echoes(1));
    sandbox.install(built::acme(), "plugins");
    let _ = sandbox.lock(&["acme", "litellm"]).exits(0);
    let text = lock_text(&sandbox);
    let (before, rest) = text.split_once("[plugin.litellm]\norigins = [").unwrap();
    let (origins, after) = rest.split_once("]\n").unwrap();
    assert!(origins.contains("https://api.openai.com"), "{origins}");
    let none = format!("{before}[plugin.litellm]\norigins = []\n{after}");
    sandbox.write("plugins.lock", none.replace("secrets = [\"api_key\"]", "secrets = []"));

    // No request leaves: the origin of the vendor's own server is not granted.
    let vendor = format!(
        "run.max_retries = 0\nrun.max_unscored = 1.0\n[[backend]]\nplugin = \"litellm\"\nmodel = \"openai/gpt-4o\"\n{ECHO}"
    );
    let outcome = sandbox.run_with(&vendor, &[("OPENAI_API_KEY", "sk-none")]);
    let left = outcome.exits(0).left();
    let message = left.journal[0]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("https://api.openai.com") && message.contains("does not grant it"),
        "{message}"
    );

    let server = Scripted::start(|_| {
        reply(200, "", "{\"text\": \"word 0\", \"ended_by\": \"stop\", \"tokens\": [1, 1]}")
    });
    let key = [("ACME_API_KEY", "acme-key-1234")];
    let acme = format!(
        "run.max_retries = 0\nrun.max_unscored = 1.0\n[[backend]]\nplugin = \"acme\"\nbase_url = \"{}\"\n",
        server.url()
    );
    let wanted = sandbox.run_with(&format!("{acme}secrets = [\"api_key\"]\n{ECHO}"), &key).exits(2);
    let _ =
        wanted.says(&["needs the secret `api_key`, which", "does not grant it", "[plugin.acme]"]);
    // Nobody wants it: the plugin finds out when its request is about to be made.
    let left = sandbox.run_with(&format!("{acme}{ECHO}"), &key).exits(0).left();
    let message = left.journal[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("the secret `api_key` is not granted to this plugin by"), "{message}");
    assert!(server.asked().is_empty());
    // What was taken from an entry is not given back by locking again, unless one says so.
    let again = sandbox
        .lock(&["acme"])
        .exits(0)
        .says(&["asks for what it is not granted: secret `api_key`"]);
    assert!(again.stdout.contains("as it was"), "{}", again.stdout);
    let _ = sandbox.lock(&["acme", "--grant", "acme=asked"]).exits(0);
    let granted =
        sandbox.run_with(&format!("{acme}secrets = [\"api_key\"]\n{ECHO}"), &key).exits(0);
    assert!(server.asked()[0].headers.contains("acme-key-1234"));
    assert_eq!(granted.left().counts(), [1, 1, 0]);
}

#[test]
fn a_layout_check_may_be_waived_by_the_lock_file() {
    let sandbox = Sandbox::new();
    let library = sandbox.write("plugins/libecho.so", "");
    if built::c_library(&built::c_source(), &library).is_none() {
        return skipped("there is no `cc`");
    }
    sandbox.write("data.jsonl", echoes(1));
    let text = format!("[[backend]]\nplugin = \"my-plugin\"\n{ECHO}");
    let _ = sandbox.lock(&["my-plugin"]).exits(0);
    let refused = sandbox.run(&text).exits(5).says(&["carries no layout check"]);
    let check = || sandbox.finish(sandbox.host(["plugin", "check", "plugins/libecho.so"]));
    let checked = check().exits(5);
    assert!(checked.stdout.contains("carries no layout check"), "{}", checked.stdout);
    as_told(&sandbox, &refused);
    // The check finds the grant where a run does, and holds it to the bytes that it is of.
    let _ = check().exits(0);
    let left = sandbox.run(&text).exits(0).left();
    assert_eq!(left.manifest["plugins"][0]["granted"]["allow_unchecked_layout"], true);
    let _ = sandbox.lock(&["my-plugin", "--grant", "my-plugin=in-process"]).exits(0);
    let left = sandbox.run(&text).exits(0).left();
    assert_eq!(left.manifest["plugins"][0]["isolation"], "in-process");
    change(&library);
    let _ = check().exits(5);
}

/// Signs a file as its author would, beside it.
fn sign(file: &Path, keys: &minisign::KeyPair) -> PathBuf {
    let bytes = fs::read(file).unwrap();
    let signature = minisign::sign(None, &keys.sk, bytes.as_slice(), None, None).unwrap();
    let place = PathBuf::from(format!("{}.minisig", file.display()));
    fs::write(&place, signature.into_string()).unwrap();
    place
}

#[test]
fn a_signed_plugin_must_stay_signed() {
    let sandbox = with_hostile();
    let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let (key, other) =
        (keys.pk.to_base64(), minisign::KeyPair::generate_unencrypted_keypair().unwrap());
    let file = sandbox.path("plugins/libhostile.so");
    let lock = |code: i32| sandbox.lock(&["hostile", "--signed-by", &key]).exits(code);
    let _ = lock(5)
        .says(&[&format!("must be signed by {key}"), "libhostile.so.minisig cannot be read"]);
    sign(&file, &other);
    let _ = lock(5).says(&[&key, "libhostile.so.minisig does not show that"]);
    assert!(!sandbox.path("plugins.lock").exists());
    let signature = sign(&file, &keys);
    // The key is taken from its file, too.
    sandbox.write("author.pub", keys.pk.to_box().unwrap().into_string());
    let _ = sandbox.lock(&["hostile", "--signed-by", "author.pub"]).exits(0);
    let left = sandbox.run(&echo("")).exits(0).left();
    assert_eq!(left.manifest["plugins"][0]["granted"]["signed_by"], key);
    // Those that a run file names can be asked for it too, and somebody must be.
    let _ = sandbox.lock(&["--with", "run.toml", "--signed-by", &key]).exits(0);
    let _ = sandbox.lock(&["--signed-by", &key]).exits(2).says(&["not provided", "--with <FILE>"]);

    fs::remove_file(&signature).unwrap();
    let _ = sandbox.run(&echo("")).exits(5).says(&[&key, "libhostile.so.minisig cannot be read"]);
    // A new file is locked only if the same key has signed it.
    sign(&file, &keys);
    change(&file);
    let _ = sandbox.lock(&["hostile"]).exits(5).says(&[&key, "does not show that"]);
    sign(&file, &keys);
    let _ = sandbox.lock(&["hostile"]).exits(0);
    let _ = sandbox.finish(sandbox.run_command(&echo(""), &["--locked"])).exits(0);
    let wrong = sandbox.lock(&["hostile", "--signed-by", "RWQnokey"]).exits(2);
    let _ = wrong.says(&["`RWQnokey` is no minisign public key"]);
}

#[test]
fn a_plugin_of_a_faulty_compiler_is_warned_about() {
    let sandbox = with_hostile();
    let file = sandbox.path("plugins/libhostile.so");
    let mut bytes = fs::read(&file).unwrap();
    // The manifest stands in its section and where the entry points to.
    let compiler = b"\"rustc\":\"rustc 1.";
    let places = bytes.windows(compiler.len()).enumerate().filter(|(_, one)| one == compiler);
    let places: Vec<_> = places.map(|(at, _)| at + compiler.len() - 2).collect();
    for at in places {
        let version = bytes.get_mut(at..at + 6).unwrap();
        version.copy_from_slice(b"1.98.0");
    }
    fs::write(&file, bytes).unwrap();
    let warned = ["was built with rustc 1.98.0", "known to be faulty: it miscompiles vtables"];
    let _ = sandbox.run(&echo("")).exits(0).says(&warned);
    let _ = sandbox
        .finish(sandbox.host(["plugin", "list", "--plugin-dir", "plugins"]))
        .exits(0)
        .says(&warned);
    let shown = sandbox
        .finish(sandbox.host(["plugin", "inspect", "--json", "plugins/libhostile.so"]))
        .exits(0);
    assert!(records(&shown)[0]["compiler_fault"].as_str().unwrap().contains("vtables"));
    let checked = sandbox
        .finish(sandbox.host(["check", "run.toml", "--offline", "--plugin-dir", "plugins"]))
        .exits(0);
    assert!(checked.stdout.contains(warned[0]), "{}", checked.stdout);
}
