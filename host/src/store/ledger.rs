//! `resources.jsonl`, format 1: the outside resources that backends hold (a rented machine, say), noted before
//! they are made, so that a run that was killed can be cleaned up from its directory alone.
//!
//! Each line ends in a checksum as a journal's does. A line that lacks it was never told to be stored: nothing
//! was made on its strength. While a run goes on it holds a lock on the file.

use std::{
    fs::{File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plugin_api::Held;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    journal,
    run_dir::{self, PlannedDir, StoreError},
};
use crate::secret::Redactor;

/// Format of a line.
pub const FORMAT: u32 = 1;

/// A backend whose resources are noted: enough of it to open it again in another process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id in the run file.
    pub id: String,
    /// Its table of the run file, as typed, with everything filled in that the environment gave.
    pub table: Value,
    /// The folder that paths in the table are relative to.
    pub folder: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    Hold,
    Free,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    format: u32,
    deed: Deed,
    backend: Holder,
    name: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    note: Value,
    /// RFC 3339.
    at: String,
}

/// What a line of any format says.
#[derive(Debug, Deserialize)]
struct Versioned {
    format: u32,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run that holds the resources is still going.
    #[error("{}: the run is still going; stop it first, it frees what it holds", .0.display())]
    Running(PathBuf),
    /// A line in the middle of the file is damaged.
    #[error("{}:{line}: the line is damaged: {reason}", path.display())]
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
        "{}:{line}: the line is of format {format}, and this host reads format {FORMAT}; use the host that wrote it",
        path.display()
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

/// What backends hold.
#[derive(Debug)]
pub struct Ledger {
    directory: Arc<PlannedDir>,
    redactor: Arc<Redactor>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Made with the first note.
    file: Option<File>,
    /// Bytes of it that are whole lines.
    whole: u64,
    /// Oldest first.
    held: Vec<(Holder, Held)>,
}

impl Ledger {
    /// An empty ledger; its file is made with the first note, and the run directory with it.
    pub fn new(directory: Arc<PlannedDir>, redactor: Arc<Redactor>) -> Self {
        Self { directory, redactor, state: Mutex::default() }
    }

    /// The ledger of a run that has ended. A directory without one holds nothing.
    ///
    /// # Errors
    /// The run is still going, or the file cannot be read.
    pub fn of(directory: &Path) -> Result<Self, LedgerError> {
        Self::again(Arc::new(PlannedDir::made(directory)), directory, Arc::default())
    }

    /// The ledger of a run that is taken up again.
    ///
    /// # Errors
    /// As for [`Ledger::of`].
    pub fn again(
        planned: Arc<PlannedDir>,
        directory: &Path,
        redactor: Arc<Redactor>,
    ) -> Result<Self, LedgerError> {
        let path = directory.join(run_dir::RESOURCES);
        let failed = |action, source| StoreError { path: path.clone(), action, source };
        let mut state = State::default();
        match File::options().read(true).append(true).open(&path) {
            Ok(file) => {
                match file.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => return Err(LedgerError::Running(path)),
                    Err(TryLockError::Error(source)) => {
                        return Err(failed("lock this file", source).into());
                    }
                }
                let bytes =
                    std::fs::read(&path).map_err(|source| failed("read this file", source))?;
                read(&path, &bytes, &mut state)?;
                // What follows the last whole line was never acknowledged.
                file.set_len(state.whole).map_err(|source| failed("cut this file", source))?;
                state.file = Some(file);
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed("open this file", source).into()),
        }
        Ok(Self { directory: planned, redactor, state: Mutex::new(state) })
    }

    /// Notes that a backend is about to hold a resource. When this returns, the note is on the disk.
    ///
    /// # Errors
    /// It cannot be written; then the resource must not be made.
    pub fn hold(&self, backend: &Holder, name: &str, note: Value) -> Result<(), StoreError> {
        let mut state = self.state();
        self.write(&mut state, Deed::Hold, backend, name, note.clone())?;
        let held = Held { name: name.to_owned(), note };
        match state.held.iter_mut().find(|(of, held)| of.id == backend.id && held.name == name) {
            Some((_, known)) => *known = held,
            None => state.held.push((backend.clone(), held)),
        }
        Ok(())
    }

