//! Records the compiler, so that a manifest can name it. An author's crate needs no build script.

use std::{env, process::Command};

fn main() {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version =
        version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let version = version.trim().replace(['"', '\\'], "");
    println!(
        "cargo::rustc-env=PLUGIN_API_RUSTC={}",
        if version.is_empty() { "unknown" } else { &version }
    );
    println!("cargo::rerun-if-changed=build.rs");
}
