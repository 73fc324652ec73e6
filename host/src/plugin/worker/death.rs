//! Why a worker is dead, and whether anybody who waited for something was told so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use plugin_api::Error;

/// Why a worker is dead. Clones are one.
#[derive(Clone)]
pub(super) struct Death {
    error: Error,
    is_told: Arc<AtomicBool>,
}

impl Death {
    pub(super) fn new(error: Error) -> Self {
        Self { error, is_told: Arc::default() }
    }

    /// For whoever waited for something.
    pub(super) fn tell(&self) -> Error {
        self.is_told.store(true, Ordering::Release);
        self.error.clone()
    }

    /// Whether anybody was told.
    pub(super) fn is_told(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }
}
