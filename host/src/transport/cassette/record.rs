//! Writes a recording: one line an exchange, when it is over. What is recorded is kept when the host is killed.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use plugin_api::ErrorKind;

use super::{
    CassetteError,
    format::{Asked, BackendLine, Broken, Content, Exchange, FORMAT, Header, Line, Replied},
    pieces,
};
use crate::{
    secret::{Redactor, Secrets},
    transport::{Response, TransportError},
};

/// A recording that is being made.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    /// How many exchanges were begun.
    begun: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    backends: BTreeSet<String>,
    exchanges: u64,
    /// Why nothing more is written.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Begins a recording in a new file.
    ///
    /// # Errors
    /// There is such a file already, or it cannot be made.
    pub fn create(path: &Path) -> Result<Arc<Self>, CassetteError> {
        let file = File::options().create_new(true).append(true).open(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::AlreadyExists => CassetteError::Exists(path),
                _ => CassetteError::Write { path, source },
            }
        })?;
        let state = State { file, backends: BTreeSet::new(), exchanges: 0, failed: None };
        let (path, state) = (path.to_owned(), Mutex::new(state));
        let recorder = Self { path, begun: AtomicU64::new(0), state };
        let host_version = env!("CARGO_PKG_VERSION").to_owned();
        recorder.lock().write(&Line::Recording(Header { format: FORMAT, host_version }));
        Ok(Arc::new(recorder))
    }

    /// Ends the recording, and gives how many exchanges are in it. One without any leaves no file.
    ///
    /// # Errors
    /// Not everything could be written.
    pub fn finish(&self) -> Result<u64, CassetteError> {
        let mut state = self.lock();
        let write = |source| CassetteError::Write { path: self.path.clone(), source };
        if let Some(source) = state.failed.take() {
            return Err(write(source));
        }
        if state.exchanges == 0 {
            fs::remove_file(&self.path).map_err(write)?;
        }
        Ok(state.exchanges)
    }

    /// Notes that a backend is open, with the slots that have a secret.
    pub(super) fn backend<'a>(&self, id: &str, slots: impl Iterator<Item = &'a str>) {
        let mut state = self.lock();
        // Each of its servers is opened by itself.
        if state.backends.insert(id.to_owned()) {
            let slots = slots.map(str::to_owned).collect();
            state.write(&Line::Backend(BackendLine { id: id.to_owned(), slots }));
        }
    }

    /// Begins an exchange.
    pub(super) fn begin(
        self: &Arc<Self>,
        backend: &str,
        request: Asked,
        stream: bool,
        redactor: &Arc<Redactor>,
        secrets: &Secrets,
    ) -> Tap {
        let seq = self.begun.fetch_add(1, Ordering::Relaxed);
        let exchange =
            Exchange { seq, backend: backend.to_owned(), request, reply: None, error: None };
        Tap {
            recorder: Arc::clone(self),
            exchange: Some(exchange),
            stream,
            redactor: Arc::clone(redactor),
            secrets: secrets.clone(),
            body: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// A panic elsewhere must not end the recording.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, line: &Line) {
        if self.failed.is_some() {
            return;
        }
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            self.file.write_all(&bytes)
        });
        match written {
            Ok(()) => self.exchanges += u64::from(matches!(line, Line::Exchange(_))),
            Err(error) => self.failed = Some(error),
        }
    }
}

/// Listens to one exchange, and writes it down when it is over: at the end of its body, at an error, or when nobody
/// wants more of it.
#[derive(Debug)]
pub(crate) struct Tap {
    recorder: Arc<Recorder>,
    /// None once it is written.
    exchange: Option<Exchange>,
    stream: bool,
    redactor: Arc<Redactor>,
    secrets: Secrets,
    body: Vec<u8>,
    chunks: Vec<usize>,
}

impl Tap {
    /// Status and headers came.
    pub(super) fn replied(&mut self, response: &Response) {
        let clean = |text: &str| self.redactor.redact(text).into_owned();
        let headers =
            response.headers.iter().map(|(name, value)| (name.clone(), clean(value))).collect();
        let wait = response.retry_after.map(|wait| u64::try_from(wait.as_millis()));
        if let Some(exchange) = &mut self.exchange {
            exchange.reply = Some(Replied {
                status: response.status,
                headers,
                retry_after_ms: wait.map(|ms| ms.unwrap_or(u64::MAX)),
                body: Content::default(),
                chunks: Vec::new(),
            });
        }
    }

    /// A piece of the body came, its end, or an error.
    pub(crate) fn heard(&mut self, chunk: &Result<Option<Bytes>, TransportError>) {
        match chunk {
            Ok(Some(bytes)) => {
                self.body.extend_from_slice(bytes);
                self.chunks.push(bytes.len());
            }
            Ok(None) => self.over(None),
            Err(error) => self.failed(error),
        }
    }

    /// The exchange failed.
    pub(super) fn failed(&mut self, error: &TransportError) {
        let message = self.redactor.redact(&error.message).into_owned();
        self.over(Some(Broken { kind: error.kind, message }));
    }

    fn over(&mut self, error: Option<Broken>) {
        let Some(mut exchange) = self.exchange.take() else { return };
        exchange.error = error;
        let body = mem::take(&mut self.body);
        if let Some(reply) = &mut exchange.reply {
            let mut content = Content::of(&body, &self.redactor);
            if let Content::Text(text) = &mut content {
                for (slot, secret) in self.secrets.iter() {
                    if let Cow::Owned(clean) = pieces::hide(text, slot, secret.expose()) {
                        *text = clean;
                    }
                }
            }
            // Where something was taken out, the pieces do not fit any more.
            let is_untouched = content.clone().bytes().is_some_and(|kept| kept == body);
            if self.stream && self.chunks.len() > 1 && is_untouched {
                reply.chunks = mem::take(&mut self.chunks);
            }
            reply.body = content;
        }
        self.recorder.lock().write(&Line::Exchange(Box::new(exchange)));
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // A deadline of the host, or a stream whose end the plugin did not wait for.
        let message = "nobody waited for the rest".to_owned();
        self.over(Some(Broken { kind: ErrorKind::Timeout, message }));
    }
}
