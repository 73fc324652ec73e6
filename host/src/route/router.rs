//! Where attempts wait until a replica may be asked. Each waits in the order in which it came; here alone is the
//! clock read and anybody woken, what is decided is decided in the `core` beside it.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use plugin_api::{ErrorKind, message::Limits};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    change::{Change, Patience, ReplicaState, Rest},
    core::{Core, Grant},
    line::Line,
};
use crate::config::{Concurrency, Route};

/// What a router is told of its backend.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// Its servers; at least one.
    pub replicas: Vec<ReplicaSettings>,
    /// Attempts in flight at each.
    pub concurrency: Concurrency,
    /// Which is asked.
    pub route: Route,
    /// Failures in a row after which one is left alone; at least 1.
    pub eject_after: u32,
    /// Most requests a minute, over all of them.
    pub rpm: Option<u32>,
    /// Most tokens a minute, over all of them.
    pub tpm: Option<u64>,
}

impl RouterSettings {
    /// Attempts in flight at a replica: as many as are configured at the heaviest, and at another its share of them. Else
    /// weights would mean nothing where every place is taken.
    pub(super) fn concurrency_of(&self, replica: &ReplicaSettings) -> Concurrency {
        let heaviest = self.replicas.iter().map(|other| other.weight).max().unwrap_or(1).max(1);
        let Concurrency { auto, floor, ceiling } = self.concurrency;
        let share = u64::from(ceiling) * u64::from(replica.weight.max(1));
        let ceiling = u32::try_from(share.div_ceil(heaviest.into())).unwrap_or(ceiling);
        let ceiling = ceiling.max(1);
        Concurrency { auto, floor: floor.min(ceiling), ceiling }
    }

    /// Attempts in flight over all replicas.
    fn ceiling(&self) -> usize {
        self.replicas.iter().map(|replica| self.concurrency_of(replica).ceiling as usize).sum()
    }
}

/// What it is told of a server.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// Its name in events.
    pub name: String,
    /// Its share against the others'; at least 1.
    pub weight: u32,
}

/// What an attempt is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// A hash of how its prompt begins.
    pub prefix: u64,
    /// Tokens that it will use, as estimated; 0 if nothing is known.
    pub tokens: u64,
    /// The replica that it should not go to if another is free: it just failed there, or is asked there already.
    pub avoid: Option<usize>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Tokens that it used, 0 if unknown; or how it failed.
    pub result: Result<u64, ErrorKind>,
    /// How long it took.
    pub took: Duration,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// What the server said of its limits.
    pub limits: Option<&'a Limits>,
}

/// The door to one backend's replicas.
#[derive(Debug)]
pub struct Router {
    began: Instant,
    ceiling: AtomicUsize,
    settings: RouterSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    core: Core,
    line: Line<Wanted, Grant>,
}

impl Router {
    /// All replicas are thought to be well.
    pub fn new(settings: RouterSettings) -> Arc<Self> {
        Self::with_random(settings, fastrand::Rng::new())
    }

    /// The same, with a generator that a test can seed.
    pub(super) fn with_random(settings: RouterSettings, random: fastrand::Rng) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            ceiling: AtomicUsize::new(settings.ceiling()),
            state: Mutex::new(State { core: Core::new(&settings, random), line: Line::default() }),
            settings,
        })
    }

    /// From now on nothing is begun, or everything is again. What is in flight goes on; what waits meanwhile loses none of
    /// its time.
    pub fn hold(&self, holds: bool) {
        self.change(|state, now| state.core.hold(now, holds));
    }

    /// Other bounds on the attempts in flight at a replica; what is in flight goes on.
    pub fn set_concurrency(&self, concurrency: Concurrency) {
        let settings = RouterSettings { concurrency, ..self.settings.clone() };
        let each: Vec<Concurrency> =
            settings.replicas.iter().map(|replica| settings.concurrency_of(replica)).collect();
        self.ceiling.store(settings.ceiling(), Ordering::Relaxed);
        self.change(|state, now| state.core.set_concurrency(now, &each));
    }

    /// Waits for leave to send an attempt: until limits, rates and health allow it and all who came before have
    /// been served. Dropping the future leaves no trace.
    pub async fn place(self: &Arc<Self>, wanted: Wanted) -> Place {
        loop {
            // No rest is longer than that.
            if let Ok(place) = self.place_within(wanted, Patience::ENDLESS).await {
                return place;
            }
        }
    }

    /// The same; but only for as long as no rest that all replicas ask for is longer than it has patience.
    ///
    /// # Errors
    /// Such a rest.
    pub async fn place_within(
        self: &Arc<Self>,
        wanted: Wanted,
        patience: Patience,
    ) -> Result<Place, Rest> {
        let grant = match self.at_once(&wanted) {
            Some(grant) => grant,
            None => Waiting { router: self, wanted, patience, ticket: None, sleep: None }.await?,
        };
        Ok(Place { router: Arc::clone(self), grant, is_open: true })
    }

    /// Most attempts that are in flight at once, as things are.
    pub fn ceiling(&self) -> usize {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// How the replicas stand, in their order.
    pub fn snapshot(&self) -> Vec<ReplicaState> {
        self.lock().core.snapshot(self.now())
    }

    /// For how long, since it began, attempts have waited because of a rate.
    pub fn paced(&self) -> Duration {
        self.lock().core.paced(self.now())
    }

    /// Attempts that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().line.len()
    }

    /// What has changed since this was last called, oldest first.
    pub fn take_changes(&self) -> Vec<Change> {
        self.lock().core.take_changes()
    }

    fn at_once(&self, wanted: &Wanted) -> Option<Grant> {
        let now = self.now();
        let mut state = self.lock();
        if !state.line.is_empty() {
            return None;
        }
        state.core.take(now, wanted).ok()
    }

    /// Changes the state, and then serves who can be served by it.
    fn change(&self, change: impl FnOnce(&mut State, Duration)) {
        let now = self.now();
        let mut wake = Vec::new();
        let mut state = self.lock();
        change(&mut state, now);
        if !state.line.is_empty() {
            let until = state.serve(now, &mut wake);
            state.line.nudge(&mut wake, until);
        }
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn serve(&mut self, now: Duration, wake: &mut Vec<Waker>) -> Option<Duration> {
        let Self { core, line } = self;
        line.serve(wake, |wanted| core.take(now, wanted))
    }
}

