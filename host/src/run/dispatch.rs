//! Keeps a backend busy: takes work as it comes, never more at once than the backend's bound.

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    executor::execute,
    feed::{FeedError, Work},
    recorder::Note,
};

/// Why a backend's work ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything was asked.
    Complete,
    /// The run was stopped.
    Stopped,
    /// The samples ended too early.
    Failed(FeedError),
}

/// Asks everything that `work` gives. On a stop, what is in flight is dropped: its sessions end, and it is
/// not recorded.
pub async fn dispatch(
    mut work: mpsc::Receiver<Result<Work, FeedError>>,
    concurrency: usize,
    notes: mpsc::Sender<Note>,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let mut in_flight = JoinSet::new();
    let mut failed = None;
    let mut open = true;
    while open || !in_flight.is_empty() {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {
                in_flight.shutdown().await;
                return Ended::Stopped;
            }
            Some(_) = in_flight.join_next() => {}
            next = work.recv(), if open && in_flight.len() < concurrency => match next {
                Some(Ok(item)) => {
                    let notes = notes.clone();
                    in_flight.spawn(async move {
                        let finished = execute(item, &notes).await;
                        let _ = notes.send(Note::Finished(Box::new(finished))).await;
                    });
                }
                // What is in flight is finished and recorded all the same.
                Some(Err(error)) => {
                    failed = Some(error);
                    open = false;
                }
                None => open = false,
            },
        }
    }
    failed.map_or(Ended::Complete, Ended::Failed)
}
