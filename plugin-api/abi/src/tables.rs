//! The tables of functions. Each begins with its `size` and only ever grows at its end: a reader uses a
//! field only if `size` covers it. They stand outside the layout check, which would refuse any growth.

use std::{ffi::c_void, mem::offset_of};

use crate::{Buf, Bytes, MessageRef};

/// A configured backend, made by [`Plugin::open`]; opaque to the host.
#[repr(C)]
#[derive(Debug)]
pub struct Backend {
    _opaque: [u8; 0],
}

/// One request on its way, made by [`Plugin::begin`]; opaque to the host.
#[repr(C)]
#[derive(Debug)]
pub struct Session {
    _opaque: [u8; 0],
}

/// Where a step puts its actions. Valid only during the call that got it.
#[repr(C)]
#[derive(Debug)]
pub struct Sink {
    /// Size of this table in bytes.
    pub size: usize,
    /// Passed back to `push`.
    pub ctx: *mut c_void,
    /// Takes one action. `head` is borrowed, `body` is taken over even when the call fails.
    pub push: unsafe extern "C" fn(ctx: *mut c_void, head: Bytes, body: Buf) -> i32,
}

/// What the host offers a plugin. It and its `ctx` live as long as the process; any thread may call.
#[repr(C)]
#[derive(Debug)]
pub struct Host {
    /// Size of this table in bytes.
    pub size: usize,
    /// Passed back to every function.
    pub ctx: *mut c_void,
    /// Wakes the session with this token; never blocks, never re-enters the plugin, ignored after `end`.
    pub wake: unsafe extern "C" fn(ctx: *mut c_void, token: u64),
    /// 1 once the host no longer wants the session's answer, else 0.
    pub cancelled: unsafe extern "C" fn(ctx: *mut c_void, token: u64) -> u8,
    /// Writes a line to the host's log. Levels: 1 error, 2 warning, 3 info, 4 debug, 5 trace.
    pub log: unsafe extern "C" fn(ctx: *mut c_void, level: u32, text: Bytes),
    /// A further table by id, or null.
    pub extension: unsafe extern "C" fn(ctx: *mut c_void, id: Bytes) -> *const c_void,
}

// SAFETY: the contract makes the table and its functions callable from any thread for the process's life.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

/// What a plugin offers. Returned by [`Entry::plugin`]; lives as long as the process.
#[repr(C)]
#[derive(Debug)]
pub struct Plugin {
    /// Size of this table in bytes.
    pub size: usize,
    /// Makes a backend from a configuration. May run several times, also concurrently.
    /// On failure `err` gets the reason as UTF-8 text and `out` stays untouched.
    pub open: unsafe extern "C" fn(
        config: MessageRef,
        host: *const Host,
        instance: u64,
        out: *mut *mut Backend,
        err: *mut Buf,
    ) -> i32,
    /// Releases a backend; comes after every `end` of its sessions.
    pub close: unsafe extern "C" fn(backend: *mut Backend),
    /// Makes a session. `token` is the host's name for it, never used again.
    pub begin: unsafe extern "C" fn(
        backend: *mut Backend,
        token: u64,
        out: *mut *mut Session,
        err: *mut Buf,
    ) -> i32,
    /// Gives a session one event and takes its actions. Serial for one session, on any thread.
    pub step:
        unsafe extern "C" fn(session: *mut Session, event: MessageRef, sink: *const Sink) -> i32,
    /// Releases a session and cancels what is outstanding; exactly once, never during `step`.
    pub end: unsafe extern "C" fn(session: *mut Session),
    /// A further table by id, or null.
    pub extension: unsafe extern "C" fn(id: Bytes) -> *const c_void,
}

/// The one exported static of a plugin, under the name [`crate::ENTRY_SYMBOL`].
#[repr(C)]
#[derive(Debug)]
pub struct Entry {
    /// [`crate::MAGIC`].
    pub magic: u64,
    /// Must equal the host's.
    pub abi_major: u32,
    /// The lowest minor that the plugin needs.
    pub abi_minor: u32,
    /// Size of this table in bytes.
    pub size: usize,
    /// None defined yet; a host ignores unknown bits.
    pub flags: u64,
    /// The JSON of the manifest section, byte for byte.
    pub manifest: Bytes,
    /// The plugin's functions. Runs no other code of the plugin.
    pub plugin: unsafe extern "C" fn() -> *const Plugin,
}

/// The host's functions, safe to call, out of a table that may be shorter or longer than this build's.
#[derive(Clone, Copy, Debug)]
pub struct HostRef {
    ctx: *mut c_void,
    wake: unsafe extern "C" fn(ctx: *mut c_void, token: u64),
    cancelled: unsafe extern "C" fn(ctx: *mut c_void, token: u64) -> u8,
    log: unsafe extern "C" fn(ctx: *mut c_void, level: u32, text: Bytes),
}

// SAFETY: the contract makes the functions callable from any thread for the process's life.
unsafe impl Send for HostRef {}
// SAFETY: as above.
unsafe impl Sync for HostRef {}

impl HostRef {
    /// Takes the pointer that `open` got; none if it is null or its table lacks a function of ABI 1.0.
    ///
    /// # Safety
    /// `host` must be null or point to a table of the contract that is never freed or changed.
    pub unsafe fn new(host: *const Host) -> Option<Self> {
        const NEEDED: usize = offset_of!(Host, log) + size_of::<usize>();
        // SAFETY: the caller promises a table, which begins with its size.
        if host.is_null() || unsafe { (*host).size } < NEEDED {
            return None;
        }
        // SAFETY: the size covers these fields; no reference to the whole table is made.
        Some(unsafe {
            Self {
                ctx: (*host).ctx,
                wake: (*host).wake,
                cancelled: (*host).cancelled,
                log: (*host).log,
            }
        })
    }

    /// Wakes a session.
    pub fn wake(self, token: u64) {
        // SAFETY: the functions are the host's by construction; any thread may call, any token is accepted.
        unsafe { (self.wake)(self.ctx, token) }
    }

    /// Whether the host no longer wants a session's answer.
    pub fn cancelled(self, token: u64) -> bool {
        // SAFETY: as for `wake`.
        unsafe { (self.cancelled)(self.ctx, token) != 0 }
    }

    /// Writes a line to the host's log. Levels: 1 error, 2 warning, 3 info, 4 debug, 5 trace.
    pub fn log(self, level: u32, text: &str) {
        // SAFETY: as for `wake`; the text is borrowed for the call only.
        unsafe { (self.log)(self.ctx, level, Bytes::new(text.as_bytes())) }
    }
}
