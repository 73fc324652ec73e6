//! From `host plugin new` to a scored run: every kind is made, built, tested, checked and run as its author would do it,
//! by what lies in its folder and crates.io alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use host_tests::{
    built,
    left::Left,
    python,
    sandbox::{Outcome, Sandbox},
    skip::skipped,
};
use serde_json::Value;

use super::assert_close;

/// A new plugin in a folder that is the same in each test run, so that cargo finds what it has built.
struct New {
    sandbox: Sandbox,
    folder: PathBuf,
}

impl New {
    fn make(kind: &str, more: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        let folder = target().join("made").join(kind);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        // The style of this project, which lies above, is not the author's.
        fs::create_dir_all(target().join("made")).unwrap();
        for name in ["rustfmt.toml", "clippy.toml"] {
            fs::write(target().join("made").join(name), "").unwrap();
        }
        let path = folder.display().to_string();
        let name = format!("acme-{kind}");
        let typed = ["plugin", "new", &name, "--kind", kind, "--path", &path];
        let mut command = sandbox.host(typed);
        command.args(more);
        let outcome = sandbox.finish(command).exits(0).says(&["next:", "host run"]);
        assert!(outcome.stdout.contains("/run.toml\n"), "{}", outcome.stdout);
        Self { sandbox, folder }
    }

    /// Runs a tool in the plugin's folder; what it writes to either stream.
    fn tool(&self, program: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder).env("CARGO_TARGET_DIR", target());
        let output = command.output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        let both = String::from_utf8(both).unwrap();
        assert!(output.status.success(), "{} {arguments:?}\n{both}", program.display());
        both
    }

    fn cargo(&self, arguments: &[&str]) -> String {
        self.tool(&PathBuf::from(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())), arguments)
    }

    /// Holds the library in this folder to the contract, and runs its run file with it.
    fn run(&self, built: &Path, library: &str) -> Left {
        let mut command = self.sandbox.host(["plugin", "check", "--strict", "--with"]);
        command.arg(self.folder.join("run.toml")).arg(built.join(library));
        let checked = self.sandbox.finish(command).exits(0);
        assert!(checked.stdout.contains(" 0 warned, 0 failed"), "{}", checked.stdout);
        let mut command = self.sandbox.host(["run"]);
        command.arg(self.folder.join("run.toml")).arg("--plugin-dir").arg(built);
        self.sandbox.finish(command).exits(0).left()
    }

    /// What an author in Rust does, and what the CI sketch does for him.
    fn in_rust(&self, library: &str) -> Left {
        let _ = self.cargo(&["fmt", "--check"]);
        let built = self.cargo(&["build"]);
        let tested = self.cargo(&["test"]);
        let linted = self.cargo(&["clippy", "--all-targets", "--", "-D", "warnings"]);
        for said in [built, tested.clone(), linted] {
            assert!(!said.contains("warning"), "{said}");
        }
        assert!(tested.contains("the_schema_is_fresh ... ok"), "{tested}");
        let tree = self.cargo(&["tree", "--edges", "all", "--prefix", "none"]);
        assert!(tree.contains("plugin-api"), "{tree}");
        for heavy in ["tokio", "reqwest", "hyper", "rustls"] {
            assert!(!tree.lines().any(|line| line.starts_with(heavy)), "{tree}");
        }
        self.run(&target().join("debug"), library)
    }
}

/// Where new plugins are made and built.
fn target() -> PathBuf {
    built::target().join("test-plugins-new")
}

#[test]
fn a_backend_for_a_server_is_built_tested_and_scored_as_it_stands() {
    let new = New::make("http", &[]);
    let left = new.in_rust("libacme_http.so");
    assert_eq!(left.counts(), [8, 8, 0]);
    // The mock gets a sum wrong now and then.
    let exact_match = left.metric("exact_match");
    assert!((0.5..=1.0).contains(&exact_match), "{exact_match}");
    assert!(left.result()["tokens"]["completion"].as_u64().unwrap() > 0);
    let manifest = fs::read_to_string(new.folder.join("Cargo.toml")).unwrap();
    for line in ["opt-level = \"s\"", "lto = true", "strip = true"] {
        assert!(manifest.contains(line), "{manifest}");
    }
    assert_eq!(manifest.matches("panic = \"unwind\"").count(), 2);
}

#[test]
fn a_model_in_its_own_process_is_built_tested_and_scored_as_it_stands() {
    let sdk = built::root().join("plugin-api").display().to_string();
    let new = New::make("local", &["--sdk", &sdk]);
    assert!(!new.folder.join("sdk").exists());
    let left = new.in_rust("libacme_local.so");
    assert_eq!(left.counts(), [8, 8, 0]);
    assert_close(left.metric("acc"), 1.0);
}

