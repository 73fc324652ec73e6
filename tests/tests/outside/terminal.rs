//! What is seen on a terminal: tables that fit, no progress that is left behind, and no colours for who wants none.

use super::{
    cases::{CASES, Place, every_command},
    screen::{Which, at_terminal},
};

/// Texts for files and programs, which are the same wherever they go.
const AS_THEY_ARE: [&str; 7] = ["show", "schema", "completions", "man", "report", "mock", "ctl"];

fn is_for_people(typed: &str) -> bool {
    let command = typed.split(' ').next().unwrap_or_default();
    !AS_THEY_ARE.contains(&command)
}

#[test]
fn tables_fit_forty_columns() {
    for case in CASES.iter().filter(|case| is_for_people(case.typed)) {
        let place = Place::new();
        let seen = at_terminal(place.command(case.typed), 40, Which::Stdout);
        assert_eq!(seen.code, Some(case.code), "{}: {}", case.name, seen.sent);
        let long = seen.too_long(case.typed.starts_with("compare"));
        assert!(long.is_empty(), "{}: {long:#?}", case.name);
    }
}

#[test]
fn help_fits_forty_columns() {
    let place = Place::new();
    for command in every_command() {
        let mut help = place.command(&format!("{command} --help"));
        help.env("NO_COLOR", "1");
        let seen = at_terminal(help, 40, Which::Stdout);
        assert_eq!(seen.code, Some(0));
        let mut long = seen.too_long(true);
        // How a command is typed is one line, and a word is one word.
        long.retain(|line| !line.starts_with("Usage: ") && line.trim().contains(' '));
        assert!(long.is_empty(), "{command}: {long:#?}");
    }
}

#[test]
fn no_colours_are_shown_to_who_wants_none() {
    let cases =
        ["run slow.toml --plugin-dir strange", "absent", "--help", "run wrong.toml", "doctor"];
    for typed in cases {
        let place = Place::new();
        let plain = |mut command: std::process::Command| {
            command.env("NO_COLOR", "1");
            at_terminal(command, 80, Which::All).sent
        };
        // Lines are taken away; nothing is painted.
        let sent = plain(place.command(typed)).replace("\x1b[2K", "").replace("\x1b[1A", "");
        assert!(!sent.contains('\x1b'), "{typed}: {sent:?}");
    }
    let place = Place::new();
    assert!(
        at_terminal(place.command("run wrong.toml"), 80, Which::All).sent.contains("\x1b[1;31m")
    );
}

#[test]
fn nothing_of_the_progress_is_left_on_the_screen() {
    for columns in [40, 80, 200] {
        let place = Place::new();
        let typed = "run slow.toml --plugin-dir strange --out new";
        let seen = at_terminal(place.command(typed), columns, Which::All);
        assert_eq!(seen.code, Some(0), "{}", seen.sent);
        // Something was drawn, and drawn over.
        assert!(seen.sent.matches("\x1b[2K").count() > 1, "{:?}", seen.sent);
        let screen = seen.screen();
        let begins = ["run directory: new/", "results: new/", "report: new/"];
        assert!(
            begins.iter().all(|begin| screen.lines().any(|line| line.starts_with(begin))),
            "{screen}"
        );
        for left in ["in flight", "samples,", "/s,", "%"] {
            assert!(!screen.contains(left), "{left} is left at {columns} columns:\n{screen}");
        }
    }
}
