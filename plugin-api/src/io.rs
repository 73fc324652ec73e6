//! What a backend may ask of the host while it works on a request: HTTP, waiting, another turn.
//!
//! Every future here is resolved by an event that the session delivers; none needs a runtime.

use std::{future::Future, sync::Arc, task::Poll, time::Duration};

use serde_json::Value;

use crate::{
    abi,
    completion::Answer,
    error::Result,
    http::{HttpRequest, Reply},
    message::{Action, Decimal, Delta, Done, Hold, Limits, Start, Wait},
    shared::{OpenCall, Shared},
    stream::Stream,
};

/// The host's services for one item of a session. Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use plugin_api::{Error, ErrorKind, HttpRequest, Io, Reply, Result};
///
/// /// Asks until the job is done. Nothing sleeps: the host gives the turn when it is time.
/// async fn finished(io: &Io, url: &str) -> Result<Reply> {
///     for _ in 0..10 {
///         let reply = io.send(HttpRequest::get(url)).await?;
///         if reply.status != 202 {
///             return Ok(reply);
///         }
///         io.wait(Duration::from_secs(2)).await;
///     }
///     Err(Error::new(ErrorKind::Timeout, "the job takes more than twenty seconds"))
/// }
/// ```
///
/// A backend that computes gives others a turn, and looks whether its answer is still wanted:
///
/// ```
/// use plugin_api::{Error, ErrorKind, Io, Result};
///
/// async fn sum(io: &Io, numbers: &[u64]) -> Result<u64> {
///     let mut sum = 0;
///     for some in numbers.chunks(100_000) {
///         if io.cancelled() {
///             return Err(Error::new(ErrorKind::Cancelled, "nobody waits for the sum"));
///         }
///         sum += some.iter().sum::<u64>();
///         io.again().await;
///     }
///     Ok(sum)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Io {
    shared: Arc<Shared>,
    item: u32,
}

impl Io {
    pub(crate) fn new(shared: Arc<Shared>, item: u32) -> Self {
        Self { shared, item }
    }

    /// The same services for another item of a batch: its deltas carry that number.
    ///
    /// ```
    /// fn tell(io: &plugin_api::Io, texts: &[&str]) {
    ///     for (item, text) in (0..).zip(texts) {
    ///         io.for_item(item).delta(text);
    ///     }
    /// }
    /// ```
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
        let wait = self.ask(|call| Action::Wait(Wait { call, ms }), Vec::new());
        // A wait has no failure: whatever ends it, it is over.
        async move {
            let _ = wait.complete().await;
        }
    }

    /// Notes that the backend is about to hold an outside resource, one that costs until it is freed. Done before
    /// the resource is made: when this returns, the note is on the disk, and a run that is killed after it can
    /// still be cleaned up from it. A name that is held already gets the new note.
    ///
    /// # Errors
    /// The note cannot be stored; then the resource must not be made.
    pub fn hold(
        &self,
        name: &str,
        note: &Value,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let mut body = abi::buffer();
        // A value that is JSON already can be written as JSON.
        let _ = serde_json::to_writer(&mut body, note);
        let call = self.ask(|call| Action::Hold(Hold { call, name: name.into() }), body);
        async move { call.complete().await }
    }

    /// Notes that an outside resource is held no more.
    ///
    /// # Errors
    /// The note cannot be stored; the resource will be freed once more.
    pub fn free(&self, name: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        let call = self.ask(|call| Action::Free(Hold { call, name: name.into() }), Vec::new());
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
    ///
    /// ```
    /// use plugin_api::{HttpRequest, Io};
    ///
    /// /// A server that knows the name again does not do the same work twice.
    /// fn named(io: &Io) -> HttpRequest<'static> {
    ///     HttpRequest::post("https://api.acme.test/jobs").header("idempotency-key", io.request_id())
    /// }
    /// ```
    pub fn request_id(&self) -> String {
        self.shared.state().request_id.clone()
    }

    /// 1 for the first attempt.
    ///
    /// ```
    /// /// What failed once is asked of the slower and surer of two servers.
    /// fn server(io: &plugin_api::Io) -> &'static str {
    ///     if io.attempt() > 1 { "https://slow.acme.test" } else { "https://fast.acme.test" }
    /// }
    /// ```
    pub fn attempt(&self) -> u32 {
        self.shared.state().attempt
    }

    /// Time from the start event until the host ends the session; none if it never does.
    ///
    /// ```
    /// /// What a server is told that would else go on for hours.
    /// fn budget_s(io: &plugin_api::Io) -> Option<u64> {
    ///     io.deadline().map(|deadline| deadline.as_secs())
    /// }
    /// ```
    pub fn deadline(&self) -> Option<Duration> {
        Some(self.shared.state().deadline_ms).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    pub(crate) fn started(&self, start: &Start<'_>) {
        let mut state = self.shared.state();
        state.request_id.push_str(&start.request_id);
        state.attempt = start.attempt;
        state.deadline_ms = start.deadline_ms;
    }

    /// Answers an item. What no server can mean fails it, whichever backend let it through.
    pub(crate) fn answer(&self, item: u32, result: Result<Answer>) {
        match result.and_then(Answer::sound) {
            Ok(answer) => {
                let mut body = abi::buffer();
                let answer = answer.put(&mut body);
                self.shared.push(&Action::Done(Done { item, answer }), body);
            }
            Err(error) => self.shared.push(&Action::Fail(error.to_fail(Some(item))), Vec::new()),
        }
    }

    /// Pushes an action as it stands, sensible or not.
    #[cfg(any(doc, feature = "testkit"))]
    pub(crate) fn push_raw(&self, head: Vec<u8>, body: Vec<u8>) {
        self.shared.state().outbox.push((head, body));
        self.shared.nudge();
    }

    /// Pushes an action that the host answers by one event without a body.
    fn ask<'a>(&self, action: impl FnOnce(Decimal) -> Action<'a>, body: Vec<u8>) -> OpenCall {
        let mut state = self.shared.state();
        let id = state.open(false);
        state.push(&action(Decimal(id)), body);
        drop(state);
        self.shared.nudge();
        OpenCall { shared: Arc::clone(&self.shared), id }
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
