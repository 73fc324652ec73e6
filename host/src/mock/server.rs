//! The mock's connections, on a thread of its own: what every flavor has in common.
//!
//! It knows keys, faults and garbled replies, and no wire: that is the flavors' part.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

use super::{
    body::Frames,
    exchange::{Answer, Asked, Trouble, WhileLoading},
    fault::Fault,
    flavor,
    flavors::huggingface::Endpoints,
    model::{self, Ask, Said},
    settings::Settings,
    upstream::{Upstream, UpstreamError},
};

/// What the flavors share.
#[derive(Debug)]
pub(crate) struct Mock {
    /// As it was started.
    pub(crate) settings: Settings,
    started: Instant,
    /// Hugging Face's endpoints, the only thing that a request changes.
    pub(crate) endpoints: Endpoints,
    /// Requests with a body so far.
    asked: AtomicU64,
    upstream: Option<Upstream>,
}

/// A mock that serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why a mock does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error(
        "the mock cannot listen at {address}: {source}; choose another address or port, or port 0 for a free one"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("the mock has no thread: {0}")]
    Thread(io::Error),
    /// There is no client for the server that should answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Server {
    /// Starts a mock on a thread of its own.
    ///
    /// # Errors
    /// The address is taken or not this machine's, or the upstream server's is no URL.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen { address: settings.listen, source };
        let listener = std::net::TcpListener::bind(settings.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // One thread: a reply costs microseconds, and a thread less to wake is time that a measurement keeps.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let upstream = settings.upstream.as_ref().map(Upstream::new).transpose()?;
        let mock = Arc::new(Mock {
            settings,
            started: Instant::now(),
            endpoints: Endpoints::default(),
            asked: AtomicU64::new(0),
            upstream,
        });
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, mock) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("mock".to_owned()).spawn(serve);
        let thread = Some(thread.map_err(StartError::Thread)?);
        Ok(Self { address, stop: Some(stop), thread })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL below which the flavors are: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // Its panic has been told where it happened.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, mock: Arc<Mock>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely there are too many connections; some will go.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A connection that is not sped up still works.
        let _ = stream.set_nodelay(true);
        let mock = Arc::clone(&mock);
        let service = service_fn(move |request| serve(Arc::clone(&mock), request));
        let mut http = http1::Builder::new();
        http.pipeline_flush(true);
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

/// One request. An error closes the connection.
async fn serve(mock: Arc<Mock>, request: Request<Incoming>) -> Result<Response<Frames>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let (flavor, path) = flavor::route(head.uri.path(), mock.settings.root);
    let wire = flavor.wire();
    let asked = Asked {
        method: &head.method,
        path,
        query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
        body: &body,
    };
    let settings = &mock.settings;
    if let Some(key) = &settings.api_key
        && wire.guarded(&asked)
        && wire.key(&asked) != Some(key.as_str())
    {
        return Ok(respond(&mock, wire.trouble(&asked, &Trouble::BadKey), None));
    }
    // Only what has a body is hit by faults, so that a probe says what it would say anyway.
    let number = (head.method == Method::POST).then(|| mock.asked.fetch_add(1, Ordering::Relaxed));
    let faults = &settings.faults;
    if number.is_some() && !faults.latency.is_zero() {
        tokio::time::sleep(faults.latency).await;
    }
    let left = faults.loading_for.saturating_sub(mock.started.elapsed());
    if !left.is_zero() {
        match wire.while_loading(&asked) {
            WhileLoading::Answer => {}
            WhileLoading::Wait => tokio::time::sleep(left).await,
            WhileLoading::Refuse => {
                return Ok(respond(&mock, wire.trouble(&asked, &Trouble::Loading { left }), None));
            }
        }
    }
    match number.and_then(|number| faults.before(number)) {
        None => {}
        Some(Fault::Drop) => return Err(io::Error::other("the connection breaks on cue")),
        Some(Fault::Fail(trouble)) => {
            let mut answer = wire.trouble(&asked, &trouble);
            if let Some(seconds) = faults.retry_after_s {
                answer.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            return Ok(respond(&mock, answer, None));
        }
    }
    let mut answer = wire.answer(asked, &mock).await;
    let mut cut = None;
    if answer.status == 200 && wire.generates(&asked) {
        if let Some(reply) = settings.reply {
            answer = reply.instead(answer, wire, &asked);
        }
        cut = number.and_then(|number| faults.cut(number));
    }
    Ok(respond(&mock, answer, cut))
}

fn respond(mock: &Mock, answer: Answer, cut: Option<super::fault::Cut>) -> Response<Frames> {
    let Answer { status, headers, body } = answer;
    let mut response = Response::new(Frames::new(body, cut, mock.settings.stream_chunk_bytes));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    *response.headers_mut() = headers;
    response
}

impl Mock {
    /// Answers a request: by the mock's own model, or by the upstream server in its place.
    ///
    /// # Errors
    /// The upstream server's.
    pub(crate) async fn say(&self, ask: &Ask<'_>) -> Result<Said, Trouble> {
        match &self.upstream {
            None => Ok(model::say(ask)),
            Some(upstream) => {
                let (context, prompt_tokens) = ask.prompt.read();
                upstream.say(ask, context, prompt_tokens).await
            }
        }
    }

    /// Time since the start.
    pub(crate) fn up(&self) -> Duration {
        self.started.elapsed()
    }
}
