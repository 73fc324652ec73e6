//! The state that a session and its futures share: calls in flight, and actions on their way out.
//!
//! Delivering an event wakes who waits for it; dropping a call cancels what is outstanding of it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    abi::{self, HostRef},
    error::{Error, ErrorKind, Result},
    http::Reply,
    message::{Action, CallRef, Cancel, Decimal, ReplyHead, TransportError},
    turn,
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) host: Option<HostRef>,
    pub(crate) token: u64,
    /// The session's own waker. A call that waits with it needs no wake: every event polls the session.
    waker: Waker,
    state: Mutex<State>,
}

/// An action ready to be pushed: JSON head, body.
pub(crate) type Outgoing = (Vec<u8>, Vec<u8>);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) request_id: String,
    pub(crate) attempt: u32,
    pub(crate) deadline_ms: u64,
    last_call: u64,
    calls: Vec<Call>,
    pub(crate) outbox: Vec<Outgoing>,
}

#[derive(Debug)]
struct Call {
    id: u64,
    streamed: bool,
    /// Whom an event must wake beside the session: a part of it that has a waker of its own.
    waker: Option<Waker>,
    reply: Option<Reply>,
    chunks: VecDeque<Vec<u8>>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Open,
    Complete,
    Failed(Error),
}

/// Longest list of actions that is kept for later; one step may push very many.
pub(crate) const KEPT_ACTIONS: usize = 256;

/// States of ended sessions that a thread keeps, so that a session's lists cost no allocation.
const SPARE_STATES: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<State>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut state =
            std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        state.clear();
        if state.outbox.capacity() > KEPT_ACTIONS || state.calls.capacity() > KEPT_ACTIONS {
            return;
        }
        // A thread that is ending keeps none any more; the state is then simply dropped.
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                if spare.len() < SPARE_STATES {
                    spare.push(state);
                }
            }
        });
    }
}

impl Shared {
    pub(crate) fn new(host: Option<HostRef>, token: u64, waker: Waker) -> Arc<Self> {
        let state = Mutex::new(
            SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default(),
        );
        Arc::new(Self { host, token, waker, state })
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, action: &Action<'_>, body: Vec<u8>) {
        self.state().push(action, body);
        self.nudge();
    }

    /// What another thread pushes between two steps would lie there unseen, so it asks for a step.
    pub(crate) fn nudge(&self) {
        if !turn::is_of(self) {
            self.waker.wake_by_ref();
        }
    }

    /// Moves what was pushed since the last time into `out`.
    pub(crate) fn drain(&self, out: &mut Vec<Outgoing>) {
        out.append(&mut self.state().outbox);
    }

    pub(crate) fn on_reply(&self, head: &ReplyHead<'_>, body: &[u8]) {
        self.deliver(head.call, |call| {
            let headers = head.headers.iter().map(|(name, value)| (&**name, &**value));
            call.reply = Some(Reply::collect(head.status, headers, body));
            if !call.streamed {
                call.outcome = Outcome::Complete;
            }
        });
    }

    pub(crate) fn on_chunk(&self, call: CallRef, body: &[u8]) {
        self.deliver(call.call, |call| {
            let mut owned = abi::buffer();
            owned.extend_from_slice(body);
            call.chunks.push_back(owned);
        });
    }

    pub(crate) fn on_complete(&self, call: CallRef) {
        self.deliver(call.call, |call| call.outcome = Outcome::Complete);
    }

    pub(crate) fn on_transport_error(&self, error: TransportError<'_>) {
        let id = error.call;
        self.deliver(id, |call| {
            call.outcome = Outcome::Failed(Error::new(error.kind, error.message.into_owned()));
        });
    }

