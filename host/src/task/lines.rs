//! Lines of a file, with their numbers and a limit to their length.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::records::{LINE_MAX_BYTES, RecordError, open};

/// Bytes that are read at once.
const BLOCK: usize = 64 * 1024;

/// Reads a file line by line, each without its line end. A byte order mark is passed over.
pub(super) struct LineReader {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    buffer: Vec<u8>,
}

impl LineReader {
    pub(super) fn open(path: &Path) -> Result<Self, RecordError> {
        let reader = BufReader::with_capacity(BLOCK, open(path)?);
        Ok(Self { path: path.to_owned(), reader, line: 0, buffer: Vec::new() })
    }

    /// The next line with its number from 1; none at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<(u64, &[u8])>, RecordError> {
        self.buffer.clear();
        let read = (&mut self.reader)
            .take(LINE_MAX_BYTES + 1)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| RecordError::Io { path: self.path.clone(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if read as u64 > LINE_MAX_BYTES {
            return Err(RecordError::LineTooLong { path: self.path.clone(), line: self.line });
        }
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line =
            if self.line == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        Ok(Some((self.line, line)))
    }
}
