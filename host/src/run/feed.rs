//! Reads samples ahead of the requests, on a thread of its own: files block, and templates compute.

use std::{sync::Arc, thread};

use tokio::sync::mpsc;

use super::{done::Done, event::Event, plan::Unit, recorder::Note};
use crate::task::stream::{Next, Prepared, SampleError};

/// Most samples that are handed over at once: waking the other side costs more than reading a sample does.
const BATCH: usize = 32;
/// Batches that wait to be taken at most.
const BATCHES_AHEAD: usize = 2;

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

impl FeedError {
    /// Why the samples of this task cannot be had.
    pub(super) fn new(task: &str, error: SampleError) -> Self {
        Self { task: task.to_owned(), error: Box::new(error) }
    }
}

/// What a feed gives.
#[derive(Debug)]
pub enum Fed<W = Work> {
    /// Samples to be asked.
    Work(Vec<W>),
    /// The last item: everything was handed out. A feed that ends without it has failed.
    End,
    /// The last item: the samples ended too early.
    Failed(FeedError),
}

/// Starts a thread that hands out the samples of these units that are not done, one unit after the other, never far
/// ahead of who takes them: `concurrency` says how many that are at once. The thread ends when everything is handed
/// out, at an error, or soon after nobody takes any more.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    units: Vec<(Arc<Unit>, Arc<Done>)>,
    concurrency: usize,
    notes: mpsc::Sender<Note>,
) -> std::io::Result<mpsc::Receiver<Fed>> {
    let (work, taken) = mpsc::channel(BATCHES_AHEAD);
    let most = concurrency.saturating_mul(2).clamp(1, BATCH);
    thread::Builder::new().name("feed".to_owned()).spawn(move || {
        let mut feed = Feed { work, notes, batch: Vec::with_capacity(most), most };
        let last = units.iter().find_map(|(unit, done)| match feed.unit(unit, done) {
            Ok(()) => None,
            Err(error) => Some(Fed::Failed(FeedError::new(&unit.name.task, error))),
        });
        feed.hand_over();
        let _ = feed.work.blocking_send(last.unwrap_or(Fed::End));
    })?;
    Ok(taken)
}

/// What there is, for as long as anybody takes it: a resumed run may pass over millions of samples that are done, or
/// leave out as many, without handing out one.
fn while_taken<T>(
    work: &mpsc::Sender<Fed>,
    all: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    all.take_while(|_| !work.is_closed())
}

struct Feed {
    work: mpsc::Sender<Fed>,
    notes: mpsc::Sender<Note>,
    batch: Vec<Work>,
    most: usize,
}

impl Feed {
    fn unit(&mut self, unit: &Arc<Unit>, done: &Arc<Done>) -> Result<(), SampleError> {
        let mut handed_out = done.count();
        let work = self.work.clone();
        if work.is_closed() {
            return Ok(());
        }
        for next in while_taken(&work, done.leave_out(unit.task.samples()?)) {
            match next? {
                Next::Ready(prepared) => {
                    let prepared = Arc::<Prepared>::from(prepared);
                    for repeat in done.missing(&prepared.sample) {
                        let prepared = Arc::clone(&prepared);
                        self.batch.push(Work { unit: Arc::clone(unit), prepared, repeat });
                        let is_full = self.batch.len() >= self.most;
                        if (is_full || self.is_waited_for()) && !self.hand_over() {
                            return Ok(());
                        }
                        handed_out += 1;
                    }
                }
                Next::PassedOver => {
                    // What was found before may be all that there is for long.
                    if self.is_waited_for() {
                        self.hand_over();
                    }
                }
                Next::Skipped { error, .. } => {
                    let skipped =
                        Event::Skipped { unit: unit.name.clone(), reason: error.to_string() };
                    let _ = self.notes.blocking_send(Note::Skipped(unit.index, skipped));
                }
            }
        }
        if work.is_closed() {
            return Ok(());
        }
        let read = Event::Read { unit: unit.name.clone(), samples: handed_out };
        let _ = self.notes.blocking_send(Note::Event(read));
        Ok(())
    }

    /// Whether who takes samples has none left: they are not kept waiting for a whole batch.
    fn is_waited_for(&self) -> bool {
        self.work.capacity() == self.work.max_capacity()
    }

    /// False if nobody takes samples any more.
    fn hand_over(&mut self) -> bool {
        if self.batch.is_empty() {
            return !self.work.is_closed();
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(self.most));
        self.work.blocking_send(Fed::Work(batch)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_any_more_once_nobody_takes_it() {
        let (work, taken) = mpsc::channel(1);
        let mut taken = Some(taken);
        let mut read = 0;
        let passed_over = std::iter::from_fn(|| {
            read += 1;
            if read == 5 {
                taken.take();
            }
            (read < 1000).then_some(Next::PassedOver)
        });
        assert_eq!(while_taken(&work, passed_over).count(), 4);
        assert_eq!(read, 5);
    }
}
