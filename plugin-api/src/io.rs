//! What a backend may ask of the host while it works on a request: HTTP, waiting, another turn.
//!
//! Every future here is resolved by an event that the session delivers; none needs a runtime.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde::Serialize;

use crate::{
    abi::{self, HostRef},
    completion::Answer,
    error::{Error, ErrorKind, Result},
    http::{HttpRequest, Reply},
    message::{
        Action, CallRef, Cancel, Decimal, Delta, Done, Limits, ReplyHead, Start, TransportError,
        Wait,
    },
    turn,
};

/// The host's services for one item of a session. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Io {
    shared: Arc<Shared>,
    item: u32,
}

#[derive(Debug)]
pub(crate) struct Shared {
    host: Option<HostRef>,
    token: u64,
    /// The session's own waker. A call that waits with it needs no wake: every event polls the session.
    waker: Waker,
    state: Mutex<State>,
}

/// An action ready to be pushed: JSON head, body.
pub(crate) type Outgoing = (Vec<u8>, Vec<u8>);

#[derive(Debug, Default)]
struct State {
    request_id: String,
    attempt: u32,
    deadline_ms: u64,
    last_call: u64,
    calls: Vec<Call>,
    outbox: Vec<Outgoing>,
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, action: &Action<'_>, body: Vec<u8>) {
        self.state().push(action, body);
        self.nudge();
    }

    /// What another thread pushes between two steps would lie there unseen, so it asks for a step.
    fn nudge(&self) {
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

    fn push<T: Serialize>(&mut self, action: &T, body: Vec<u8>) {
        let mut head = abi::buffer();
        // The heads are structs of strings and numbers: writing them into memory cannot fail.
        if serde_json::to_writer(&mut head, action).is_ok() {
            self.outbox.push((head, body));
        }
    }

    fn open(&mut self, streamed: bool) -> u64 {
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

impl Io {
    pub(crate) fn new(shared: Arc<Shared>, item: u32) -> Self {
        Self { shared, item }
    }

    /// The same services for another item of a batch: its deltas carry that number.
    #[must_use]
    pub fn for_item(&self, item: u32) -> Self {
        Self { shared: Arc::clone(&self.shared), item }
    }

    /// Sends a request and waits for the whole reply, whatever its status.
    ///
    /// # Errors
    /// What the host's transport says: no connection, time out, an origin that is not allowed.
    pub fn send(
        &self,
        request: HttpRequest<'_>,
    ) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let call = self.start(request, false);
        async move { call.reply().await }
    }

    /// Sends a request and waits for status and headers; the body comes in chunks.
    ///
    /// # Errors
    /// As for [`Io::send`].
    pub fn stream(
        &self,
        request: HttpRequest<'_>,
    ) -> impl Future<Output = Result<Stream>> + Send + use<> {
        let call = self.start(request, true);
        async move { Ok(Stream { reply: call.reply().await?, call }) }
    }

    /// Waits. The host owns the clock.
    pub fn wait(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut state = self.shared.state();
        let id = state.open(false);
        state.push(&Action::Wait(Wait { call: Decimal(id), ms }), Vec::new());
        drop(state);
        self.shared.nudge();
        let call = OpenCall { shared: Arc::clone(&self.shared), id };
        // A wait has no failure: whatever ends it, it is over.
        async move { call.complete().await }
    }

    /// Gives others a turn. A backend that computes calls this at least every 200 ms.
    pub fn again(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Passes on text of this item as it is generated.
    pub fn delta(&self, text: &str) {
        let mut body = abi::buffer();
        body.extend_from_slice(text.as_bytes());
        self.shared.push(&Action::Delta(Delta { item: self.item }), body);
    }

    /// Passes on what the server said of its rate limits.
    pub fn limits(&self, limits: Limits) {
        self.shared.push(&Action::Limits(limits), Vec::new());
    }

    /// Whether the host no longer wants the answer. For code that computes between two turns.
    pub fn cancelled(&self) -> bool {
        self.shared.host.is_some_and(|host| host.cancelled(self.shared.token))
    }

    /// The host's name for the sample and attempt.
    pub fn request_id(&self) -> String {
        self.shared.state().request_id.clone()
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> u32 {
        self.shared.state().attempt
    }

    /// Time from the start event until the host ends the session; none if it never does.
    pub fn deadline(&self) -> Option<Duration> {
        Some(self.shared.state().deadline_ms).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    pub(crate) fn started(&self, start: &Start<'_>) {
        let mut state = self.shared.state();
        state.request_id.push_str(&start.request_id);
        state.attempt = start.attempt;
        state.deadline_ms = start.deadline_ms;
    }

    /// Answers an item.
    pub(crate) fn answer(&self, item: u32, result: Result<Answer>) {
        match result {
            Ok(answer) => {
                let mut body = abi::buffer();
                let answer = answer.put(&mut body);
                self.shared.push(&Action::Done(Done { item, answer }), body);
            }
            Err(error) => self.shared.push(&Action::Fail(error.to_fail(Some(item))), Vec::new()),
        }
    }

    /// Pushes an action as it stands, sensible or not.
    #[cfg(feature = "testkit")]
    pub(crate) fn push_raw(&self, head: Vec<u8>, body: Vec<u8>) {
        self.shared.state().outbox.push((head, body));
        self.shared.nudge();
    }

    fn start(&self, request: HttpRequest<'_>, stream: bool) -> OpenCall {
        let mut state = self.shared.state();
        let id = state.open(stream);
        let (head, body) = request.into_parts(id, stream);
        state.push(&Action::Http(head), body);
        drop(state);
        self.shared.nudge();
        OpenCall { shared: Arc::clone(&self.shared), id }
    }
}

/// A call in flight; dropping it cancels what is still outstanding.
#[derive(Debug)]
struct OpenCall {
    shared: Arc<Shared>,
    id: u64,
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

    async fn reply(&self) -> Result<Reply> {
        self.until(|call| match (call.reply.take(), &call.outcome) {
            (Some(reply), _) => Some(Ok(reply)),
            (None, Outcome::Failed(error)) => Some(Err(error.clone())),
            (None, Outcome::Complete) => Some(Err(no_reply())),
            (None, Outcome::Open) => None,
        })
        .await
    }

    async fn complete(&self) {
        self.until(|call| (!matches!(call.outcome, Outcome::Open)).then_some(())).await;
    }

    async fn chunk(&self) -> Result<Option<Vec<u8>>> {
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

/// A streamed reply.
#[derive(Debug)]
pub struct Stream {
    reply: Reply,
    call: OpenCall,
}

impl Stream {
    /// Status and headers; the body is empty.
    pub fn head(&self) -> &Reply {
        &self.reply
    }

    /// The next bytes, cut anywhere; none once the reply is complete.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub async fn chunk(&mut self) -> Result<Option<Cow<'static, [u8]>>> {
        Ok(self.call.chunk().await?.map(Cow::Owned))
    }

    /// Reads on for at most `grace`, and forgets what comes: a reply read to its end leaves its connection
    /// fit for the next call. For when the answer is whole but the stream is not yet over.
    pub async fn drain(self, io: &Io, grace: Duration) {
        let mut grace = pin!(io.wait(grace));
        loop {
            let mut chunk = pin!(self.call.chunk());
            let over = std::future::poll_fn(|context| {
                if grace.as_mut().poll(context).is_ready() {
                    return Poll::Ready(true);
                }
                chunk.as_mut().poll(context).map(|chunk| !matches!(chunk, Ok(Some(_))))
            });
            if over.await {
                return;
            }
        }
    }

    /// The rest of the reply as a whole one; for a status that is not a success, say.
    ///
    /// # Errors
    /// As for [`Stream::chunk`].
    pub async fn collect(mut self) -> Result<Reply> {
        let mut reply = std::mem::take(&mut self.reply);
        while let Some(chunk) = self.call.chunk().await? {
            reply.body.extend_from_slice(&chunk);
            abi::recycle(chunk);
        }
        Ok(reply)
    }
}

/// A future in a box, as a session keeps it; fails if the session never came to the author's code.
pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
