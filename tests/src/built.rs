//! Builds what the tests run: the host with the plugins that ship with it, and the plugins of the tests.
//!
//! Each is built at most once a process. Where several test processes run at once, cargo's own lock makes
//! one of them build and the others wait.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a package lies in its workspace")
}

/// The folder that cargo builds the workspace into.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |target| root().join(target))
}

/// Runs `cargo build`, and shows what it says if it fails.
fn cargo(arguments: &[&str], target: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").args(arguments).arg("--target-dir").arg(target).current_dir(root());
    // What cargo tells a test about the test's package. Build scripts that watch it would run again, and all that
    // depends on them with it, whenever a build of the tests follows one of the shell or the other way around.
    for (name, _) in env::vars_os() {
        let told = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if told {
            command.env_remove(name);
        }
    }
    let output = command.output().expect("cargo must be there");
    assert!(
        output.status.success(),
        "cargo build {arguments:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Folder with the host and, beside it, the plugins that ship with it.
pub fn installed() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // With the features that `cargo test --workspace` has built everything with already: any test brings
        // those of the dev-dependencies. Other features would mean every dependency a second time.
        cargo(&["--workspace", "--lib", "--bins", "--test", "readme"], &target());
        target().join("debug")
    })
}

/// The same, optimised: what is measured is what a user gets.
pub fn released() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        cargo(&["--release"], &target());
        target().join("release")
    })
}

/// The host's binary.
pub fn host() -> PathBuf {
    installed().join("host")
}

/// The TGI plugin.
pub fn tgi() -> PathBuf {
    installed().join("libtgi.so")
}

/// A plugin of the tests, built as a stranger's would be: outside the workspace.
fn test_plugin(name: &str) -> PathBuf {
    let target = target().join("test-plugins");
    let manifest = root().join("tests/plugins").join(name).join("Cargo.toml");
    cargo(&["--manifest-path", &manifest.display().to_string()], &target);
    target.join("debug").join(format!("lib{name}.so"))
}

/// The plugin that misbehaves as it is told.
pub fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| test_plugin("hostile"))
}

/// The example of the author's guide.
pub fn acme() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| test_plugin("acme"))
}

/// Compiles C into a shared library. None where there is no C compiler.
pub fn c_library(source: &Path, library: &Path) -> Option<()> {
    c_library_of(source, &root().join("plugin-api/include"), library)
}

/// The same with the header in another folder.
pub fn c_library_of(source: &Path, include: &Path, library: &Path) -> Option<()> {
    compiled(source, include, library, &[])
}

/// The same as [`c_library`] with further flags.
pub fn c_library_with(source: &Path, library: &Path, flags: &[String]) -> Option<()> {
    compiled(source, &root().join("plugin-api/include"), library, flags)
}

fn compiled(source: &Path, include: &Path, library: &Path, flags: &[String]) -> Option<()> {
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-shared", "-fPIC", "-I"]).arg(include).args(flags);
    match command.arg("-o").arg(library).arg(source).output() {
        Ok(output) if output.status.success() => Some(()),
        Ok(output) => panic!("cc failed:\n{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => None,
    }
}

/// The plugin in plain C: what `host plugin new --kind c` begins with, as it stands.
pub fn c_source() -> PathBuf {
    root().join("plugin-api/examples/echo.c")
}

/// The folder of the plugins that are scripts.
pub fn scripts() -> PathBuf {
    root().join("tests/plugins/script")
}

/// The Python helper of script plugins.
pub fn script_helper() -> PathBuf {
    root().join("plugin-api/python/host_plugin.py")
}
