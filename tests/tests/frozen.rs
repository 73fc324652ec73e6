//! What was promised holds: plugins built from the contract as it was on the day of its first version load in this host
//! and keep the contract, and so does one of a later version that needs no more than the first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use host_tests::{
    built,
    changed::{self, Change},
    python,
    sandbox::Sandbox,
    scripted::{Scripted, reply},
    skip::skipped,
};
use sha2::{Digest, Sha256};

/// Every version of the contract that is kept.
fn versions() -> Vec<PathBuf> {
    let folder = built::root().join("tests/frozen");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut versions: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    versions.sort();
    assert!(!versions.is_empty());
    versions
}

/// Every file below a folder by its path there, but for what cargo and Python leave.
fn files(folder: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            if name != "target" && name != "__pycache__" {
                files(&entry.path(), &path, found);
            }
        } else if path != "SHA256SUMS" {
            let digest = Sha256::digest(fs::read(entry.path()).unwrap());
            found.insert(path, digest.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
}

#[test]
fn what_is_kept_was_never_changed() {
    for version in versions() {
        let mut found = BTreeMap::new();
        files(&version, "", &mut found);
        let sums = fs::read_to_string(version.join("SHA256SUMS")).unwrap();
        let kept: BTreeMap<String, String> = sums
            .lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
            .collect();
        assert_eq!(found, kept, "{}: a version that is kept is never edited", version.display());
    }
}

/// Builds a plugin's crate in a folder of its own.
fn build(manifest: &Path, target: &str) -> PathBuf {
    let target = built::target().join(target);
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("debug")
}

/// A task whose prompt an answering machine repeats.
const ECHO: &str = "[[task]]\nid = \"t\"\nkind = \"generate\"\ndata.path = \"data.jsonl\"\n\
                    prompt.user = \"{{ says }}\"\nprompt.format = \"text\"\ntarget = \"{{ says }}\"\n\
                    metrics = [\"exact_match\"]\n";

/// The plugin that lies in `plugins` is looked over, and asked samples.
fn holds(sandbox: &Sandbox, backend: &str) {
    sandbox
        .write("data.jsonl", "{\"says\": \"one\"}\n{\"says\": \"two\"}\n{\"says\": \"three\"}\n");
    sandbox.write("backend.toml", backend);
    let check =
        sandbox.finish(sandbox.host(["plugin", "check", "plugins", "--with", "backend.toml"]));
    assert_eq!(check.code, Some(0), "{}{}", check.stdout, check.stderr);
    for stream in ["", "stream = true\n"] {
        let left = sandbox.run(&format!("{backend}{stream}{ECHO}")).exits(0).left();
        assert_eq!(left.counts(), [3, 3, 0]);
        assert_eq!(left.result()["metrics"]["exact_match"]["value"], 1.0, "{}", left.result());
    }
}

#[test]
fn a_plugin_of_every_version_that_is_kept_holds_in_this_host() {
    let server = Scripted::start(|asked| reply(200, "", &asked.body));
    for version in versions() {
        let built = build(&version.join("plugin/Cargo.toml"), "frozen");
        let sandbox = Sandbox::new();
        sandbox.install(&built.join("libfrozen.so"), "plugins");
        let url = server.url();
        holds(&sandbox, &format!("[[backend]]\nplugin = \"frozen\"\nbase_url = \"{url}\"\n"));
    }
}

#[test]
fn a_plugin_in_c_of_every_version_that_is_kept_holds_in_this_host() {
    for version in versions() {
        let sandbox = Sandbox::new();
        let library = sandbox.write("plugins/libkept.so", "");
        let kept = version.join("plugin-api");
        let compiled =
            built::c_library_of(&kept.join("examples/echo.c"), &kept.join("include"), &library);
        if compiled.is_none() {
            return skipped("there is no `cc`");
        }
        holds(&sandbox, "[[backend]]\nplugin = \"my-plugin\"\nallow_unchecked_layout = true\n");
    }
}

#[test]
fn a_script_of_every_version_that_is_kept_holds_in_this_host() {
    if !python::is_there() {
        return skipped("there is no `python3`");
    }
    for version in versions() {
        let sandbox = Sandbox::new();
        let helper = fs::read(version.join("plugin-api/python/host_plugin.py")).unwrap();
        sandbox.write("plugins/host_plugin.py", helper);
        sandbox.write("plugins/kept.plugin.toml", SCRIPT);
        sandbox.write("plugins/kept.py", ECHOES);
        holds(&sandbox, "[[backend]]\nplugin = \"kept\"\n");
    }
}

const SCRIPT: &str = "kind = \"script\"\nformat = 1\nid = \"kept\"\nversion = \"1.0.0\"\nabi = \"1.0\"\n\
                      command = [\"python3\", \"{folder}/kept.py\"]\nfiles = [\"host_plugin.py\"]\n\
                      capabilities = [\"generate\"]\nlicense = \"MIT\"\n";

const ECHOES: &str = "from host_plugin import Backend, Completion, run


class Kept(Backend):
    async def generate(self, request, io):
        return Completion(request.text(), \"stop\")


run(Kept)
";

/// What a later minor adds to the SDK: a function at a table's end. File, text that is there once, what it becomes.
const LATER: [Change; 4] = [
    ("abi/Cargo.toml", "version = \"1.0.0\"", "version = \"1.0.1\""),
    ("abi/src/lib.rs", "pub const ABI_MINOR: u32 = ", "pub const ABI_MINOR: u32 = 7 + "),
    (
        "abi/src/tables.rs",
        "    pub extension: unsafe extern \"C\" fn(id: Bytes) -> *const c_void,\n}",
        "    pub extension: unsafe extern \"C\" fn(id: Bytes) -> *const c_void,\n    /// Appended.\n    \
         pub later: Option<unsafe extern \"C\" fn()>,\n}",
    ),
    (
        "src/export.rs",
        "        extension,\n    }",
        "        extension,\n        later: None,\n    }",
    ),
];

/// What makes a plugin need the later minor.
const NEEDS: [Change; 2] = [
    (
        "src/version.rs",
        "pub const ABI_MINOR_NEEDED: u32 = ",
        "pub const ABI_MINOR_NEEDED: u32 = 7 + ",
    ),
    ("src/version.rs", "{\\\"major\\\":1,\\\"minor\\\":", "{\\\"major\\\":1,\\\"minor\\\":7"),
];

#[test]
fn a_plugin_of_a_later_minor_holds_if_it_needs_only_this_one() {
    let server = Scripted::start(|asked| reply(200, "", &asked.body));
    let url = server.url();
    let backend = format!("[[backend]]\nplugin = \"frozen\"\nbase_url = \"{url}\"\n");
    let sandbox = Sandbox::new();
    sandbox.install(&later(&LATER, "later"), "plugins");
    holds(&sandbox, &backend);

    let changes: Vec<_> = LATER.iter().chain(&NEEDS).copied().collect();
    let sandbox = Sandbox::new();
    sandbox.install(&later(&changes, "needing"), "plugins");
    sandbox.write("data.jsonl", "{\"says\": \"one\"}\n");
    let refused = sandbox.run(&format!("{backend}{ECHO}")).exits(2);
    let _ = refused.says(&["needs ABI 1.7", "this host has 1.0; it needs a newer host"]);
}

/// The plugin that is kept, built with this tree's SDK as a later one would be.
fn later(changes: &[Change], name: &str) -> PathBuf {
    let folder = built::target().join("tmp/later").join(name);
    let crate_folder = changed::lay_out(&folder, changes, &versions().remove(0).join("plugin"));
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--manifest-path"])
        .arg(crate_folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(built::target().join("frozen").join(name))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    built::target().join("frozen").join(name).join("debug/libfrozen.so")
}
