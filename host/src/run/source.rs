//! The samples of a backend as its workers take them, one after the other.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;

use super::feed::{Fed, FeedError, Work};

/// Why no more samples come.
#[derive(Debug)]
pub enum Last {
    /// Everything was handed out.
    End,
    /// The samples ended too early.
    Failed(FeedError),
    /// The thread that reads them is gone.
    Lost,
    /// There are more, and nobody wanted them.
    More,
}

/// Where workers get their samples.
#[derive(Debug)]
pub struct Source {
    ready: Mutex<VecDeque<Work>>,
    fed: tokio::sync::Mutex<mpsc::Receiver<Fed>>,
    last: Mutex<Option<Last>>,
    closed: AtomicBool,
    /// Whether samples that were ready were given to nobody.
    dropped: AtomicBool,
}

impl Source {
    /// Takes what a feed gives.
    pub fn new(fed: mpsc::Receiver<Fed>) -> Self {
        Self {
            ready: Mutex::default(),
            fed: tokio::sync::Mutex::new(fed),
            last: Mutex::default(),
            closed: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
        }
    }

    /// The next sample; none if there is no other.
    pub async fn next(&self) -> Option<Work> {
        if let Some(work) = self.take() {
            return Some(work);
        }
        let mut fed = self.fed.lock().await;
        loop {
            // Another worker may have waited for the same batch.
            if let Some(work) = self.take() {
                return Some(work);
            }
            if self.is_closed() || lock(&self.last).is_some() {
                return None;
            }
            let last = match fed.recv().await {
                Some(Fed::Work(batch)) => {
                    lock(&self.ready).extend(batch);
                    continue;
                }
                Some(Fed::End) => Last::End,
                Some(Fed::Failed(error)) => Last::Failed(error),
                None => Last::Lost,
            };
            *lock(&self.last) = Some(last);
        }
    }

    /// Gives no more samples.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut ready = lock(&self.ready);
        if !ready.is_empty() {
            self.dropped.store(true, Ordering::Release);
        }
        ready.clear();
    }

    /// Whether samples that were ready were given to nobody, since it was closed.
    pub fn has_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// Why no more samples came. Once it is closed, it looks if there would have been more.
    pub async fn end(&self) -> Last {
        if let Some(last) = lock(&self.last).take() {
            return last;
        }
        match self.fed.lock().await.recv().await {
            Some(Fed::Work(_)) => Last::More,
            Some(Fed::End) => Last::End,
            Some(Fed::Failed(error)) => Last::Failed(error),
            None => Last::Lost,
        }
    }

    fn take(&self) -> Option<Work> {
        if self.is_closed() { None } else { lock(&self.ready).pop_front() }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
