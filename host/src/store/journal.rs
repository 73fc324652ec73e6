//! The journal: one line a finished sample, append-only, each line with a checksum of its own.
//!
//! A line is a JSON object whose last member is `"crc32c"`: eight lower-case hexadecimal digits over the
//! bytes before that member's comma. So a line is complete exactly if it ends in a right checksum.

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::Arc,
};

use serde::Serialize;

use super::storage::Storage;
use crate::secret::Redactor;

/// Bytes of lines that are handed to the storage at once, more or less.
const BLOCK: usize = 64 * 1024;

/// Appends lines.
pub struct Journal {
    storage: Box<dyn Storage>,
    redactor: Arc<Redactor>,
    /// Whole lines that the storage does not have yet.
    buffer: Vec<u8>,
    /// Bytes of the storage that are whole lines.
    whole: u64,
}

impl Journal {
    /// Appends to this storage, which holds whole lines or nothing, with the secrets that `redactor` knows taken
    /// out: a server may echo one.
    ///
    /// # Errors
    /// The storage does not tell its length.
    pub fn new(storage: Box<dyn Storage>, redactor: Arc<Redactor>) -> io::Result<Self> {
        let whole = storage.length()?;
        Ok(Self { storage, redactor, buffer: Vec::new(), whole })
    }

    /// Appends a record. The storage has it after [`Journal::flush`].
    ///
    /// # Errors
    /// The storage is full or broken, or the record is no JSON object.
    pub fn append<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        let start = self.buffer.len();
        let appended = self.append_to_buffer(record, start);
        if appended.is_err() {
            self.buffer.truncate(start);
        }
        appended?;
        if self.buffer.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn append_to_buffer<T: Serialize>(&mut self, record: &T, start: usize) -> io::Result<()> {
        sonic_rs::to_writer(&mut self.buffer, record).map_err(io::Error::other)?;
        if !self.redactor.is_empty() {
            let line = self.buffer.get(start..).unwrap_or_default();
            let text = std::str::from_utf8(line).map_err(io::Error::other)?;
            if let Cow::Owned(redacted) = self.redactor.redact_json(text) {
                self.buffer.truncate(start);
                self.buffer.extend_from_slice(redacted.as_bytes());
            }
        }
        seal(&mut self.buffer, start)
    }

    /// How long the journal is when everything is written that was appended so far.
    pub fn end(&self) -> u64 {
        self.whole + self.buffer.len() as u64
    }

    /// How much of it the storage has, in whole lines.
    pub fn written(&self) -> u64 {
        self.whole
    }

    /// Hands what was appended to the storage. If that fails, whole lines that got there stay ([`Journal::written`]),
    /// and a part of a line is cut off, so that it will not lie between others.
    ///
    /// # Errors
    /// The storage is full or broken; nothing may be appended any more.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let appended = self.storage.append(&self.buffer);
        match appended {
            Ok(()) => self.whole += self.buffer.len() as u64,
            Err(_) => self.cut_back(),
        }
        self.buffer.clear();
        appended
    }

    fn cut_back(&mut self) {
        let Ok(length) = self.storage.length() else { return };
        let there = usize::try_from(length.saturating_sub(self.whole)).unwrap_or(usize::MAX);
        let there = self.buffer.get(..there).unwrap_or(&self.buffer);
        let lines = there.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.whole += lines as u64;
        if length > self.whole {
            // Where even this fails, who goes on with the run cuts it.
            let _ = self.storage.truncate(self.whole);
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({} bytes)", self.whole)
    }
}

/// Replaces the closing brace of the object that begins at `start` by the checksum's member, brace and newline.
pub(super) fn seal(line: &mut Vec<u8>, start: usize) -> io::Result<()> {
    if line.len() <= start || line.pop() != Some(b'}') {
        return Err(io::Error::other("a journal line must be a JSON object"));
    }
    let checksum = crc32c::crc32c(line.get(start..).unwrap_or_default());
    line.extend_from_slice(&seal_of(checksum));
    line.push(b'\n');
    Ok(())
}

/// How many bytes of a line, without its newline, its seal is.
pub(super) const SEAL: usize = r#","crc32c":"xxxxxxxx"}"#.len();

/// The seal of a line whose bytes before it have this checksum.
pub(super) fn seal_of(checksum: u32) -> [u8; SEAL] {
    let mut seal = *br#","crc32c":"xxxxxxxx"}"#;
    // It has room for exactly that.
    let _ = write!(&mut seal[..], ",\"crc32c\":\"{checksum:08x}\"}}");
    seal
}

/// Whether a line, without its newline, ends in a right checksum: how a reader tells that it is complete.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let Some((sealed, seal)) = line.split_last_chunk::<SEAL>() else {
        return false;
    };
    *seal == seal_of(crc32c::crc32c(sealed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::storage::Disk;

    #[test]
    fn a_line_that_lost_any_byte_is_told() {
        let mut line = br#"{"a":1,"b":"crc32c"}"#.to_vec();
        seal(&mut line, 0).unwrap();
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

    /// Has room for so many bytes.
    struct Small(Arc<std::sync::Mutex<Vec<u8>>>, usize);

    impl Storage for Small {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut held = self.0.lock().unwrap();
            let fits = bytes.len().min(self.1 - held.len());
            held.extend_from_slice(&bytes[..fits]);
            if fits == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.0.lock().unwrap().len() as u64)
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.0.lock().unwrap().truncate(length as usize);
            Ok(())
        }

        fn disk(&self) -> io::Result<Box<dyn Disk>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn a_full_disk_leaves_whole_lines_only() {
        let record = serde_json::json!({ "a": "b" });
        let line = {
            let mut line = serde_json::to_vec(&record).unwrap();
            seal(&mut line, 0).unwrap();
            line
        };
        for room in 0..=3 * line.len() {
            let held = Arc::default();
            let storage = Box::new(Small(Arc::clone(&held), room));
            let mut journal = Journal::new(storage, Arc::default()).unwrap();
            journal.append(&record).unwrap();
            journal.append(&record).unwrap();
            journal.append(&record).unwrap();
            assert_eq!(journal.end(), 3 * line.len() as u64);
            assert_eq!(journal.flush().is_ok(), room == 3 * line.len(), "{room}");
            let fit = room / line.len();
            assert_eq!(*held.lock().unwrap(), line.repeat(fit), "{room}");
            assert_eq!(journal.written(), (fit * line.len()) as u64);
        }
    }
}
