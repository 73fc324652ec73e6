//! What a session waits for, by the numbers of its calls. Nearly always it is one thing, which then costs no more than a
//! future in a box; any number of others may join it.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};

/// Calls that are open, and the futures that some of them wait for: one each at most.
pub(super) struct Waiting<'a, T> {
    first: Option<First<'a, T>>,
    others: Option<Others<'a, T>>,
}

struct First<'a, T> {
    call: u64,
    future: Option<BoxFuture<'a, T>>,
}

struct Others<'a, T> {
    open: Vec<(u64, AbortHandle)>,
    futures: FuturesUnordered<Abortable<BoxFuture<'a, T>>>,
}

impl<T> Default for Others<'_, T> {
    fn default() -> Self {
        Self { open: Vec::new(), futures: FuturesUnordered::new() }
    }
}

impl<T> Default for Waiting<'_, T> {
    fn default() -> Self {
        Self { first: None, others: None }
    }
}

impl<'a, T> Waiting<'a, T> {
    /// Opens a call that waits for a future. False if a call of this number is open.
    pub(super) fn open(&mut self, call: u64, future: BoxFuture<'a, T>) -> bool {
        if self.is_open(call) {
            return false;
        }
        if self.first.is_none() {
            self.first = Some(First { call, future: Some(future) });
        } else {
            let others = self.others.get_or_insert_default();
            let (handle, registration) = AbortHandle::new_pair();
            others.open.push((call, handle));
            others.futures.push(Abortable::new(future, registration));
        }
        true
    }

    /// A call that is open waits for another future; of one that is not, it is dropped.
    pub(super) fn go_on(&mut self, call: u64, next: BoxFuture<'a, T>) {
        if let Some(First { future, .. }) = self.first.as_mut().filter(|first| first.call == call) {
            *future = Some(next);
        } else if let Some(others) = &mut self.others
            && let Some((_, handle)) = others.open.iter_mut().find(|(open, _)| *open == call)
        {
            let (fresh, registration) = AbortHandle::new_pair();
            *handle = fresh;
            others.futures.push(Abortable::new(next, registration));
        }
    }

    /// Whether a call is open.
    pub(super) fn is_open(&self, call: u64) -> bool {
        self.first.as_ref().is_some_and(|first| first.call == call)
            || self.others.as_ref().is_some_and(|others| others.is_open(call))
    }

    /// Closes a call, and drops what it waits for. False if it was not open.
    pub(super) fn close(&mut self, call: u64) -> bool {
        if self.first.as_ref().is_some_and(|first| first.call == call) {
            self.first = None;
            return true;
        }
        let Some(others) = &mut self.others else { return false };
        let index = others.open.iter().position(|(open, _)| *open == call);
        index.map(|index| others.open.swap_remove(index).1.abort()).is_some()
    }

    /// Whether no future is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.first.as_ref().is_none_or(|first| first.future.is_none())
            && self.others.as_ref().is_none_or(|others| others.futures.is_empty())
    }

    /// Waits for whatever is ready first. For ever if nothing is waited for.
    pub(super) async fn next(&mut self) -> T {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// What is ready, if anything is.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<T> {
        if let Some(First { future: waited_for @ Some(_), .. }) = &mut self.first
            && let Some(future) = waited_for
            && let Poll::Ready(ready) = future.as_mut().poll(context)
        {
            *waited_for = None;
            return Poll::Ready(ready);
        }
        while let Some(others) = &mut self.others {
            match others.futures.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(ready))) => return Poll::Ready(ready),
                // A call that was closed.
                Poll::Ready(Some(Err(_))) => {}
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }
}

impl<T> Others<'_, T> {
    fn is_open(&self, call: u64) -> bool {
        self.open.iter().any(|(open, _)| *open == call)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::future::{pending, ready};

    use super::*;

    fn now(waiting: &mut Waiting<'_, u64>) -> Option<u64> {
        match waiting.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    #[test]
    fn every_call_gets_what_it_waits_for_and_a_closed_one_nothing() {
        let mut waiting = Waiting::default();
        assert!(waiting.is_idle());
        assert!(waiting.open(1, Box::pin(pending())));
        for call in 2..=5 {
            assert!(waiting.open(call, Box::pin(ready(call))));
        }
        assert!(!waiting.open(1, Box::pin(ready(0))), "the number is in use");
        assert!(!waiting.open(4, Box::pin(ready(0))), "the number is in use");
        assert!(waiting.close(3) && !waiting.close(3) && !waiting.is_open(3));
        let mut came: Vec<u64> = std::iter::from_fn(|| now(&mut waiting)).collect();
        came.sort_unstable();
        assert_eq!(came, [2, 4, 5]);
        assert!(waiting.is_open(4), "until it is closed");
        waiting.go_on(4, Box::pin(ready(44)));
        waiting.go_on(3, Box::pin(ready(33)));
        assert_eq!(now(&mut waiting), Some(44));
        waiting.go_on(1, Box::pin(ready(11)));
        assert_eq!(now(&mut waiting), Some(11));
        assert!(waiting.is_idle() && waiting.is_open(1));
        assert!(waiting.close(1) && waiting.close(4));
        assert_eq!(now(&mut waiting), None);
    }

    #[test]
    fn closing_a_call_drops_what_it_waited_for_at_once_if_it_is_the_only_one() {
        let (sender, mut receiver) = tokio::sync::oneshot::channel::<()>();
        let mut waiting = Waiting::<()>::default();
        waiting.open(
            1,
            Box::pin(async move {
                pending::<()>().await;
                drop(sender);
            }),
        );
        waiting.close(1);
        assert!(receiver.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Closed));
    }
}
