//! Reads a journal from its last line to its first, a piece at a time: of several lines for one sample the last one
//! counts, and read this way it is the first that is met. What is not whole at its end is cut off before that.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    journal,
    journal_tail::{self, Cut},
    run_dir::StoreError,
};

/// Bytes that are read at once, unless a line is longer.
const BLOCK: usize = 512 * 1024;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or cut.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A line is damaged, and whole ones follow it.
    #[error(
        "{}:{line}: the line is damaged: {reason}; put the file back from a copy, or take the line out \
         (`sed -i {line}d {}`): `host resume` asks again what it alone holds",
        path.display(),
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another version of the host wrote it.
    #[error(
        "{}:{line}: the line is of format {format}, and this host reads format {}; use the host that wrote it",
        path.display(),
        super::record::FORMAT
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The line's format.
        format: u32,
    },
}

/// The lines of a journal, last first.
#[derive(Debug)]
pub struct Backwards<'a> {
    file: &'a File,
    path: &'a Path,
    /// Where in the file `buffer` begins.
    start: u64,
    /// What was read and not given yet, from `start`; ends in a newline unless it is empty.
    buffer: Vec<u8>,
    /// How much of `buffer` was not given yet.
    left: usize,
    block: usize,
}

impl<'a> Backwards<'a> {
    /// Looks at a file from its end. What is not whole there was being written when its writer ended, or had not
    /// reached the disk when the power failed: it was never told to be stored, and is cut off.
    ///
    /// # Errors
    /// The file cannot be read or cut.
    pub fn open(file: &'a File, path: &'a Path) -> Result<(Self, Cut), JournalError> {
        Self::open_with(file, path, BLOCK)
    }

