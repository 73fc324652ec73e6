//! What a worker's plugin writes to its stdout and stderr: a plugin has no business there, but what a dying one says
//! is worth reading. It goes to the log line by line, without secrets, and not for ever.

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::plugin::{
    host_table,
    line::{MOST_BYTES, visible},
};

/// Lines of one worker that are shown.
const MOST_LINES: usize = 20;
/// The level of a warning.
const WARNING: u32 = 2;

/// Takes text and logs its lines.
pub(super) struct Shown<F> {
    name: String,
    line: String,
    lines: usize,
    /// The last one that was not shown: what a program dies of comes at the end.
    last: String,
    log: F,
}

/// What takes lines, and none at the end of what one worker writes.
pub(super) type Written = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// What logs them.
pub(super) fn to_log(name: &str) -> Written {
    let name = name.to_owned();
    Arc::new(move |line| {
        if let Some(line) = line {
            host_table::log(Some(&name), WARNING, line.as_bytes());
        }
    })
}

/// What hands the lines of this plugin on.
pub(super) fn shown(name: &str, written: &Written) -> Shown<impl FnMut(&str)> {
    let written = Arc::clone(written);
    Shown::new(name, move |line| written(Some(line)))
}

impl<F: FnMut(&str)> Shown<F> {
    fn new(name: &str, log: F) -> Self {
        Self { name: name.to_owned(), line: String::new(), lines: 0, last: String::new(), log }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        if self.lines <= MOST_LINES {
            return (self.log)(&format!("{} writes: {line}", self.name));
        }
        if self.lines == MOST_LINES + 1 {
            (self.log)(&format!("{} writes more than is shown here", self.name));
        }
        line.clone_into(&mut self.last);
    }
}

impl<F: FnMut(&str)> Write for Shown<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for c in String::from_utf8_lossy(bytes).chars() {
            if matches!(c, '\n' | '\r') {
                self.end_line();
            } else if self.line.len() < MOST_BYTES {
                self.line.push(visible(c));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&str)> Shown<F> {
    /// There is no more.
    pub(super) fn finish(mut self) {
        self.end_line();
        if !self.last.is_empty() {
            (self.log)(&format!("{} writes at last: {}", self.name, self.last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_and_not_for_ever() {
        let mut lines = Vec::new();
        let mut shown = Shown::new("it", |line| lines.push(line.to_owned()));
        shown.write_all(b"one\n\ntw").unwrap();
        shown.write_all(b"o\x1b[1m\r").unwrap();
        shown.write_all("x".repeat(10_000).as_bytes()).unwrap();
        for _ in 0..1000 {
            shown.write_all(b"\nagain").unwrap();
        }
        shown.write_all(b"\nthe end").unwrap();
        shown.finish();
        assert_eq!(lines[..2], ["it writes: one", "it writes: two [1m"]);
        assert!(lines[2].len() < MOST_BYTES + 50);
        assert_eq!(
            lines[MOST_LINES..],
            ["it writes more than is shown here", "it writes at last: the end"]
        );
    }
}
