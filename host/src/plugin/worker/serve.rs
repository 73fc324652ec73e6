//! The worker itself: loads one library, opens one backend, and steps its sessions as the host says. Steps of a plugin
//! that only translates run one after the other; those of one that computes on threads.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use plugin_api::{
    Error, abi,
    message::{self, Decimal, Str},
};
use rustix::{
    process::{Pid, Signal, getppid, set_parent_process_death_signal},
    time::{ClockId, clock_gettime},
};
use serde_json::value::RawValue;

use super::{
    become_script,
    frame::{self, Incoming},
    memory,
    message::{
        Closed, Confined, Did, Failed, FromWorker, Load, Log, Refused, SessionRef, Stepped,
        ToWorker,
    },
    process::take_streams,
    sandbox,
};
use crate::plugin::{
    action::RawAction,
    host_table,
    load::{Backend, Loaded, OpenError, Session},
    pool::Pool,
    wake::Registration,
};

/// Serves the host at the other end of standard input until it closes that.
///
/// # Errors
/// The host is gone, or speaks otherwise.
pub fn serve(host: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A host that ended before sends no signal any more.
    if getppid().map(Pid::as_raw_pid).and_then(|id| u32::try_from(id).ok()) != Some(host) {
        return Err(io::Error::other("its host is gone"));
    }
    let (socket, library) = take_streams()?;
    let outlet = Arc::new(Outlet(Mutex::new(socket.try_clone()?)));
    let (waking, logging) = (Arc::clone(&outlet), Arc::clone(&outlet));
    host_table::set_wake(move |token| {
        waking.say(&FromWorker::Wake(SessionRef { session: Decimal(token) }));
    });
    host_table::set_log(move |_, level, text| {
        if host_table::is_shown(level) {
            logging.say(&FromWorker::Log(Log { level, text: text.into() }));
        }
    });
    let mut host = Host { socket, incoming: Incoming::default(), outlet };
    let Some((load, loaded)) = host.load(library)? else { return Ok(()) };
    let before = threads();
    let Some(backend) = host.open(loaded)? else { return Ok(()) };
    if threads() == 1 {
        memory::give_back();
    }
    let pool = load.threads.map(|threads| Pool::new("worker", threads)).transpose()?;
    if host.serve(&Arc::new(backend), pool, load.measure)? {
        // Those that are about to end are waited for: only where somebody looks at them.
        let threads = if load.measure { threads_beyond(before) } else { 0 };
        host.outlet.say(&FromWorker::Closed(Closed { threads }));
    }
    Ok(())
}

/// Threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Threads that are there beside so many, once those that are about to end have ended.
fn threads_beyond(before: usize) -> usize {
    for _ in 0..100 {
        if threads() <= before {
            return 0;
        }
        thread::sleep(Duration::from_millis(10));
    }
    threads().saturating_sub(before)
}

/// The host at the other end.
struct Host {
    socket: UnixStream,
    incoming: Incoming,
    outlet: Arc<Outlet>,
}

impl Host {
    /// Waits for a frame; none at the end.
    fn wait(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        loop {
            if let Some(frame) = self.incoming.frame().map_err(io::Error::other)? {
                return Ok(Some((frame.head.to_vec(), frame.body.to_vec())));
            }
            if !self.incoming.read_from(&self.socket)? {
                return Ok(None);
            }
        }
    }

