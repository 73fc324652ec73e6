//! Every command wherever it is started: with a reader that goes away, without HOME, where nothing can be written, and
//! by who wants no colours.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use host_tests::{
    built,
    sandbox::{Outcome, Sandbox},
};

use super::cases::{CASES, Case, Place};

/// A user who is not root, to whom permissions mean something.
const NOBODY: u32 = 65_534;

/// Runs every case after a change to how it is started.
fn every(change: impl Fn(&Place, &mut Command), judge: impl Fn(&Case, &Outcome)) {
    for case in CASES {
        let place = Place::new();
        let mut command = place.command(case.typed);
        change(&place, &mut command);
        let outcome = place.sandbox().finish(command);
        assert!(!outcome.stderr.contains("panicked"), "{}: {}", case.name, outcome.stderr);
        judge(case, &outcome);
    }
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code_and_is_no_error() {
    for (case, json) in CASES.iter().flat_map(|case| [(case, ""), (case, " --json")]) {
        let place = Place::new();
        let mut command = place.command(&format!("{}{json}", case.typed));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(case.code), "{}{json}: {stderr}", case.name);
        for noise in ["panicked", "stdout", "roken pipe"] {
            assert!(!stderr.contains(noise), "{}{json}: {stderr}", case.name);
        }
    }
}

#[test]
fn no_home_is_needed() {
    every(
        |_, command| {
            command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
        },
        |case, outcome| {
            if case.typed.starts_with("cache ") && case.code == 0 {
                assert_eq!(outcome.code, Some(2), "{}: {}", case.name, outcome.stderr);
                assert!(outcome.stderr.contains("set HOST_CACHE_DIR"), "{}", outcome.stderr);
            } else {
                assert_eq!(outcome.code, Some(case.code), "{}: {}", case.name, outcome.stderr);
            }
        },
    );
}

#[test]
fn off_a_terminal_nothing_is_coloured_or_drawn() {
    every(
        |_, command| {
            command.env("NO_COLOR", "1").env("TERM", "xterm-256color");
        },
        |case, outcome| {
            assert_eq!(outcome.code, Some(case.code), "{}: {}", case.name, outcome.stderr);
            let both = format!("{}{}", outcome.stdout, outcome.stderr);
            assert!(!both.contains('\x1b'), "{}: {both}", case.name);
        },
    );
}

/// The host with one plugin, where everyone may read them.
fn installed_for_all() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let host = sandbox.install(&built::host(), "bin");
    sandbox.install(&built::tgi(), "bin");
    allow(&sandbox.path("."), 0o755);
    (sandbox, host)
}

/// Gives all folders below this one this mode, and files the same without execution, but for programs.
fn allow(path: &Path, mode: u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            allow(&entry.unwrap().path(), mode);
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    } else {
        let execution = if path.ends_with("bin/host") { 0 } else { 0o111 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode & !execution)).unwrap();
    }
}

#[test]
fn where_nothing_can_be_written_what_only_reads_works_and_the_rest_says_what_to_do() {
    let (_installed, host) = installed_for_all();
    for case in CASES {
        let place = Place::new();
        allow(&place.path("."), 0o555);
        let mut command = Command::new(&host);
        command
            // Where it would write by itself.
            .args(case.typed.split(" --out ").next().unwrap_or_default().split_whitespace())
            .current_dir(place.path("."))
            .env_clear()
            .env("HOME", place.path("home"))
            .stdin(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let outcome = place.sandbox().finish(command);
        allow(&place.path("."), 0o755);
        if case.writes {
            assert!(
                matches!(outcome.code, Some(1 | 2)),
                "{}: {:?} {}",
                case.name,
                outcome.code,
                outcome.stderr
            );
            assert!(
                outcome.stderr.contains("ermission denied"),
                "{}: {}",
                case.name,
                outcome.stderr
            );
            // A run that is gone on with, an index and a lock file are where they are.
            let at_its_place = ["resume", "collect", "plugin lock"];
            let elsewhere = !at_its_place.iter().any(|typed| case.typed.starts_with(typed));
            let says = ["--out", "--path"].iter().any(|other| outcome.stderr.contains(other));
            assert!(says || !elsewhere, "{}: {}", case.name, outcome.stderr);
        } else {
            assert_eq!(outcome.code, Some(case.code), "{}: {}", case.name, outcome.stderr);
        }
    }
}
