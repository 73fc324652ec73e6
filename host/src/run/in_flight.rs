//! What is being asked right now: a board on which each worker has a slot, so that a request that is stuck can be
//! named.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{event::Slow, feed::Work};

/// All workers' slots.
#[derive(Debug, Default)]
pub struct Board {
    slots: Mutex<Vec<Arc<Slot>>>,
}

/// What one worker is at.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Option<InFlight>>);

#[derive(Debug)]
struct InFlight {
    work: Work,
    /// When the first request of the sample was sent; none before that.
    since: Option<Instant>,
    attempt: u32,
}

impl Board {
    /// A slot of its own for a worker.
    pub fn enter(&self) -> Arc<Slot> {
        let slot = Arc::<Slot>::default();
        let mut slots = lock(&self.slots);
        // The slots of workers that are gone are used for others.
        slots.retain(|slot| Arc::strong_count(slot) > 1);
        slots.push(Arc::clone(&slot));
        slot
    }

    /// The oldest of all.
    pub fn slowest(&self, now: Instant) -> Option<Slow> {
        let slots = lock(&self.slots).clone();
        let since = |slot: &Arc<Slot>| lock(&slot.0).as_ref().and_then(|one| one.since);
        let oldest =
            slots.iter().filter_map(|slot| Some((since(slot)?, slot))).min_by_key(|one| one.0)?;
        let one = lock(&oldest.1.0);
        // It may have ended meanwhile; the next look finds another.
        let one = one.as_ref()?;
        Some(Slow {
            unit: one.work.unit.name.clone(),
            id: one.work.prepared.sample.id.0.clone(),
            repeat: one.work.repeat,
            attempt: one.attempt,
            age_ms: u64::try_from(now.saturating_duration_since(one.since?).as_millis()).ok()?,
        })
    }
}

impl Slot {
    /// Begins a sample.
    pub fn begin(&self, work: &Work) {
        *lock(&self.0) = Some(InFlight { work: work.clone(), since: None, attempt: 0 });
    }

    /// An attempt is sent.
    pub fn attempt(&self, now: Instant) {
        if let Some(one) = &mut *lock(&self.0) {
            one.since.get_or_insert(now);
            one.attempt += 1;
        }
    }

    /// The sample is done.
    pub fn end(&self) {
        *lock(&self.0) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
