//! Reads samples ahead of the requests, on a thread of its own: files block, and templates compute.

use std::{sync::Arc, thread};

use tokio::sync::mpsc;

use super::{done::Done, event::Event, plan::Unit, recorder::Note};
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
    error: Box<SampleError>,
}

/// What a feed gives.
#[derive(Debug)]
pub enum Fed {
    /// A sample to be asked.
    Work(Work),
    /// The last item: everything was handed out. A feed that ends without it has failed.
    End,
    /// The last item: the samples ended too early.
    Failed(FeedError),
}

/// Starts a thread that hands out the samples of these units that are not done, one unit after the other, at most `ahead` of
/// who takes them. The thread ends when everything is handed out, at an error, or soon after nobody takes
/// any more.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    units: Vec<(Arc<Unit>, Arc<Done>)>,
    ahead: usize,
    notes: mpsc::Sender<Note>,
) -> std::io::Result<mpsc::Receiver<Fed>> {
    let (work, taken) = mpsc::channel(ahead.max(1));
    thread::Builder::new().name("feed".to_owned()).spawn(move || {
        let last = units.iter().find_map(|(unit, done)| match feed(unit, done, &work, &notes) {
            Ok(()) => None,
            Err(error) => {
                let task = unit.name.task.clone();
                Some(Fed::Failed(FeedError { task, error: Box::new(error) }))
            }
        });
        let _ = work.blocking_send(last.unwrap_or(Fed::End));
    })?;
    Ok(taken)
}

fn feed(
    unit: &Arc<Unit>,
    done: &Arc<Done>,
    work: &mpsc::Sender<Fed>,
    notes: &mpsc::Sender<Note>,
) -> Result<(), SampleError> {
    let mut handed_out = done.count();
    // Nobody may want the samples any more, also while none of them is fit to be handed out.
    if work.is_closed() {
        return Ok(());
    }
    for next in done.leave_out(unit.task.samples()?) {
        match next? {
            Next::Ready(prepared) => {
                let prepared = Arc::<Prepared>::from(prepared);
                for repeat in done.missing(&prepared.sample) {
                    let item =
                        Work { unit: Arc::clone(unit), prepared: Arc::clone(&prepared), repeat };
                    if work.blocking_send(Fed::Work(item)).is_err() {
                        return Ok(());
                    }
                    handed_out += 1;
                }
            }
            Next::PassedOver => {}
            Next::Skipped { error, .. } => {
                let skipped = Event::Skipped { unit: unit.name.clone(), reason: error.to_string() };
                let _ = notes.blocking_send(Note::Skipped(unit.index, skipped));
                if work.is_closed() {
                    return Ok(());
                }
            }
        }
    }
    let read = Event::Read { unit: unit.name.clone(), samples: handed_out };
    let _ = notes.blocking_send(Note::Event(read));
    Ok(())
}
