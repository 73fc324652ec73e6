//! The end of a journal that is to be gone on with: what is not whole there is cut off.
//!
//! A process that is killed leaves a part of a line at most. A power failure may leave anything behind what was synced
//! last: lines with holes, pages of zeros. None of that was ever told to be stored. A damaged line that a whole one
//! follows is damage of another kind, and stays for the reader to find.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    journal::{SEAL, seal_of},
    run_dir::StoreError,
};

/// What was cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// How many bytes.
    pub bytes: u64,
    /// How many lines they were, or parts of lines.
    pub lines: u64,
    /// Whether one of them has a line end: then they are kept in [`KEPT`].
    pub ended: bool,
}

/// Name of the file beside the journal that takes lines that are cut off, unless all is a part of one: a process that is
/// killed leaves no other end, so that it may be damage that somebody wants to look at.
pub const KEPT: &str = "journal.cut";

/// Cuts off what is not whole at the end. Gives the length that is left. In memory is never more than a `block` of it.
///
/// # Errors
/// The file cannot be read or cut, or what is cut not kept; then nothing is cut.
pub(super) fn cut(file: &File, path: &Path, block: usize) -> Result<(u64, Cut), StoreError> {
    let failed = |path: &Path, action| {
        let path = path.to_owned();
        move |source| StoreError { path, action, source }
    };
    let (whole, cut) = measure(file, block).map_err(failed(path, "read this file"))?;
    if cut.ended {
        let kept = path.with_file_name(KEPT);
        let copied = copy(file, whole, &kept, block);
        copied.map_err(failed(&kept, "keep in this file what is damaged at the journal's end"))?;
    }
    if cut.bytes > 0 {
        file.set_len(whole).map_err(failed(path, "cut this file"))?;
    }
    Ok((whole, cut))
}

/// Where the last whole line ends, and what follows it; nothing is changed.
///
/// # Errors
/// The file cannot be read.
pub(super) fn measure(file: &File, block: usize) -> io::Result<(u64, Cut)> {
    Tail { file, block, piece: Vec::new(), start: 0 }.measure()
}

/// Appends what a file has from here on to another one.
fn copy(file: &File, mut from: u64, path: &Path, block: usize) -> io::Result<()> {
    let mut to = File::options().create(true).append(true).open(path)?;
    let mut piece = vec![0; block];
    loop {
        let read = file.read_at(&mut piece, from)?;
        if read == 0 {
            to.sync_all()?;
            // Its name must be as durable, before what it keeps is cut off.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            return File::open(folder.unwrap_or(Path::new(".")))?.sync_all();
        }
        to.write_all(piece.get(..read).unwrap_or_default())?;
        from += read as u64;
    }
}

struct Tail<'a> {
    file: &'a File,
    block: usize,
    /// What was read last, and where in the file it begins.
    piece: Vec<u8>,
    start: u64,
}

