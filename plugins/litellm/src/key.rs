//! Which key goes along, in which headers, and whether the host lets it.
//!
//! A key of a provider goes to the provider's own address. At another one it goes along only if the run file says so, and
//! the host alone knows that: so it is asked, by sending the first request with the key and, where the host refuses that,
//! without it. No value of a key is known here.

use std::sync::atomic::{AtomicU8, Ordering};

use plugin_api::{Error, ErrorKind, Host, HttpRequest, Io, Reply, Result, Stream};

use crate::{address::Base, provider::Provider};

/// How requests say who asks.
#[derive(Debug)]
pub struct Keys {
    /// The slot whose secret is sent, if the host has one.
    slot: Option<String>,
    /// Headers that carry it, and what stands before it in each.
    headers: Vec<(String, &'static str)>,
    /// Sent where there is no secret.
    default: Option<String>,
    /// What the environment would have to hold.
    wanted: String,
    granted: AtomicU8,
}

const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

impl Keys {
    /// Chooses among what the host has. `bearer` sends the key as `authorization: Bearer` whatever the provider says.
    ///
    /// # Errors
    /// `unauthorized` if the provider wants a key at its own address and the host has none; it names the variables.
    pub fn new(provider: &Provider, base: &Base, bearer: bool, host: &Host) -> Result<Self> {
        let key = &provider.key;
        let token = key.token.as_ref().filter(|(slot, _)| host.has_secret(slot));
        let (slot, header) = match token {
            _ if host.has_secret(&key.slot) => (Some(&key.slot), key.header.as_deref()),
            Some((slot, _)) => (Some(slot), None),
            None => (None, key.header.as_deref()),
        };
        let first = match header.filter(|_| !bearer) {
            Some(name) => (name.to_lowercase(), ""),
            None => ("authorization".to_owned(), "Bearer "),
        };
        let further = key.headers.iter().map(|name| (name.to_lowercase(), ""));
        let names = key.env.iter().chain(key.token.iter().flat_map(|(_, env)| env));
        let wanted = names.map(String::as_str).collect::<Vec<_>>().join(" or ");
        let local = base.url.starts_with("http://");
        if slot.is_none() && base.own && !local && !key.optional && key.default.is_none() {
            let place = if wanted.is_empty() {
                format!("the slot `{}` in [[backend.slot]]", key.slot)
            } else {
                wanted
            };
            return Err(Error::new(
                ErrorKind::Unauthorized,
                format!("the provider `{}` needs a key: set {place}", provider.id),
            ));
        }
        Ok(Self {
            slot: slot.cloned(),
            headers: std::iter::once(first).chain(further).collect(),
            default: key.default.clone(),
            wanted,
            granted: AtomicU8::new(if base.own { YES } else { UNKNOWN }),
        })
    }

    /// Sends a request with the key, if there is one and it may go.
    ///
    /// # Errors
    /// As [`Io::send`].
    pub async fn send(&self, call: HttpRequest<'_>, io: &Io) -> Result<Reply> {
        let Some(slot) = self.open_question() else {
            return io.send(self.with(call)).await;
        };
        let without = call.clone();
        match io.send(self.with_secret(call, slot)).await {
            Err(error) if error.kind == ErrorKind::ForbiddenOrigin => {
                let reply = io.send(self.with_default(without)).await;
                self.learn(reply.is_ok(), NO);
                reply
            }
            other => {
                self.learn(other.is_ok(), YES);
                other
            }
        }
    }

    /// As [`Keys::send`], for a reply in pieces.
    ///
    /// # Errors
    /// As [`Io::stream`].
    pub async fn stream(&self, call: HttpRequest<'_>, io: &Io) -> Result<Stream> {
        let Some(slot) = self.open_question() else {
            return io.stream(self.with(call)).await;
        };
        let without = call.clone();
        match io.stream(self.with_secret(call, slot)).await {
            Err(error) if error.kind == ErrorKind::ForbiddenOrigin => {
                let stream = io.stream(self.with_default(without)).await;
                self.learn(stream.is_ok(), NO);
                stream
            }
            other => {
                self.learn(other.is_ok(), YES);
                other
            }
        }
    }

    /// The failure with what the run file can do about it, where it is the key's.
    pub fn explain(&self, mut error: Error) -> Error {
        if error.kind != ErrorKind::Unauthorized || !matches!(error.http_status, Some(401 | 403)) {
            return error;
        }
        let hint = match (&self.slot, self.granted.load(Ordering::Relaxed)) {
            (Some(slot), NO) => format!(
                "no key was sent: {slot}'s is for its own address; if this server may have it, say secrets = \
                 [\"{slot}\"] in the backend's table"
            ),
            (Some(_), _) => format!("the key came from {}", self.wanted),
            (None, _) if self.wanted.is_empty() => return error,
            (None, _) => format!("no key was sent: set {}", self.wanted),
        };
        error.message = format!("{} ({hint})", error.message);
        error
    }

    /// The slot, if it is not yet known whether its secret may go.
    fn open_question(&self) -> Option<&str> {
        self.slot.as_deref().filter(|_| self.granted.load(Ordering::Relaxed) == UNKNOWN)
    }

    fn learn(&self, sent: bool, granted: u8) {
        // What was not sent at all, for want of a connection say, tells nothing.
        if sent {
            self.granted.store(granted, Ordering::Relaxed);
        }
    }

    fn with<'a>(&'a self, call: HttpRequest<'a>) -> HttpRequest<'a> {
        match &self.slot {
            Some(slot) if self.granted.load(Ordering::Relaxed) != NO => {
                self.with_secret(call, slot)
            }
            _ => self.with_default(call),
        }
    }

    fn with_secret<'a>(&'a self, call: HttpRequest<'a>, slot: &'a str) -> HttpRequest<'a> {
        self.headers
            .iter()
            .fold(call, |call, (name, before)| call.secret_header(name, before, slot))
    }

    fn with_default<'a>(&'a self, call: HttpRequest<'a>) -> HttpRequest<'a> {
        let Some(default) = &self.default else { return call };
        self.headers
            .iter()
            .fold(call, |call, (name, before)| call.header(name, format!("{before}{default}")))
    }
}
