//! A request and its reply, over as many connections and redirects as that takes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, Entry, HOST,
        HeaderName, HeaderValue, LOCATION, USER_AGENT,
    },
};
use plugin_api::ErrorKind;
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};
use zeroize::Zeroizing;

use super::{
    connection::{Connection, Ended, Sent},
    gzip::Gzip,
    head::{self, Head},
    pool::Pool,
};
use crate::transport::{
    client::{TransportError, USER_AGENT as AGENT},
    origin::{MAX_REDIRECTS, redirected},
};

/// What is sent.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    pub(crate) head: &'a AskHead,
    /// The headers that its head was made with, for a request that a redirect makes of it.
    pub(crate) headers: &'a (dyn Fn() -> Result<HeaderMap, TransportError> + Sync),
    pub(crate) body: Bytes,
    /// Longest time to connect.
    pub(crate) connect_timeout: Duration,
    /// When all must have come, and how long that is from the beginning.
    pub(crate) due: Instant,
    pub(crate) limit: Duration,
}

/// The head of a request, but for the length of its body.
pub(crate) struct AskHead {
    method: Method,
    text: Zeroizing<Vec<u8>>,
}

impl AskHead {
    /// That of a request to a URL, with the headers that every request to a server has beside those given.
    ///
    /// # Errors
    /// `invalid_request` if HTTP cannot carry the URL.
    pub(crate) fn new(
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
    ) -> Result<Self, TransportError> {
        let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
        headers.insert(HOST, host.map_err(|_| no_address(url))?);
        default(&mut headers, USER_AGENT, AGENT);
        default(&mut headers, ACCEPT, "*/*");
        default(&mut headers, ACCEPT_ENCODING, "gzip");
        let text = head::write(&method, target(url)?, &headers);
        Ok(Self { method, text })
    }
}

/// The path and query of a URL, as a request line has them.
fn target(url: &Url) -> Result<&str, TransportError> {
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let is_carried = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
    if is_carried { Ok(target) } else { Err(no_address(url)) }
}

fn no_address(url: &Url) -> TransportError {
    TransportError::new(ErrorKind::InvalidRequest, format!("`{url}` is no HTTP address"))
}

fn default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if let Entry::Vacant(entry) = headers.entry(name) {
        entry.insert(HeaderValue::from_static(value));
    }
}

/// A reply whose body has not been read. The connection is kept for another request once it is, and closed if it is
/// dropped before.
pub(crate) struct Reading {
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
    gzip: Option<Box<Gzip>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("open", &self.connection.is_some()).finish_non_exhaustive()
    }
}

/// Sends a request and gives the head of the reply; redirects within the origin are followed.
///
/// # Errors
/// See [`crate::transport::Transport::send`].
pub(crate) async fn send(
    pool: &Arc<Pool>,
    ask: &Ask<'_>,
) -> Result<(Head, Reading), TransportError> {
    let mut way = None;
    for _ in 0..=MAX_REDIRECTS {
        let step = way.as_ref().map_or_else(|| Step::of(ask), Way::step);
        let (connection, head) = exchange(pool, ask, &step).await?;
        let Some(target) = head.get(LOCATION.as_str()).filter(|_| head.status.is_redirection())
        else {
            return Ok(reading(pool, connection, head));
        };
        let target = String::from_utf8_lossy(target).into_owned();
        match step.url.join(&target) {
            Ok(next) if next.origin() == step.url.origin() => {
                way = Some(step.redirect(head.status, next, (ask.headers)()?)?);
            }
            _ => return Err(redirected(ask.url, &target)),
        }
    }
    let last = way.as_ref().map_or(ask.url, |way| &way.url);
    Err(redirected(ask.url, last.as_str()))
}

/// Where a redirect leads.
struct Way {
    url: Url,
    head: AskHead,
    body: Bytes,
}

impl Way {
    fn step(&self) -> Step<'_> {
        Step { url: &self.url, head: &self.head, body: &self.body }
    }
}

/// One request of those that redirects make of one.
struct Step<'a> {
    url: &'a Url,
    head: &'a AskHead,
    body: &'a Bytes,
}

impl<'a> Step<'a> {
    fn of(ask: &'a Ask<'_>) -> Self {
        Self { url: ask.url, head: ask.head, body: &ask.body }
    }