    /// Notes that a backend holds a resource no more.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn free(&self, backend: &Holder, name: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        self.write(&mut state, Deed::Free, backend, name, Value::Null)?;
        state.held.retain(|(of, held)| of.id != backend.id || held.name != name);
        Ok(())
    }

    /// What a backend holds, oldest first.
    pub fn held(&self, backend: &str) -> Vec<Held> {
        let state = self.state();
        let own = state.held.iter().filter(|(of, _)| of.id == backend);
        own.map(|(_, held)| held.clone()).collect()
    }

    /// The backends that hold anything, each once.
    pub fn holders(&self) -> Vec<Holder> {
        let state = self.state();
        let mut holders: Vec<Holder> = Vec::new();
        for (holder, _) in &state.held {
            if !holders.iter().any(|known| known.id == holder.id) {
                holders.push(holder.clone());
            }
        }
        holders
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        state: &mut State,
        deed: Deed,
        backend: &Holder,
        name: &str,
        note: Value,
    ) -> Result<(), StoreError> {
        let directory = self.directory.make()?;
        let path = directory.path().join(run_dir::RESOURCES);
        let failed = |source| StoreError { path: path.clone(), action: "write this file", source };
        let line = Line {
            format: FORMAT,
            deed,
            backend: backend.clone(),
            name: name.to_owned(),
            note,
            at: jiff::Timestamp::now().to_string(),
        };
        let text = serde_json::to_string(&line).map_err(|error| failed(error.into()))?;
        let mut bytes = self.redactor.redact_json(&text).into_owned().into_bytes();
        journal::seal(&mut bytes, 0).map_err(failed)?;
        let file = match &mut state.file {
            Some(file) => file,
            None => {
                let file = directory.lines(run_dir::RESOURCES)?;
                file.lock().map_err(failed)?;
                // The names of file and folder must be as durable as what is in them.
                let folder = std::path::absolute(directory.path()).map_err(failed)?;
                for folder in folder.ancestors().take(2) {
                    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
                }
                state.file.insert(file)
            }
        };
        // A line of which only a part could be written, on a full disk say, must not lie between whole ones.
        file.set_len(state.whole).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        state.whole += bytes.len() as u64;
        Ok(())
    }
}

