//! Keeps a backend busy: workers that take samples as they come, as many as requests may be in flight.
//!
//! A worker whose sample waits for its next attempt does not count as one: another takes its place meanwhile, up to
//! a bound, so that a few samples in trouble do not hold up the others.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use plugin_api::Error;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    backend::OpenBackend,
    budget::{Blind, Used},
    event::Event,
    executor::{Desk, Finished, execute},
    fatal::Fatal,
    feed::{Fed, FeedError},
    grade::lacks_metric,
    in_flight::Board,
    recorder::Note,
    source::{Last, Source},
    spending::Spending,
};
use crate::{route::router::Router, task::resolve::TaskId};

/// Workers for each request that may be in flight: as many samples may wait for their next attempt, less one share.
const SHARES: usize = 4;

/// Why a backend's work ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything was asked.
    Complete,
    /// The run was stopped.
    Stopped,
    /// A budget is spent.
    Spent,
    /// No sample can succeed: why.
    Fatal(String),
    /// Its plugin has died too often: how.
    Broken(String),
    /// The samples ended too early.
    Failed(FeedError),
    /// A part of the host failed; what it was at work on is in no journal.
    Lost(String),
}

/// What all backends of a run share.
#[derive(Clone)]
pub struct Shared {
    /// Where finished samples go.
    pub notes: mpsc::Sender<Note>,
    /// What is in flight.
    pub board: Arc<Board>,
    /// What may be spent.
    pub spending: Arc<Spending>,
}

/// The workers of a backend.
struct Crew {
    backend: Arc<OpenBackend>,
    source: Source,
    shared: Shared,
    fatal: Mutex<Fatal>,
    /// Tasks of which a sample is scored.
    scored: Mutex<HashSet<TaskId>>,
    /// Why no sample can succeed.
    doomed: Mutex<Option<Ended>>,
    /// Told when another worker is wanted, and when there is no sense in going on.
    attention: Notify,
    /// Says how many requests may be in flight, which the user may change.
    router: Arc<Router>,
    workers: AtomicUsize,
    resting: AtomicUsize,
    /// Whether a sample was taken and not asked to its end, since the budget is spent.
    unasked: AtomicBool,
    /// What its answers do not tell, though the budget is about it.
    blind: Mutex<Blind>,
}

/// Asks everything that `work` gives. On a stop, what is in flight is dropped: its sessions end, and it is not
/// recorded. Once a budget is spent nothing more is begun.
pub async fn dispatch(
    backend: Arc<OpenBackend>,
    work: mpsc::Receiver<Fed>,
    shared: Shared,
    mut stop: watch::Receiver<bool>,
) -> Ended {
    let allowed = shared.spending.allowed();
    let crew = Arc::new(Crew {
        backend: Arc::clone(&backend),
        source: Source::new(work),
        shared,
        fatal: Mutex::default(),
        scored: Mutex::default(),
        doomed: Mutex::default(),
        attention: Notify::new(),
        router: Arc::clone(&backend.router),
        workers: AtomicUsize::new(0),
        resting: AtomicUsize::new(0),
        unasked: AtomicBool::new(false),
        blind: Mutex::new(Blind::new(allowed)),
    });
    let mut workers = JoinSet::new();
    crew.hire(&mut workers);
    while !workers.is_empty() {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {
                workers.shutdown().await;
                return Ended::Stopped;
            }
            Some(ended) = workers.join_next() => if let Err(error) = ended {
                return Ended::Lost(format!("a sample could not be asked: {error}"));
            },
            () = crew.attention.notified() => {
                let doomed = lock(&crew.doomed).take();
                if let Some(why) = doomed {
                    workers.shutdown().await;
                    return why;
                }
                crew.hire(&mut workers);
            }
        }
    }
    if let Some(why) = lock(&crew.doomed).take() {
        return why;
    }
    if crew.unasked.load(Ordering::Relaxed) {
        return Ended::Spent;
    }
    match crew.source.end().await {
        Last::End => Ended::Complete,
        Last::Failed(error) => Ended::Failed(error),
        Last::More => Ended::Spent,
        Last::Lost => Ended::Lost("the reader of samples failed".to_owned()),
    }
}

impl Crew {
    /// Starts workers while more are wanted: as many again as there are, so that a short run does not start all.
    fn hire(self: &Arc<Self>, workers: &mut JoinSet<()>) {
        for _ in 0..workers.len().clamp(1, 64) {
            if !self.wants_more() {
                return;
            }
            self.workers.fetch_add(1, Ordering::Relaxed);
            workers.spawn(Arc::clone(self).work());
        }
    }