    /// Looks at a file from the end of its last whole line, and leaves what follows it where it is: its writer may
    /// still be at work. Gives how many bytes that is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn peek(file: &'a File, path: &'a Path) -> Result<(Self, u64), JournalError> {
        let (length, after) = journal_tail::measure(file, BLOCK).map_err(|source| {
            let path = path.to_owned();
            JournalError::Store(StoreError { path, action: "read this file", source })
        })?;
        Ok((
            Self { file, path, start: length, buffer: Vec::new(), left: 0, block: BLOCK },
            after.bytes,
        ))
    }

    fn open_with(
        file: &'a File,
        path: &'a Path,
        block: usize,
    ) -> Result<(Self, Cut), JournalError> {
        let (length, cut) = journal_tail::cut(file, path, block)?;
        Ok((Self { file, path, start: length, buffer: Vec::new(), left: 0, block }, cut))
    }

    /// The line before the one given last, without its newline, and where in the file it begins; none before the first.
    ///
    /// # Errors
    /// The file cannot be read, or the line is damaged.
    pub fn previous(&mut self) -> Result<Option<(u64, &[u8])>, JournalError> {
        let begin = self.last_line().map_err(|source| {
            let path = self.path.to_owned();
            JournalError::Store(StoreError { path, action: "read this file", source })
        })?;
        if begin == self.left {
            return Ok(None);
        }
        let at = self.start + begin as u64;
        let range = begin..self.left.saturating_sub(1);
        self.left = begin;
        let is_whole = self.buffer.get(range.clone()).is_some_and(journal::is_whole);
        if !is_whole {
            return Err(self.damaged(at, "its checksum does not fit"));
        }
        Ok(self.buffer.get(range).map(|line| (at, line)))
    }

    /// What is said of a line that begins here and cannot be understood.
    pub fn damaged(&self, at: u64, reason: &str) -> JournalError {
        let (path, reason) = (self.path.to_owned(), reason.to_owned());
        JournalError::Damaged { path, line: self.number(at), reason }
    }

    /// What is said of a line that begins here and is of another format.
    pub fn of_format(&self, at: u64, format: u32) -> JournalError {
        JournalError::Format { path: self.path.to_owned(), line: self.number(at), format }
    }

    /// Where in the buffer the last line begins that was not given yet: more is read until its beginning is there.
    fn last_line(&mut self) -> io::Result<usize> {
        // Not its own newline, with which what is left ends.
        let mut searched = 1;
        loop {
            let head = self.left.saturating_sub(searched);
            let head = self.buffer.get(..head).unwrap_or_default();
            if let Some(newline) = head.iter().rposition(|byte| *byte == b'\n') {
                return Ok(newline + 1);
            }
            if self.start == 0 {
                return Ok(0);
            }
            searched = self.left.max(1);
            self.read_block()?;
        }
    }

    /// Reads what stands before the buffer.
    fn read_block(&mut self) -> io::Result<()> {
        // A line that is longer than many blocks is not copied for each of them.
        let wanted = self.block.max(self.left);
        let size = usize::try_from(self.start).unwrap_or(usize::MAX).min(wanted);
        let start = self.start - size as u64;
        let mut buffer = vec![0; size + self.left];
        let (front, back) = buffer.split_at_mut(size);
        self.file.read_exact_at(front, start)?;
        back.copy_from_slice(self.buffer.get(..self.left).unwrap_or_default());
        (self.buffer, self.start, self.left) = (buffer, start, size + self.left);
        Ok(())
    }

    /// The number of the line that begins here, from 1.
    fn number(&self, at: u64) -> usize {
        let mut piece = vec![0; BLOCK];
        let (mut read, mut lines) = (0, 1);
        while read < at {
            let wanted = usize::try_from(at - read).unwrap_or(BLOCK).min(BLOCK);
            let Ok(got @ 1..) = self.file.read_at(&mut piece[..wanted], read) else { break };
            lines += piece[..got].iter().filter(|byte| **byte == b'\n').count();
            read += got as u64;
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(count: usize) -> Vec<Vec<u8>> {
        let line = |number: usize| {
            let mut line = serde_json::to_vec(
                &serde_json::json!({ "n": number, "pad": "x".repeat(number * 7 % 90) }),
            )
            .unwrap();
            journal::seal(&mut line, 0).unwrap();
            line
        };
        (0..count).map(line).collect()
    }

    /// What is read of these bytes, last line first, and how many of them were cut.
    fn read(bytes: &[u8], block: usize) -> (Result<Vec<Vec<u8>>, String>, u64) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let (mut backwards, cut) =
            Backwards::open_with(file.as_file(), file.path(), block).unwrap();
        let torn = cut.bytes;
        let mut all = Vec::new();
        loop {
            match backwards.previous() {
                Ok(Some((at, line))) => {
                    let line = [line, b"\n"].concat();
                    assert!(bytes[at as usize..].starts_with(&line));
                    all.push(line);
                }
                Ok(None) => {
                    assert_eq!(file.as_file().metadata().unwrap().len(), bytes.len() as u64 - torn);
                    return (Ok(all), torn);
                }
                Err(error) => return (Err(error.to_string()), torn),
            }
        }
    }

    #[test]
    fn lines_come_last_first_whatever_the_size_of_a_piece() {
        let mut expected = lines(40);
        let bytes = expected.concat();
        expected.reverse();
        for block in [1, 2, 50, 130, 1000, BLOCK] {
            assert_eq!(read(&bytes, block), (Ok(expected.clone()), 0), "{block}");
        }
        assert_eq!(read(b"", 10), (Ok(Vec::new()), 0));
    }

    #[test]
    fn a_file_cut_at_any_byte_keeps_its_whole_lines() {
        let all = lines(8);
        let bytes = all.concat();
        for end in 0..bytes.len() {
            let mut whole = Vec::new();
            let mut length = 0;
            for line in &all {
                if length + line.len() > end {
                    break;
                }
                length += line.len();
                whole.push(line.clone());
            }
            whole.reverse();
            assert_eq!(read(&bytes[..end], 64), (Ok(whole), (end - length) as u64), "cut at {end}");
        }
    }

    #[test]
    fn a_damaged_line_is_told_by_its_number_unless_it_is_the_last() {
        let all = lines(5);
        let bytes = all.concat();
        let mut at = 0;
        for (number, line) in all.iter().enumerate() {
            let mut damaged = bytes.clone();
            damaged[at + 3] ^= 1;
            let (found, torn) = read(&damaged, 100);
            if number == 4 {
                assert_eq!((found.unwrap().len(), torn), (4, line.len() as u64));
            } else {
                let error = found.unwrap_err();
                assert!(
                    error.contains(&format!(":{}: the line is damaged", number + 1)),
                    "{error}"
                );
                assert!(error.contains(&format!("sed -i {}d", number + 1)), "{error}");
                assert_eq!(torn, 0);
            }
            at += line.len();
        }
    }
}
