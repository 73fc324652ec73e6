//! The SDK with something changed, and plugins built against it: what another version, or a wrong build, would be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::built;

/// A change of a file: its path, a text that is there once, what it becomes.
pub type Change = (&'static str, &'static str, &'static str);

/// The SDK has a benchmark, whose source is not copied.
const NO_BENCHMARK: Change =
    ("Cargo.toml", "[[bench]]\nname = \"round_trip\"\nharness = false\n", "");

/// Copies this tree's SDK, changed, and beside it a plugin's crate whose SDK lies beside it. Gives the crate's folder.
pub fn lay_out(folder: &Path, changes: &[Change], plugin: &Path) -> PathBuf {
    let changes: Vec<Change> = changes.iter().copied().chain([NO_BENCHMARK]).collect();
    for part in ["Cargo.toml", "build.rs", "src", "abi", "docs", "examples"] {
        let from = built::root().join("plugin-api").join(part);
        copy(&from, &folder.join("plugin-api").join(part), &changes, part);
    }
    copy(plugin, &folder.join("plugin"), &[], "plugin");
    folder.join("plugin")
}

/// Copies a file or folder, changed. What is there already with the same text is left alone, for cargo's sake.
fn copy(from: &Path, to: &Path, changes: &[Change], name: &str) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()) {
            let entry = entry.to_str().unwrap();
            copy(&from.join(entry), &to.join(entry), changes, &format!("{name}/{entry}"));
        }
        return;
    }
    let mut text = fs::read_to_string(from).unwrap();
    for (file, before, after) in changes {
        if *file == name {
            assert_eq!(text.matches(before).count(), 1, "{name}: {before}");
            text = text.replace(before, after);
        }
    }
    if fs::read_to_string(to).is_ok_and(|found| found == text) {
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, text).unwrap();
}
