//! The journal: one line a finished sample, append-only, each line with a checksum of its own.
//!
//! A line is a JSON object whose last member is `"crc32c"`: eight lower-case hexadecimal digits over the
//! bytes before that member's comma. So a line is complete exactly if it ends in a right checksum.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Write},
    sync::Arc,
};

use serde::Serialize;

use crate::secret::Redactor;

/// Appends lines.
#[derive(Debug)]
pub struct Journal {
    file: BufWriter<File>,
    redactor: Arc<Redactor>,
    line: Vec<u8>,
}

impl Journal {
    /// Appends to this file, with the secrets that `redactor` knows taken out: a server may echo one.
    pub fn new(file: File, redactor: Arc<Redactor>) -> Self {
        Self { file: BufWriter::with_capacity(256 * 1024, file), redactor, line: Vec::new() }
    }

    /// Appends a record. It is on its way to the disk after [`Journal::flush`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        let text = std::str::from_utf8(&self.line).map_err(io::Error::other)?;
        if let Cow::Owned(redacted) = self.redactor.redact_json(text) {
            self.line = redacted.into_bytes();
        }
        seal(&mut self.line)?;
        self.file.write_all(&self.line)
    }

    /// Hands what was appended to the system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }
}

/// Replaces the closing brace by the checksum's member, brace and newline.
pub(super) fn seal(line: &mut Vec<u8>) -> io::Result<()> {
    if line.pop() != Some(b'}') {
        return Err(io::Error::other("a journal line must be a JSON object"));
    }
    let checksum = crc32c::crc32c(line);
    writeln!(line, ",\"crc32c\":\"{checksum:08x}\"}}")
}

/// Whether a line, without its newline, ends in a right checksum: how a reader tells that it is complete.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let Some(at) = line.len().checked_sub(r#","crc32c":"xxxxxxxx"}"#.len()) else {
        return false;
    };
    let (sealed, seal) = line.split_at(at);
    seal == format!(",\"crc32c\":\"{:08x}\"}}", crc32c::crc32c(sealed)).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_lost_any_byte_is_told() {
        let mut line = br#"{"a":1,"b":"crc32c"}"#.to_vec();
        seal(&mut line).unwrap();
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(is_whole(&line));
        serde_json::from_slice::<serde_json::Value>(&line).unwrap();
        for end in 0..line.len() {
            assert!(!is_whole(&line[..end]), "cut at {end}");
        }
        for at in 0..line.len() {
            let mut changed = line.clone();
            changed[at] ^= 1;
            assert!(!is_whole(&changed), "changed at {at}");
        }
    }
}
