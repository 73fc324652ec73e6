//! Keeps a backend busy: takes work as it comes, never more at once than the backend's bound.

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    executor::execute,
    feed::{Fed, FeedError},
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
    /// A part of the host failed; what it was at work on is in no journal.
    Broken(String),
}

/// Asks everything that `work` gives. On a stop, what is in flight is dropped: its sessions end, and it is
/// not recorded.
pub async fn dispatch(
    mut work: mpsc::Receiver<Fed>,
    concurrency: usize,
    notes: mpsc::Sender<Note>,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let mut in_flight = JoinSet::new();
    // Set once no more work comes: why.
    let mut last = None;
    while last.is_none() || !in_flight.is_empty() {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                in_flight.shutdown().await;
                return Ended::Stopped;
            }
            Some(asked) = in_flight.join_next() => if let Err(error) = asked {
                return Ended::Broken(format!("a sample could not be asked: {error}"));
            },
            next = work.recv(), if last.is_none() && in_flight.len() < concurrency => match next {
                Some(Fed::Work(item)) => {
                    let notes = notes.clone();
                    in_flight.spawn(async move {
                        let finished = execute(item, &notes).await;
                        let _ = notes.send(Note::Finished(Box::new(finished))).await;
                    });
                }
                // What is in flight is finished and recorded all the same.
                Some(Fed::End) => last = Some(Ended::Complete),
                Some(Fed::Failed(error)) => last = Some(Ended::Failed(error)),
                None => last = Some(Ended::Broken("the reader of samples failed".to_owned())),
            },
        }
    }
    last.unwrap_or(Ended::Complete)
}

/// Waits for the stop; for ever, if the run ends without one.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.map(drop).is_err() {
        std::future::pending::<()>().await;
    }
}
