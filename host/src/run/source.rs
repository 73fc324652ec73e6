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
pub struct Source<W = Work> {
    ready: Mutex<VecDeque<W>>,
    fed: tokio::sync::Mutex<mpsc::Receiver<Fed<W>>>,
    last: Mutex<Option<Last>>,
    closed: AtomicBool,
}

impl<W> Source<W> {
    /// Takes what a feed gives.
    pub fn new(fed: mpsc::Receiver<Fed<W>>) -> Self {
        Self {
            ready: Mutex::default(),
            fed: tokio::sync::Mutex::new(fed),
            last: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// The next sample; none if there is no other.
    pub async fn next(&self) -> Option<W> {
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
    }

    /// Why no more samples came. Once it is closed, it looks if there would have been more: what had come already, also
    /// just after it was closed, or what comes next.
    pub async fn end(&self) -> Last {
        if !lock(&self.ready).is_empty() {
            return Last::More;
        }
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

    fn take(&self) -> Option<W> {
        if self.is_closed() { None } else { lock(&self.ready).pop_front() }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn closed_while_one_waits(sent: Vec<Fed<u32>>) -> Last {
        let (feed, fed) = mpsc::channel(4);
        let source = Source::new(fed);
        let waits = source.next();
        tokio::pin!(waits);
        tokio::select! {
            biased;
            _ = waits.as_mut() => panic!("there is nothing yet"),
            () = std::future::ready(()) => {}
        }
        source.close();
        for one in sent {
            feed.send(one).await.unwrap();
        }
        assert_eq!(waits.await, None);
        source.end().await
    }

    #[tokio::test]
    async fn what_came_to_a_closed_source_and_went_to_nobody_is_more() {
        let end = closed_while_one_waits(vec![Fed::Work(vec![1]), Fed::End]).await;
        assert!(matches!(end, Last::More), "{end:?}");
        let end = closed_while_one_waits(vec![Fed::End]).await;
        assert!(matches!(end, Last::End), "{end:?}");
    }

    #[tokio::test]
    async fn a_closed_source_looks_at_what_comes_next() {
        for (next, is_more) in [(Fed::Work(vec![2]), true), (Fed::End, false)] {
            let (feed, fed) = mpsc::channel(4);
            let source = Source::new(fed);
            feed.send(Fed::Work(vec![1])).await.unwrap();
            assert_eq!(source.next().await, Some(1));
            source.close();
            assert_eq!(source.next().await, None);
            feed.send(next).await.unwrap();
            assert_eq!(matches!(source.end().await, Last::More), is_more);
        }
    }
}
