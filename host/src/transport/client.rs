//! One client for the whole run: pooled connections, gzip, proxies from the environment, TLS by rustls.
//!
//! It turns a plugin's call into a request: checks its origin, fills in its secrets, bounds its time. It
//! knows no vendor.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use plugin_api::ErrorKind;
use reqwest::{
    Client, Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect,
};
use url::Url;

use super::{
    cassette::Tape,
    exchange::{Bounds, Response, Source},
    lean,
    origin::{is_lean, is_loopback, origin_of, redirected, same_origin},
    stray::Strays,
    target::{Pools, Target, Targets},
};
use crate::{
    plugin::action::{HttpCall, HttpHead, Part, Value},
    secret::{Grants, Redactor, Refusal, Secrets},
};

/// Bounds on every exchange.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Longest time to connect, name look-up and TLS included.
    pub connect_timeout: Duration,
    /// Longest time from sending to the last byte.
    pub attempt_timeout: Duration,
    /// Longest time between two pieces of a body.
    pub idle_timeout: Duration,
    /// Largest reply, decompressed, whole or streamed.
    pub max_reply_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            max_reply_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What one backend's requests may reach and carry.
#[derive(Debug)]
pub struct Access {
    /// Origins, and which secret may go where.
    pub grants: Grants,
    /// The secrets themselves.
    pub secrets: Secrets,
    /// Hides them in every text that leaves this module.
    pub redactor: Arc<Redactor>,
    /// Reply headers that the manifest asks for.
    pub reply_headers: Vec<HeaderName>,
    /// Where the last request went.
    pub targets: Targets,
    /// Where requests were to go that must not.
    pub strays: Arc<Strays>,
    /// The recording that listens or answers, if there is one.
    pub tape: Option<Tape>,
}

/// Why there is no reply, or only a part of one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// What kind, as the plugin is told.
    pub kind: ErrorKind,
    /// What happened, without secrets.
    pub message: String,
    /// The origin that the request must not go to, if that is why: of its URL neither path nor user.
    pub stray: Option<String>,
}

impl TransportError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), stray: None }
    }

    /// A request to this URL, which must not be.
    pub(super) fn astray(url: &Url, message: impl Into<String>) -> Self {
        let stray = Some(origin_of(url));
        Self { stray, ..Self::new(ErrorKind::ForbiddenOrigin, message) }
    }
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Made when they are first of use: the system's certificates alone take milliseconds and megabytes.
    general: Arc<General>,
    /// Http is allowed to this machine alone, because the request does not leave it. It needs no more than that.
    lean: Arc<Pools>,
    settings: Settings,
}

/// The clients that speak everything.
#[derive(Debug, Default)]
struct General {
    client: OnceLock<Result<Client, TransportError>>,
    /// For servers of this machine, which no proxy should see.
    loopback: OnceLock<Result<Client, TransportError>>,
}

/// What servers are told of who asks.
pub(super) const USER_AGENT: &str = concat!("host/", env!("CARGO_PKG_VERSION"));

impl Transport {
    /// A client with these bounds.
    pub fn new(settings: Settings) -> Self {
        Self { general: Arc::default(), lean: Arc::default(), settings }
    }

    /// Sees to it that a server can be asked whose URL is this, or is not known yet.
    ///
    /// # Errors
    /// The system's certificates or the proxy settings of the environment cannot be read.
    pub fn prepare(&self, url: Option<&str>) -> Result<(), TransportError> {
        match url.map(Url::parse) {
            // What is wrong with a URL is told by who asks for it.
            Some(Err(_)) => Ok(()),
            Some(Ok(url)) if is_lean(&url) => Ok(()),
            Some(Ok(url)) => self.client(&url).map(drop),
            None => self.general.client(false, &self.settings).map(drop),
        }
    }

    fn client(&self, url: &Url) -> Result<&Client, TransportError> {
        self.general.client(is_loopback(url), &self.settings)
    }

    /// Sends a call and gives status and headers; the body follows from the response.
    ///
    /// # Errors
    /// `forbidden_origin` before anything is sent; `invalid_request` for a request that HTTP cannot carry;
    /// `timeout` and `transport` for what the network does.
    pub async fn send(&self, call: HttpCall, access: &Access) -> Result<Response, TransportError> {
        let result = self.send_unredacted(call, access).await;
        result.map_err(|error| {
            let hidden = |text: &str| access.redactor.redact(text).into_owned();
            let stray = error.stray.as_deref().map(hidden);
            if let Some(origin) = &stray {
                access.strays.note(origin);
            }
            TransportError { kind: error.kind, message: hidden(&error.message), stray }
        })
    }

    async fn send_unredacted(
        &self,
        call: HttpCall,
        access: &Access,
    ) -> Result<Response, TransportError> {
        let target = access.targets.find(&call.url, || self.target(&call.url, access))?;
        let limit = match call.timeout_ms {
            0 => self.settings.attempt_timeout,
            ms => self.settings.attempt_timeout.min(Duration::from_millis(ms)),
        };
        let deadline = tokio::time::Instant::now() + limit;
        let HttpCall { head, body } = call;
        let body = match body.as_slice() {
            [] => bytes::Bytes::new(),
            _ => bytes::Bytes::from_owner(body),
        };
        let url = &target.url;
        let headers = || headers(&head.headers, url, access);
        let bounds = Bounds { deadline, settings: self.settings };
        let Some(pool) = &target.lean else {
            // Boxed: it would make the future of every request as large.
            let far =
                Box::pin(self.send_far((method(&head)?, headers()?), url, body, (deadline, limit)));
            let (status, headers, sent) = far.await?;
            let fields = headers.iter().map(|(name, value)| (name.as_ref(), value.as_bytes()));
            let fields: Vec<_> = fields.collect();
            let (fields, source) = (fields.iter().copied(), Source::Wire(sent));
            return Ok(Response::new(status, fields, source, bounds, access, &head.reply_headers));
        };
        let sent = target.head(&head, || lean::AskHead::new(method(&head)?, url, headers()?))?;
        let ask = lean::Ask {
            url,
            head: &sent,
            headers: &headers,
            body,
            connect_timeout: self.settings.connect_timeout,
            due: deadline,
            limit,
        };
        let (reply, reading) = lean::send(pool, &ask).await?;
        let (status, fields) = (reply.status, reply.fields());
        let source = Source::Lean(reading);
        Ok(Response::new(status, fields, source, bounds, access, &head.reply_headers))
    }

