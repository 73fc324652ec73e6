//! The folder of one run and the files in it, each written whole or line by line.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::whole_file;
use crate::secret::Redactor;

/// Name of the file that says what ran.
pub const MANIFEST: &str = "manifest.json";
/// Name of the file with a line for each finished sample.
pub const JOURNAL: &str = "journal.jsonl";
/// Name of the file with a line for whatever else happened.
pub const EVENTS: &str = "events.jsonl";
/// Name of the file with what backends hold outside, if they ever held anything.
pub const RESOURCES: &str = "resources.jsonl";
/// Name of the file with the results.
pub const SUMMARY: &str = "summary.json";

/// Name of the file that shows all of it in a browser.
pub const REPORT: &str = "report.html";

/// A file of the run directory could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {action}: {source}", path.display())]
pub struct StoreError {
    /// The file or folder.
    pub path: PathBuf,
    /// What was tried.
    pub action: &'static str,
    /// What the system says.
    pub source: io::Error,
}

/// One run's folder.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    id: String,
}

/// A run's folder that is made when it is first needed: a run that cannot begin leaves none behind.
#[derive(Debug)]
pub struct PlannedDir {
    parent: PathBuf,
    name: String,
    now: jiff::Zoned,
    made: Mutex<Option<RunDir>>,
}

impl PlannedDir {
    /// A folder that [`RunDir::create`] will make.
    pub fn new(parent: &Path, name: &str, now: jiff::Zoned) -> Self {
        Self { parent: parent.to_owned(), name: name.to_owned(), now, made: Mutex::default() }
    }

    /// A folder that is there already.
    pub fn made(path: &Path) -> Self {
        Self::of_run(path, &path.file_name().unwrap_or_default().to_string_lossy())
    }

    /// The folder of a run whose id is known.
    pub fn of_run(path: &Path, id: &str) -> Self {
        let id = id.to_owned();
        let made = RunDir { path: path.to_owned(), id: id.clone() };
        Self {
            parent: path.parent().unwrap_or(path).to_owned(),
            name: id,
            now: jiff::Zoned::now(),
            made: Mutex::new(Some(made)),
        }
    }

    /// The folder, made now if it is not there yet.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(&self) -> Result<RunDir, StoreError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*made {
            return Ok(directory.clone());
        }
        let directory = RunDir::create(&self.parent, &self.name, &self.now)?;
        Ok(made.insert(directory).clone())
    }
}

impl RunDir {
    /// Makes a new folder below `parent`. Its name, which is the run's id, begins with the run's name and
    /// sorts by time.
    ///
    /// # Errors
    /// The parent cannot be made or written to.
    pub fn create(parent: &Path, name: &str, now: &jiff::Zoned) -> Result<Self, StoreError> {
        let error = |path: &Path, source| StoreError {
            path: path.to_owned(),
            action: "make this run directory",
            source,
        };
        fs::create_dir_all(parent).map_err(|source| error(parent, source))?;
        let safe = safe(name);
        let stamp = now.strftime("%Y%m%d-%H%M%S").to_string();
        // Two runs may start in one second, also in two processes: the folder itself decides who is first.
        for attempt in 0..1000_u32 {
            let suffix = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let id = format!("{safe}-{stamp}{suffix}");
            let path = parent.join(&id);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, id }),
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(error(&path, source)),
            }
        }
        Err(error(parent, io::ErrorKind::AlreadyExists.into()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A new file for lines.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn lines(&self, name: &str) -> Result<File, StoreError> {
        let path = self.path.join(name);
        File::options().create_new(true).append(true).open(&path).map_err(|source| StoreError {
            path,
            action: "make this file",
            source,
        })
    }

    /// A file for lines that may have some already. What follows its last line end, since its writer was killed
    /// there, is cut off.
    ///
    /// # Errors
    /// It cannot be opened, read or cut.
    pub fn more_lines(&self, name: &str) -> Result<File, StoreError> {
        let path = self.path.join(name);
        let open = || {
            let mut file = File::options().create(true).read(true).append(true).open(&path)?;
            let (mut length, mut whole) = (0, 0);
            let mut piece = vec![0; 64 * 1024];
            loop {
                let read = file.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                let newline = piece.iter().take(read).rposition(|byte| *byte == b'\n');
                whole = newline.map_or(whole, |at| length + at as u64 + 1);
                length += read as u64;
            }
            if whole < length {
                file.set_len(whole)?;
            }
            Ok(file)
        };
        open().map_err(|source| StoreError {
            path: path.clone(),
            action: "go on with this file",
            source,
        })
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It is there, and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError { path, action: "remove this file", source })
            }
            _ => Ok(()),
        }
    }

    /// Writes a JSON file as a whole: under a temporary name, then renamed; with the secrets that
    /// `redactor` knows taken out, since a server may have named itself by one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_json<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        redactor: &Redactor,
    ) -> Result<(), StoreError> {
        write_json(&self.path, name, value, redactor)
    }
}

