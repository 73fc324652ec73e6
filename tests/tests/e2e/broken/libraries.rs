//! Libraries that are plugins by their files, and whose code or entry is at fault: what happens while they are loaded and
//! opened. In C, since the SDK for Rust writes the entry itself.

use host_tests::{
    patience::until,
    processes::{children, is_alive, own_ticks},
};
use rustix::process::{Pid, Signal, kill_process};

use super::faulty::{ECHO, ONCE, backend, faulty, good, good_goes_on, has_line, sandbox};

/// Faults that come to light before a backend is asked anything, and what is said of them: `{name}` is the plugin,
/// `{file}` its library.
const FAULTS: [(&str, &str); 15] = [
    (
        "UNDEFINED_SYMBOL",
        "plugin `{name}`: {file}: cannot be loaded: undefined symbol: a_function_that_no_library_has",
    ),
    ("CONSTRUCTOR_EXITS", "plugin `{name}`: its worker ended with exit status 3"),
    ("CONSTRUCTOR_ABORTS", "plugin `{name}`: its worker ended with signal 6 (SIGABRT)"),
    (
        "WRONG_MAGIC",
        "plugin `{name}`: {file}: its entry does not begin with the magic number of this contract",
    ),
    ("SHORT_ENTRY", "plugin `{name}`: {file}: its entry is shorter than that of ABI 1.0"),
    ("OTHER_ABI", "plugin `{name}`: {file}: its entry states another ABI than its manifest"),
    ("OTHER_MANIFEST", "plugin `{name}`: {file}: its entry names another manifest than its file"),
    ("NO_TABLE", "plugin `{name}`: {file}: its entry gives no table of functions"),
    (
        "SHORT_TABLE",
        "plugin `{name}`: {file}: its table of functions is shorter than that of ABI 1.0",
    ),
    ("NO_STEP", "plugin `{name}`: {file}: its table has no function `step`"),
    (
        "OPEN_FAILS",
        "backend `{name}` (plugin `{name}`) does not open: config.key: expected the key of a door",
    ),
    ("OPEN_SAYS_NOTHING", "backend `{name}` (plugin `{name}`) does not open: it gives no reason"),
    (
        "OPEN_GIVES_NOTHING",
        "backend `{name}` (plugin `{name}`) does not open: it reports success but gives no backend",
    ),
    (
        "OPEN_ABORTS",
        "backend `{name}` (plugin `{name}`) does not open: its worker ended with signal 6 (SIGABRT)",
    ),
    ("BEGIN_FAILS", "backend `{name}` is not ready: other: no session today"),
];

#[test]
fn a_library_that_cannot_be_opened_is_told_why_and_the_others_go_on() {
    let sandbox = sandbox();
    let mut text = ONCE.to_owned();
    let mut expected = Vec::new();
    for (fault, words) in FAULTS {
        let Some(file) = faulty(&sandbox, fault) else {
            return host_tests::skip::skipped("there is no `cc`");
        };
        let words = words.replace("{name}", &fault.to_lowercase());
        expected.push(words.replace("{file}", &file.display().to_string()));
        text.push_str(&backend(fault));
    }
    let outcome = sandbox.run(&format!("{text}{}{ECHO}", good())).exits(5);
    for words in &expected {
        has_line(&outcome, &format!("warning: {words}; the others go on without it"));
    }
    let left = good_goes_on(&outcome);
    assert_eq!(left.journal.len(), 2, "the others were asked nothing");
}

#[test]
fn a_library_that_never_comes_to_the_end_of_its_constructor_is_given_up() {
    let sandbox = sandbox();
    if faulty(&sandbox, "CONSTRUCTOR_NEVER_ENDS").is_none() {
        return host_tests::skip::skipped("there is no `cc`");
    }
    let text = format!("{ONCE}{}{}{ECHO}", backend("CONSTRUCTOR_NEVER_ENDS"), good());
    let outcome = sandbox.run(&text).exits(5);
    has_line(
        &outcome,
        "warning: plugin `constructor_never_ends`: it is not loaded within 1m; the others go on without it",
    );
    good_goes_on(&outcome);
}

#[test]
fn a_library_whose_constructor_takes_a_processor_ends_with_the_run_that_is_stopped() {
    let sandbox = sandbox();
    if faulty(&sandbox, "CONSTRUCTOR_SPINS").is_none() {
        return host_tests::skip::skipped("there is no `cc`");
    }
    let text = format!("{ONCE}{}{}{ECHO}", backend("CONSTRUCTOR_SPINS"), good());
    let host = sandbox.spawn(sandbox.run_command(&text, &[]));
    // Not for as long as it may: it would keep the other tests waiting.
    let worker = until("the constructor takes a processor", || {
        children(host.id()).into_iter().find(|worker| own_ticks(*worker) > 20)
    });
    kill_process(Pid::from_child(&host), Signal::INT).unwrap();
    let _ = sandbox.wait(host).exits(4).says(&["stopped before the first sample"]);
    until("the worker is gone", || (!is_alive(worker)).then_some(()));
}

#[test]
fn a_library_without_a_layout_is_refused_and_the_others_go_on() {
    let sandbox = sandbox();
    let Some(file) = faulty(&sandbox, "NONE") else {
        return host_tests::skip::skipped("there is no `cc`");
    };
    let text = format!("{ONCE}[[backend]]\nplugin = \"none\"\n{}{ECHO}", good());
    let outcome = sandbox.run(&text).exits(5);
    has_line(
        &outcome,
        &format!(
            "warning: plugin `none`: {}: carries no layout check, so a mis-built library could not be told; if you trust \
             it, set allow_unchecked_layout = true in its [[backend]], or grant it: `host plugin lock none --grant \
             none=unchecked-layout --plugin-dir {}`; the others go on without it",
            file.display(),
            file.parent().unwrap().display()
        ),
    );
    good_goes_on(&outcome);
}
