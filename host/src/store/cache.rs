//! The response cache: answers that were paid for once, kept over runs and shared between processes.
//!
//! It is a convenience and never more: whatever is wrong with it costs a request, not a run. So every look-up has a
//! bound, what is to be kept is written on a thread of its own, and a file that cannot be used is a warning.
//!
//! What decides an answer is all in the key ([`Identity`]), so that one model's answers are never taken for another's.
//! What may be kept at all is decided in `entry`: no failure, no refusal, nothing that was cut off, and no secret.

mod entry;
mod key;
mod table;
mod upkeep;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use plugin_api::{Answer, Request};
use tokio::{sync::oneshot, time::timeout};

pub use key::{Decisive, Identity, Key, Label};
pub use upkeep::{LabelStats, Prune, Pruned, Stats, UpkeepError, prune, remove, stats};

use crate::secret::Redactor;

/// Name of the file in the folder of caches.
const FILE: &str = "responses.redb";
/// Longest wait for an answer of the cache. A disk that hangs costs it once, since then nobody waits any more; a
/// machine that is only busy must not lose what was paid for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the last answers to be written, at the end of a run.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes that wait to be written; what comes beyond is not kept.
const MOST_WAITING: usize = 64 * 1024 * 1024;

/// The file of the response cache in this folder of caches.
pub fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// An open cache. Cheap to share; [`ResponseCache::finish`] writes what is left.
#[derive(Debug)]
pub struct ResponseCache {
    inbox: mpsc::Sender<Message>,
    gauge: Arc<Gauge>,
    redactor: Arc<Redactor>,
}

/// What the cache's thread and its users tell each other without a message.
#[derive(Debug, Default)]
struct Gauge {
    /// Bytes that wait to be written.
    waiting: AtomicUsize,
    /// Set by a look-up that took too long, cleared by the thread once it gets on: meanwhile nobody waits for it.
    stalled: AtomicBool,
}

/// What the cache's thread is asked.
enum Message {
    Get(Key, u64, oneshot::Sender<Vec<u8>>),
    Put(Put),
    /// Write what is left, then say so.
    Close(oneshot::Sender<()>),
}

/// An entry to be written.
struct Put {
    key: Key,
    label: Arc<Label>,
    value: Vec<u8>,
}

impl ResponseCache {
    /// Opens the cache in this folder, which is made if it is not there. The file is opened on a thread, so this
    /// never waits; `warn` is told there if it cannot be used. Answers with a secret that `redactor` knows are not kept.
    pub fn open(
        folder: &Path,
        redactor: Arc<Redactor>,
        warn: impl Fn(&str) + Send + 'static,
    ) -> Arc<Self> {
        let (inbox, taken) = mpsc::channel();
        let gauge = Arc::new(Gauge::default());
        let (path, shared) = (file(folder), Arc::clone(&gauge));
        // Without a thread the channel is closed, and whoever asks is told nothing.
        let _ = thread::Builder::new()
            .name("cache".to_owned())
            .spawn(move || writer::serve(&path, &taken, &shared, &warn));
        Arc::new(Self { inbox, gauge, redactor })
    }

    /// The cache as one backend sees it.
    pub fn of(self: &Arc<Self>, identity: Identity) -> BackendCache {
        // A server may have named itself by a secret.
        let identity = identity.labelled(|text| self.redactor.redact(text).into_owned());
        BackendCache { cache: Arc::clone(self), identity }
    }

    /// Writes what is left. Waits for that, but not for ever.
    pub async fn finish(&self) {
        let (done, written) = oneshot::channel();
        if self.inbox.send(Message::Close(done)).is_ok() {
            let _ = timeout(LAST_PATIENCE, written).await;
        }
    }

    async fn get(&self, key: Key, label: u64) -> Option<Vec<u8>> {
        if self.gauge.stalled.load(Ordering::Relaxed) {
            return None;
        }
        let (answer, found) = oneshot::channel();
        self.inbox.send(Message::Get(key, label, answer)).ok()?;
        match timeout(PATIENCE, found).await {
            Ok(found) => found.ok(),
            Err(_) => {
                self.gauge.stalled.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    fn put(&self, put: Put) {
        let bytes = put.value.len();
        if self.gauge.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_WAITING
            || self.inbox.send(Message::Put(put)).is_err()
        {
            self.gauge.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// The cache as one backend sees it: its answers, and no other's.
#[derive(Clone, Debug)]
pub struct BackendCache {
    cache: Arc<ResponseCache>,
    identity: Identity,
}

impl BackendCache {
    /// The key of one sample's requests, of which this is the draw number `repeat`.
    pub fn key(&self, requests: &[Request<'_>], repeat: u32) -> Key {
        self.identity.key(requests, repeat)
    }

    /// The answers to these requests, in their order, if they were kept. They cost nothing again.
    pub async fn get(&self, key: Key, requests: &[Request<'_>]) -> Option<Vec<Answer>> {
        let value = self.cache.get(key, self.identity.label().id()).await?;
        // What is damaged is asked again, and then replaced.
        entry::read(&value).filter(|answers| entry::is_kept(requests, answers))
    }

    /// Keeps the answers to these requests, if they are such as may be kept. Never waits.
    pub fn put(&self, key: Key, requests: &[Request<'_>], answers: &[Answer]) {
        if !entry::is_kept(requests, answers) {
            return;
        }
        if let Some(value) = entry::write(answers, &self.cache.redactor) {
            self.cache.put(Put { key, label: Arc::clone(self.identity.label()), value });
        }
    }
}

#[cfg(test)]
mod tests;