#[test]
fn a_backend_in_c_is_built_tested_and_scored_as_it_stands() {
    if Command::new("cc").arg("--version").output().is_err() {
        return skipped("there is no `cc`");
    }
    let new = New::make("c", &[]);
    for name in ["include/host_plugin.h", "docs/abi.md"] {
        let own = fs::read(built::root().join("plugin-api").join(name)).unwrap();
        assert!(fs::read(new.folder.join("sdk/plugin-api").join(name)).unwrap() == own, "{name}");
    }
    let make = Path::new("make");
    if Command::new(make).arg("--version").output().is_err() {
        return skipped("there is no `make`");
    }
    let said = new.tool(make, &["CFLAGS=-O1 -Werror"]);
    assert!(!said.contains("warning"), "{said}");
    let said = new.tool(make, &["test", "CFLAGS=-g -Werror"]);
    assert!(said.contains("all sessions went as they should"), "{said}");
    let left = new.run(&new.folder.join("build"), "libacme_c.so");
    assert_eq!(left.counts(), [8, 8, 0]);
    assert_close(left.metric("exact_match"), 7.0 / 8.0);
}

#[test]
fn a_script_is_tested_and_scored_as_it_stands() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    let new = New::make("script", &[]);
    let helper = fs::read(built::root().join("plugin-api/python/host_plugin.py")).unwrap();
    assert!(fs::read(new.folder.join("host_plugin.py")).unwrap() == helper);
    let said = new.tool(Path::new("python3"), &["-B", "-m", "unittest", "discover", "-s", "tests"]);
    assert!(said.contains("OK"), "{said}");
    let left = new.run(&new.folder, "acme-script.plugin.toml");
    assert_eq!(left.counts(), [8, 8, 0]);
    let exact_match = left.metric("exact_match");
    assert!((0.5..=1.0).contains(&exact_match), "{exact_match}");
}

fn new(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.host(["plugin", "new"]);
    command.args(arguments);
    sandbox.finish(command)
}

#[test]
fn a_name_that_is_none_says_which_one_would_be() {
    let sandbox = Sandbox::new();
    for (name, says) in [
        (
            "Acme Corp",
            "lower-case letters, digits, `-` and `_`, begins with a letter and has 64 characters at most; `acme-corp` is one",
        ),
        ("9", "lower-case letters, digits, `-` and `_`"),
        ("type", "`type-plugin` say"),
        ("plugin-api", "mistaken for another one"),
        ("tgi", "comes with this host"),
    ] {
        let outcome = new(&sandbox, &[name]).exits(2).says(&[says]);
        assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
        assert!(!sandbox.path(name).exists(), "{name}");
    }
}

#[test]
fn nobodys_files_are_written_over() {
    let sandbox = Sandbox::new();
    sandbox.write("acme/notes.txt", "mine");
    let _ = new(&sandbox, &["acme"])
        .exits(2)
        .says(&["acme: the folder is there and not empty", "--path"]);
    assert_eq!(fs::read_dir(sandbox.path("acme")).unwrap().count(), 1);
    sandbox.write("file", "mine");
    let _ = new(&sandbox, &["acme", "--path", "file"]).exits(2).says(&["file: "]);
    let _ = new(&sandbox, &["acme", "--path", "new", "--sdk", "acme"]).exits(2).says(&[
        "--sdk acme: cannot read Cargo.toml there",
        "name the folder `plugin-api` of a checkout",
    ]);
    assert!(!sandbox.path("new").exists());
    fs::create_dir(sandbox.path("empty")).unwrap();
    let _ = new(&sandbox, &["acme", "--path", "empty"]).exits(0);
}

#[test]
fn a_program_is_told_what_was_made_and_what_to_do_with_it() {
    let sandbox = Sandbox::new();
    let outcome = new(&sandbox, &["acme", "--kind", "c", "--json"]).exits(0);
    let records: Vec<Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0]["event"], "plugin_new");
    assert_eq!(records[0]["next"][0], "make -C acme");
    assert_eq!(records[0]["next"][1], "host run acme/run.toml --plugin-dir acme/build");
    for file in records[0]["files"].as_array().unwrap() {
        assert!(sandbox.path("acme").join(file.as_str().unwrap()).is_file(), "{file}");
    }
    assert_eq!(records[1]["event"], "done");
}