/// Replays the lines that are whole.
fn read(path: &Path, bytes: &[u8], state: &mut State) -> Result<(), LedgerError> {
    let mut whole = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let damaged = |reason: String| LedgerError::Damaged {
            path: path.to_owned(),
            line: number + 1,
            reason,
        };
        let last = whole + line.len() == bytes.len();
        let sealed = line.strip_suffix(b"\n").filter(|line| journal::is_whole(line));
        let Some(sealed) = sealed else {
            if last {
                break;
            }
            return Err(damaged("its checksum does not fit".to_owned()));
        };
        let unread = |error: serde_json::Error| damaged(error.to_string());
        let Versioned { format } = serde_json::from_slice(sealed).map_err(unread)?;
        if format != FORMAT {
            let (path, line) = (path.to_owned(), number + 1);
            return Err(LedgerError::Format { path, line, format });
        }
        let line: Line = serde_json::from_slice(sealed).map_err(unread)?;
        whole += sealed.len() + 1;
        state.held.retain(|(of, held)| of.id != line.backend.id || held.name != line.name);
        if matches!(line.deed, Deed::Hold) {
            state.held.push((line.backend, Held { name: line.name, note: line.note }));
        }
    }
    state.whole = whole as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holder(id: &str) -> Holder {
        Holder { id: id.to_owned(), table: json!({ "plugin": "hf" }), folder: "/runs".into() }
    }

    fn ledger(folder: &Path) -> Ledger {
        let planned = PlannedDir::new(folder, "run", jiff::Zoned::now());
        Ledger::new(Arc::new(planned), Arc::default())
    }

    fn file(ledger: &Ledger) -> PathBuf {
        ledger.directory.make().unwrap().path().join(run_dir::RESOURCES)
    }

    #[test]
    fn what_was_held_and_not_freed_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        ledger.hold(&holder("a"), "one", json!({ "id": 1 })).unwrap();
        ledger.hold(&holder("a"), "two", json!(null)).unwrap();
        ledger.hold(&holder("b"), "one", json!({ "id": 2 })).unwrap();
        ledger.hold(&holder("a"), "one", json!({ "id": 3 })).unwrap();
        ledger.free(&holder("a"), "two").unwrap();
        let directory = ledger.directory.make().unwrap().path().to_owned();
        assert!(matches!(Ledger::of(&directory), Err(LedgerError::Running(_))));
        drop(ledger);
        let again = Ledger::of(&directory).unwrap();
        assert_eq!(again.held("a"), [Held { name: "one".into(), note: json!({ "id": 3 }) }]);
        assert_eq!(again.held("b"), [Held { name: "one".into(), note: json!({ "id": 2 }) }]);
        let mut ids: Vec<_> = again.holders().into_iter().map(|holder| holder.id).collect();
        ids.sort();
        assert_eq!(ids, ["a", "b"]);
        again.free(&holder("a"), "one").unwrap();
        again.free(&holder("b"), "one").unwrap();
        assert!(again.holders().is_empty());
        drop(again);
        assert!(Ledger::of(&directory).unwrap().holders().is_empty());
    }

    #[test]
    fn a_torn_tail_is_no_note_and_a_damaged_middle_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        ledger.hold(&holder("a"), "one", json!({ "id": 1 })).unwrap();
        let path = file(&ledger);
        let first = std::fs::read(&path).unwrap();
        ledger.hold(&holder("a"), "two", json!({ "id": 2 })).unwrap();
        let both = std::fs::read(&path).unwrap();
        drop(ledger);
        let directory = path.parent().unwrap();
        for end in first.len()..both.len() {
            std::fs::write(&path, &both[..end]).unwrap();
            let again = Ledger::of(directory).unwrap();
            assert_eq!(again.held("a").len(), 1, "cut at {end}");
            assert_eq!(std::fs::read(&path).unwrap(), first, "cut at {end}");
        }
        let mut later = br#"{"format":2,"deed":"hold"}"#.to_vec();
        journal::seal(&mut later, 0).unwrap();
        std::fs::write(&path, &later).unwrap();
        let error = Ledger::of(directory).unwrap_err().to_string();
        assert!(error.contains("format 2"), "{error}");
        let mut damaged = both;
        damaged[20] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Ledger::of(directory).unwrap_err().to_string();
        assert!(error.contains("resources.jsonl:1"), "{error}");
    }

    #[test]
    fn a_line_that_could_not_be_written_leaves_nothing_between_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        ledger.hold(&holder("a"), "one", json!(null)).unwrap();
        let path = file(&ledger);
        // What a full disk leaves of a line.
        File::options().append(true).open(&path).unwrap().write_all(br#"{"format":1,"de"#).unwrap();
        ledger.hold(&holder("a"), "two", json!(null)).unwrap();
        drop(ledger);
        let again = Ledger::of(path.parent().unwrap()).unwrap();
        let names: Vec<_> = again.held("a").into_iter().map(|held| held.name).collect();
        assert_eq!(names, ["one", "two"]);
        again.free(&holder("a"), "one").unwrap();
        drop(again);
        assert_eq!(Ledger::of(path.parent().unwrap()).unwrap().held("a").len(), 1);
    }

    #[test]
    fn a_directory_without_a_ledger_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Ledger::of(folder.path()).unwrap().holders().is_empty());
        assert!(Ledger::of(&folder.path().join("absent")).unwrap().holders().is_empty());
    }
}
