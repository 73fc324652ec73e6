//! Reads samples ahead of the requests, on a thread of its own: files block, and templates compute.

use std::{sync::Arc, thread};

use tokio::sync::mpsc;

use super::{event::Event, plan::Unit, recorder::Note};
use crate::task::stream::{Next, Prepared, SampleError};

/// One repeat of one sample, to be asked.
#[derive(Clone, Debug)]
pub struct Work {
    /// Which task at which backend.
    pub unit: Arc<Unit>,
    /// The sample; its repeats share it.
    pub prepared: Arc<Prepared>,
    /// Which repeat, from 0.
    pub repeat: u32,
}

/// Why a unit's samples ended too early.
#[derive(Debug, thiserror::Error)]
#[error("task `{task}`: {error}")]
pub struct FeedError {
    task: String,
    error: SampleError,
}

/// Starts a thread that hands out the samples of these units, one unit after the other, at most `ahead` of
/// who takes them. The thread ends when everything is handed out, when nobody takes any more, or at an
/// error, which is then the last item.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    units: Vec<Arc<Unit>>,
    ahead: usize,
    notes: mpsc::Sender<Note>,
) -> std::io::Result<mpsc::Receiver<Result<Work, FeedError>>> {
    let (work, taken) = mpsc::channel(ahead.max(1));
    thread::Builder::new().name("feed".to_owned()).spawn(move || {
        for unit in units {
            if let Err(error) = feed(&unit, &work, &notes) {
                let task = unit.name.task.clone();
                let _ = work.blocking_send(Err(FeedError { task, error }));
                return;
            }
        }
    })?;
    Ok(taken)
}

fn feed(
    unit: &Arc<Unit>,
    work: &mpsc::Sender<Result<Work, FeedError>>,
    notes: &mpsc::Sender<Note>,
) -> Result<(), SampleError> {
    let mut handed_out = 0;
    for next in unit.task.samples()? {
        match next? {
            Next::Ready(prepared) => {
                let prepared = Arc::<Prepared>::from(prepared);
                for repeat in 0..unit.task.repeats.get() {
                    let work_item = Work { unit: Arc::clone(unit), prepared: Arc::clone(&prepared), repeat };
                    if work.blocking_send(Ok(work_item)).is_err() {
                        return Ok(());
                    }
                    handed_out += 1;
                }
            }
            Next::Skipped { error, .. } => {
                let skipped = Event::Skipped { unit: unit.name.clone(), reason: error.to_string() };
                let _ = notes.blocking_send(Note::Skipped(unit.index, skipped));
            }
        }
    }
    let read = Event::Read { unit: unit.name.clone(), samples: handed_out };
    let _ = notes.blocking_send(Note::Event(read));
    Ok(())
}
