//! Which session the current thread is stepping, so that what another thread does can be told apart.

use std::{cell::Cell, ptr};

use crate::shared::Shared;

thread_local! {
    static CURRENT: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// Marks a session as the one that this thread steps, until it is dropped.
pub(crate) struct Turn {
    before: *const Shared,
}

impl Turn {
    pub(crate) fn of(shared: &Shared) -> Self {
        Self { before: CURRENT.replace(shared) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Whether this thread is stepping this session.
pub(crate) fn is_of(shared: &Shared) -> bool {
    CURRENT.try_with(|current| ptr::eq(current.get(), shared)).unwrap_or(false)
}
