//! Plugins that other compilers build load in this host: the oldest that the SDK promises, and one that is newer than
//! the host's own. They are Debian's, unpacked and not installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
};

use host_tests::{
    built,
    sandbox::Sandbox,
    scripted::{Scripted, reply},
    skip::skipped,
};
use serde_json::json;

/// A compiler, by its first numbers, and the package of the code generator that it needs.
const COMPILERS: [(&str, &str); 2] = [("1.85", "libllvm19"), ("1.96", "libllvm22")];

/// What is needed to run a compiler that was unpacked.
struct Compiler {
    folder: PathBuf,
}

#[test]
fn a_plugin_of_an_older_or_newer_compiler_keeps_the_contract_in_this_host() {
    for (version, generator) in COMPILERS {
        let compiler = match Compiler::get(version, generator) {
            Ok(compiler) => compiler,
            Err(why) => {
                skipped(format!("no rustc {version}: {why}"));
                continue;
            }
        };
        let target = built::target().join("compilers").join(format!("build-{version}"));
        compiler.cargo(
            &["build", "--locked", "--manifest-path", "tests/plugins/acme/Cargo.toml"],
            &target,
        );
        let sandbox = Sandbox::new();
        sandbox.install(&target.join("debug/libacme.so"), "plugins");
        is_sound(&sandbox, version);
    }
}

#[test]
fn the_sdk_and_its_test_kit_compile_with_the_oldest_compiler_that_they_promise() {
    let (version, generator) = COMPILERS[0];
    let manifest = fs::read_to_string(built::root().join("plugin-api/Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("rust-version = \"{version}\"")), "{manifest}");
    match Compiler::get(version, generator) {
        Ok(compiler) => {
            let target = built::target().join("compilers").join(format!("build-{version}"));
            let arguments = ["check", "--locked", "-p", "plugin-api", "--features", "testkit"];
            compiler.cargo(&arguments, &target);
        }
        Err(why) => skipped(format!("no rustc {version}: {why}")),
    }
}

/// The plugin is inspected, looked over and asked a sample.
fn is_sound(sandbox: &Sandbox, version: &str) {
    let server = Scripted::start(|_| {
        reply(200, "", &json!({ "text": "yes", "ended_by": "stop", "tokens": [3, 4] }).to_string())
    });
    let key = ("ACME_API_KEY", "acme-key-1234");
    let backend = format!(
        "[[backend]]\nplugin = \"acme\"\nbase_url = \"{}\"\nsecrets = [\"api_key\"]\n",
        server.url()
    );
    sandbox.write("backend.toml", &backend);
    let inspected =
        sandbox.finish(sandbox.host(["plugin", "inspect", "plugins/libacme.so"])).exits(0);
    assert!(inspected.stdout.contains(&format!("rustc {version}")), "{}", inspected.stdout);
    let mut check =
        sandbox.host(["plugin", "check", "plugins/libacme.so", "--with", "backend.toml"]);
    check.env(key.0, key.1);
    let _ = sandbox.finish(check).exits(0);
    sandbox.write("data.jsonl", "{\"says\": \"yes\"}\n");
    let task = "[[task]]\nid = \"t\"\nkind = \"generate\"\ndata.path = \"data.jsonl\"\n\
                prompt.user = \"{{ says }}\"\nprompt.format = \"text\"\ntarget = \"{{ says }}\"\n\
                metrics = [\"exact_match\"]\n";
    let left = sandbox.run_with(&format!("{backend}{task}"), &[key]).exits(0).left();
    assert_eq!(left.counts(), [1, 1, 0], "{version}");
}

impl Compiler {
    /// Unpacks it once.
    fn get(version: &str, generator: &str) -> Result<Self, String> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = built::target().join("compilers").join(version);
        let compiler = Self { folder };
        if compiler.folder.join("whole").exists() {
            return Ok(compiler);
        }
        fs::create_dir_all(&compiler.folder).map_err(|error| error.to_string())?;
        let listed = said(Command::new("apt-cache").args(["madison", "rustc-web"]))?;
        let full = listed
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(str::trim)
            .find(|found| found.starts_with(&format!("{version}.")))
            .ok_or("there is no such package `rustc-web` here")?;
        for package in [
            format!("rustc-web={full}"),
            format!("libstd-rust-web-dev={full}"),
            format!("libstd-rust-web-{version}={full}"),
            generator.to_owned(),
        ] {
            let download = Command::new("apt-get")
                .args(["download", "-qq", &package])
                .current_dir(&compiler.folder)
                .output();
            succeeded(download)?;
        }
        for package in
            files(&compiler.folder).filter(|path| path.extension().is_some_and(|end| end == "deb"))
        {
            said(Command::new("dpkg").arg("-x").arg(&package).arg(&compiler.folder))?;
            fs::remove_file(package).map_err(|error| error.to_string())?;
        }
        fs::write(compiler.folder.join("whole"), "").map_err(|error| error.to_string())?;
        Ok(compiler)
    }

    /// Runs cargo with this compiler.
    fn cargo(&self, arguments: &[&str], target: &Path) {
        let libraries = self.folder.join("usr/lib/x86_64-linux-gnu");
        let mut paths = vec![libraries];
        // The code generator has a folder of its own.
        paths.extend(
            files(&self.folder.join("usr/lib"))
                .filter(|path| {
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm"))
                })
                .map(|path| path.join("lib")),
        );
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .arg("--target-dir")
            .arg(target)
            .current_dir(built::root())
            .env("RUSTC", self.folder.join("usr/bin/rustc"))
            .env("LD_LIBRARY_PATH", std::env::join_paths(paths).unwrap())
            .env_remove("RUSTUP_TOOLCHAIN")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn said(command: &mut Command) -> Result<String, String> {
    succeeded(command.output())
}

fn succeeded(output: std::io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
