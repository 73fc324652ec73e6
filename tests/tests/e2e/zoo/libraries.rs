//! Libraries that are plugins by their files, and whose code or entry is at fault: what happens while they are loaded and
//! opened. In C, since the SDK for Rust writes the entry itself.

use std::path::Path;

use super::faulty::{ECHO, ONCE, backend, faulty, good, good_goes_on, has_line, sandbox};

/// Faults that come to light before a backend is open, and what is said of them; `{file}` is the library.
const FAULTS: [(&str, &str); 11] = [
    ("UNDEFINED_SYMBOL", ""),
    ("CONSTRUCTOR_EXITS", ""),
    ("CONSTRUCTOR_ABORTS", ""),
    ("WRONG_MAGIC", ""),
    ("SHORT_ENTRY", ""),
    ("OTHER_ABI", ""),
    ("OTHER_MANIFEST", ""),
    ("NO_TABLE", ""),
    ("SHORT_TABLE", ""),
    ("OPEN_FAILS", ""),
    ("OPEN_GIVES_NOTHING", ""),
];

#[test]
fn a_library_that_cannot_be_opened_is_told_why_and_the_others_go_on() {
    let sandbox = sandbox();
    let mut text = ONCE.to_owned();
    let mut files = Vec::new();
    for fault in ["NONE", "BEGIN_FAILS", "OPEN_ABORTS", "STEP_FAILS", "STEP_SAYS_77","FORKS","FORKS_BY_ITSELF","CLOSE_ABORTS"].into_iter().chain(FAULTS.iter().map(|x|x.0)) {
        let Some(file) = faulty(&sandbox, fault) else {
            return println!("skipped: there is no `cc`");
        };
        text.push_str(&backend(fault));
        files.push(file);
    }
    let outcome = sandbox.run(&format!("{text}{}{ECHO}", good()));
    println!("{:?} {}", outcome.code, outcome.stderr);
    let left = good_goes_on(&outcome);
    for id in &left.journal { println!("{} {:?} {:?}",  id["backend"], id["status"], id["error"]["message"]); println!("{}", id["response"]);}
}