    /// Sends a request by the general client.
    async fn send_far(
        &self,
        (method, headers): (Method, HeaderMap),
        url: &Url,
        body: bytes::Bytes,
        (deadline, limit): (tokio::time::Instant, Duration),
    ) -> Result<(StatusCode, HeaderMap, reqwest::Response), TransportError> {
        let mut request = self.client(url)?.request(method, url.clone()).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let late =
            |_| TransportError::new(ErrorKind::Timeout, format!("no reply within {limit:?}"));
        let sent = tokio::time::timeout_at(deadline, request.send()).await.map_err(late)?;
        let mut sent = sent.map_err(|error| classify(&error))?;
        let target = sent.headers().get(LOCATION).filter(|_| sent.status().is_redirection());
        if let Some(target) = target {
            return Err(redirected(url, &String::from_utf8_lossy(target.as_bytes())));
        }
        Ok((sent.status(), std::mem::take(sent.headers_mut()), sent))
    }

    /// What there is to know of a URL, if requests may go there.
    fn target(&self, text: &str, access: &Access) -> Result<Target, TransportError> {
        let url = Url::parse(text).map_err(|error| {
            TransportError::new(ErrorKind::InvalidRequest, format!("`{text}`: {error}"))
        })?;
        let granted = access.grants.request(&url);
        granted.map_err(|refusal| TransportError::astray(&url, refusal.to_string()))?;
        let pool = if is_lean(&url) { self.lean.of(&url) } else { None };
        Ok(Target::new(url, pool))
    }
}

impl General {
    fn client(&self, loopback: bool, settings: &Settings) -> Result<&Client, TransportError> {
        let cell = if loopback { &self.loopback } else { &self.client };
        let client = cell.get_or_init(|| {
            // A second call finds the first one's provider, which is the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = Client::builder()
                // What is tried again, and when, is decided in one place, and it is not this one.
                .retry(reqwest::retry::never())
                .connect_timeout(settings.connect_timeout)
                .redirect(redirect::Policy::custom(same_origin))
                .tcp_nodelay(true)
                .pool_idle_timeout(Duration::from_secs(60))
                .user_agent(USER_AGENT);
            let builder = if loopback { builder.no_proxy() } else { builder };
            builder
                .build()
                .map_err(|error| TransportError::new(ErrorKind::Transport, describe(&error)))
        });
        client.as_ref().map_err(Clone::clone)
    }
}

/// Headers that belong to the connection or to the origin's check, which are the host's.
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn method(head: &HttpHead) -> Result<Method, TransportError> {
    Method::from_bytes(head.method.as_bytes()).map_err(|_| {
        let message = format!("`{}` is not an HTTP method", head.method);
        TransportError::new(ErrorKind::InvalidRequest, message)
    })
}

/// The headers with their secrets filled in.
fn headers(
    list: &[(String, Value)],
    url: &Url,
    access: &Access,
) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::with_capacity(list.len() + 2);
    for (name, value) in list {
        let bad = |what: &str| {
            TransportError::new(ErrorKind::InvalidRequest, format!("header `{name}`: {what}"))
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("not a header name"))?;
        if OWN_HEADERS.contains(&key.as_str()) {
            return Err(bad("the host alone sets it"));
        }
        let value = match value {
            Value::Text(text) => HeaderValue::from_str(text),
            Value::Parts(parts) => {
                let mut text = zeroize::Zeroizing::new(String::new());
                for part in parts {
                    match part {
                        Part::Text(part) => text.push_str(part),
                        Part::Secret(slot) => {
                            access.grants.secret(slot, url).map_err(|refusal| match refusal {
                                // No origin would do: the plugin asks for what it never declared, or is not granted.
                                Refusal::UnknownSlot(_) | Refusal::Withheld { .. } => {
                                    bad(&refusal.to_string())
                                }
                                _ => TransportError::new(
                                    ErrorKind::ForbiddenOrigin,
                                    refusal.to_string(),
                                ),
                            })?;
                            let secret = access.secrets.get(slot).ok_or_else(|| {
                                bad(&format!("there is no secret for the slot `{slot}`"))
                            })?;
                            text.push_str(secret.expose());
                        }
                    }
                }
                HeaderValue::from_str(&text).map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
            }
        };
        headers
            .append(key, value.map_err(|_| bad("its value holds bytes that HTTP does not allow"))?);
    }
    Ok(headers)
}

/// A failure of the client as the plugin is told.
pub(super) fn classify(error: &reqwest::Error) -> TransportError {
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_builder() {
        ErrorKind::InvalidRequest
    } else {
        ErrorKind::Transport
    };
    TransportError::new(kind, describe(error))
}

/// The whole chain of causes on one line: the outermost alone says only that it failed.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
