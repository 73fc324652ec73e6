//! The only module that writes to stdout or stderr. stdout is data, stderr is talk; a reader that goes
//! away (`| head`) is no error. Everything passes the redactor on its way out.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use unicode_width::UnicodeWidthChar as _;

use crate::secret::{Redactor, Secret};

/// How much is said, and in what form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Data, warnings and errors.
    #[default]
    Default,
    /// Data and errors.
    Quiet,
    /// stdout is one JSON record a line and nothing else; stderr as in `Quiet`.
    Json,
}

/// Writes for the whole program. Cheap to clone; clones share one output.
#[derive(Clone)]
pub struct Printer {
    mode: Mode,
    color: bool,
    stderr_is_terminal: bool,
    streams: Arc<Mutex<Streams>>,
}

struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    redactor: Redactor,
    /// Whether a terminal shows what goes to stdout, so that what would steer it is taken out.
    out_is_terminal: bool,
    /// Whether the reader of stdout went away, or stdout cannot be written.
    out_closed: bool,
    /// Whether something was lost that somebody waits for.
    out_lost: bool,
    /// How many lines at the end of stderr are status lines, to be overwritten.
    status_shown: usize,
}

/// What a text on stderr is.
#[derive(Clone, Copy)]
enum Tone {
    Note,
    Warning,
    Error,
}

impl Printer {
    /// A printer to the process's own streams. Colours are for a terminal where `NO_COLOR` is unset or empty.
    pub fn new(mode: Mode) -> Self {
        let stderr_is_terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let printer = Self {
            color: stderr_is_terminal && !no_color,
            ..Self::with_streams(
                mode,
                Box::new(io::stdout()),
                Box::new(io::stderr()),
                stderr_is_terminal,
            )
        };
        printer.lock().out_is_terminal = io::stdout().is_terminal();
        printer
    }

    /// A printer to other streams, without colours; for tests.
    pub fn with_streams(
        mode: Mode,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        stderr_is_terminal: bool,
    ) -> Self {
        let streams = Streams {
            out,
            err,
            redactor: Redactor::default(),
            out_is_terminal: false,
            out_closed: false,
            out_lost: false,
            status_shown: 0,
        };
        Self { mode, color: false, stderr_is_terminal, streams: Arc::new(Mutex::new(streams)) }
    }

