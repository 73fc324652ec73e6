//! A request and its reply, over as many connections and redirects as that takes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, Entry, HOST,
        HeaderName, HeaderValue, LOCATION, USER_AGENT,
    },
};
use plugin_api::ErrorKind;
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

use super::{
    connection::{Broken, Came, Connection, Ended},
    gzip::Gzip,
    pool::Pool,
};
use crate::transport::client::{
    MAX_REDIRECTS, TransportError, USER_AGENT as AGENT, describe, redirected,
};

/// What is sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    /// What its request line names.
    pub(crate) uri: &'a Uri,
    /// [`complete`].
    pub(crate) headers: Arc<HeaderMap>,
    pub(crate) body: Bytes,
    /// Longest time to connect.
    pub(crate) connect_timeout: Duration,
    /// When all must have come, and how long that is from the beginning.
    pub(crate) due: Instant,
    pub(crate) limit: Duration,
}

/// A reply whose body has not been read. The connection is kept for another request once it is, and closed if it is
/// dropped before.
pub(crate) struct Reading {
    connection: Option<Box<Connection>>,
    body: Incoming,
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
) -> Result<(StatusCode, HeaderMap, Reading), TransportError> {
    let mut way = Way { method: ask.method.clone(), url: None, body: ask.body.clone() };
    for _ in 0..=MAX_REDIRECTS {
        let url = way.url.as_ref().unwrap_or(ask.url);
        let (connection, reply) = exchange(pool, ask, &way, url).await?;
        let target = reply.headers().get(LOCATION).filter(|_| reply.status().is_redirection());
        let Some(target) = target else {
            return Ok(reading(pool, connection, reply));
        };
        let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
        match url.join(&target) {
            Ok(next) if next.origin() == url.origin() => {
                way.redirect(reply.status(), next);
            }
            _ => return Err(redirected(ask.url, &target)),
        }
    }
    let last = way.url.as_ref().unwrap_or(ask.url);
    Err(redirected(ask.url, last.as_str()))
}

/// What is sent now, after the redirects so far.
struct Way {
    method: Method,
    /// None before the first redirect.
    url: Option<Url>,
    body: Bytes,
}

impl Way {
    /// As clients do (RFC 9110, 15.4): 303 asks for a GET, 301 and 302 make one of a POST, the others change nothing.
    fn redirect(&mut self, status: StatusCode, url: Url) {
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Bytes::new();
        }
        self.url = Some(url);
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, TransportError> {
        let mut headers = HeaderMap::clone(&ask.headers);
        if self.body.is_empty() && !ask.body.is_empty() {
            headers.remove(CONTENT_TYPE);
        }
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.uri_mut() = match &self.url {
            None => ask.uri.clone(),
            Some(url) => uri(url)?,
        };
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The path and query of a URL, as a request line has them.
///
/// # Errors
/// `invalid_request` if HTTP cannot carry it.
pub(crate) fn uri(url: &Url) -> Result<Uri, TransportError> {
    url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| no_address(url))
}

/// Adds the headers that every request to a server has.
///
/// # Errors
/// `invalid_request` if HTTP cannot carry the server's name.
pub(crate) fn complete(headers: &mut HeaderMap, url: &Url) -> Result<(), TransportError> {
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
    headers.insert(HOST, host.map_err(|_| no_address(url))?);
    default(headers, USER_AGENT, AGENT);
    default(headers, ACCEPT, "*/*");
    default(headers, ACCEPT_ENCODING, "gzip");
    Ok(())
}

fn no_address(url: &Url) -> TransportError {
    TransportError::new(ErrorKind::InvalidRequest, format!("`{url}` is no HTTP address"))
}

fn default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if let Entry::Vacant(entry) = headers.entry(name) {
        entry.insert(HeaderValue::from_static(value));
    }
}

/// One request and the head of its reply. A server may close a connection that was kept at any time: a request that it
/// has seen nothing of goes over another one. What it may have seen is not sent again here, since whether that is worth
/// while is decided by the one retry rule.
async fn exchange(
    pool: &Pool,
    ask: &Ask<'_>,
    way: &Way,
    url: &Url,
) -> Result<(Box<Connection>, Response<Incoming>), TransportError> {
    // What is wrong with the request is told before anyone is called.
    let mut request = way.request(ask)?;
    while let Some(mut connection) = pool.take() {
        match connection.ask(request, ask.due).await {
            Ok(reply) => return Ok((connection, reply)),
            Err(Ended::Broken(Broken { came: Came::Nowhere, .. })) => {
                request = way.request(ask)?;
            }
            Err(ended) => return Err(failed(url, ask.limit, ended)),
        }
    }
    // Boxed, since most requests need none of it.
    let mut connection = Box::new(Box::pin(connect(pool, ask, url)).await?);
    match connection.ask(request, ask.due).await {
        Ok(reply) => Ok((connection, reply)),
        Err(ended) => Err(failed(url, ask.limit, ended)),
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
    Connection::new(stream, ask.due)
        .await
        .map_err(|error| TransportError::new(ErrorKind::Transport, describe(&error)))
}

fn failed(url: &Url, limit: Duration, ended: Ended) -> TransportError {
    match ended {
        Ended::Late => {
            TransportError::new(ErrorKind::Timeout, format!("no reply within {limit:?}"))
        }
        Ended::Broken(broken) => {
            TransportError::new(ErrorKind::Transport, format!("{url}: {}", words(&broken)))
        }
    }
}

fn words(broken: &Broken) -> String {
    let closed = || "the connection was closed".to_owned();
    broken.error.as_ref().map_or_else(closed, |error| describe(error))
}

fn reading(
    pool: &Arc<Pool>,
    connection: Box<Connection>,
    reply: Response<Incoming>,
) -> (StatusCode, HeaderMap, Reading) {
    let (mut head, body) = reply.into_parts();
    let is_gzip = head
        .headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    if is_gzip {
        // They are about the bytes as they travel.
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
    }
    let gzip = is_gzip.then(|| Box::new(Gzip::new()));
    let reading = Reading { connection: Some(connection), body, pool: Arc::clone(pool), gzip };
    (head.status, head.headers, reading)
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
        match connection.data(&mut self.body, due).await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                if let Some(connection) = self.connection.take() {
                    self.pool.put(connection);
                }
                Ok(None)
            }
            Err(Ended::Late) => Err(None),
            Err(Ended::Broken(broken)) => Err(Some(words(&broken))),
        }
    }
}

fn bad(error: &std::io::Error) -> String {
    format!("the reply is not the gzip that it says it is: {error}")
}
