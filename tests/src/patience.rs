//! Waiting for what another process does: looked at until it is so, never for a guessed time.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longest wait: far beyond what anything takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until something is there.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < LONGEST, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
