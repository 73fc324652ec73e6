//! The host's functions, as tests give them to a session: wakes are kept by token, one ticket a session.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    ptr,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::abi::{self, Bytes, HostRef};

static TABLE: abi::Host = abi::Host {
    size: size_of::<abi::Host>(),
    ctx: ptr::null_mut(),
    wake,
    cancelled,
    log,
    extension,
};

static TOKENS: AtomicU64 = AtomicU64::new(1);
static WAKES: Mutex<BTreeMap<u64, Wakes>> = Mutex::new(BTreeMap::new());
static RUNG: Condvar = Condvar::new();

/// The wakes of one session.
#[derive(Clone, Copy, Debug, Default)]
struct Wakes {
    latched: bool,
    ended: bool,
    /// Wakes that came after the end.
    late: u64,
}

fn wakes() -> MutexGuard<'static, BTreeMap<u64, Wakes>> {
    WAKES.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn wake(_: *mut c_void, token: u64) {
    if let Some(wakes) = wakes().get_mut(&token) {
        if wakes.ended {
            wakes.late += 1;
        } else {
            wakes.latched = true;
        }
    }
    RUNG.notify_all();
}

unsafe extern "C" fn cancelled(_: *mut c_void, token: u64) -> u8 {
    u8::from(wakes().get(&token).is_none_or(|wakes| wakes.ended))
}

unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Bytes) {}

unsafe extern "C" fn extension(_: *mut c_void, _: Bytes) -> *const c_void {
    ptr::null()
}

/// A session's place in the table, for as long as its wakes are of interest.
#[derive(Debug)]
pub(super) struct Ticket(u64);

impl Ticket {
    pub(super) fn new() -> Self {
        let token = TOKENS.fetch_add(1, Ordering::Relaxed);
        wakes().insert(token, Wakes::default());
        Self(token)
    }

    pub(super) fn token(&self) -> u64 {
        self.0
    }

    pub(super) fn host() -> Option<HostRef> {
        // SAFETY: a static table of the contract, whose functions take any token on any thread.
        unsafe { HostRef::new(&raw const TABLE) }
    }

    /// Takes the wake that came, if one did; waits for it this long.
    pub(super) fn woken_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut all = wakes();
        loop {
            if all.get_mut(&self.0).is_some_and(|wakes| std::mem::take(&mut wakes.latched)) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            all = RUNG.wait_timeout(all, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// From now on a wake is late.
    pub(super) fn end(&self) {
        if let Some(wakes) = wakes().get_mut(&self.0) {
            wakes.ended = true;
        }
    }

    /// Wakes that came after the end.
    pub(super) fn late(&self) -> u64 {
        wakes().get(&self.0).map_or(0, |wakes| wakes.late)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        wakes().remove(&self.0);
    }
}