    /// Late events of a call that is gone are passed over.
    fn deliver(&self, id: Decimal, change: impl FnOnce(&mut Call)) {
        let mut state = self.state();
        let Some(call) = state.calls.iter_mut().find(|call| call.id == id.0) else {
            return;
        };
        change(call);
        let waker = call.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// As new, but for the capacity of its lists.
    fn clear(&mut self) {
        self.request_id.clear();
        self.attempt = 0;
        self.deadline_ms = 0;
        self.last_call = 0;
        self.calls.clear();
        for (head, body) in self.outbox.drain(..) {
            abi::recycle(head);
            abi::recycle(body);
        }
    }

    pub(crate) fn push(&mut self, action: &Action<'_>, body: Vec<u8>) {
        let mut head = abi::buffer();
        // The heads are structs of strings and numbers: writing them into memory cannot fail.
        if action.write(&mut head).is_ok() {
            self.outbox.push((head, body));
        }
    }

    pub(crate) fn open(&mut self, streamed: bool) -> u64 {
        self.last_call += 1;
        let call = Call {
            id: self.last_call,
            streamed,
            waker: None,
            reply: None,
            chunks: VecDeque::new(),
            outcome: Outcome::Open,
        };
        self.calls.push(call);
        self.last_call
    }
}

/// A call in flight; dropping it cancels what is still outstanding.
#[derive(Debug)]
pub(crate) struct OpenCall {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: u64,
}

impl OpenCall {
    /// Waits until `ready` gives something of this call's state.
    fn until<'a, T: 'a>(
        &'a self,
        mut ready: impl FnMut(&mut Call) -> Option<T> + Send + 'a,
    ) -> impl Future<Output = T> + Send + 'a {
        std::future::poll_fn(move |context: &mut Context<'_>| {
            let mut state = self.shared.state();
            // The call lives in the list until `self` is dropped.
            let Some(call) = state.calls.iter_mut().find(|call| call.id == self.id) else {
                return Poll::Pending;
            };
            if let Some(value) = ready(call) {
                return Poll::Ready(value);
            }
            let held = if context.waker().will_wake(&self.shared.waker) {
                call.waker.take()
            } else if call.waker.as_ref().is_some_and(|held| held.will_wake(context.waker())) {
                None
            } else {
                call.waker.replace(context.waker().clone())
            };
            // A waker's destructor is someone else's code: it does not run under the lock.
            drop(state);
            drop(held);
            Poll::Pending
        })
    }

    pub(crate) async fn reply(&self) -> Result<Reply> {
        self.until(|call| match (call.reply.take(), &call.outcome) {
            (Some(reply), _) => Some(Ok(reply)),
            (None, Outcome::Failed(error)) => Some(Err(error.clone())),
            (None, Outcome::Complete) => Some(Err(no_reply())),
            (None, Outcome::Open) => None,
        })
        .await
    }

    pub(crate) async fn complete(&self) -> Result<()> {
        self.until(|call| match &call.outcome {
            Outcome::Open => None,
            Outcome::Complete => Some(Ok(())),
            Outcome::Failed(error) => Some(Err(error.clone())),
        })
        .await
    }

    pub(crate) async fn chunk(&self) -> Result<Option<Vec<u8>>> {
        self.until(|call| match (call.chunks.pop_front(), &call.outcome) {
            (Some(chunk), _) => Some(Ok(Some(chunk))),
            (None, Outcome::Complete) => Some(Ok(None)),
            (None, Outcome::Failed(error)) => Some(Err(error.clone())),
            (None, Outcome::Open) => None,
        })
        .await
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let Some(index) = state.calls.iter().position(|call| call.id == self.id) else {
            return;
        };
        let call = state.calls.swap_remove(index);
        let open = matches!(call.outcome, Outcome::Open);
        if open {
            state.push(&Action::Cancel(Cancel { call: Decimal(self.id) }), Vec::new());
        }
        // Before `call`, whose waker's destructor is someone else's code.
        drop(state);
        if open {
            self.shared.nudge();
        }
    }
}

fn no_reply() -> Error {
    Error::new(ErrorKind::Protocol, "the host ended a call without a reply")
}
