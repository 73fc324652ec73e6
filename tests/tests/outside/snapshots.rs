//! Whole commands as they were when somebody last looked at them: what was typed, the exit code, stdout and stderr.
//! `INSTA_UPDATE=always cargo test -p host-tests --test outside snapshots` takes what is printed now.

use host_tests::{built, sandbox::Outcome};

use super::cases::{CASES, Place, every_command};

/// Lines of a stream that a snapshot has; what is longer has tests of its own.
const LINES: usize = 30;

/// What a folder, a clock, a machine or a version make of a text is taken out of it.
fn settings(place: &Place) -> insta::Settings {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let here = place.path("").display().to_string();
    let here = here.trim_end_matches('/').to_owned();
    let of = |path: String| path.replace('.', r"\.");
    settings.add_filter(&of(here), "[HERE]");
    settings.add_filter(&of(built::installed().display().to_string()), "[INSTALLED]");
    settings.add_filter(&of(built::root().display().to_string()), "[ROOT]");
    for (pattern, shown) in [
        (r"\d{8}-\d{6}(-\d+)?", "[TIME]"),
        (r"\d{4}-\d{2}-\d{2}T[\d:.]+Z", "[TIME]"),
        (r"127\.0\.0\.1:\d{4,}", "127.0.0.1:[PORT]"),
        (r"\b[0-9a-f]{64}\b", "[SHA256]"),
        (r"\b[0-9a-f]{16}\b", "[DIGEST]"),
        (r"rustc [^\n]*?\)", "[RUSTC]"),
        (r"\b\d+ bytes", "[BYTES] bytes"),
        (r"\b0\.1\.0\b", "[VERSION]"),
        (r"(under )?\b\d+(\.\d+)? (ms|s|µs|min)\b( +\d+\.\d)?", "[DURATION]"),
        (r"– +\d+\.\d\b", "–  [RATE]"),
        // Widths of columns and lines follow from what stands in them.
        (r"[─═]{2,}", "──"),
        (r" {2,}", "  "),
        (r" +\n", "\n"),
    ] {
        settings.add_filter(pattern, shown);
    }
    settings
}

fn shown(typed: &str, outcome: &Outcome) -> String {
    let stream = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        if lines.len() > LINES {
            lines.truncate(LINES);
            lines.push("…");
        }
        lines.join("\n")
    };
    let code = outcome.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    format!(
        "$ host {typed}\nexit code: {code}\n----- stdout -----\n{}\n----- stderr -----\n{}\n",
        stream(&outcome.stdout),
        stream(&outcome.stderr)
    )
}

#[test]
fn every_command_does_and_says_what_it_did_and_said() {
    for case in CASES {
        let place = Place::new();
        let mut outcome = place.sandbox().finish(place.command(case.typed));
        // The machine's own facts are no command's.
        if let Some(at) = outcome.stdout.find("\n machine ").filter(|_| case.name == "doctor") {
            outcome.stdout.truncate(at);
        }
        let text = shown(case.typed, &outcome);
        settings(&place).bind(|| insta::assert_snapshot!(case.name, text));
    }
}

#[test]
fn every_help_says_what_it_said() {
    let place = Place::new();
    for command in every_command() {
        let typed = format!("{command} --help").trim().to_owned();
        let help = place.sandbox().finish(place.command(&typed)).exits(0);
        let name = format!("help {command}").trim().replace(' ', "_");
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path("snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let text = format!("$ host {typed}\n{}{}", help.stdout, help.stderr);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}
