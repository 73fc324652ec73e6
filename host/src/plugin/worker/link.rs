//! The host's side of one worker process: frames to it and from it, and the sessions that are in it.

use std::{
    collections::HashMap,
    io,
    process::ExitStatus,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use plugin_api::{
    Error, ErrorKind,
    abi::{Buf, buffer},
    message,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::timeout,
};

use super::{
    death::Death,
    frame::{self, FrameError, Incoming},
    message::{Did, FromWorker},
    process::{Process, Started},
    socket::Socket,
    watch::{Served, overdue},
};
use crate::{
    launch::supervisor::in_words,
    plugin::{
        action::{Pushed, protocol},
        host_table,
        load::Status,
        wake,
    },
};

/// How long a worker may take to end once its socket is closed.
const GRACE: Duration = Duration::from_secs(2);
/// Most bytes of what one step pushes.
const MAX_STEP: usize = 2 * frame::MAX_BODY;

/// What a step came to.
pub(super) type Stepped = Result<Step, Error>;
/// What a worker said of the backend as a whole.
pub(super) type Said = Result<State, Failure>;

/// What a step did.
pub(super) struct Step {
    pub(super) pushed: Vec<Pushed>,
    pub(super) status: Status,
    /// Microseconds of CPU time, if that is measured.
    pub(super) cpu_us: Option<u64>,
}

/// How far a worker is with its backend.
pub(super) enum State {
    /// The library is loaded; what confines the worker.
    Loaded(Vec<String>),
    /// The backend is open.
    Opened,
    /// It is closed; the threads that it left.
    Closed(usize),
    /// The worker has ended because nothing more was to come.
    Ended,
}

/// Why a worker does not begin.
#[derive(Debug)]
pub(super) enum Failure {
    /// The plugin's, or its library's, own words, and whether it panicked.
    Said { message: String, panicked: bool },
    /// The worker died.
    Died(Error),
}

/// Told of a worker's death before its sessions are; gives the words that they get.
pub(super) type OnDeath = Box<dyn FnOnce(String) -> Error + Send>;

/// A worker process. Dropping it closes the way to it, and it ends.
pub(super) struct Link {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// The plugin, in messages.
    name: String,
    socket: Socket,
    process: Process,
    sessions: Mutex<HashMap<u64, Slot>>,
    /// Who waits for the next answer to `load`, `open` or `close`.
    asking: Mutex<Option<oneshot::Sender<Said>>>,
    served: Served,
    /// Set when the host wants its end.
    is_closing: AtomicBool,
    /// Why the host ended it.
    why: Mutex<Option<String>>,
    death: OnceLock<Death>,
    died: Notify,
    runtime: Handle,
}

/// A session that the worker has.
#[derive(Default)]
struct Slot {
    pushed: Vec<Pushed>,
    bytes: usize,
    step: Option<oneshot::Sender<Stepped>>,
    /// The number of its last step.
    number: u64,
    /// Whether its step goes on though nobody wants the answer.
    abandoned: bool,
}

impl Link {
    /// Takes a process over. `on_death` is not told of an end that the host wanted.
    pub(super) fn new(name: &str, started: Started, on_death: OnDeath) -> io::Result<Self> {
        let Started { socket, process, end } = started;
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            socket: Socket::new(socket)?,
            process,
            sessions: Mutex::default(),
            asking: Mutex::default(),
            served: Served::default(),
            is_closing: AtomicBool::new(false),
            why: Mutex::default(),
            death: OnceLock::new(),
            died: Notify::new(),
            runtime: Handle::current(),
        });
        let attended = Arc::clone(&inner);
        tokio::spawn(async move { attended.attend(end, on_death).await });
        Ok(Self { inner })
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.inner.is_closing.store(true, Ordering::Release);
        self.inner.socket.close();
    }
}

impl Inner {
    /// Why it is dead, if it is.
    pub(super) fn death(&self) -> Option<&Death> {
        self.death.get()
    }

    /// Waits until it is dead, and says why.
    pub(super) async fn dies(&self) -> Error {
        let died = self.died.notified();
        tokio::pin!(died);
        // From here on the notice is not missed.
        died.as_mut().enable();
        if self.death.get().is_none() {
            died.await;
        }
        let death = self.death.get().map(Death::tell);
        death.unwrap_or_else(|| protocol("the worker is lost"))
    }

    /// Ends it because of something that it did, in words that go on after its name.
    pub(super) fn kill(&self, why: &str) {
        lock(&self.why).get_or_insert_with(|| why.to_owned());
        self.process.kill();
    }