/// Leave to send one attempt to one replica. Dropped without [`Place::done`] it was cancelled.
#[derive(Debug)]
pub struct Place {
    router: Arc<Router>,
    grant: Grant,
    is_open: bool,
}

impl Place {
    /// Which replica, by its position in the settings.
    pub fn replica(&self) -> usize {
        self.grant.replica
    }

    /// Whether the attempt tries if an ejected replica is well again. It is likely to fail, and not by any fault
    /// of its sample.
    pub fn is_probe(&self) -> bool {
        self.grant.is_probe
    }

    /// How many attempts, of whichever samples, had failed at the replica since its last answer when this one began.
    pub fn failed_before(&self) -> u32 {
        self.grant.failed_before
    }

    /// The attempt ended so.
    pub fn done(mut self, attempt: &Attempt<'_>) {
        self.is_open = false;
        let grant = self.grant;
        self.router.change(|state, now| state.core.finish(now, grant, Some(attempt)));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_open {
            let grant = self.grant;
            self.router.change(|state, now| state.core.finish(now, grant, None));
        }
    }
}

/// Stands in line.
struct Waiting<'r> {
    router: &'r Router,
    wanted: Wanted,
    patience: Patience,
    /// None before the first poll, and once it was served.
    ticket: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// What keeps someone in line.
enum Kept {
    /// It is to look again then, if that is this one's part, or when it is woken.
    Until(Option<Duration>),
    /// A rest that is longer than it waits.
    TooLong(Rest),
}

impl Waiting<'_> {
    /// The grant, or why there is none. Only who is first in line looks at rests: who gives up makes the next one first.
    fn look(&mut self, waker: &Waker) -> Result<Grant, Kept> {
        let now = self.router.now();
        let mut wake = Vec::new();
        let mut state = self.router.lock();
        let ticket = *self.ticket.get_or_insert_with(|| state.line.join(self.wanted));
        // The first in line comes when its timer has gone off; the others only ask whether they were served.
        let until = state.serve(now, &mut wake);
        let outcome = match state.line.collect(ticket) {
            Some(grant) => {
                self.ticket = None;
                state.line.nudge(&mut wake, until);
                Ok(grant)
            }
            None if state.line.waits(ticket, waker, until) => match state.core.rest(now) {
                Some(rest) if self.patience.ends_at(&rest) => Err(Kept::TooLong(rest)),
                _ => Err(Kept::Until(until)),
            },
            None => {
                state.line.nudge(&mut wake, until);
                Err(Kept::Until(None))
            }
        };
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        outcome
    }
}

impl Future for Waiting<'_> {
    type Output = Result<Grant, Rest>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let until = match this.look(context.waker()) {
                Ok(grant) => return Poll::Ready(Ok(grant)),
                Err(Kept::TooLong(rest)) => return Poll::Ready(Err(rest)),
                Err(Kept::Until(until)) => until,
            };
            // A time beyond what the clock can say is never.
            let Some(until) = until.and_then(|until| this.router.began.checked_add(until)) else {
                this.sleep = None;
                return Poll::Pending;
            };
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.sleep = None;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        self.router.change(|state, now| match state.line.collect(ticket) {
            Some(grant) => state.core.undo(now, grant),
            None => state.line.leave(ticket),
        });
    }
}
