//! Every item that an author meets by name has an example in its documentation, which the doc tests compile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

/// Items without an example of their own, and why.
const EXCEPTIONS: [(&str, &str); 7] = [
    ("export_plugin", "reads two files of the author's crate; chapter `first_plugin` shows it"),
    ("open_with", "its example is that of `granted`"),
    ("requests", "its example is that of `Driver`"),
    ("answers", "its example is that of `answer`"),
    ("completion", "its example is that of `Driver`"),
    ("likelihoods", "as `completion`"),
    ("deltas", "as `completion`"),
];

/// Files whose items are reached through a module of the same name, all of them.
const MODULES: [&str; 2] = ["capability.rs", "manifest.rs"];

/// The items declared in the sources by name, each with its documentation.
fn declared() -> BTreeMap<String, Vec<(String, String)>> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (file, text) in files {
        let mut docs = String::new();
        for line in text.lines() {
            // Methods and fields are indented: their parent's example is theirs.
            if let Some(doc) = line.strip_prefix("///") {
                docs.push_str(doc);
                docs.push('\n');
            } else if let Some(name) = item(line) {
                let docs = std::mem::take(&mut docs);
                all.entry(name.to_owned()).or_default().push((file.clone(), docs));
            } else if !line.starts_with("#[") && !line.starts_with(')') && !line.starts_with(' ') {
                docs.clear();
            }
        }
    }
    all
}

fn item(line: &str) -> Option<&str> {
    let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type ", "pub fn ", "pub async fn "];
    let macros = ["macro_rules! "];
    let rest = kinds.iter().chain(&macros).find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The names that a file re-exports from modules of its own.
fn exported(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    let text = fs::read_to_string(path).unwrap();
    let mut names = Vec::new();
    for statement in text.split("pub use ").skip(1) {
        let statement = statement.split(';').next().unwrap();
        let Some((from, list)) = statement.split_once("::") else { continue };
        if ["schemars", "serde", "serde_json"].contains(&from) {
            continue;
        }
        let list = list.trim_start_matches('{').trim_end_matches('}');
        names.extend(list.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()));
    }
    names
}

#[test]
fn every_item_that_an_author_names_has_an_example() {
    let declared = declared();
    let mut names = exported("lib.rs");
    names.extend(exported("testkit/mod.rs"));
    names.push("export_plugin".to_owned());
    for (name, places) in &declared {
        if places.iter().any(|(file, _)| MODULES.contains(&file.as_str())) {
            names.push(name.clone());
        }
    }
    assert!(names.len() > 60, "{names:?}");
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !EXCEPTIONS.iter().any(|(exception, _)| exception == name))
        .filter(|name| {
            // Where two items share a name, both need one.
            let places = declared.get(*name).map(Vec::as_slice).unwrap_or_default();
            let shown = |(_, docs): &(String, String)| docs.contains("```");
            // A macro declares the kinds of failure, and their example with them.
            *name != "ErrorKind" && (places.is_empty() || !places.iter().all(shown))
        })
        .collect();
    assert!(missing.is_empty(), "no example in the documentation of {missing:?}");
}

#[test]
fn the_chapters_of_the_guide_are_all_reached() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide");
    let guide = include_str!("../src/guide.rs");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            assert!(guide.contains(&format!("docs/guide/{name}")), "{name} is in no chapter");
        }
    }
}

/// A condition with `let` in it compiles from 1.88 on; the lints of a newer compiler do not tell.
#[test]
fn no_condition_needs_a_newer_compiler_than_the_promised_one() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("abi/src"), &mut files);
    for (file, text) in files {
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!joined.contains("&& let "), "{file} chains a `let`");
    }
}
