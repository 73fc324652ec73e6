//! The waker of a session: what a future's `wake` becomes on the other side of the boundary.
//!
//! A wake during a step asks for another turn (`again`); a wake at any other time, from any thread,
//! becomes `Host.wake`, which the host latches. So no wake is lost and none is taken for another's.
//! Wakes that a step's own event causes are answered by the poll that follows it, and go nowhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

use crate::abi::HostRef;

const IDLE: u8 = 0;
const STEPPING: u8 = 1;
const WOKEN: u8 = 2;

#[derive(Debug)]
pub(crate) struct SessionWake {
    state: AtomicU8,
    token: u64,
    host: Option<HostRef>,
}

impl SessionWake {
    pub(crate) fn new(token: u64, host: Option<HostRef>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(IDLE), token, host })
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// A step begins, and then its poll; wakes so far are answered by that poll.
    pub(crate) fn begin(&self) {
        self.state.store(STEPPING, Ordering::SeqCst);
    }

    /// A step ends. True if a wake came since its poll began.
    pub(crate) fn end(&self) -> bool {
        self.state.swap(IDLE, Ordering::SeqCst) == WOKEN
    }
}

impl Wake for SessionWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(IDLE) =
            self.state.compare_exchange(STEPPING, WOKEN, Ordering::SeqCst, Ordering::SeqCst)
        {
            if let Some(host) = self.host {
                host.wake(self.token);
            }
        }
    }
}
