//! Panics, wherever the SDK calls an author's code: caught inside the plugin, and told by what was said and where.

use std::fs;

use host_tests::built;

use super::faulty::{ECHO, ONCE, ends, good, good_goes_on, has_line, sandbox};
use crate::hostile;

/// Where an author's code panics, what its samples end as, and what is said of them; `{panic}` is the panic's own words
/// after the place of it.
const PANICS: [(&str, &str, &str); 4] = [
    ("panic_first_poll", "panic", "the plugin panicked at src/lib.rs:{panic}"),
    ("panic_later_poll", "panic", "the plugin panicked at src/lib.rs:{panic}"),
    // It was given up before it was dropped.
    ("panic_drop", "timeout", "no answer within 2s"),
    // Everything was answered before.
    ("panic_close", "", ""),
];

/// The line of the hostile plugin's source where it panics so, and the words.
fn panic(mode: &str) -> String {
    let source =
        fs::read_to_string(built::root().join("tests/plugins/hostile/src/lib.rs")).unwrap();
    let call = format!("panic!(\"{mode}\")");
    let line = 1 + source.lines().position(|line| line.contains(&call)).unwrap();
    format!("{line}: {mode}")
}

#[test]
fn a_panic_is_told_where_it_happens_and_the_others_go_on() {
    let sandbox = sandbox();
    let backend = |mode: &str| format!("{}id = \"{mode}\"\n", hostile(mode));
    let all: String = PANICS.iter().map(|(mode, ..)| backend(mode)).collect();
    let text = format!("{ONCE}{}{all}{}{ECHO}", backend("panic_open"), good());
    let outcome = sandbox.run(&text).exits(5);
    let opens = format!(
        "warning: backend `panic_open` (plugin `hostile`) does not open: the plugin panicked at src/lib.rs:{}; the \
         others go on without it",
        panic("panic_open")
    );
    has_line(&outcome, &opens);
    let left = good_goes_on(&outcome);
    for (mode, reason, message) in PANICS {
        ends(&left, mode, [(reason, &message.replace("{panic}", &panic(mode))); 2]);
    }
}
