//! Record and replay: every exchange of a run in a file, and a run that is answered from such a file, without a
//! network and without a key. And a look at requests that are not sent at all.
//!
//! It lies above the client: what it records is what a plugin asked and was told, with secrets taken out, and what it
//! replays comes in the same pieces. Times are not replayed. It knows no vendor.

mod format;
mod look;
mod pieces;
mod record;
mod replay;

use std::{io, path::PathBuf, sync::Arc};

use plugin_api::manifest::SecretSlot;

pub use look::{Looker, Seen};
pub use record::Recorder;
pub(super) use record::Tap;
pub use replay::Player;

use self::format::{Asked, Content};
use super::{
    client::{Access, Transport, TransportError},
    exchange::Response,
};
use crate::{
    config::MOCK,
    plugin::action::{HttpCall, Part, Value},
    secret::{Redactor, Secrets},
};

/// A recording cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    /// There is a file already.
    #[error("{}: there is a file of this name already, and a recording replaces none; name another one", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{}: cannot write the recording: {source}; it is not complete", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("{}: cannot read the recording: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no recording, or one of another version.
    #[error("{}:{line}: expected a recording, as `host run --record` writes it (format {}): {reason}", path.display(), format::FORMAT)]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// A recording that is being made, or one that answers.
#[derive(Clone, Debug)]
pub enum Cassette {
    /// Servers are asked, and what they say is written down.
    Record(Arc<Recorder>),
    /// No server is asked.
    Replay(Arc<Player>),
    /// Requests are looked at; none but a mock of this host is asked.
    Look(Arc<Looker>),
}

impl Cassette {
    /// The recording that answers, if one does.
    pub fn replay(&self) -> Option<&Arc<Player>> {
        match self {
            Self::Record(_) | Self::Look(_) => None,
            Self::Replay(player) => Some(player),
        }
    }

    /// Whether requests are looked at in place of being sent.
    pub fn is_look(&self) -> bool {
        matches!(self, Self::Look(_))
    }

    /// Placeholders for the secrets that the backend had when it was recorded: what a plugin asks may depend on which
    /// ones there are. None unless no server is asked.
    pub fn placeholders(&self, backend: &str, slots: &[SecretSlot]) -> Option<Secrets> {
        let had = self.replay()?.slots(backend);
        let wanted = |slot: &&SecretSlot| had.is_none_or(|had| had.contains(&slot.slot));
        Some(Secrets::placeholders(&slots.iter().filter(wanted).cloned().collect::<Vec<_>>()))
    }

    /// The recording as one backend's server sees it. `base_url` is what the run file says, `told` what its plugin was
    /// told, which differs for a mock.
    pub fn of(
        &self,
        backend: &str,
        secrets: &Secrets,
        base_url: Option<String>,
        told: Option<&str>,
    ) -> Tape {
        if let Self::Record(recorder) = self {
            recorder.backend(backend, secrets.present());
        }
        Tape {
            cassette: self.clone(),
            backend: backend.to_owned(),
            base: base_url.zip(told.map(|told| told.trim_end_matches('/').to_owned())),
        }
    }
}

/// A recording as one backend's server sees it.
#[derive(Clone, Debug)]
pub struct Tape {
    cassette: Cassette,
    backend: String,
    /// The server as the run file names it, and as it stands in URLs.
    base: Option<(String, String)>,
}

impl Tape {
    /// Sends a call and records what comes, or gives what was recorded.
    ///
    /// # Errors
    /// As for [`Transport::send`]; recorded ones in their place; `other` for a request that was not recorded.
    pub async fn send(
        &self,
        transport: &Transport,
        call: HttpCall,
        access: &Access,
    ) -> Result<Response, TransportError> {
        let asked = self.asked(&call, &access.redactor);
        let recorder = match &self.cassette {
            Cassette::Record(recorder) => recorder,
            Cassette::Replay(player) => return player.answer(&self.backend, &asked),
            Cassette::Look(looker) => {
                let is_mock = asked.base_url.as_deref().is_some_and(|url| url.starts_with(MOCK));
                looker.saw(&asked, is_mock);
                return if is_mock {
                    transport.send(call, access).await
                } else {
                    Err(Looker::not_sent())
                };
            }
        };
        let (redactor, secrets) = (&access.redactor, &access.secrets);
        let mut tap = recorder.begin(&self.backend, asked, call.stream, redactor, secrets);
        match transport.send(call, access).await {
            Ok(mut response) => {
                tap.replied(&response);
                response.body.listen(tap);
                Ok(response)
            }
            Err(error) => {
                tap.failed(&error);
                Err(error)
            }
        }
    }

    /// The call as it is written down: without secrets, and where a mock is without its port.
    fn asked(&self, call: &HttpCall, redactor: &Redactor) -> Asked {
        let clean = |text: &str| redactor.redact(text).into_owned();
        let (base_url, url) = match &self.base {
            Some((shown, base)) => match below(&call.url, base) {
                Some(rest) => (Some(clean(shown)), rest),
                None => (None, call.url.as_str()),
            },
            None => (None, call.url.as_str()),
        };
        let value = |value: &Value| match value {
            Value::Text(text) => clean(text),
            Value::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => clean(text),
                    Part::Secret(slot) => format!("[redacted:{slot}]"),
                })
                .collect(),
        };
        Asked {
            method: call.method.clone(),
            base_url,
            url: clean(url),
            headers: call.headers.iter().map(|(name, v)| (name.clone(), value(v))).collect(),
            body: Content::of(call.body.as_slice(), redactor),
        }
    }
}

/// What stands in a URL after its base; none if the base is another one.
fn below<'u>(url: &'u str, base: &str) -> Option<&'u str> {
    let rest = url.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

#[cfg(test)]
mod tests;
