//! Sessions by token: who is to be woken, and who is no longer wanted.
//!
//! A wake may come from any thread at any time, also for a session that has ended: tokens are never used
//! again, so a late one finds nothing.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

/// Locks of the table, so that sessions on different threads seldom meet.
const SHARDS: u64 = 16;

static TABLE: LazyLock<Vec<Mutex<Shard>>> =
    LazyLock::new(|| (0..SHARDS).map(|_| Mutex::default()).collect());
static LAST_TOKEN: AtomicU64 = AtomicU64::new(0);

type Shard = HashMap<u64, Arc<Slot>, BuildHasherDefault<TokenHasher>>;

/// Tokens are consecutive numbers: they need no mixing.
#[derive(Default)]
struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, token: u64) {
        self.0 = token.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[derive(Default)]
struct Slot {
    /// Holds at most one permit: wakes before a park, or during a step, are delivered as one.
    woken: Notify,
    cancelled: AtomicBool,
}

/// A session's place in the table; leaves it when dropped.
pub struct Registration {
    token: u64,
    slot: Arc<Slot>,
}

impl Registration {
    /// A place under a token that was never used before.
    pub fn enter() -> Self {
        Self::under(LAST_TOKEN.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A place under a token that another process gave, which was never used before either.
    pub fn under(token: u64) -> Self {
        let slot = Arc::<Slot>::default();
        shard(token).insert(token, Arc::clone(&slot));
        Self { token, slot }
    }

    /// The token.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Waits for a wake; one that came before is not lost.
    pub async fn woken(&self) {
        self.slot.woken.notified().await;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.slot.cancelled.store(true, Ordering::Release);
        shard(self.token).remove(&self.token);
    }
}

/// Wakes the session of this token, if it still runs.
pub(super) fn wake(token: u64) {
    let slot = shard(token).get(&token).map(Arc::clone);
    if let Some(slot) = slot {
        slot.woken.notify_one();
    }
}

/// Whether nobody waits for the session of this token any more.
pub(super) fn cancelled(token: u64) -> bool {
    shard(token).get(&token).is_none_or(|slot| slot.cancelled.load(Ordering::Acquire))
}

fn shard(token: u64) -> MutexGuard<'static, Shard> {
    #[allow(clippy::cast_possible_truncation, reason = "a remainder of 16")]
    let index = (token % SHARDS) as usize;
    TABLE[index].lock().unwrap_or_else(PoisonError::into_inner)
}
