//! Builds plugins and loads them, as a host would load a file that it trusts.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use plugin_api::abi;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where these tests build, kept from run to run.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Builds `tests/plugins/<name>` and returns its library.
pub(crate) fn build(name: &str) -> PathBuf {
    build_at(&root().join("tests/plugins").join(name), name)
}

/// Builds the plugin crate in a folder and returns its library.
pub(crate) fn build_at(folder: &Path, name: &str) -> PathBuf {
    let target = scratch().join("plugins");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success(), "{name} does not build");
    target.join("debug").join(format!("lib{name}.so"))
}

/// A C compiler, or none with the reason on the terminal: those tests are then skipped.
pub(crate) fn cc() -> Option<Command> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if let Err(error) = Command::new(&compiler).arg("--version").output() {
        // Cargo hides what a test prints, and not this.
        let _ = writeln!(
            std::io::stderr().lock(),
            "skipped: there is no C compiler ({compiler}: {error})"
        );
        return None;
    }
    let mut command = Command::new(compiler);
    command.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"));
    Some(command)
}

/// Loads a library for good and returns its entry.
pub(crate) fn load(path: &Path) -> &'static abi::Entry {
    // SAFETY: a plugin that this test has built; its constructors are those of std or none.
    let library = unsafe { libloading::Library::new(path) }.unwrap();
    let library: &'static libloading::Library = Box::leak(Box::new(library));
    // SAFETY: the symbol is a static of this type by contract, and the library is never unloaded.
    let entry = unsafe { library.get::<*const abi::Entry>(abi::ENTRY_SYMBOL) }.unwrap();
    // SAFETY: as above.
    unsafe { &**entry }
}

/// The table of an entry.
pub(crate) fn table(entry: &'static abi::Entry) -> &'static abi::Plugin {
    // SAFETY: the contract has the function return a table that lives as long as the process.
    unsafe { &*(entry.plugin)() }
}
