//! What the tests of broken plugins share: a sandbox with a good plugin in it, bad ones beside it, and the proof that
//! the good one was not disturbed.

use std::{fs, path::PathBuf};

use host_tests::{
    built,
    left::{Left, counts},
    sandbox::{Outcome, Sandbox},
};
use serde_json::Value;

use crate::{echoes, hostile};

/// A task whose prompt is text, which is all that the plugins in C take.
pub(super) const ECHO: &str = r#"
[[task]]
id = "t"
kind = "generate"
target = "{{ target }}"
data.path = "data.jsonl"
prompt.user = "{{ says }}"
prompt.format = "text"
"#;

/// A run file's start: a task's samples are unscored without making the run a failure, and asked once.
pub(super) const ONCE: &str =
    "run.max_retries = 0\nrun.max_unscored = 1.0\nrun.attempt_timeout = \"2s\"\n";

/// The good plugin in `plugins`, and two samples.
pub(super) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_hostile();
    sandbox.write("data.jsonl", echoes(2));
    sandbox
}

/// The backend that shows that the others go on.
pub(super) fn good() -> String {
    format!("{}id = \"good\"\n", hostile("echo"))
}

/// Checks that the good backend answered every sample, and gives what the run left.
pub(super) fn good_goes_on(outcome: &Outcome) -> Left {
    let left = outcome.left();
    let good = left.of_backend("good");
    assert_eq!(counts(good), [2, 2, 0], "{}", outcome.stderr);
    assert_eq!(good["metrics"]["exact_match"]["value"], 1.0);
    left
}

/// Checks why each of a backend's samples is unscored (empty for a scored one), and the words.
pub(super) fn ends(left: &Left, backend: &str, expected: [(&str, &str); 2]) {
    let lines = left.journal.iter().filter(|line| line["backend"] == backend);
    let found: Vec<(String, String)> = lines
        .map(|line| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&line["status"]["unscored"]), text(&line["error"]["message"]))
        })
        .collect();
    let expected = expected.map(|(reason, message)| (reason.to_owned(), message.to_owned()));
    assert_eq!(found, expected, "{backend}");
}

/// Checks that stderr has this line.
pub(super) fn has_line(outcome: &Outcome, line: &str) {
    let is_there = outcome.stderr.lines().any(|found| found == line);
    assert!(is_there, "no line `{line}` in:\n{}", outcome.stderr);
}

/// What an id begins with in the hostile plugin's manifest.
const ID: &[u8] = b"\"id\": \"hostile\"";

/// The good plugin's bytes under another id, of seven letters: the only difference to the good one.
pub(super) fn renamed(id: &str) -> Vec<u8> {
    let mut bytes = fs::read(built::hostile()).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - ID.len()).filter(|at| bytes[*at..].starts_with(ID)).collect();
    assert_eq!((places.len(), id.len()), (1, 7), "{places:?}");
    let at = places[0] + ID.len() - 8;
    bytes[at..at + 7].copy_from_slice(id.as_bytes());
    bytes
}

/// The plugin in C with this fault, which is its id, too, in `plugins`. None where there is no C compiler.
pub(super) fn faulty(sandbox: &Sandbox, fault: &str) -> Option<PathBuf> {
    let id = fault.to_lowercase();
    let library = sandbox.write(&format!("plugins/lib{id}.so"), "");
    let source = built::root().join("tests/plugins/c/faulty.c");
    let flags = [format!("-DFAULT={fault}"), format!("-DID=\"{id}\""), "-Wl,-z,lazy".to_owned()];
    built::c_library_with(&source, &library, &flags)?;
    Some(library)
}

/// A backend of the plugin in C with this fault, under the same name.
pub(super) fn backend(fault: &str) -> String {
    let id = fault.to_lowercase();
    format!("[[backend]]\nplugin = \"{id}\"\nallow_unchecked_layout = true\n")
}
