//! Runs the cells of a sweep, some at once, each to its own end. One owner of all state, which is told by messages:
//! from the processes, and from whoever hears the user.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::Path,
    sync::mpsc::{Receiver, Sender},
};

use super::{
    child::{End, Running, Said},
    event::{SweepEvent, Watcher},
    prepare::Prepared,
    record::{CellRecord, CellState, SweepRecord},
};
use crate::{run::error::exit, store::StoreError};

/// What the owner is told.
#[derive(Debug)]
pub enum Message {
    /// The process of a cell said something.
    Said(usize, Said),
    /// It will say nothing more.
    Silent(usize),
    /// The user wants to stop; the second time at once.
    Stop,
}

/// How cells are run.
#[derive(Debug)]
pub struct How<'a> {
    /// The sweep's folder.
    pub out: &'a Path,
    /// How many at once; at least 1.
    pub jobs: usize,
    /// What `host run` is told beside the run file.
    pub arguments: &'a [OsString],
}

/// Runs every cell that can be run, and writes down how each stands. Whether the user stopped it.
///
/// # Errors
/// `sweep.json` cannot be written. The cells are run to their ends all the same.
pub fn run(
    cells: &[Prepared],
    record: &mut SweepRecord,
    how: &How<'_>,
    watcher: &mut dyn Watcher,
    (sender, receiver): &(Sender<Message>, Receiver<Message>),
) -> Result<bool, StoreError> {
    let mut waiting = cells.iter().enumerate().filter(|(_, cell)| cell.loaded.is_ok());
    let mut running: BTreeMap<usize, Running> = BTreeMap::new();
    let mut stops = 0_u32;
    let mut written = record.write(how.out);
    for cell in record.cells.iter().take(cells.len()).filter(|cell| cell.is_failed()) {
        watcher.on(&ended(cell, None));
    }
    loop {
        while stops == 0 && running.len() < how.jobs.max(1) {
            let Some((number, prepared)) = waiting.next() else { break };
            let Some(cell) = record.cells.get_mut(number) else { continue };
            match Running::start(number, prepared, how.arguments, sender) {
                Ok(process) => {
                    running.insert(number, process);
                    cell.state = CellState::Running;
                    watcher.on(&SweepEvent::CellStarted {
                        cell: cell.id.clone(),
                        file: prepared.file.display().to_string(),
                    });
                }
                Err(error) => {
                    cell.state = CellState::Failed;
                    cell.exit_code = Some(exit::INTERNAL);
                    cell.error = Some(format!("its process cannot be started: {error}"));
                    watcher.on(&ended(cell, None));
                }
            }
            written = written.and(record.write(how.out));
        }
        if running.is_empty() {
            return written.map(|()| stops > 0);
        }
        // This function holds a sender, so that there is always one.
        let Ok(message) = receiver.recv() else { return written.map(|()| stops > 0) };
        match message {
            Message::Said(number, said) => {
                let cell = record.cells.get(number);
                let progress = running.get_mut(&number).and_then(|process| process.hear(said));
                if let (Some(cell), Some(progress)) = (cell, progress) {
                    watcher.progress(&cell.id, progress);
                }
            }
            Message::Silent(number) => {
                let Some(end) = running.remove(&number).map(Running::end) else { continue };
                if let Some(cell) = record.cells.get_mut(number) {
                    take(cell, &end, stops > 0, how.out);
                    watcher.on(&ended(cell, Some(&end)));
                }
                written = written.and(record.write(how.out));
            }
            Message::Stop => {
                stops += 1;
                if stops == 1 {
                    watcher.on(&SweepEvent::Interrupted);
                }
                for process in running.values_mut() {
                    match stops {
                        1 => process.let_go(),
                        _ => process.press(stops > 2),
                    }
                }
            }
        }
    }
}

/// Notes how a cell ended.
fn take(cell: &mut CellRecord, end: &End, stopping: bool, out: &Path) {
    // One that had not yet begun to listen ends by the signal itself.
    let exit_code = end.exit_code.or(stopping.then_some(exit::STOPPED));
    cell.state = match exit_code {
        Some(exit::DONE) => CellState::Done,
        Some(exit::UNSCORED) => CellState::Unscored,
        Some(exit::STOPPED) => CellState::Stopped,
        _ => CellState::Failed,
    };
    cell.exit_code = exit_code;
    cell.error = match cell.state {
        CellState::Done => None,
        _ => end.error.clone(),
    };
    let directory = end.directory.as_deref();
    let relative = directory.map(|run| run.strip_prefix(out).unwrap_or(run).display().to_string());
    cell.run = relative.or(cell.run.take());
}

fn ended(cell: &CellRecord, end: Option<&End>) -> SweepEvent {
    SweepEvent::CellEnded {
        cell: cell.id.clone(),
        state: cell.state,
        exit_code: cell.exit_code,
        directory: end.and_then(|end| end.directory.as_ref()).map(|run| run.display().to_string()),
        error: cell.error.clone(),
        samples: end.map_or(0, |end| end.progress.done),
        ms: end.map_or(0, |end| end.ms),
    }
}
