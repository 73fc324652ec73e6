//! A Text Generation Inference server that is stricter than the real one, for tests: it refuses what TGI would
//! silently ignore, and misbehaves on demand.
//!
//! Real HTTP on a port that the system chooses. Behind it is a model that is a pure function of the text
//! ([`model`]), so that a test can compute what must come out. Shares no code with the plugin.

pub mod model;
mod reply;
mod request;
mod server;

use std::{
    fmt,
    io::Result,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use hyper::body::Bytes;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    runtime::{Handle, Runtime},
    sync::watch,
    task::AbortHandle,
};

pub use model::Model;

/// How a generation request shall fail.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 429 `overloaded`, with `retry-after` in seconds if given.
    Overloaded(Option<u64>),
    /// 424 `generation`: the shard broke.
    Generation,
    /// 500 `incomplete_generation`.
    Incomplete,
    /// 503 `healthcheck`.
    Unhealthy,
    /// A proxy's page with this status.
    Page(u16),
    /// Any status and body, `text/plain`.
    Raw(u16, &'static str),
    /// An error event after so many tokens of a stream, under status 200. Without a stream: 424.
    ErrorEvent(usize),
    /// A stream that ends in good order after so many tokens, without its last event. Without a stream: an
    /// empty body.
    Truncated(usize),
    /// A connection that breaks after so many tokens of a stream. Without a stream: before the reply.
    Dropped(usize),
    /// No reply as long as the connection lasts.
    Silence,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path.
    pub route: String,
    /// The body's bytes.
    pub body: Bytes,
    /// The `authorization` header.
    pub authorization: Option<String>,
}

impl Seen {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

type Text = dyn Fn(&str) -> String + Send + Sync;
type Faults = dyn Fn(u64, &str) -> Option<Fault> + Send + Sync;
type Likely = dyn Fn(&str) -> bool + Send + Sync;

/// How a fake server behaves; made by [`FakeTgi::builder`].
pub struct Builder {
    model: Model,
    model_id: String,
    prefill: bool,
    api_key: Option<String>,
    latency: Duration,
    token_latency: Duration,
    max_concurrent_requests: usize,
    max_stop_sequences: usize,
    max_input_tokens: usize,
    max_total_tokens: usize,
    record: bool,
    text: Box<Text>,
    faults: Box<Faults>,
    likely: Box<Likely>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            model: Model::default(),
            model_id: "fake/model".to_owned(),
            prefill: true,
            api_key: None,
            latency: Duration::ZERO,
            token_latency: Duration::ZERO,
            max_concurrent_requests: 128,
            max_stop_sequences: 4,
            max_input_tokens: 4095,
            max_total_tokens: 4096,
            record: true,
            text: Box::new(|_| " The answer is A.\n\nQ: next".to_owned()),
            faults: Box::new(|_, _| None),
            likely: Box::new(|_| false),
        }
    }
}

impl Builder {
    /// What the model says to these inputs. The server ends it at a stop text or at `max_new_tokens`.
    #[must_use]
    pub fn text(mut self, text: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.text = Box::new(text);
        self
    }

    /// Inputs (context and continuation) whose every token is as likely as can be: [`model::LIKELY`].
    #[must_use]
    pub fn likely(mut self, likely: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.likely = Box::new(likely);
        self
    }

    /// Which generation requests fail and how, by their number (from 1) and inputs.
    #[must_use]
    pub fn faults(
        mut self,
        faults: impl Fn(u64, &str) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        self.faults = Box::new(faults);
        self
    }

    /// Every `n`-th generation request fails.
    #[must_use]
    pub fn fail_every(self, n: u64, fault: Fault) -> Self {
        self.faults(move |number, _| number.is_multiple_of(n).then(|| fault.clone()))
    }

    /// The first `n` generation requests fail.
    #[must_use]
    pub fn fail_first(self, n: u64, fault: Fault) -> Self {
        self.faults(move |number, _| (number <= n).then(|| fault.clone()))
    }

    /// As if started without `--enable-prefill-logprobs`: `prefill` is empty under status 200.
    #[must_use]
    pub fn without_prefill(mut self) -> Self {
        self.prefill = false;
        self
    }

    /// The tokenizer puts no BOS before a text.
    #[must_use]
    pub fn without_bos(mut self) -> Self {
        self.model.adds_bos = false;
        self
    }

