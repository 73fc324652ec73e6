//! A terminal of a given size: what a command sends to it, and what is on it in the end.

use std::{
    fs::File,
    io::Read,
    num::NonZeroU16,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use unicode_width::UnicodeWidthStr as _;

/// What a terminal saw.
pub(crate) struct Seen {
    /// The exit code.
    pub code: Option<i32>,
    /// All bytes.
    pub sent: String,
    columns: u16,
}

/// Rows of every terminal here: more than any command fills, so that nothing scrolls away.
const ROWS: u16 = 400;

/// Which of a command's streams are the terminal.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Which {
    /// stdout; stderr goes nowhere.
    Stdout,
    /// Both, and stdin.
    All,
}

/// Runs a command at a terminal of so many columns.
pub(crate) fn at_terminal(mut command: Command, columns: u16, which: Which) -> Seen {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave: OwnedFd = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).unwrap();
    command.env("TERM", "xterm-256color").stdout(slave.try_clone().unwrap());
    match which {
        Which::Stdout => {
            // As long as an end of it is open here, the other is not at an end.
            drop(slave);
            command.stdin(Stdio::null()).stderr(Stdio::null())
        }
        Which::All => command.stdin(slave.try_clone().unwrap()).stderr(slave),
    };
    let mut child = command.spawn().unwrap();
    // The command holds the other end, too; the end of what it says is the end of its last copy.
    drop(command);
    let mut sent = Vec::new();
    // Linux tells the end of a terminal as an error.
    let _ = File::from(master).read_to_end(&mut sent);
    let code = child.wait().unwrap().code();
    Seen { code, sent: String::from_utf8(sent).unwrap(), columns }
}

impl Seen {
    /// What is on the screen in the end, without the empty rows below it.
    pub(crate) fn screen(&self) -> String {
        let non_zero = |size: u16| NonZeroU16::new(size).unwrap();
        let mut parser = vt100::Parser::new(non_zero(ROWS), non_zero(self.columns), 0);
        parser.process(self.sent.as_bytes());
        parser.screen().contents().trim_end().to_owned()
    }

    /// Lines that take more columns than there are: of tables, or all. A sentence may be wrapped by the terminal.
    pub(crate) fn too_long(&self, all: bool) -> Vec<&str> {
        let is_rule = |line: &str| line.starts_with('─');
        let mut inside = false;
        let mut found = Vec::new();
        for line in self.sent.lines().map(|line| line.trim_end_matches('\r')) {
            inside ^= is_rule(line);
            let counts = all || inside || is_rule(line);
            if counts && line.width() > usize::from(self.columns) {
                found.push(line);
            }
        }
        found
    }
}
