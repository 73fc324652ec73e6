//! A server's output on its way into its log. It may say anything, also the keys that it is asked with, and no secret
//! is ever written: so it passes through here, line by line.

use std::io::{self, Read, Write};

use crate::secret::Redactor;

/// Longest line that is kept in memory before a part of it is written.
const LONGEST: usize = 64 * 1024;

/// Copies until there is no more; what is not UTF-8 is replaced. A log that cannot be written any more is no reason
/// to hold up the server: the rest is read and lost.
///
/// # Errors
/// The first of writing, after everything was read.
pub fn copy(mut from: impl Read, mut to: impl Write, redactor: &Redactor) -> io::Result<()> {
    let mut lines = Lines { pending: Vec::new(), redactor };
    let mut buffer = [0; 8 * 1024];
    let mut written = Ok(());
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let text = match buffer.get(..read) {
            Some(new) if read > 0 => lines.add(new),
            _ => lines.rest(),
        };
        if written.is_ok() && !text.is_empty() {
            written = to.write_all(text.as_bytes());
        }
        if read == 0 {
            return written;
        }
    }
}

struct Lines<'a> {
    pending: Vec<u8>,
    redactor: &'a Redactor,
}

impl Lines<'_> {
    /// The lines that end with these bytes. A progress bar ends its lines by going back to their start.
    fn add(&mut self, new: &[u8]) -> String {
        self.pending.extend_from_slice(new);
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        if let Some(end) = self.pending.iter().rposition(is_end) {
            let rest = self.pending.split_off(end + 1);
            let whole = std::mem::replace(&mut self.pending, rest);
            return clean(&whole, self.redactor);
        }
        if self.pending.len() < LONGEST {
            return String::new();
        }
        // A secret may be half there: what could be its beginning waits for the next bytes.
        let mut text = clean(&std::mem::take(&mut self.pending), self.redactor);
        let kept = text.floor_char_boundary(text.len().saturating_sub(self.redactor.longest()));
        self.pending = text.split_off(kept).into_bytes();
        text
    }

    fn rest(&mut self) -> String {
        clean(&std::mem::take(&mut self.pending), self.redactor)
    }
}

fn clean(bytes: &[u8], redactor: &Redactor) -> String {
    redactor.redact(&String::from_utf8_lossy(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// Gives these pieces, one a call.
    struct Pieces<'a>(std::vec::IntoIter<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.next().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn copied(pieces: Vec<&[u8]>) -> String {
        let secret = Secret::new("sk-123456".into());
        let redactor = Redactor::new([("key", &secret)]);
        let mut log = Vec::new();
        copy(Pieces(pieces.into_iter()), &mut log, &redactor).unwrap();
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn a_secret_is_taken_out_however_the_output_is_cut() {
        let text = b"a\nkey sk-123456\rdone\nthe end sk-123456";
        let clean = "a\nkey [redacted:key]\rdone\nthe end [redacted:key]";
        for size in 1..=text.len() {
            assert_eq!(copied(text.chunks(size).collect()), clean, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_written_in_parts_that_cut_no_secret() {
        let filler = vec![b'x'; 1000];
        for before in [LONGEST - 1500, LONGEST - 1004, LONGEST - 1001] {
            let mut line = vec![b'x'; before];
            line.extend_from_slice(b"sk-123456");
            let mut pieces: Vec<&[u8]> = line.chunks(1000).collect();
            pieces.extend([&filler[..]; 70]);
            let log = copied(pieces);
            assert!(log.contains("x[redacted:key]x") && !log.contains("sk-"), "after {before}");
            assert_eq!(log.matches('x').count(), before + 70_000);
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_such() {
        assert_eq!(copied(vec![b"\xffa\n"]), "\u{fffd}a\n");
    }
}