    /// What this runs on, for what is to happen later.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Sends a frame that is about the backend as a whole, and waits for the answer.
    pub(super) async fn ask(&self, head: &[u8], body: &[u8]) -> Said {
        let answer = self.expect();
        self.socket.send(&[head], body).map_err(not_sent)?;
        self.said(answer).await
    }

    /// Sends the last frame of all, and waits for the answer, or for the worker to end as one does that is told no more.
    pub(super) async fn ask_last(&self, head: &[u8]) -> Said {
        let answer = self.expect();
        self.socket.send_last(head).map_err(not_sent)?;
        match self.said(answer).await {
            Err(Failure::Died(error)) if error.kind == ErrorKind::Cancelled => Ok(State::Ended),
            said => said,
        }
    }

    /// Where the next answer comes that is about the backend as a whole.
    fn expect(&self) -> oneshot::Receiver<Said> {
        let (told, answer) = oneshot::channel();
        *lock(&self.asking) = Some(told);
        answer
    }

    /// Waits for it.
    async fn said(&self, answer: oneshot::Receiver<Said>) -> Said {
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Died(self.dies().await)),
            },
            error = self.dies() => Err(Failure::Died(error)),
        }
    }

    /// Whether a step of any session goes on.
    pub(super) fn is_busy(&self) -> bool {
        lock(&self.sessions).values().any(|slot| slot.step.is_some() || slot.abandoned)
    }

    /// Sends the frame of a step; the answer comes when the step is done, or the worker is dead. Beside it how many
    /// steps were sent, this one included.
    pub(super) fn step(
        &self,
        token: u64,
        head: &[&[u8]],
        body: &[u8],
    ) -> Result<(oneshot::Receiver<Stepped>, u64), Error> {
        let (told, answer) = oneshot::channel();
        {
            let mut sessions = lock(&self.sessions);
            // Looked at under the lock, under which sessions are failed.
            if let Some(death) = self.death.get() {
                return Err(death.tell());
            }
            let slot = sessions.entry(token).or_default();
            slot.step = Some(told);
            slot.number = self.served.number();
        }
        let sent = self.socket.send(head, body);
        sent.map_err(|error| protocol(error.to_string()))?;
        Ok((answer, self.served.sent()))
    }

    /// Ends the worker once a step of this session, of a plugin that only translates, is overdue. Returns when it is, or
    /// no longer due; `sent` came with it.
    pub(super) async fn watch(&self, token: u64, sent: u64, limit: Duration) {
        let overdue = overdue(limit, sent, &self.served, || self.goes_on(token)).await;
        if let Some(overdue) = overdue {
            self.kill(&overdue.to_string());
        }
    }

    /// A session ends. Whether a step of it goes on.
    pub(super) fn end(&self, token: u64) -> bool {
        let goes_on = {
            let mut sessions = lock(&self.sessions);
            match sessions.get_mut(&token) {
                Some(slot) if slot.step.is_some() => {
                    slot.step = None;
                    slot.abandoned = true;
                    slot.pushed = Vec::new();
                    true
                }
                _ => {
                    sessions.remove(&token);
                    false
                }
            }
        };
        if self.death.get().is_none() {
            let head = format!(r#"{{"end":{{"session":"{token}"}}}}"#);
            // It is short enough for a frame.
            let _ = self.socket.send(&[head.as_bytes()], &[]);
        }
        goes_on
    }

    /// Whether a step of a session goes on, which may have ended.
    pub(super) fn goes_on(&self, token: u64) -> bool {
        let sessions = lock(&self.sessions);
        sessions.get(&token).is_some_and(|slot| slot.step.is_some() || slot.abandoned)
    }

    /// Hears the worker until it ends, and says so to all who wait for it.
    async fn attend(&self, mut end: oneshot::Receiver<ExitStatus>, on_death: OnDeath) {
        let breach = tokio::select! {
            breach = self.read() => breach,
            () = self.socket.send_on() => None,
        };
        if let Some(breach) = breach {
            self.kill(&format!("sent what is no message ({breach}), and was ended"));
        }
        let status = match timeout(GRACE, &mut end).await {
            Ok(status) => status.ok(),
            Err(_) => {
                self.kill("closed its socket and went on, and was ended");
                end.await.ok()
            }
        };
        let is_well = lock(&self.why).is_none() && status.is_some_and(|status| status.success());
        if self.is_closing.load(Ordering::Acquire) || is_well && self.socket.is_last() {
            return self.fail(&Error::new(ErrorKind::Cancelled, "the backend is closed"));
        }
        let how = match (lock(&self.why).take(), status) {
            (Some(why), _) => why,
            (None, Some(status)) => format!("ended with {}", in_words(status)),
            (None, None) => "is lost".to_owned(),
        };
        self.fail(&on_death(how));
    }

    fn fail(&self, error: &Error) {
        let mut sessions = lock(&self.sessions);
        let death = self.death.get_or_init(|| Death::new(error.clone()));
        for (_, slot) in sessions.drain() {
            // Whoever waited for an abandoned step was told of its end.
            if slot.abandoned {
                death.tell();
            }
            if let Some(step) = slot.step {
                let _ = step.send(Err(death.tell()));
            }
        }
        drop(sessions);
        self.died.notify_waiters();
    }

    /// Takes frames until the end, or until one is none.
    async fn read(&self) -> Option<String> {
        let mut incoming = Incoming::default();
        loop {
            let bytes = self.socket.read(incoming.room()).await?;
            incoming.came(bytes);
            loop {
                match incoming.frame() {
                    Ok(Some(frame)) => {
                        if let Err(breach) = self.take(frame.head, frame.body) {
                            return Some(breach);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        // For a script that is its standard output, for a library a socket.
                        let hint = incoming.text().map(|text| {
                            format!(
                                "; it begins with `{text}`: something writes where only frames go"
                            )
                        });
                        return Some(format!("{error}{}", hint.unwrap_or_default()));
                    }
                }
            }
        }
    }

    fn take(&self, head: &[u8], body: &[u8]) -> Result<(), String> {
        match message::read(head).map_err(|error| error.to_string())? {
            FromWorker::Did(did) => return self.did(did, body),
            FromWorker::Wake(session) => self.wake(session.session.0),
            FromWorker::Log(log) => {
                let text = format!("{}: {}", self.name, &*log.text);
                host_table::log(Some(&self.name), log.level, text.as_bytes());
            }
            FromWorker::Loaded(confined) => self.answered_to(Ok(State::Loaded(confined.by))),
            FromWorker::Opened {} => self.answered_to(Ok(State::Opened)),
            FromWorker::Closed(closed) => self.answered_to(Ok(State::Closed(closed.threads))),
            FromWorker::Failed(failed) => {
                let (message, panicked) = (failed.message.into_owned(), failed.panicked);
                self.answered_to(Err(Failure::Said { message, panicked }));
            }
        }
        Ok(())
    }

    /// Wakes a session, if it is one of this worker's: it has no say in those of others.
    fn wake(&self, token: u64) {
        if lock(&self.sessions).contains_key(&token) {
            wake::wake(token);
        }
    }

    fn answered_to(&self, said: Said) {
        if let Some(told) = lock(&self.asking).take() {
            let _ = told.send(said);
        }
    }

    fn did(&self, did: Did<'_>, body: &[u8]) -> Result<(), String> {
        let pushed = match (did.action, did.breach) {
            (Some(action), _) => Some(Pushed::read(action.get().as_bytes(), owned(body))),
            (None, Some(breach)) => Some(Pushed::Breach(breach.into_owned())),
            (None, None) => None,
        };
        let mut sessions = lock(&self.sessions);
        // What comes late for a session that has ended is no fault.
        let Some(slot) = sessions.get_mut(&did.session.0) else { return Ok(()) };
        if slot.step.is_none() && !slot.abandoned {
            return Err("a session did something without a step".to_owned());
        }
        if !slot.abandoned
            && let Some(pushed) = pushed
        {
            slot.bytes += size_of::<Pushed>() + body.len();
            if slot.bytes > MAX_STEP {
                return Err(format!("actions of more than {MAX_STEP} bytes in one step"));
            }
            slot.pushed.push(pushed);
        }
        let stepped = match (did.stepped, did.refused) {
            (Some(status), _) => Ok(Step {
                pushed: std::mem::take(&mut slot.pushed),
                status: status.into(),
                cpu_us: did.cpu_us,
            }),
            (None, Some(refused)) => Err(Error::new(refused.kind, refused.message.into_owned())),
            (None, None) => return Ok(()),
        };
        slot.bytes = 0;
        let (step, number) = (slot.step.take(), slot.number);
        if slot.abandoned {
            sessions.remove(&did.session.0);
        }
        drop(sessions);
        self.served.answer(number);
        if let Some(step) = step {
            let _ = step.send(stepped);
        }
        Ok(())
    }
}

fn not_sent(error: FrameError) -> Failure {
    Failure::Died(protocol(error.to_string()))
}

fn owned(body: &[u8]) -> Buf {
    if body.is_empty() {
        return Buf::empty();
    }
    let mut bytes = buffer();
    bytes.extend_from_slice(body);
    Buf::from(bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