    /// Loads the library as the host says.
    fn load(&mut self, library: OwnedFd) -> io::Result<Option<(Load, Loaded)>> {
        let Some((head, manifest)) = self.wait()? else { return Ok(None) };
        let ToWorker::Load(load) = message::read(&head)? else {
            return Err(io::Error::other("the host does not begin with `load`"));
        };
        // From here on nothing is trusted any more.
        let by = sandbox::enter(&load);
        if let Some(program) = &load.script {
            self.outlet.say(&FromWorker::Loaded(Confined { by }));
            // It returns only if it fails.
            let error = become_script::become_script(program, &self.socket);
            let message = format!("{}: cannot be run: {error}", program.path);
            self.outlet
                .say(&FromWorker::Failed(Failed { panicked: false, message: message.into() }));
            return Ok(None);
        }
        let (path, abi) = (Path::new(&load.path), load.abi.into());
        match Loaded::open(path, library, &manifest, abi, load.allow_unchecked_layout) {
            Ok(loaded) => {
                self.outlet.say(&FromWorker::Loaded(Confined { by }));
                Ok(Some((load, loaded)))
            }
            Err(error) => {
                let message = error.to_string();
                self.outlet
                    .say(&FromWorker::Failed(Failed { panicked: false, message: message.into() }));
                Ok(None)
            }
        }
    }

    /// Opens the backend.
    fn open(&mut self, loaded: Loaded) -> io::Result<Option<Backend>> {
        let Some((head, config)) = self.wait()? else { return Ok(None) };
        let ToWorker::Open {} = message::read(&head)? else {
            return Err(io::Error::other("the host does not go on with `open`"));
        };
        match loaded.open_backend(&config, 1) {
            Ok(backend) => {
                self.outlet.say(&FromWorker::Opened {});
                Ok(Some(backend))
            }
            Err(error) => {
                let panicked = matches!(error, OpenError::Panicked(_));
                let message = error.to_string();
                self.outlet.say(&FromWorker::Failed(Failed { panicked, message: message.into() }));
                Ok(None)
            }
        }
    }

    /// Steps sessions until the host wants no more. Whether it said so, and is still there.
    fn serve(
        &mut self,
        backend: &Arc<Backend>,
        pool: Option<Pool>,
        measure: bool,
    ) -> io::Result<bool> {
        let sessions = Arc::new(Sessions { measure, ..Sessions::default() });
        loop {
            while let Some(frame) = self.incoming.frame().map_err(io::Error::other)? {
                match message::read(frame.head)? {
                    ToWorker::Step(step) => {
                        let token = step.session.0;
                        if step.begin && !sessions.begin(token, backend, &self.outlet) {
                            continue;
                        }
                        let (event, body) = match step.event {
                            Some(event) => (event.get().as_bytes(), frame.body),
                            None => frame.body.split_at(step.head_bytes.min(frame.body.len())),
                        };
                        match &pool {
                            None => sessions.step(token, event, body, &self.outlet),
                            Some(pool) => {
                                let (sessions, outlet) =
                                    (Arc::clone(&sessions), Arc::clone(&self.outlet));
                                let (event, body) = (event.to_vec(), body.to_vec());
                                pool.start(move || sessions.step(token, &event, &body, &outlet));
                            }
                        }
                    }
                    ToWorker::End(session) => sessions.end(session.session.0),
                    ToWorker::Close {} => {
                        sessions.end_all();
                        return Ok(true);
                    }
                    ToWorker::Load(_) | ToWorker::Open {} => {
                        return Err(io::Error::other("the host begins a second time"));
                    }
                }
            }
            if !self.incoming.read_from(&self.socket)? {
                sessions.end_all();
                return Ok(false);
            }
        }
    }
}

/// The sessions that have begun and not ended.
#[derive(Default)]
struct Sessions {
    begun: Mutex<HashMap<u64, Entry>>,
    /// Whether the CPU time of steps is told.
    measure: bool,
}

struct Entry {
    /// None while a step of it runs.
    session: Option<Session>,
    /// Says to the plugin that it is still wanted.
    _registration: Registration,
}

impl Sessions {
    /// Begins a session. If that fails the host is told why.
    fn begin(&self, token: u64, backend: &Arc<Backend>, outlet: &Outlet) -> bool {
        let registration = Registration::under(token);
        match backend.begin(token) {
            Ok(session) => {
                let entry = Entry { session: Some(session), _registration: registration };
                lock(&self.begun).insert(token, entry);
                true
            }
            Err(Error { kind, message, .. }) => {
                let refused = Some(Refused { kind, message: message.into() });
                outlet.say(&FromWorker::Did(Did { refused, ..empty(token) }));
                false
            }
        }
    }

