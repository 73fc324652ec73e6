//! `sweep.json`, format 1: what a sweep was made of, and how its cells stand. Written anew whenever one of them begins
//! or ends, so that it is true also after a kill.

use std::{fs, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{matrix::Matrix, prepare::Prepared, template::Template};
use crate::{
    run::error::exit,
    secret::Redactor,
    store::{StoreError, run_dir},
};

/// Format of this file.
pub const FORMAT: u32 = 1;
/// Name of the file in the sweep's folder.
pub const FILE: &str = "sweep.json";

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SweepRecord {
    /// Format of this file.
    pub format: u32,
    /// Name of the sweep.
    pub name: String,
    /// Version of the host.
    pub host_version: String,
    /// When it was last begun, RFC 3339.
    pub started: String,
    /// The template.
    pub template: Source,
    /// The matrix.
    pub matrix: Source,
    /// The cells, in order, and after them those that earlier sweeps left here.
    pub cells: Vec<CellRecord>,
}

/// A file that a sweep was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The file.
    pub path: String,
    /// BLAKE3 of its bytes.
    pub blake3: String,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CellRecord {
    /// Its name, and that of its folder.
    pub id: String,
    /// Id of the model.
    pub model: String,
    /// Id of the task, if the matrix names any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Digest of its run file as meant, if it means anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_blake3: Option<String>,
    /// How it stands.
    pub state: CellState,
    /// Exit code of its process, once it has ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Its newest run directory, relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Why it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// It was not begun.
    Pending,
    /// Its process is at work, or was when the sweep was killed.
    Running,
    /// Every sample was asked.
    Done,
    /// Every sample was asked, and more are unscored than it allows.
    Unscored,
    /// The user or a budget stopped it; another sweep goes on.
    Stopped,
    /// It could not begin, or ended too early.
    Failed,
}

impl SweepRecord {
    /// A sweep that begins now.
    pub fn new(name: &str, template: &Template, matrix: &Matrix, cells: &[Prepared]) -> Self {
        let source = |path: &Path, blake3: &str| Source {
            path: std::path::absolute(path)
                .unwrap_or_else(|_| path.to_owned())
                .display()
                .to_string(),
            blake3: blake3.to_owned(),
        };
        Self {
            format: FORMAT,
            name: name.to_owned(),
            host_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: jiff::Timestamp::now().to_string(),
            template: source(&template.path, &template.blake3),
            matrix: source(&matrix.path, &matrix.blake3),
            cells: cells.iter().map(CellRecord::new).collect(),
        }
    }

    /// Adds the cells of the sweep before that this one leaves alone. A file that cannot be read holds none.
    pub fn keep_others(&mut self, out: &Path) {
        let before = fs::read(out.join(FILE)).ok();
        let before = before.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        for cell in before.into_iter().flat_map(|before| before.cells) {
            if self.cells.iter().all(|own| own.id != cell.id) {
                self.cells.push(cell);
            }
        }
    }

    /// Writes the file into the sweep's folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, out: &Path) -> Result<(), StoreError> {
        run_dir::write_json(out, FILE, self, &Redactor::default())
    }
}

impl CellRecord {
    fn new(prepared: &Prepared) -> Self {
        let file = prepared.loaded.as_ref();
        Self {
            id: prepared.cell.id.clone(),
            model: prepared.cell.model.clone(),
            task: prepared.cell.task.clone(),
            config_blake3: file.ok().map(|file| file.config_blake3.clone()),
            state: if file.is_ok() { CellState::Pending } else { CellState::Failed },
            exit_code: file.is_err().then_some(exit::USAGE),
            run: None,
            error: file.err().cloned(),
        }
    }

    /// Whether something kept it from being done.
    pub fn is_failed(&self) -> bool {
        matches!(self.state, CellState::Unscored | CellState::Stopped | CellState::Failed)
    }

    /// What kept it, in a few words.
    pub fn in_words(&self) -> String {
        let code =
            self.exit_code.map_or_else(|| "crashed".to_owned(), |code| format!("exit {code}"));
        let reason = match self.state {
            CellState::Unscored => Some("more samples are unscored than it allows".to_owned()),
            CellState::Stopped if self.error.is_none() => Some("stopped".to_owned()),
            _ => self.error.as_deref().map(first_line),
        };
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{} ({code}{reason})", self.id)
    }
}

/// The first line of an error; with the next one if that is what it announces.
fn first_line(error: &str) -> String {
    let mut lines = error.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    match lines.next().filter(|_| first.ends_with(':')) {
        Some(next) => format!("{first} {next}"),
        None => first.to_owned(),
    }
}

/// The exit code of a sweep: 4 if the user stopped it, else the gravest of its cells', by 1, 5, 2, 4, 3. A process that
/// crashed counts as 1.
pub fn exit_code<'a>(cells: impl IntoIterator<Item = &'a CellRecord>, interrupted: bool) -> u8 {
    if interrupted {
        return exit::STOPPED;
    }
    const GRAVEST_FIRST: [u8; 5] =
        [exit::INTERNAL, exit::PLUGIN, exit::USAGE, exit::STOPPED, exit::UNSCORED];
    let codes: Vec<u8> = cells
        .into_iter()
        .filter(|cell| cell.is_failed())
        .map(|cell| cell.exit_code.unwrap_or(exit::INTERNAL))
        .collect();
    if codes.is_empty() {
        return exit::DONE;
    }
    GRAVEST_FIRST.into_iter().find(|code| codes.contains(code)).unwrap_or(exit::INTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(state: CellState, exit_code: Option<u8>) -> CellRecord {
        CellRecord {
            id: "a--b".into(),
            model: "a".into(),
            task: Some("b".into()),
            config_blake3: None,
            state,
            exit_code,
            run: None,
            error: Some("no server\n  hint: start it".into()),
        }
    }

    #[test]
    fn the_gravest_end_of_a_cell_is_that_of_the_sweep() {
        use CellState::*;
        let table = [
            (vec![(Done, Some(0))], false, 0),
            (vec![(Done, Some(0)), (Pending, None)], true, 4),
            (vec![(Done, Some(0)), (Unscored, Some(3))], false, 3),
            (vec![(Unscored, Some(3)), (Stopped, Some(4))], false, 4),
            (vec![(Stopped, Some(4)), (Failed, Some(2)), (Done, Some(0))], false, 2),
            (vec![(Failed, Some(2)), (Failed, Some(5))], false, 5),
            (vec![(Failed, Some(5)), (Failed, None)], false, 1),
        ];
        for (states, interrupted, expected) in table {
            let cells: Vec<_> = states.into_iter().map(|(state, code)| cell(state, code)).collect();
            assert_eq!(exit_code(&cells, interrupted), expected, "{cells:?}");
        }
    }

    #[test]
    fn a_failure_is_told_in_one_line() {
        assert_eq!(cell(CellState::Failed, Some(5)).in_words(), "a--b (exit 5: no server)");
        assert_eq!(cell(CellState::Failed, None).in_words(), "a--b (crashed: no server)");
        let changed = CellRecord {
            error: Some("it has changed:\n  max_samples: 4\n  seed: 1".into()),
            ..cell(CellState::Failed, Some(2))
        };
        assert_eq!(changed.in_words(), "a--b (exit 2: it has changed: max_samples: 4)");
        let unscored = cell(CellState::Unscored, Some(3)).in_words();
        assert_eq!(unscored, "a--b (exit 3: more samples are unscored than it allows)");
    }
}
