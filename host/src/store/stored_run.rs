//! A run as its directory tells it, for whoever reads it afterwards: scored again, compared, reported, collected.
//! Nothing is changed, and no lock is taken, so a run may be looked at while it goes on.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    bits::Bits,
    journal_reader::{Backwards, JournalError},
    line::{self, Line, Unread},
    manifest::{self, RunManifest},
    run_dir::{self, StoreError},
    summary::{self, Summary},
};

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory lacks the file that makes it a run.
    #[error("{}: there is no run here: it has no {file}", directory.display())]
    Absent {
        /// The directory.
        directory: PathBuf,
        /// What it lacks.
        file: &'static str,
    },
    /// It is a file.
    #[error("{}: this is a file, and a run is a directory", .0.display())]
    NoDirectory(PathBuf),
    /// A file cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A run's directory, opened.
#[derive(Debug)]
pub struct StoredRun {
    /// Where it is.
    pub directory: PathBuf,
    /// What ran.
    pub manifest: RunManifest,
    /// The results; none while the run goes on, or after it was killed.
    pub summary: Option<Summary>,
}

impl StoredRun {
    /// Reads manifest and summary of a run directory.
    ///
    /// # Errors
    /// It is no run directory, or another version of the host wrote it.
    pub fn open(directory: &Path) -> Result<Self, ReadError> {
        let manifest = read_manifest(directory)?;
        let summary = match read_json(directory, run_dir::SUMMARY, summary::FORMAT) {
            Ok(summary) => Some(summary),
            Err(ReadError::Absent { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { directory: directory.to_owned(), manifest, summary })
    }

    /// The samples that are finished, in the order in which they were.
    ///
    /// # Errors
    /// The journal is damaged.
    pub fn samples(&self) -> Result<StoredSamples, ReadError> {
        StoredSamples::open(&self.directory.join(run_dir::JOURNAL))
    }
}

/// Reads the manifest of a run directory.
///
/// # Errors
/// There is none, or it is of another format.
pub fn read_manifest(directory: &Path) -> Result<RunManifest, ReadError> {
    read_json(directory, run_dir::MANIFEST, manifest::FORMAT)
}

/// Reads a file of a run directory that is one JSON object and names its format.
fn read_json<T: DeserializeOwned>(
    directory: &Path,
    name: &'static str,
    reads: u32,
) -> Result<T, ReadError> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let path = directory.join(name);
    let wrong = |reason: String| ReadError::File { path: path.clone(), reason };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ReadError::Absent { directory: directory.to_owned(), file: name });
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(ReadError::NoDirectory(directory.to_owned()));
        }
        Err(error) => return Err(wrong(format!("cannot read it: {error}"))),
    };
    let broken = |error: serde_json::Error| wrong(format!("it is not what a run writes: {error}"));
    let Versioned { format } = serde_json::from_str(&text).map_err(broken)?;
    if format != reads {
        return Err(wrong(format!(
            "it is of format {format}, and this host reads format {reads}; use the host that wrote it"
        )));
    }
    serde_json::from_str(&text).map_err(broken)
}

/// The finished samples of a run. Of each it is known where its line is, and nothing more is kept.
#[derive(Debug)]
pub struct StoredSamples {
    path: PathBuf,
    file: File,
    /// Where each line begins, and how long it is.
    places: Vec<(u64, u32)>,
}

