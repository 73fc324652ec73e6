//! Plugins that are open and do what a plugin may not, in a step of one of their samples.

use super::faulty::{ECHO, ONCE, backend, ends, faulty, good, good_goes_on, has_line, sandbox};
use crate::hostile;

/// What a sample ends as, and the words.
type End = (&'static str, &'static str);

const WAITS: End = ("protocol", "the session waits for nothing and has not answered");
const NO_JSON: End =
    ("protocol", "an action cannot be read: invalid utf-8 sequence of 1 bytes from index 0");
const LATE: End = ("timeout", "no answer within 2s");
const STUCK: End = (
    "crashed",
    "plugin `hostile` 0.1.0: its worker was stuck in a step for more than 1s and was ended",
);
const EXITED: End = ("crashed", "plugin `hostile` 0.1.0: its worker ended with exit status 0");
const ABORTED: End =
    ("crashed", "plugin `hostile` 0.1.0: its worker ended with signal 6 (SIGABRT)");
const NOTHING_THERE: End =
    ("crashed", "plugin `hostile` 0.1.0: its worker ended with signal 11 (SIGSEGV)");
// The first four bytes are read as the length of a head.
const NO_FRAME: End = (
    "crashed",
    "plugin `hostile` 0.1.0: its worker sent what is no message (a head of 1936287860 bytes, and 16777216 is the most; \
     it begins with `this is no frame, and its first bytes ar`: something writes where only frames go), and was ended",
);

/// Each mode of the hostile plugin that ends by itself, and what each sample ends as.
const MODES: [(&str, End); 8] = [
    ("never_ready", WAITS),
    ("garbage", NO_JSON),
    ("exit", EXITED),
    ("abort", ABORTED),
    ("stack_overflow", ABORTED),
    ("segfault", NOTHING_THERE),
    ("eat_memory", ABORTED),
    ("scribble", NO_FRAME),
];

#[test]
fn what_a_plugin_does_to_its_process_or_the_protocol_is_told_and_the_others_go_on() {
    let sandbox = sandbox();
    let backend = |mode: &str| format!("{}id = \"{mode}\"\n", hostile(mode));
    let all: String = MODES.iter().map(|(mode, _)| backend(mode)).collect();
    let engine = "run.concurrency = 1\nrun.max_retries = 0\nrun.max_unscored = 1.0\n";
    let outcome = sandbox.run(&format!("{engine}{all}{}{ECHO}", good())).exits(0);
    let left = good_goes_on(&outcome);
    for (mode, expected) in MODES {
        ends(&left, mode, [expected; 2]);
    }
}

#[test]
fn a_step_without_end_is_ended_and_the_others_go_on() {
    let sandbox = sandbox();
    let modes = ["slow_block", "spin", "flood_output"];
    let endless = "config.bytes = 1000000000000\nconfig.ms = 1000000000000\n";
    let backend = |mode| format!("{}id = \"{mode}\"\n{endless}", hostile(mode));
    let all: String = modes.into_iter().map(backend).collect();
    let text = format!("run.concurrency = 1\n{ONCE}{all}{}{ECHO}", good());
    let outcome = sandbox.run(&text).exits(0);
    let shown = outcome.stderr.lines().filter(|line| line.contains("writes: line ")).count();
    assert_eq!(shown, 20, "{}", outcome.stderr);
    has_line(&outcome, "warning: plugin `hostile` 0.1.0 writes more than is shown here");
    let left = good_goes_on(&outcome);
    for mode in modes {
        ends(&left, mode, [LATE, STUCK]);
    }
}

#[test]
fn a_plugin_that_dies_when_it_is_closed_is_told_and_the_answers_stay() {
    let sandbox = sandbox();
    let deaths = [
        ("abort_close", Some("signal 6 (SIGABRT)")),
        ("exit_close", Some("exit status 0")),
        // It is caught, and the backend is closed.
        ("panic_close", None),
    ];
    let backend = |mode: &str| format!("{}id = \"{mode}\"\n", hostile(mode));
    let all: String = deaths.iter().map(|(mode, _)| backend(mode)).collect();
    let outcome = sandbox.run(&format!("{ONCE}{all}{}{ECHO}", good())).exits(0);
    let left = good_goes_on(&outcome);
    for (mode, how) in deaths {
        ends(&left, mode, [("", ""); 2]);
        let of_it = left.events.iter().filter(|event| event["backend"] == mode);
        let told: Vec<_> = of_it.map(|event| (&event["event"], &event["message"])).collect();
        let Some(how) = how else {
            assert!(told.is_empty(), "{told:?}");
            continue;
        };
        let message = format!(
            "plugin `hostile` 0.1.0: its worker ended with {how} while its backend was closed"
        );
        has_line(&outcome, &format!("warning: backend `{mode}`: {message}"));
        assert_eq!(told, [(&"warning".into(), &message.into())]);
    }
    assert_eq!(left.events.last().unwrap()["event"], "done");
}

/// The same for the plugin in C.
const FAULTS: [(&str, End); 3] = [
    ("STEP_FAILS", ("other", "the plugin's step failed without a reason")),
    ("STEP_SAYS_77", ("other", "the plugin's step failed without a reason")),
    // Everything was answered before.
    ("CLOSE_ABORTS", ("", "")),
];

#[test]
fn a_status_without_a_reason_is_a_failure_and_the_others_go_on() {
    let sandbox = sandbox();
    let mut text = ONCE.to_owned();
    for (fault, _) in FAULTS {
        if faulty(&sandbox, fault).is_none() {
            return host_tests::skip::skipped("there is no `cc`");
        }
        text.push_str(&backend(fault));
    }
    let left = good_goes_on(&sandbox.run(&format!("{text}{}{ECHO}", good())).exits(0));
    for (fault, expected) in FAULTS {
        ends(&left, &fault.to_lowercase(), [expected; 2]);
    }
}

#[test]
fn a_plugin_starts_no_second_process_and_the_others_go_on() {
    let sandbox = sandbox();
    let mut text = ONCE.to_owned();
    let faults = ["FORKS", "FORKS_BY_ITSELF"];
    for fault in faults {
        if faulty(&sandbox, fault).is_none() {
            return host_tests::skip::skipped("there is no `cc`");
        }
        text.push_str(&backend(fault));
    }
    let left = good_goes_on(&sandbox.run(&format!("{text}{}{ECHO}", good())).exits(0));
    let means = left.manifest["plugins"][0]["sandbox"].as_array().unwrap();
    if !means.iter().any(|name| name == "seccomp") {
        return host_tests::skip::skipped("the kernel has no seccomp");
    }
    for fault in faults {
        let of_it = left.journal.iter().filter(|line| line["backend"] == fault.to_lowercase());
        let said: Vec<_> =
            of_it.map(|line| &line["response"]["completion"]["choices"][0]["text"]).collect();
        assert_eq!(said, ["not permitted"; 2], "{fault}");
    }
}
