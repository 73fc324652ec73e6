//! The mock's connections, on a thread of its own: what every flavor has in common.
//!
//! It knows keys, faults and garbled replies, and no wire: that is the flavors' part.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

use super::{
    body::Frames,
    exchange::{Answer, Asked, Trouble, WhileLoading, Wire},
    fault::{Cut, Fault},
    flavor,
    flavors::huggingface::Endpoints,
    model::{self, Ask, Said},
    pace::Allowance,
    retry_after::RetryAfter,
    settings::Settings,
    stats::{Entered, Place, Refused, Traffic},
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
    traffic: Arc<Traffic>,
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
            traffic: Arc::new(Traffic::new(&settings.capacity)),
            settings,
            started: Instant::now(),
            endpoints: Endpoints::default(),
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

/// Where the mock tells what it was asked: a path that no flavor has.
const STATS: &str = "/mock/stats";

/// One request. An error closes the connection.
async fn serve(mock: Arc<Mock>, request: Request<Incoming>) -> Result<Response<Frames>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut reply = Reply { mock: &mock, cut: None, place: None };
    if head.uri.path() == STATS {
        return Ok(reply.with(Answer::json(200, &mock.traffic.stats())));
    }
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
        mock.traffic.refused();
        return Ok(reply.with(wire.trouble(&asked, &Trouble::BadKey)));
    }
    // Only what has a body is hit by faults, so that a probe says what it would say anyway.
    if head.method != Method::POST {
        mock.traffic.probed();
        return match mock.while_loading(wire, &asked).await {
            Some(answer) => Ok(reply.with(answer)),
            None => Ok(reply.with(wire.answer(asked, &mock).await)),
        };
    }
    let Entered { number, allowance, refused, place } = mock.traffic.enter(mock.up());
    reply.place = Some(place);
    if let Some(refused) = refused {
        let mut answer = mock.refuse(wire, &asked, refused, number);
        tell(wire, &mut answer, allowance);
        return Ok(reply.with(answer));
    }
    let faults = &settings.faults;
    if !faults.latency.is_zero() {
        tokio::time::sleep(faults.latency).await;
    }
    if let Some(answer) = mock.while_loading(wire, &asked).await {
        return Ok(reply.with(answer));
    }
    let cut = match faults.of(number) {
        None => None,
        Some(Fault::Cut(cut)) => Some(cut),
        Some(fault) => {
            mock.traffic.failed(fault.name());
            let mut answer = fail(wire, &asked, fault).await?;
            tell(wire, &mut answer, allowance);
            return Ok(reply.with(answer));
        }
    };
    let mut answer = wire.answer(asked, &mock).await;
    if answer.status == 200 {
        // Only what the model says can be garbled, or has a half.
        if wire.generates(&asked) {
            reply.cut = cut;
            if let Some(instead) = settings.reply {
                answer = instead.instead(answer, wire, &asked);
            }
        }
        match reply.cut {
            Some(cut) => mock.traffic.failed(cut.name()),
            None => mock.traffic.answered(),
        }
    }
    tell(wire, &mut answer, allowance);
    Ok(reply.with(answer))
}

/// What a request gets that fails before it is looked at. An error closes its connection.
async fn fail(wire: &dyn Wire, asked: &Asked<'_>, fault: Fault) -> Result<Answer, io::Error> {
    match fault {
        Fault::Page(status) => Ok(page(status)),
        Fault::Fail(trouble, wait) => Ok(waiting(wire.trouble(asked, &trouble), wait)),
        // Until the client goes away, and this with it.
        Fault::Stall => std::future::pending().await,
        Fault::Drop | Fault::Cut(_) => Err(io::Error::other("the connection breaks on cue")),
    }
}

/// An answer that asks to wait.
fn waiting(mut answer: Answer, wait: Option<RetryAfter>) -> Answer {
    if let Some(wait) = wait {
        wait.put(&mut answer.headers, SystemTime::now());
    }
    answer
}

/// How an answer goes out.
struct Reply<'m> {
    mock: &'m Mock,
    cut: Option<Cut>,
    place: Option<Place>,
}

impl Reply<'_> {
    fn with(self, answer: Answer) -> Response<Frames> {
        let Answer { status, headers, body } = answer;
        let most = self.mock.settings.stream_chunk_bytes;
        let mut response = Response::new(Frames::new(body, self.cut, most, self.place));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        *response.headers_mut() = headers;
        response
    }
}

/// What a gateway says in the place of a server that fails.
fn page(status: u16) -> Answer {
    let code = StatusCode::from_u16(status).unwrap_or_default();
    let page =
        format!("<html><head><title>{code}</title></head><body><h1>{code}</h1></body></html>");
    Answer::html(status, page)
}

fn tell(wire: &dyn Wire, answer: &mut Answer, allowance: Option<Allowance>) {
    if let Some(allowance) = allowance {
        wire.tell_allowance(&mut answer.headers, &allowance);
    }
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

    /// The answer to a request for which there is no capacity. A server that is full says so in one way or the other.
    fn refuse(&self, wire: &dyn Wire, asked: &Asked<'_>, refused: Refused, number: u64) -> Answer {
        let faults = &self.settings.faults;
        let (name, trouble, wait) = match refused {
            Refused::Full if number.is_multiple_of(2) => {
                ("over_capacity", Trouble::Overloaded, faults.wait())
            }
            Refused::Full => ("over_capacity", Trouble::RateLimited, faults.wait()),
            Refused::TooFast { wait } => {
                let wait = RetryAfter { wait, form: faults.retry_after_form };
                ("over_rate", Trouble::RateLimited, Some(wait))
            }
        };
        self.traffic.failed(name);
        waiting(wire.trouble(asked, &trouble), wait)
    }

    /// The answer to a request for which the model is not there yet; none if it is, in the end.
    async fn while_loading(&self, wire: &dyn Wire, asked: &Asked<'_>) -> Option<Answer> {
        let left = self.settings.faults.loading_for.saturating_sub(self.up());
        if left.is_zero() {
            return None;
        }
        match wire.while_loading(asked) {
            WhileLoading::Answer => None,
            WhileLoading::Wait => {
                tokio::time::sleep(left).await;
                None
            }
            WhileLoading::Refuse => Some(wire.trouble(asked, &Trouble::Loading { left })),
        }
    }

    /// Time since the start.
    pub(crate) fn up(&self) -> Duration {
        self.started.elapsed()
    }
}
