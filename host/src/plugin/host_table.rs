//! The functions that the host lends to plugins. Any thread of a plugin may call them at any time.

use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::OnceLock,
};

use plugin_api::abi::{Bytes, Host};

use super::{load, wake};

static TABLE: Host = Host {
    size: size_of::<Host>(),
    ctx: ptr::null_mut(),
    wake: on_wake,
    cancelled: on_cancelled,
    log: load::on_log,
    extension: on_extension,
};

/// What takes log lines: the plugin, if it is known, level (1 error to 5 trace) and text.
type Log = Box<dyn Fn(Option<&str>, u32, &str) + Send + Sync>;

static LOG: OnceLock<Log> = OnceLock::new();

/// What takes wakes where the sessions are another process's.
type Wake = Box<dyn Fn(u64) + Send + Sync>;

static WAKE: OnceLock<Wake> = OnceLock::new();

/// The level of the least grave lines that are shown: warnings.
const LEAST_SHOWN: u32 = 2;

/// The table. It lives as long as the process.
pub(super) fn get() -> *const Host {
    &raw const TABLE
}

/// Says where plugins' log lines go; before that, and a second time, nothing happens.
pub fn set_log(log: impl Fn(Option<&str>, u32, &str) + Send + Sync + 'static) {
    let _ = LOG.set(Box::new(log));
}

/// Says whom wakes are told of in this process, in place of its own sessions; a second time nothing happens.
pub fn set_wake(wake: impl Fn(u64) + Send + Sync + 'static) {
    let _ = WAKE.set(Box::new(wake));
}

/// Whether a log line of this level is shown to anybody.
pub fn is_shown(level: u32) -> bool {
    level <= LEAST_SHOWN
}

extern "C" fn on_wake(_ctx: *mut c_void, token: u64) {
    match WAKE.get() {
        None => wake::wake(token),
        // A panic must not unwind into the plugin.
        Some(wake) => drop(catch_unwind(AssertUnwindSafe(|| wake(token)))),
    }
}

extern "C" fn on_cancelled(_ctx: *mut c_void, token: u64) -> u8 {
    u8::from(wake::cancelled(token))
}

/// Passes a line on. A panic must not unwind into the plugin; the line is then lost, nothing else.
pub(super) fn log(plugin: Option<&str>, level: u32, text: &[u8]) {
    let _ = catch_unwind(|| {
        if let Some(log) = LOG.get() {
            log(plugin, level, &String::from_utf8_lossy(text));
        }
    });
}

extern "C" fn on_extension(_ctx: *mut c_void, _id: Bytes) -> *const c_void {
    ptr::null()
}