    /// From now on these secrets are taken out of everything that is printed.
    pub fn hide<'a>(&self, secrets: impl IntoIterator<Item = (&'a str, &'a Secret)>) {
        self.lock().redactor.add(secrets);
    }

    /// A text without those secrets, for whoever cuts it: a part of one would not be known as one.
    pub fn without_secrets(&self, text: &str) -> String {
        self.lock().redactor.redact(text).into_owned()
    }

    /// The mode that was asked for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether stdout could not be written, though its reader was there.
    pub fn has_lost(&self) -> bool {
        self.lock().out_lost
    }

    /// Whether a person may be watching: a bar or a status line makes sense.
    pub fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
    }

    /// Columns of the terminal that stdout goes to; none if it goes elsewhere.
    pub fn width(&self) -> Option<u16> {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok());
        size.flatten().map(|size| size.ws_col).filter(|columns| *columns > 0)
    }

    /// Data for people, on stdout, as it is given (with its own line ends). Nothing in JSON mode.
    pub fn data(&self, text: &str) {
        if self.mode != Mode::Json {
            self.lock().write_out(text);
        }
    }

    /// One record for programs, on stdout, in JSON mode only.
    pub fn record(&self, record: &impl Serialize) {
        if self.mode == Mode::Json {
            match serde_json::to_string(record) {
                Ok(line) => {
                    let mut streams = self.lock();
                    let clean = streams.redactor.redact_json(&line).into_owned();
                    streams.write_raw(&format!("{clean}\n"));
                }
                Err(error) => self.error(&format!("a record cannot be written as JSON: {error}")),
            }
        }
    }

    /// What is going on. Default mode only.
    pub fn note(&self, text: &str) {
        if self.mode == Mode::Default {
            self.talk(Tone::Note, text);
        }
    }

    /// Something that the user should know and need not do anything about. Default mode only.
    pub fn warn(&self, text: &str) {
        if self.mode == Mode::Default {
            self.talk(Tone::Warning, text);
        }
    }

    /// Why something failed. Always.
    pub fn error(&self, text: &str) {
        self.talk(Tone::Error, text);
    }

    /// A line that the next output overwrites, for a person who watches: on a terminal, in default mode.
    /// An empty text takes the line away.
    pub fn status(&self, text: &str) {
        if text.is_empty() { self.status_lines::<&str>(&[]) } else { self.status_lines(&[text]) }
    }

    /// The same with several lines.
    pub fn status_lines<T: AsRef<str>>(&self, lines: &[T]) {
        if self.mode != Mode::Default || !self.stderr_is_terminal {
            return;
        }
        let columns = self.columns().unwrap_or(usize::MAX);
        let mut streams = self.lock();
        let mut text = streams.without_status();
        for (index, line) in lines.iter().enumerate() {
            let clean = streams.redactor.redact(line.as_ref()).replace(['\n', '\r'], " ");
            // A line that wraps could not be taken away again.
            text.push_str(if index == 0 { "" } else { "\n" });
            text.push_str(cut(&visible(&clean), columns));
        }
        streams.status_shown = lines.len();
        // In one piece, so that nothing flickers.
        if !text.is_empty() {
            streams.write_err(&text);
        }
    }

    /// Rows of the terminal that stderr is, if it tells.
    pub fn rows(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
    }

    /// Columns of the terminal that stderr is, if it tells.
    pub fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    fn talk(&self, tone: Tone, text: &str) {
        let (word, color) = match tone {
            Tone::Note => ("", ""),
            Tone::Warning => ("warning", "\x1b[1;33m"),
            Tone::Error => ("error", "\x1b[1;31m"),
        };
        let label = match (word.is_empty(), self.color) {
            (true, _) => String::new(),
            (_, true) => format!("{color}{word}\x1b[0m: "),
            (_, false) => format!("{word}: "),
        };
        let mut streams = self.lock();
        streams.clear_status();
        let text = visible(&streams.redactor.redact(text.trim_end()));
        streams.write_err(&format!("{label}{text}\n"));
    }

    /// A panic elsewhere must not silence the program.
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a text fits into one line of so many columns; the last one stays empty, since terminals wrap there.
fn cut(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let end = text.char_indices().find(|(_, c)| {
        width += c.width().unwrap_or(0);
        width >= columns
    });
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

/// The text without what would steer a terminal: part of it may be a server's or a plugin's words.
fn visible(text: &str) -> String {
    let escaped = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.chars().map(|c| if escaped(c) { '\u{fffd}' } else { c }).collect()
}

impl Streams {
    fn write_out(&mut self, text: &str) {
        let clean = self.redactor.redact(text);
        let clean = if self.out_is_terminal { visible(&clean) } else { clean.into_owned() };
        self.write_raw(&clean);
    }

    /// Writes what holds no secret any more.
    fn write_raw(&mut self, clean: &str) {
        self.clear_status();
        if self.out_closed {
            return;
        }
        let written = self.out.write_all(clean.as_bytes()).and_then(|()| self.out.flush());
        // A full disk is as final as a closed pipe, but somebody should hear of it.
        if let Err(error) = written {
            self.out_closed = true;
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.out_lost = true;
                self.write_err(&format!("error: cannot write to stdout: {error}\n"));
            }
        }
    }

    /// There is nowhere left to tell an error of stderr.
    fn write_err(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    fn clear_status(&mut self) {
        let cleared = self.without_status();
        if !cleared.is_empty() {
            self.write_err(&cleared);
        }
    }

    /// What takes the status lines away; the cursor is at the end of the last of them.
    fn without_status(&mut self) -> String {
        match std::mem::take(&mut self.status_shown) {
            0 => String::new(),
            lines => format!("\r\x1b[2K{}", "\x1b[1A\x1b[2K".repeat(lines - 1)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A stream whose text a test reads.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(pub(crate) Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(mode: Mode, terminal: bool) -> (String, String) {
        let (out, err) = (Shared::default(), Shared::default());
        let printer =
            Printer::with_streams(mode, Box::new(out.clone()), Box::new(err.clone()), terminal);
        printer.hide([("key", &Secret::new("sk-123456".into()))]);
        printer.status("working");
        printer.data("table sk-123456\n");
        printer.record(&json!({"event": "launch"}));
        printer.note("note");
        printer.warn("warning");
        printer.error("failed with sk-123456\n");
        let text = |shared: Shared| String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        (text(out), text(err))
    }

    #[test]
    fn a_line_is_cut_by_what_it_takes_on_the_screen() {
        for (text, columns, expected) in [
            ("abcdef", 7, "abcdef"),
            ("abcdef", 6, "abcde"),
            ("日本語", 6, "日本"),
            ("日本語", 5, "日本"),
            ("e\u{301}e\u{301}", 2, "e\u{301}"),
            ("", 1, ""),
            ("abc", usize::MAX, "abc"),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} in {columns}");
        }
    }

    #[test]
    fn each_mode_says_what_it_promises_and_no_secret() {
        let errors = "error: failed with [redacted:key]\n";
        let talk = format!("note\nwarning: warning\n{errors}");
        let table = [
            (Mode::Default, false, "table [redacted:key]\n", talk.clone()),
            (Mode::Default, true, "table [redacted:key]\n", format!("working\r\x1b[2K{talk}")),
            (Mode::Quiet, true, "table [redacted:key]\n", errors.into()),
            (Mode::Json, true, "{\"event\":\"launch\"}\n", errors.into()),
        ];
        for (mode, terminal, out, err) in table {
            assert_eq!(printed(mode, terminal), (out.to_owned(), err), "{mode:?}");
        }
    }

    #[test]
    fn nobody_steers_the_terminal_that_data_is_shown_on() {
        for (is_terminal, expected) in
            [(true, "\u{fffd}]0;x\u{fffd}\ta\n"), (false, "\x1b]0;x\x07\ta\n")]
        {
            let out = Shared::default();
            let (stream, err) = (Box::new(out.clone()), Box::new(Shared::default()));
            let printer = Printer::with_streams(Mode::Default, stream, err, false);
            printer.lock().out_is_terminal = is_terminal;
            printer.data("\x1b]0;x\x07\ta\n");
            assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
        }
    }

    #[test]
    fn several_status_lines_are_taken_away_from_the_last_to_the_first() {
        let err = Shared::default();
        let (out, shown) = (Box::new(Shared::default()), Box::new(err.clone()));
        let printer = Printer::with_streams(Mode::Default, out, shown, true);
        printer.status_lines(&["a", "b", "c"]);
        printer.status_lines(&["d"]);
        printer.note("note");
        printer.status("");
        let text = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
        let up = "\x1b[1A\x1b[2K";
        assert_eq!(text, format!("a\nb\nc\r\x1b[2K{up}{up}d\r\x1b[2Knote\n"));
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let err = Shared::default();
        let printer =
            Printer::with_streams(Mode::Default, Box::new(Closed), Box::new(err.clone()), false);
        printer.data("a\n");
        printer.data("b\n");
        assert!(printer.lock().out_closed);
        assert!(err.0.lock().unwrap().is_empty());
    }
}
