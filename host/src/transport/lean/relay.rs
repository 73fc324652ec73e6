//! The waker of a connection: parts of one that wake each other while all of them are polled wake no task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// Nobody polls: a wake goes to the task.
const RESTING: u8 = 0;
/// The task polls, or nobody waits for anything.
const POLLED: u8 = 1;
/// There was a wake since.
const NUDGED: u8 = 2;

/// Passes wakes on to the task that waits, except those that come while it polls: they make it poll once more.
#[derive(Debug)]
pub(super) struct Relay {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Relay {
    /// A relay that nobody waits at.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(POLLED), task: AtomicWaker::new() })
    }

    /// Before polling: `task` is to be woken from now on.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(POLLED, Ordering::Release);
    }

    /// After a poll that gave nothing. False if there was a wake meanwhile, and everything must be polled again.
    pub(super) fn rest(&self) -> bool {
        // Success hands over to whoever wakes next; a failure takes their wake in.
        let rests =
            self.state.compare_exchange(POLLED, RESTING, Ordering::AcqRel, Ordering::Acquire);
        if rests.is_err() {
            self.state.store(POLLED, Ordering::Release);
        }
        rests.is_ok()
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(NUDGED, Ordering::AcqRel) == RESTING {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_while_polled_means_another_poll_and_one_later_wakes_the_task_once() {
        let (relay, task) = (Relay::new(), Arc::<Count>::default());
        let woken = || task.0.load(Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&relay));
        waker.wake_by_ref();
        assert_eq!(woken(), 0, "nobody waits yet");
        relay.register(&Waker::from(Arc::clone(&task)));
        waker.wake_by_ref();
        assert!(!relay.rest(), "a wake came while it was polled");
        assert!(relay.rest());
        assert_eq!(woken(), 0);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
    }
}
