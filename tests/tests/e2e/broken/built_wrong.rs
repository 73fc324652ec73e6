//! Plugins that were built in a way that cannot work: the compiler or the loader says so, before anything is asked of them.

use std::{fs, path::Path, process::Command};

use host_tests::{
    built,
    changed::{self, Change},
};

use super::faulty::{ECHO, ONCE, good, good_goes_on, has_line, sandbox};

/// Runs cargo on a crate in the folder that the tests' plugins are built into, whose dependencies are there already.
fn cargo(command: &str, crate_folder: &Path, after: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO"))
        .args([command, "--manifest-path"])
        .arg(crate_folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(built::target().join("test-plugins"))
        .args(after)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// A field more in the middle of a leaf type, and what makes the SDK compile with it.
const A_FIELD_MORE: [Change; 5] = [
    // Cargo tells the copy from the SDK of this tree, in the folder that they are built into, by the versions alone.
    ("Cargo.toml", "version = \"0.1.0\"\nedition", "version = \"0.1.77\"\nedition"),
    ("abi/Cargo.toml", "version = \"1.0.0\"", "version = \"1.0.77\""),
    ("abi/src/leaf.rs", "    // Spelt out:", "    mood: usize,\n    // Spelt out:"),
    ("abi/src/leaf.rs", "Self { ptr, len, cap, free }", "Self { ptr, len, cap, mood: 0, free }"),
    ("abi/src/leaf.rs", "cap: 0, free: None }", "cap: 0, mood: 0, free: None }"),
];

#[test]
fn a_plugin_with_another_leaf_type_is_refused_in_few_words_and_the_others_go_on() {
    let folder = built::target().join("tmp/broken/leaf");
    let plugin = built::root().join("tests/frozen/1.0/plugin");
    let crate_folder = changed::lay_out(&folder, &A_FIELD_MORE, &plugin);
    let (is_built, said) = cargo("build", &crate_folder, &[]);
    assert!(is_built, "{said}");
    let sandbox = sandbox();
    let library = built::target().join("test-plugins/debug/libfrozen.so");
    let file = sandbox.install(&library, "plugins");
    let bad = "[[backend]]\nplugin = \"frozen\"\nbase_url = \"http://127.0.0.1:9\"\n";
    let outcome = sandbox.run(&format!("{ONCE}{bad}{}{ECHO}", good())).exits(5);
    has_line(
        &outcome,
        &format!(
            "warning: plugin `frozen`: {}: built against other leaf types than this host's: Buf: incompatible type size \
             (expected 32, found 40); too many fields (expected 4, found 5); unexpected field (expected field_name:free, \
             found field_name:mood); rebuild the plugin with this host's plugin-api; the others go on without it",
            file.display()
        ),
    );
    good_goes_on(&outcome);
}

#[test]
fn a_plugin_that_could_not_catch_its_panics_does_not_compile() {
    let folder = built::target().join("tmp/broken/aborting");
    fs::create_dir_all(folder.join("src")).unwrap();
    let api = built::root().join("plugin-api").display().to_string();
    for (file, text) in [
        ("Cargo.toml", ABORTING.replace("API", &api)),
        ("src/lib.rs", SOURCE.to_owned()),
        ("plugin.json", "{ \"id\": \"aborting\", \"capabilities\": [\"generate\"] }".to_owned()),
        ("config.schema.json", "{}".to_owned()),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
    // What cargo passes on for a profile that says so, without building all dependencies anew.
    let (is_built, said) = cargo("rustc", &folder, &["--", "-C", "panic=abort"]);
    assert!(!is_built, "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
    let expected = [
        "error: a plugin must catch its panics: set panic = \"unwind\" in the profile",
        "error: could not compile `aborting` (lib) due to 1 previous error",
    ];
    assert_eq!(errors, expected, "{said}");
    // Nothing but that is wrong with it.
    let (is_built, said) = cargo("rustc", &folder, &[]);
    assert!(is_built, "{said}");
}

const ABORTING: &str = r#"[package]
name = "aborting"
version = "0.1.0"
edition = "2024"
license = "MIT"
publish = false

[lib]
crate-type = ["cdylib"]

[dependencies]
plugin-api = { path = "API" }

[workspace]
"#;

const SOURCE: &str = r#"use plugin_api::*;

struct Aborting;

impl Backend for Aborting {
    type Config = serde_json::Value;

    fn open(_: serde_json::Value, _: Host) -> Result<Self> {
        Ok(Self)
    }

    async fn generate(&self, _: &Generate<'_>, _: &Io) -> Result<Completion> {
        Ok(Completion::new("text", "stop"))
    }
}

export_plugin!(Aborting);
"#;