    /// The chat template does not write the BOS text.
    #[must_use]
    pub fn template_without_bos(mut self) -> Self {
        self.model.template_writes_bos = false;
        self
    }

    /// The key that every request needs but those for health and information.
    #[must_use]
    pub fn api_key(mut self, key: &str) -> Self {
        self.api_key = Some(key.to_owned());
        self
    }

    /// The model's name.
    #[must_use]
    pub fn model_id(mut self, name: &str) -> Self {
        name.clone_into(&mut self.model_id);
        self
    }

    /// How long a generation takes before its first byte.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// How long a stream takes from token to token.
    #[must_use]
    pub fn token_latency(mut self, latency: Duration) -> Self {
        self.token_latency = latency;
        self
    }

    /// More generations at once than these get 429; 128 unless told, as in TGI.
    #[must_use]
    pub fn max_concurrent_requests(mut self, most: usize) -> Self {
        self.max_concurrent_requests = most;
        self
    }

    /// Most stop texts; 4 unless told, as in TGI.
    #[must_use]
    pub fn max_stop_sequences(mut self, most: usize) -> Self {
        self.max_stop_sequences = most;
        self
    }

    /// The window: most tokens of the inputs, and of inputs and answer together. 4095 and 4096 unless told.
    #[must_use]
    pub fn window(mut self, input: usize, total: usize) -> Self {
        self.max_input_tokens = input;
        self.max_total_tokens = total;
        self
    }

    /// Keeps no request, only their numbers.
    #[must_use]
    pub fn without_record(mut self) -> Self {
        self.record = false;
        self
    }

    /// Starts the server on the caller's runtime.
    ///
    /// # Errors
    /// No port to be had.
    pub async fn start(self) -> Result<FakeTgi> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            builder: self,
            generations: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            seen: Mutex::default(),
            arrived: watch::Sender::new(0),
            held: watch::Sender::new(false),
        });
        let task = tokio::spawn(server::accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(FakeTgi { url, shared, task, handle: Handle::current(), runtime: None })
    }

    /// Starts the server on a runtime of its own, for a test that is not async.
    ///
    /// # Errors
    /// No port or thread to be had.
    pub fn start_blocking(self) -> Result<FakeTgi> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut fake = runtime.block_on(self.start())?;
        fake.runtime = Some(runtime);
        Ok(fake)
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct FakeTgi {
    url: String,
    shared: Arc<Shared>,
    task: AbortHandle,
    handle: Handle,
    runtime: Option<Runtime>,
}

/// What the connections share.
struct Shared {
    builder: Builder,
    generations: AtomicU64,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
    healthy: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    /// Number of generation requests that came in.
    arrived: watch::Sender<u64>,
    held: watch::Sender<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("generations", &self.generations).finish_non_exhaustive()
    }
}

impl FakeTgi {
    /// A server that behaves, until told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A server that behaves, on the caller's runtime.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub async fn start() -> Result<Self> {
        Builder::default().start().await
    }

    /// A server that behaves, on a runtime of its own.
    ///
    /// # Errors
    /// As for [`Builder::start_blocking`].
    pub fn start_blocking() -> Result<Self> {
        Builder::default().start_blocking()
    }

    /// Where it listens, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The model, to compute what must come out.
    pub fn model(&self) -> &Model {
        &self.shared.builder.model
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of requests to `/generate` and `/generate_stream` so far.
    pub fn generations(&self) -> u64 {
        *self.shared.arrived.borrow()
    }

    /// Most generations that were under way at once.
    pub fn peak(&self) -> usize {
        self.shared.peak.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether `/health` says so.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, std::sync::atomic::Ordering::Relaxed);
    }

    /// Lets generation requests come in but not be answered, until [`FakeTgi::release`].
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Answers what was held.
    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// Waits until this many generation requests have come in.
    pub async fn arrived(&self, n: u64) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.shared.arrived.subscribe().wait_for(|count| *count >= n).await;
    }

    /// As [`FakeTgi::arrived`], for a test that is not async.
    ///
    /// False if they do not come within `limit`.
    pub fn wait_for(&self, n: u64, limit: Duration) -> bool {
        self.handle.block_on(async { tokio::time::timeout(limit, self.arrived(n)).await.is_ok() })
    }
}

impl Drop for FakeTgi {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