/// The same in any folder.
///
/// # Errors
/// It cannot be written.
pub fn write_json<T: Serialize>(
    folder: &Path,
    name: &str,
    value: &T,
    redactor: &Redactor,
) -> Result<(), StoreError> {
    let path = folder.join(name);
    let write = || {
        let mut value = serde_json::to_value(value)?;
        redactor.redact_value(&mut value);
        whole_file::replace(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, &value)?;
            file.write_all(b"\n")
        })
    };
    write().map_err(|source| StoreError { path: path.clone(), action: "write this file", source })
}

/// A run's name as its folders begin.
pub(crate) fn safe(name: &str) -> String {
    let safe: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    safe.trim_start_matches('.').to_owned()
}

/// The newest folder of a run of this name below `parent` that says what ran; none if there is none.
pub fn newest(parent: &Path, name: &str) -> Option<PathBuf> {
    let safe = safe(name);
    let when = |id: &str| {
        let mut parts = id.strip_prefix(&safe)?.strip_prefix('-')?.splitn(3, '-');
        let number = |part: Option<&str>, digits: usize| {
            let part = part.filter(|part| part.len() == digits)?;
            part.parse::<u32>().ok()
        };
        let (day, time) = (number(parts.next(), 8)?, number(parts.next(), 6)?);
        let attempt = parts.next().map_or(Some(0), |attempt| attempt.parse::<u32>().ok())?;
        Some((day, time, attempt))
    };
    let runs = fs::read_dir(parent).ok()?.flatten().filter_map(|entry| {
        let path = entry.path();
        let when = when(entry.file_name().to_str()?)?;
        path.join(MANIFEST).is_file().then_some((when, path))
    });
    runs.max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_run_of_a_name_is_found() {
        let parent = tempfile::tempdir().unwrap();
        let at = |id: &str| {
            fs::create_dir(parent.path().join(id)).unwrap();
            parent.path().join(id)
        };
        let run = |id: &str| fs::write(at(id).join(MANIFEST), "{}").unwrap();
        assert_eq!(newest(parent.path(), "a b"), None);
        assert_eq!(newest(&parent.path().join("absent"), "a b"), None);
        run("a-b-20260102-030405");
        run("a-b-20260102-030405-10");
        run("a-b-20260102-030405-9");
        run("a-b-20251231-235959");
        run("a-b-c-20270101-000000");
        run("a-20270101-000000");
        // Nothing was asked there.
        at("a-b-20270101-000000");
        let newest = newest(parent.path(), "a b").unwrap();
        assert!(newest.ends_with("a-b-20260102-030405-10"), "{}", newest.display());
    }

    #[test]
    fn lines_go_on_after_the_last_whole_one() {
        let parent = tempfile::tempdir().unwrap();
        let directory = RunDir::create(parent.path(), "r", &jiff::Zoned::now()).unwrap();
        let path = directory.path().join(EVENTS);
        for (there, expected) in
            [("", "c\n"), ("a\nb\n", "a\nb\nc\n"), ("a\nb", "a\nc\n"), ("b", "c\n")]
        {
            fs::write(&path, there).unwrap();
            directory.more_lines(EVENTS).unwrap().write_all(b"c\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn runs_of_one_second_get_folders_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let now =
            jiff::civil::date(2026, 1, 2).at(3, 4, 5, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        let ids = ["../a b", "../a b"]
            .map(|name| RunDir::create(parent.path(), name, &now).unwrap().id().to_owned());
        assert_eq!(ids, ["-a-b-20260102-030405", "-a-b-20260102-030405-1"]);
    }
}
