//! Several futures of one session at once.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Runs futures concurrently and gives their results in order.
///
/// Each wake polls every future that is not done, which suits the handful of calls of one session.
///
/// ```
/// use plugin_api::{HttpRequest, Io, Reply, Result, join_all};
///
/// async fn both(io: &Io) -> Vec<Result<Reply>> {
///     let urls = ["https://api.acme.test/a", "https://api.acme.test/b"];
///     join_all(urls.map(|url| io.send(HttpRequest::get(url)))).await
/// }
/// ```
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let slots = futures.into_iter().map(|future| Slot::Running(Box::pin(future))).collect();
    Join { slots }.await
}

enum Slot<F: Future> {
    Running(Pin<Box<F>>),
    Done(Option<F::Output>),
}

struct Join<F: Future> {
    slots: Vec<Slot<F>>,
}

// No future is pinned inside: each has its own box.
impl<F: Future> Unpin for Join<F> {}

impl<F: Future> Future for Join<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut pending = false;
        for slot in &mut self.slots {
            if let Slot::Running(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *slot = Slot::Done(Some(output)),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            return Poll::Pending;
        }
        let outputs = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Done(output) => output.take(),
            Slot::Running(_) => None,
        });
        Poll::Ready(outputs.collect())
    }
}
