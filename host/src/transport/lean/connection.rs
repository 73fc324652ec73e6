//! One connection: opened, asked, read from, each by the task that waits for it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use super::relay::Relay;

/// A connection that one request at a time is on. Dropping it closes it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// None once it has ended: hyper gives a request back that was not begun when what should have sent it is dropped.
    driver: Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
    relay: Arc<Relay>,
    waker: Waker,
    alarm: Alarm,
}

/// Why there is nothing more to wait for.
#[derive(Debug)]
pub(super) enum Ended {
    /// What was waited for did not come in time.
    Late,
    /// The connection is over.
    Broken(Broken),
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) struct Broken {
    /// What hyper says.
    pub(super) error: Option<hyper::Error>,
    /// How far the request came.
    pub(super) came: Came,
}

/// How far a request came on a connection that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The server has seen nothing of it.
    Nowhere,
    /// The server may have seen it.
    Further,
}

impl Connection {
    /// Over a stream to the server.
    pub(super) async fn new(stream: TcpStream, due: Instant) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let relay = Relay::new();
        let waker = Waker::from(Arc::clone(&relay));
        let alarm = Alarm(Box::pin(sleep_until(due)));
        Ok(Self { sender, driver: Some(driver), relay, waker, alarm })
    }

    /// Whether another request can be sent, as far as is known.
    pub(super) fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of its reply.
    pub(super) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        due: Instant,
    ) -> Result<Response<Incoming>, Ended> {
        let mut reply = pin!(self.sender.try_send_request(request));
        match self.until(due, |context| reply.as_mut().poll(context)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(failed)) => {
                let is_unsent = failed.message().is_some();
                let came = if is_unsent { Came::Nowhere } else { Came::Further };
                let error = failed.into_error();
                Err(Ended::Broken(Broken { error: Some(error), came }))
            }
            Err(ended) => Err(ended),
        }
    }

    /// Waits for the next bytes of a body; none at its end.
    pub(super) async fn data(
        &mut self,
        body: &mut Incoming,
        due: Instant,
    ) -> Result<Option<Bytes>, Ended> {
        let mut next = |context: &mut Context<'_>| loop {
            // hyper knows that the last bytes of a known length were the last.
            if body.is_end_stream() {
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut *body).poll_frame(context)).transpose() {
                Ok(None) => return Poll::Ready(Ok(None)),
                // What is no data is trailers, which nobody asks for.
                Ok(Some(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        };
        // Most bodies came along with their heads.
        let first = next(&mut Context::from_waker(&self.waker));
        let came = match first {
            Poll::Ready(came) => came,
            Poll::Pending => self.until(due, next).await?,
        };
        came.map_err(|error| Ended::Broken(Broken { error: Some(error), came: Came::Further }))
    }

    /// Drives the connection until it brings what is wanted.
    async fn until<T>(
        &mut self,
        due: Instant,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Ended> {
        let Self { driver, relay, waker, alarm, .. } = self;
        let driven = poll_fn(|context| {
            relay.register(context.waker());
            let context = &mut Context::from_waker(waker);
            loop {
                // What it brings or breaks on is told through what is wanted.
                if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(context).is_ready()) {
                    *driver = None;
                }
                if let Poll::Ready(wanted) = wanted(context) {
                    return Poll::Ready(Ok(wanted));
                }
                if driver.is_none() {
                    let broken = Broken { error: None, came: Came::Further };
                    return Poll::Ready(Err(Ended::Broken(broken)));
                }
                if alarm.poll(due, context).is_ready() {
                    return Poll::Ready(Err(Ended::Late));
                }
                if relay.rest() {
                    return Poll::Pending;
                }
            }
        });
        // A part that yields for the sake of other tasks would here only be polled again at once.
        unconstrained(driven).await
    }
}

/// A timer that is set anew only when it must ring earlier, or has rung: requests mostly end long before their time, and
/// their times are mostly later than that of the last.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn poll(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.0.deadline() > due {
            self.0.as_mut().reset(due);
        }
        while self.0.as_mut().poll(context).is_ready() {
            if self.0.deadline() >= due {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(due);
        }
        Poll::Pending
    }
}
