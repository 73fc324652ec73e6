//! The smallest host: the tables, called as the contract allows and no other way.

use std::{
    collections::HashSet,
    ffi::c_void,
    ptr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use plugin_api::{
    Backend, Request,
    abi::{self, Buf, Bytes, MessageRef},
    export,
    message::{Action, Start},
};
use serde_json::{Value, json};

static WAKES: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static LOG: Mutex<Vec<(u32, String)>> = Mutex::new(Vec::new());
static CANCELLED: Mutex<Option<HashSet<u64>>> = Mutex::new(None);
static TOKENS: AtomicU64 = AtomicU64::new(1);

static HOST: abi::Host = abi::Host {
    size: size_of::<abi::Host>(),
    ctx: ptr::null_mut(),
    wake,
    cancelled,
    log,
    extension,
};

unsafe extern "C" fn wake(_: *mut c_void, token: u64) {
    WAKES.lock().unwrap().push(token);
}

unsafe extern "C" fn cancelled(_: *mut c_void, token: u64) -> u8 {
    u8::from(CANCELLED.lock().unwrap().as_ref().is_some_and(|tokens| tokens.contains(&token)))
}

unsafe extern "C" fn log(_: *mut c_void, level: u32, text: Bytes) {
    // SAFETY: the text is live for the call.
    let text = std::str::from_utf8(unsafe { text.as_slice() }).unwrap().to_owned();
    // The SDK's hook takes the place of the one that would show a failed assertion.
    eprintln!("{text}");
    LOG.lock().unwrap().push((level, text));
}

unsafe extern "C" fn extension(_: *mut c_void, _: Bytes) -> *const c_void {
    ptr::null()
}

/// The lines that plugins logged so far, in this process.
pub(crate) fn logged(needle: &str) -> bool {
    LOG.lock().unwrap().iter().any(|(_, line)| line.contains(needle))
}

/// One open backend.
pub(crate) struct Opened {
    plugin: &'static abi::Plugin,
    backend: *mut abi::Backend,
}

// SAFETY: the contract lets `begin` run on any threads.
unsafe impl Send for Opened {}
// SAFETY: as above, concurrently too.
unsafe impl Sync for Opened {}

/// The tables of a backend of this binary.
pub(crate) fn table<B: Backend>() -> &'static abi::Plugin {
    Box::leak(Box::new(export::plugin::<B>()))
}

/// Opens a backend. On failure: the status and the reason.
pub(crate) fn open(plugin: &'static abi::Plugin, config: Value) -> Result<Opened, (i32, String)> {
    let head = json!({ "config": config, "secrets": ["api_key"] }).to_string();
    open_raw(plugin, head.as_bytes())
}

/// As [`open`], with any bytes for a head.
pub(crate) fn open_raw(plugin: &'static abi::Plugin, head: &[u8]) -> Result<Opened, (i32, String)> {
    let mut backend = ptr::null_mut();
    let mut err = Buf::empty();
    // SAFETY: every pointer is valid for the call, and the host's table for the process.
    let status = unsafe {
        (plugin.open)(
            MessageRef::new(head, &[]),
            &raw const HOST,
            0,
            &raw mut backend,
            &raw mut err,
        )
    };
    if status == abi::STATUS_OK {
        return Ok(Opened { plugin, backend });
    }
    assert!(backend.is_null(), "a failed open leaves `out` untouched");
    Err((status, String::from_utf8(err.as_slice().to_vec()).unwrap()))
}

impl Opened {
    /// Begins a session.
    pub(crate) fn begin(&self) -> Running<'_> {
        let token = TOKENS.fetch_add(1, Ordering::Relaxed);
        let mut session = ptr::null_mut();
        let mut err = Buf::empty();
        // SAFETY: the backend is open until `self` is dropped; the places are valid.
        let status =
            unsafe { (self.plugin.begin)(self.backend, token, &raw mut session, &raw mut err) };
        assert_eq!(status, abi::STATUS_OK);
        Running { opened: self, session, token }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: every session borrows from `self`, so each has ended.
        unsafe { (self.plugin.close)(self.backend) }
    }
}

/// One session; `end` is its drop.
pub(crate) struct Running<'a> {
    opened: &'a Opened,
    session: *mut abi::Session,
    pub(crate) token: u64,
}

// SAFETY: calls for one session may move between threads; `&mut self` keeps them serial.
unsafe impl Send for Running<'_> {}

/// What one step gave.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) status: i32,
    pub(crate) pushed: Vec<Pushed>,
}

/// One action.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) head: String,
    pub(crate) body: Buf,
}