impl StoredSamples {
    /// Looks through a journal for the last line of each sample.
    ///
    /// # Errors
    /// It cannot be read, or is damaged before its end.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| {
            let path = path.to_owned();
            JournalError::Store(StoreError { path, action: "read this file", source })
        })?;
        let mut places = Vec::new();
        let mut units: HashMap<(String, String), HashMap<u32, Bits>> = HashMap::new();
        // What follows the last whole line is being written, or was when the run was killed.
        let (mut lines, _) = Backwards::peek(&file, path)?;
        while let Some((at, text)) = lines.previous()? {
            let key: KeyLine<'_> = match line::parse(text) {
                Ok(key) => key,
                Err(Unread::Format(format)) => return Err(lines.of_format(at, format).into()),
                Err(Unread::Damaged(reason)) => return Err(lines.damaged(at, &reason).into()),
            };
            let unit = (key.task.into_owned(), key.backend.into_owned());
            let (length, Which { index, repeat }) = (text.len(), key.sample);
            let Ok(length) = u32::try_from(length) else {
                return Err(lines.damaged(at, "it is longer than 4 GiB").into());
            };
            let seen = units.entry(unit).or_default().entry(repeat).or_default();
            if seen.set(index) {
                places.push((at, length));
            }
        }
        places.reverse();
        Ok(Self { path: path.to_owned(), file, places })
    }

    /// How many there are, repeats counted.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Gives each sample's number and line, without its newline, in the order of the journal.
    ///
    /// # Errors
    /// What `take` says, or that the file cannot be read.
    pub fn each<E: From<ReadError>>(
        &self,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = Vec::new();
        (0..self.len()).try_for_each(|number| take(number, self.line(number, &mut buffer)?))
    }

    /// The line of a sample, without its newline.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn line<'a>(&self, number: usize, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], ReadError> {
        let (at, length) = self.places.get(number).copied().unwrap_or_default();
        buffer.resize(length as usize, 0);
        self.file.read_exact_at(buffer, at).map_err(|source| {
            let path = self.path.clone();
            JournalError::Store(StoreError { path, action: "read this file", source })
        })?;
        Ok(buffer)
    }

    /// Reads a line that this gave as a record, or as a part of one.
    ///
    /// # Errors
    /// It is none.
    pub fn parse<'a, L: Line<'a>>(&self, line: &'a [u8]) -> Result<L, ReadError> {
        line::parse(line).map_err(|unread| {
            let reason = match unread {
                Unread::Format(format) => format!("a line is of format {format}"),
                Unread::Damaged(reason) => format!("a line is damaged: {reason}"),
            };
            ReadError::File { path: self.path.clone(), reason }
        })
    }
}

/// Whose line it is.
#[derive(Deserialize)]
struct KeyLine<'a> {
    format: u32,
    #[serde(borrow)]
    task: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    backend: std::borrow::Cow<'a, str>,
    sample: Which,
}

#[derive(Deserialize)]
struct Which {
    index: u64,
    repeat: u32,
}

impl<'a> Line<'a> for KeyLine<'a> {
    fn format(&self) -> u32 {
        self.format
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal;

    fn line(task: &str, index: u64, repeat: u32, note: &str) -> Vec<u8> {
        let mut line = serde_json::to_vec(&serde_json::json!({
            "format": 1, "task": task, "backend": "b",
            "sample": { "id": index.to_string(), "index": index, "repeat": repeat, "digest": "00" },
            "note": note,
        }))
        .unwrap();
        journal::seal(&mut line, 0).unwrap();
        line
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, bytes).unwrap();
        let samples = StoredSamples::open(&path).map_err(|error| error.to_string())?;
        let mut notes = Vec::new();
        let take = |_, line: &[u8]| {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            notes.push(value["note"].as_str().unwrap().to_owned());
            Ok::<_, ReadError>(())
        };
        samples.each(take).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing is changed");
        Ok(notes)
    }

    #[test]
    fn of_each_sample_its_last_line_counts_and_a_torn_end_is_passed_over() {
        let lines = [
            line("t", 0, 0, "first"),
            line("t", 1, 0, "b"),
            line("u", 0, 0, "c"),
            line("t", 0, 1, "d"),
            line("t", 0, 0, "last"),
        ];
        let mut bytes = lines.concat();
        let expected = ["b", "c", "d", "last"];
        assert_eq!(read(&bytes).unwrap(), expected);
        bytes.extend_from_slice(&line("t", 2, 0, "torn")[..30]);
        assert_eq!(read(&bytes).unwrap(), expected);
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn damage_before_whole_lines_is_told_with_its_line() {
        let mut bytes = [line("t", 0, 0, "a"), line("t", 1, 0, "b")].concat();
        bytes[12] ^= 1;
        let error = read(&bytes).unwrap_err();
        assert!(error.contains("journal.jsonl:1: the line is damaged"), "{error}");
    }

    #[test]
    fn what_is_no_run_is_told_by_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let error = |expected: &str| {
            let error = StoredRun::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        error("there is no run here: it has no manifest.json");
        fs::write(folder.path().join("manifest.json"), r#"{"format":9}"#).unwrap();
        error("manifest.json: it is of format 9, and this host reads format 1");
        fs::write(folder.path().join("manifest.json"), r#"{"format":1,"#).unwrap();
        error("manifest.json: it is not what a run writes: EOF");
    }
}