    /// As clients do (RFC 9110, 15.4): 303 asks for a GET, 301 and 302 make one of a POST, the others change nothing.
    fn redirect(
        &self,
        status: StatusCode,
        url: Url,
        mut headers: HeaderMap,
    ) -> Result<Way, TransportError> {
        let method = &self.head.method;
        let becomes_get = match status {
            StatusCode::SEE_OTHER => *method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
            _ => false,
        };
        let (method, body) = if becomes_get {
            (Method::GET, Bytes::new())
        } else {
            (method.clone(), self.body.clone())
        };
        if body.is_empty() {
            headers.remove(CONTENT_TYPE);
        }
        let head = AskHead::new(method, &url, headers)?;
        Ok(Way { url, head, body })
    }
}

/// One request and the head of its reply. A server may close a connection that was kept at any time: a request that it
/// has seen nothing of goes over another one. What it may have seen is not sent again here, since whether that is worth
/// while is decided by the one retry rule.
async fn exchange(
    pool: &Pool,
    ask: &Ask<'_>,
    step: &Step<'_>,
) -> Result<(Box<Connection>, Head), TransportError> {
    let AskHead { method, text } = step.head;
    let sent = Sent { method, head: text, body: step.body };
    while let Some(mut connection) = pool.take() {
        match connection.ask(&sent, ask.due).await {
            Ok(head) => return Ok((connection, head)),
            Err(Ended::Unsent(_)) => {}
            Err(ended) => return Err(failed(step.url, ask.limit, ended)),
        }
    }
    // Boxed, since most requests need none of it.
    let mut connection = Box::new(Box::pin(connect(pool, ask, step.url)).await?);
    match connection.ask(&sent, ask.due).await {
        Ok(head) => Ok((connection, head)),
        Err(ended) => Err(failed(step.url, ask.limit, ended)),
    }
}

async fn connect(pool: &Pool, ask: &Ask<'_>, url: &Url) -> Result<Connection, TransportError> {
    let server = || url.origin().ascii_serialization();
    let connecting = Instant::now() + ask.connect_timeout;
    let stream = timeout_at(connecting.min(ask.due), pool.connect())
        .await
        .map_err(|_| {
            let limit = ask.connect_timeout.min(ask.limit);
            let message = format!("no connection to {} within {limit:?}", server());
            TransportError::new(ErrorKind::Timeout, message)
        })?
        .map_err(|error| {
            let message = format!("no connection to {}: {error}", server());
            TransportError::new(ErrorKind::Transport, message)
        })?;
    Ok(Connection::new(stream, ask.due))
}

fn failed(url: &Url, limit: Duration, ended: Ended) -> TransportError {
    match ended {
        Ended::Late => {
            TransportError::new(ErrorKind::Timeout, format!("no reply within {limit:?}"))
        }
        Ended::Unsent(why) | Ended::Broken(why) => {
            TransportError::new(ErrorKind::Transport, format!("{url}: {why}"))
        }
    }
}

fn reading(pool: &Arc<Pool>, connection: Box<Connection>, mut head: Head) -> (Head, Reading) {
    let encoding = head.get(CONTENT_ENCODING.as_str());
    let is_gzip = encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"gzip"));
    if is_gzip {
        // They are about the bytes as they travel.
        head.remove(CONTENT_ENCODING.as_str());
        head.remove(CONTENT_LENGTH.as_str());
    }
    let gzip = is_gzip.then(|| Box::new(Gzip::new()));
    (head, Reading { connection: Some(connection), pool: Arc::clone(pool), gzip })
}

impl Reading {
    /// The next bytes, decompressed; none at the end.
    ///
    /// # Errors
    /// None within if nothing came in time; else why the connection is over, or what is wrong with the bytes.
    pub(crate) async fn chunk(&mut self, due: Instant) -> Result<Option<Bytes>, Option<String>> {
        loop {
            if let Some(gzip) = &mut self.gzip
                && let Some(decoded) = gzip.next().map_err(|error| Some(bad(&error)))?
            {
                return Ok(Some(decoded));
            }
            match (self.raw(due).await?, &mut self.gzip) {
                (Some(bytes), Some(gzip)) => gzip.feed(bytes),
                (None, Some(gzip)) => return gzip.finish().map_err(|error| Some(bad(&error))),
                (raw, None) => return Ok(raw),
            }
        }
    }

    async fn raw(&mut self, due: Instant) -> Result<Option<Bytes>, Option<String>> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        match connection.data(due).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                if let Some(connection) = self.connection.take() {
                    self.pool.put(connection);
                }
                Ok(None)
            }
            Err(Ended::Late) => Err(None),
            Err(Ended::Unsent(why) | Ended::Broken(why)) => Err(Some(why)),
        }
    }
}

fn bad(error: &std::io::Error) -> String {
    format!("the reply is not the gzip that it says it is: {error}")
}