impl Pushed {
    pub(crate) fn action(&self) -> Action<'_> {
        serde_json::from_str(&self.head).unwrap()
    }

    /// The action's name and, for those that have one, the call or item.
    pub(crate) fn brief(&self) -> String {
        match self.action() {
            Action::Http(http) => format!("http {}", http.call.0),
            Action::Wait(wait) => format!("wait {}", wait.call.0),
            Action::Hold(hold) => format!("hold {}: {} {}", hold.call.0, &*hold.name, self.text()),
            Action::Free(hold) => format!("free {}: {}", hold.call.0, &*hold.name),
            Action::Cancel(cancel) => format!("cancel {}", cancel.call.0),
            Action::Delta(_) => format!("delta {}", self.text()),
            Action::Limits(_) => "limits".to_owned(),
            Action::Park {} => "park".to_owned(),
            Action::Again {} => "again".to_owned(),
            Action::Done(done) => format!("done {}: {}", done.item, self.text()),
            Action::Fail(fail) => match fail.item {
                Some(item) => format!("fail {item}: {}", fail.kind),
                None => format!("fail: {}", fail.kind),
            },
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_slice()).unwrap()
    }
}

impl Stepped {
    pub(crate) fn briefs(&self) -> Vec<String> {
        self.pushed.iter().map(Pushed::brief).collect()
    }

    /// The message of the only `fail`.
    pub(crate) fn failure(&self) -> String {
        let fails: Vec<String> = self
            .pushed
            .iter()
            .filter_map(|pushed| match pushed.action() {
                Action::Fail(fail) => Some(fail.message.into_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(fails.len(), 1, "{self:?}");
        fails.into_iter().next().unwrap()
    }
}

unsafe extern "C" fn push(ctx: *mut c_void, head: Bytes, body: Buf) -> i32 {
    // SAFETY: `ctx` is the list that `step` passed, for the call.
    let list = unsafe { &mut *ctx.cast::<Vec<Pushed>>() };
    // SAFETY: the head is live for the call.
    let head = String::from_utf8(unsafe { head.as_slice() }.to_vec()).unwrap();
    list.push(Pushed { head, body });
    abi::STATUS_OK
}

unsafe extern "C" fn refuse(_: *mut c_void, _: Bytes, body: Buf) -> i32 {
    drop(body);
    abi::STATUS_FAILED
}

impl Running<'_> {
    /// One event, as bytes.
    pub(crate) fn step(&mut self, head: &[u8], body: &[u8]) -> Stepped {
        let mut pushed: Vec<Pushed> = Vec::new();
        let status = self.step_into(head, body, (&raw mut pushed).cast(), push);
        Stepped { status, pushed }
    }

    /// One event, whose actions the host refuses.
    pub(crate) fn step_refused(&mut self, head: &[u8], body: &[u8]) -> i32 {
        self.step_into(head, body, ptr::null_mut(), refuse)
    }

    fn step_into(
        &mut self,
        head: &[u8],
        body: &[u8],
        ctx: *mut c_void,
        push: unsafe extern "C" fn(*mut c_void, Bytes, Buf) -> i32,
    ) -> i32 {
        let sink = abi::Sink { size: size_of::<abi::Sink>(), ctx, push };
        // SAFETY: the session is not ended before `self` is dropped; `&mut self` makes calls serial.
        unsafe {
            (self.opened.plugin.step)(self.session, MessageRef::new(head, body), &raw const sink)
        }
    }

    /// One event.
    pub(crate) fn event(&mut self, head: Value, body: &[u8]) -> Stepped {
        self.step(head.to_string().as_bytes(), body)
    }

    pub(crate) fn start(&mut self, requests: &[Request<'_>]) -> Stepped {
        let (head, body) = start(requests);
        self.step(head.as_bytes(), &body)
    }

    /// Starts a session of one generation for each prompt.
    pub(crate) fn generate(&mut self, prompts: &[&str]) -> Stepped {
        let requests: Vec<_> =
            prompts.iter().map(|prompt| crate::subject::generate(prompt)).collect();
        self.start(&requests)
    }

    pub(crate) fn reply(&mut self, call: u64, body: &str) -> Stepped {
        let head = json!({ "reply": { "call": call.to_string(), "status": 200 } });
        self.event(head, body.as_bytes())
    }

    /// How often the session was woken since the last time this was asked.
    pub(crate) fn take_wakes(&self) -> usize {
        let mut wakes = WAKES.lock().unwrap();
        let before = wakes.len();
        wakes.retain(|token| *token != self.token);
        before - wakes.len()
    }

    pub(crate) fn cancel(&self) {
        CANCELLED.lock().unwrap().get_or_insert_default().insert(self.token);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: begun by `begin`, ended here and nowhere else.
        unsafe { (self.opened.plugin.end)(self.session) }
    }
}

/// Wakes so far of a token whose session may be over.
pub(crate) fn wakes_of(token: u64) -> usize {
    WAKES.lock().unwrap().iter().filter(|woken| **woken == token).count()
}

/// A start event.
pub(crate) fn start(requests: &[Request<'_>]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    let requests = requests.iter().map(|request| request.put(&mut body)).collect();
    let start = Start { request_id: "test/1".into(), attempt: 2, deadline_ms: 9_000, requests };
    (json!({ "start": start }).to_string(), body)
}
