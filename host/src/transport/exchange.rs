//! One reply as it comes in: status and filtered headers at once, the body whole or in chunks.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use plugin_api::ErrorKind;
use reqwest::{
    StatusCode,
    header::{HeaderName, RETRY_AFTER},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    cassette::Tap,
    client::{Access, Settings, TransportError, classify},
    lean,
};
use crate::secret::Redactor;

/// Bytes of a reply that is not worth a connection's whole buffer.
const SMALL: usize = 2 * 1024;

/// A reply whose body has not been read.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The headers that were asked for, in the server's order.
    pub headers: Vec<(String, String)>,
    /// How long the server asks to wait, whoever asked for the header.
    pub retry_after: Option<Duration>,
    /// The rest.
    pub body: Body,
}

/// A body on its way.
#[derive(Debug)]
pub struct Body {
    source: Source,
    deadline: Instant,
    settings: Settings,
    /// Bytes that came so far, decompressed.
    received: usize,
    redactor: Arc<Redactor>,
    /// The call's place among those in flight, held until the body is read.
    place: Option<OwnedSemaphorePermit>,
    /// Hears what comes, while the run is recorded.
    tap: Option<Tap>,
}

/// Where a body comes from. Each gives its bytes decompressed.
#[derive(Debug)]
pub(super) enum Source {
    /// Any server, by the general client.
    Wire(reqwest::Response),
    /// A server of this machine.
    Lean(lean::Reading),
    /// A recording.
    Recorded(VecDeque<Result<Bytes, TransportError>>),
}

/// Why a source gives no more bytes.
enum Ended {
    Late,
    Failed(TransportError),
}

impl Source {
    async fn chunk(&mut self, due: Instant) -> Result<Option<Bytes>, Ended> {
        match self {
            Self::Wire(inner) => match tokio::time::timeout_at(due, inner.chunk()).await {
                Err(_) => Err(Ended::Late),
                Ok(chunk) => chunk.map_err(|error| Ended::Failed(classify(&error))),
            },
            Self::Lean(reading) => reading.chunk(due).await.map_err(|why| match why {
                None => Ended::Late,
                Some(why) => Ended::Failed(TransportError::new(ErrorKind::Transport, why)),
            }),
            Self::Recorded(pieces) => pieces.pop_front().transpose().map_err(Ended::Failed),
        }
    }
}

/// Where a reply ends at the latest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) deadline: Instant,
    pub(super) settings: Settings,
}

impl Response {
    /// Of the fields, names in whatever case and values, those are kept that the manifest or the call wants.
    pub(super) fn new<'a>(
        status: StatusCode,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        source: Source,
        Bounds { deadline, settings }: Bounds,
        access: &Access,
        by_call: &[String],
    ) -> Self {
        let is_wanted = |name: &[u8]| {
            let by_manifest = access.reply_headers.iter().map(HeaderName::as_str);
            by_manifest
                .chain(by_call.iter().map(String::as_str))
                .any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name))
        };
        let kept = fields.clone().filter(|(name, _)| is_wanted(name)).map(|(name, value)| {
            let [name, value] = [name, value].map(String::from_utf8_lossy);
            (name.to_ascii_lowercase(), value.into_owned())
        });
        Self {
            status: status.as_u16(),
            headers: kept.collect(),
            retry_after: retry_after(fields, SystemTime::now()),
            body: Body {
                source,
                deadline,
                settings,
                received: 0,
                redactor: Arc::clone(&access.redactor),
                place: None,
                tap: None,
            },
        }
    }
}

impl Body {
    /// What was recorded of a body, piece by piece; an error is the last of it.
    pub(super) fn recorded(pieces: VecDeque<Result<Bytes, TransportError>>) -> Self {
        Self {
            source: Source::Recorded(pieces),
            deadline: Instant::now(),
            // What was recorded was within the bounds of then.
            settings: Settings { max_reply_bytes: usize::MAX, ..Settings::default() },
            received: 0,
            redactor: Arc::default(),
            place: None,
            tap: None,
        }
    }

    /// From now on `tap` hears what comes.
    pub(super) fn listen(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    /// Keeps a place among the calls in flight until the body is read.
    pub fn hold(&mut self, place: Option<OwnedSemaphorePermit>) {
        self.place = place;
    }

    /// The next bytes, decompressed; none at the end.
    ///
    /// # Errors
    /// The connection broke, nothing came for the idle time, or the deadline passed; `unexpected_reply`
    /// beyond the largest reply allowed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let chunk = self.next().await;
        if let Some(tap) = &mut self.tap {
            tap.heard(&chunk);
        }
        chunk
    }

    async fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        let idle = Instant::now() + self.settings.idle_timeout;
        let chunk =
            self.source.chunk(idle.min(self.deadline)).await.map_err(|ended| match ended {
                Ended::Late => {
                    let why = if idle < self.deadline {
                        format!("nothing came for {:?}", self.settings.idle_timeout)
                    } else {
                        "the reply was not complete in time".to_owned()
                    };
                    TransportError::new(ErrorKind::Timeout, why)
                }
                Ended::Failed(error) => {
                    TransportError::new(error.kind, self.redactor.redact(&error.message))
                }
            })?;
        self.received += chunk.as_ref().map_or(0, Bytes::len);
        let limit = self.settings.max_reply_bytes;
        if self.received > limit {
            let why = format!("the reply is larger than {limit} bytes");
            return Err(TransportError::new(ErrorKind::UnexpectedReply, why));
        }
        Ok(chunk)
    }

    /// The whole body.
    ///
    /// # Errors
    /// As for [`Body::chunk`].
    pub async fn whole(mut self) -> Result<Bytes, TransportError> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else {
            // Most replies come in one piece. A small one leaves the general client its whole buffer.
            let is_small = first.len() <= SMALL && matches!(self.source, Source::Wire(_));
            return Ok(if is_small { Bytes::copy_from_slice(&first) } else { first });
        };
        let mut whole = Vec::with_capacity((first.len() + second.len()).max(16 * 1024));
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            whole.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(whole.into())
    }
}

/// `retry-after-ms`, else `retry-after` as seconds or as a date (RFC 9110, 10.2.3).
fn retry_after<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    now: SystemTime,
) -> Option<Duration> {
    let text = |name: &str| {
        let is_named = |known: &[u8]| known.eq_ignore_ascii_case(name.as_bytes());
        let (_, value) = fields.clone().find(|(known, _)| is_named(known))?;
        std::str::from_utf8(value).ok().map(str::trim)
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    if let Some(ms) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let value = text(RETRY_AFTER.as_str())?;
    match number(value) {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => httpdate::parse_http_date(value)
            .ok()
            .map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_to_wait_in_three_ways() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (headers, expected) in [
            (&[("Retry-After", "7")][..], Some(7_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")], Some(10_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT")], Some(0)),
            (&[("retry-after", "7"), ("retry-after-ms", "250")], Some(250)),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            let fields = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(
                retry_after(fields, now).map(|wait| wait.as_millis()),
                expected,
                "{headers:?}"
            );
        }
    }
}
