//! What is written and not told yet, between the recorder and its teller. Bounded by what is in it: a disk that
//! does not keep up makes the recorder wait, and does not fill the memory.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::teller::Told;

/// Beyond this the disk is asked to hurry, whatever time it has.
const HURRY: usize = 512;
/// Beyond this the recorder waits.
const MOST: usize = 2 * HURRY;

#[derive(Debug, Default)]
struct State {
    queue: Vec<Told>,
    /// When the oldest sample in it was written.
    since: Option<Instant>,
    /// Whether the other side is gone.
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The recorder's end.
#[derive(Debug)]
pub struct Writer(Arc<Shared>);

/// The teller's end.
#[derive(Debug)]
pub struct Reader(Arc<Shared>);

/// Both ends of an empty backlog.
pub fn backlog() -> (Writer, Reader) {
    let shared = Arc::<Shared>::default();
    (Writer(Arc::clone(&shared)), Reader(shared))
}

/// Nobody tells any more.
#[derive(Debug)]
pub struct NobodyTells;

impl Writer {
    /// Adds what was written just now.
    pub fn push(&self, told: impl Iterator<Item = Told>, now: Instant) -> Result<(), NobodyTells> {
        let mut state = self.0.lock();
        while state.queue.len() >= MOST && !state.ended {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended {
            return Err(NobodyTells);
        }
        let knew = state.since.is_some();
        for told in told {
            if matches!(told, Told::Sample(_)) {
                state.since.get_or_insert(now);
            }
            state.queue.push(told);
        }
        // A teller that waits for the disk's time need not look before it.
        if !knew || state.queue.len() >= HURRY {
            self.0.changed.notify_all();
        }
        Ok(())
    }
}

impl Reader {
    /// Waits until something is to be told, and takes all of it: at once if no sample is among it, else when the
    /// oldest has waited for `within`. None when all is told and nobody writes any more.
    pub fn take(&self, within: Duration) -> Option<Vec<Told>> {
        let mut state = self.0.lock();
        loop {
            let wait = match state.since {
                _ if state.ended || state.queue.len() >= HURRY => Duration::ZERO,
                Some(since) => (since + within).saturating_duration_since(Instant::now()),
                None if state.queue.is_empty() => Duration::MAX,
                None => Duration::ZERO,
            };
            if wait.is_zero() {
                break;
            }
            let waited = self.0.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.since = None;
        let told = mem::take(&mut state.queue);
        self.0.changed.notify_all();
        (!told.is_empty()).then_some(told)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.end();
    }
}