    fn wants_more(&self) -> bool {
        let workers = self.workers.load(Ordering::Relaxed);
        let busy = workers.saturating_sub(self.resting.load(Ordering::Relaxed));
        let places = self.places();
        busy < places && workers < places.saturating_mul(SHARES)
    }

    fn places(&self) -> usize {
        self.router.ceiling().max(1)
    }

    /// Takes a worker off the count if there are more than places. Each asks for itself, so that never too many leave.
    fn may_leave(&self) -> bool {
        let most = self.places().saturating_add(self.resting.load(Ordering::Relaxed));
        let fewer = |workers: usize| (workers > most).then(|| workers - 1);
        self.workers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }

    async fn work(self: Arc<Self>) {
        let slot = self.shared.board.enter();
        let Shared { notes, spending, .. } = &self.shared;
        let desk = Desk { slot: &slot, spending, notes, rest: &|rests| self.rest(rests) };
        while let Some(work) = self.source.next().await {
            if self.wants_more() {
                self.attention.notify_one();
            }
            slot.begin(&work);
            let finished = if spending.is_spent() { None } else { execute(work, &desk).await };
            slot.end();
            let Some(finished) = finished else {
                self.unasked.store(true, Ordering::Relaxed);
                self.source.close();
                continue;
            };
            if let Some(warning) = self.watch(&finished) {
                let _ = notes.send(Note::Event(warning)).await;
            }
            let _ = notes.send(Note::Finished(Box::new(finished))).await;
            if self.may_leave() {
                return;
            }
        }
        self.workers.fetch_sub(1, Ordering::Relaxed);
    }

    /// A worker's sample begins, or ends, to wait for its next attempt.
    fn rest(&self, rests: bool) {
        if rests {
            self.resting.fetch_add(1, Ordering::Relaxed);
            if self.wants_more() {
                self.attention.notify_one();
            }
        } else {
            self.resting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Looks at what came of a sample: whether there is sense in going on, and money for it. Returns what the user must
    /// be told.
    fn watch(&self, finished: &Finished) -> Option<Event> {
        let Finished { result, failed_at_own, usage, cached, .. } = finished;
        // Another backend's answer says nothing of this one, and neither does the cache's.
        let at_own = match failed_at_own {
            Some(error) => Some(Err(error)),
            None => (!cached).then(|| result.as_ref().map(drop)),
        };
        let doomed = at_own.and_then(|at_own| self.dooms(at_own));
        if let Some(why) = doomed.or_else(|| self.lacks(finished)) {
            lock(&self.doomed).get_or_insert(why);
            self.source.close();
            self.attention.notify_one();
        }
        let scored = result.as_ref().is_ok_and(|graded| graded.outcome.is_ok());
        let used = Used::of(usage, *cached, scored);
        if self.shared.spending.add(Instant::now(), &used) {
            self.source.close();
        }
        if *cached || result.is_err() || !finished.is_of_its_own() {
            return None;
        }
        let message = lock(&self.blind).answered(usage)?;
        Some(Event::Warning { backend: Some(self.backend.id.clone()), message: message.to_owned() })
    }

    /// Whether a metric of a task cannot be had here, as its first sample that is scored shows.
    fn lacks(&self, finished: &Finished) -> Option<Ended> {
        let task = &finished.work.unit.task;
        let graded = finished.result.as_ref().ok().filter(|_| finished.is_of_its_own())?;
        let mut scored = lock(&self.scored);
        if graded.outcome.is_err() || scored.contains(&task.id) {
            return None;
        }
        scored.insert(task.id.clone());
        let lacking = lacks_metric(task, graded)?;
        Some(Ended::Fatal(format!("backend `{}`: {}", self.backend.id, lacking.message)))
    }

    /// Whether there is no sense in asking another sample, after this one.
    fn dooms(&self, at_own: Result<(), &Error>) -> Option<Ended> {
        let id = &self.backend.id;
        if at_own.is_err()
            && let Some(why) = self.backend.broken()
        {
            return Some(Ended::Broken(format!("backend `{id}`: {why}")));
        }
        lock(&self.fatal).add(id, at_own).map(Ended::Fatal)
    }
}

/// Waits for the stop; for ever, if the run ends without one.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.map(drop).is_err() {
        std::future::pending::<()>().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