impl Tail<'_> {
    /// Where the last whole line ends, and what follows it.
    fn measure(&mut self) -> io::Result<(u64, Cut)> {
        let length = self.file.metadata()?.len();
        let (mut end, mut lines, mut ended) = (length, 0, false);
        while end > 0 {
            let begin = self.begin_of_line(end)?;
            if self.is_whole(begin, end)? {
                break;
            }
            ended |= self.piece_before(end)?.last() == Some(&b'\n');
            (end, lines) = (begin, lines + 1);
        }
        Ok((end, Cut { bytes: length - end, lines, ended }))
    }

    /// Where the line begins that ends here, with or without a newline.
    fn begin_of_line(&mut self, end: u64) -> io::Result<u64> {
        let mut end = end - 1;
        while end > 0 {
            let piece = self.piece_before(end)?;
            if let Some(newline) = piece.iter().rposition(|byte| *byte == b'\n') {
                return Ok(end - (piece.len() - newline - 1) as u64);
            }
            end -= piece.len() as u64;
        }
        Ok(0)
    }

    /// Bytes that end here; at least one, if there are any.
    fn piece_before(&mut self, end: u64) -> io::Result<&[u8]> {
        let known = self.start..=self.start + self.piece.len() as u64;
        if end == self.start || !known.contains(&end) {
            let size = usize::try_from(end).unwrap_or(usize::MAX).min(self.block);
            self.start = end - size as u64;
            self.piece.resize(size, 0);
            self.file.read_exact_at(&mut self.piece, self.start)?;
        }
        let length = usize::try_from(end - self.start).unwrap_or(usize::MAX);
        Ok(self.piece.get(..length).unwrap_or_default())
    }

    /// Whether what lies there ends in a right checksum and a newline.
    fn is_whole(&self, begin: u64, end: u64) -> io::Result<bool> {
        let mut seal = [0; SEAL + 1];
        let Some(sealed) = (end - begin).checked_sub(seal.len() as u64) else { return Ok(false) };
        let sealed = begin + sealed;
        self.file.read_exact_at(&mut seal, sealed)?;
        // Most of what is none at all shows at its end, and need not be read.
        let Some(seal) = seal.strip_suffix(b"\"}\n").and(seal.first_chunk::<SEAL>()) else {
            return Ok(false);
        };
        let (mut checksum, mut at) = (0, begin);
        let size = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(self.block);
        let mut piece = vec![0; size(sealed - begin)];
        while at < sealed {
            let size = size(sealed - at);
            let piece = piece.get_mut(..size).unwrap_or_default();
            self.file.read_exact_at(piece, at)?;
            checksum = crc32c::crc32c_append(checksum, piece);
            at += size as u64;
        }
        Ok(*seal == seal_of(checksum))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::journal::seal, *};

    fn lines(count: usize) -> Vec<Vec<u8>> {
        let line = |number: usize| {
            let mut line =
                format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(number * 7 % 90))
                    .into_bytes();
            seal(&mut line, 0).unwrap();
            line
        };
        (0..count).map(line).collect()
    }

    /// What is cut of a file, and what is left and kept of it.
    fn cut_of(bytes: &[u8], block: usize) -> (Cut, Vec<u8>, Option<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        std::fs::write(&path, bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let (length, done) = cut(&file, &path, block).unwrap();
        let left = std::fs::read(&path).unwrap();
        assert_eq!(left.len() as u64, length);
        (done, left, std::fs::read(folder.path().join(KEPT)).ok())
    }

    #[test]
    fn whatever_follows_the_last_whole_line_is_cut_off() {
        let good = lines(9);
        let damaged = |number: usize| {
            let mut line = good[number].clone();
            line[5] ^= 1;
            line
        };
        let (zeros, open) = (vec![0; 9000], good[8][..20].to_vec());
        let ends: [(&str, Vec<Vec<u8>>, u64); 9] = [
            ("nothing", vec![], 0),
            ("a part of a line", vec![open.clone()], 1),
            ("all of a line but its newline", vec![good[8][..good[8].len() - 1].to_vec()], 1),
            ("a line with another byte", vec![damaged(6)], 1),
            ("several", vec![damaged(5), damaged(6), damaged(7)], 3),
            ("zeros", vec![zeros.clone()], 1),
            ("zeros and a line end", vec![zeros.clone(), b"\n".to_vec(), open.clone()], 2),
            ("empty lines", vec![b"\n\n\n".to_vec()], 3),
            ("all of these", vec![damaged(6), zeros, b"\n\n".to_vec(), open], 4),
        ];
        for count in [0, 1, 5] {
            let whole = good[..count].concat();
            for (name, end, expected) in &ends {
                let end = end.concat();
                for block in [1, 7, 100, 4096, 1 << 20] {
                    let (cut, left, kept) = cut_of(&[whole.as_slice(), &end].concat(), block);
                    let name = format!("{name} after {count} lines, {block} at once");
                    assert_eq!((cut.bytes, cut.lines), (end.len() as u64, *expected), "{name}");
                    assert_eq!(left, whole, "{name}");
                    let ended = end.contains(&b'\n');
                    assert_eq!(cut.ended, ended, "{name}");
                    assert_eq!(kept, ended.then(|| end.clone()), "{name}");
                }
            }
        }
    }

    #[test]
    fn what_a_whole_line_follows_is_not_cut() {
        let mut all = lines(4);
        all[1][5] ^= 1;
        all[2] = vec![0; 100];
        let bytes = all.concat();
        // The zeros are a part of the line after them, which so is none.
        assert_eq!(cut_of(&bytes, 64).0.lines, 2);
        all[2].push(b'\n');
        let bytes = all.concat();
        assert_eq!(cut_of(&bytes, 64), (Cut::default(), bytes, None));
    }
}