    /// One step, and the frames that tell of it.
    fn step(&self, token: u64, event: &[u8], body: &[u8], outlet: &Outlet) {
        let session = lock(&self.begun).get_mut(&token).and_then(|entry| entry.session.take());
        // It ended before its turn came: nobody waits, but the host wants to know that it is over.
        let Some(mut session) = session else {
            return outlet
                .say(&FromWorker::Did(Did { stepped: Some(Stepped::Ok), ..empty(token) }));
        };
        let mut pushed = Vec::new();
        let before = self.measure.then(cpu_us);
        let status = session.step(event, body, &mut pushed);
        let cpu_us = before.map(|before| cpu_us().saturating_sub(before));
        let mut frames = abi::buffer();
        tell(token, &pushed, status.into(), cpu_us, &mut frames);
        // Put back before the host can ask for the next step of it.
        let ended = match lock(&self.begun).get_mut(&token) {
            Some(entry) => entry.session.replace(session),
            None => Some(session),
        };
        outlet.send(&frames);
        abi::recycle(frames);
        drop(ended);
    }

    fn end(&self, token: u64) {
        // Not under the lock, since it runs the plugin's code.
        let ended = lock(&self.begun).remove(&token);
        drop(ended);
    }

    fn end_all(&self) {
        let ended = std::mem::take(&mut *lock(&self.begun));
        drop(ended);
    }
}

/// CPU time of this thread.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap_or_default()
}

/// The frames that tell what a step did: one an action, the last with its status.
fn tell(
    token: u64,
    pushed: &[RawAction],
    stepped: Stepped,
    cpu_us: Option<u64>,
    frames: &mut Vec<u8>,
) {
    let last = pushed.len().saturating_sub(1);
    if pushed.is_empty() {
        let did = Did { stepped: Some(stepped), cpu_us, ..empty(token) };
        put(frames, &FromWorker::Did(did), &[]);
    }
    for (index, action) in pushed.iter().enumerate() {
        let stepped = (index == last).then_some(stepped);
        let cpu_us = cpu_us.filter(|_| index == last);
        let body = action.body.as_slice();
        let (action, breach) = match message::read::<&RawValue>(&action.head) {
            Ok(head) => (Some(head), None),
            Err(error) => (None, Some(unreadable(&error))),
        };
        let did = FromWorker::Did(Did { action, breach, stepped, cpu_us, ..empty(token) });
        if !put(frames, &did, body) {
            let breach = Some(Str::from("an action is longer than a frame may be"));
            put(frames, &FromWorker::Did(Did { breach, stepped, cpu_us, ..empty(token) }), &[]);
        }
    }
}

fn unreadable(error: &serde_json::Error) -> Str<'static> {
    format!("an action cannot be read: {error}").into()
}

fn empty<'a>(token: u64) -> Did<'a> {
    let session = Decimal(token);
    Did { session, action: None, breach: None, refused: None, stepped: None, cpu_us: None }
}

/// Appends a frame. Whether it could be one.
fn put(frames: &mut Vec<u8>, head: &FromWorker<'_>, body: &[u8]) -> bool {
    let mut text = abi::buffer();
    let is_put = serde_json::to_writer(&mut text, head).is_ok()
        && frame::append(frames, &[&text], body).is_ok();
    abi::recycle(text);
    is_put
}

/// The way to the host. Any thread may use it.
struct Outlet(Mutex<UnixStream>);

impl Outlet {
    fn say(&self, head: &FromWorker<'_>) {
        let mut frames = abi::buffer();
        put(&mut frames, head, &[]);
        self.send(&frames);
        abi::recycle(frames);
    }

    /// A host that is gone hears nothing, and the end of its socket is heard where it is read.
    fn send(&self, frames: &[u8]) {
        let _ = lock(&self.0).write_all(frames);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
