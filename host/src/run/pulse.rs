//! The run's pulse: looks now and then at what no finished sample tells of: time that passes, limits that move,
//! requests that are stuck.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use super::{
    backend::OpenBackend,
    dispatch::Shared,
    event::{BackendPulse, Event, Resting},
    recorder::Note,
};
use crate::route::change::Standing;

/// Between two looks.
const BEAT: Duration = Duration::from_millis(100);
/// Looks between two events that say how it stands.
const BEATS_A_PULSE: u32 = 10;
/// A sample that takes longer than this is named.
const SLOW: Duration = Duration::from_secs(3);

/// Looks after what passes unseen.
pub struct Pulse<'a> {
    backends: &'a [Arc<OpenBackend>],
    shared: Shared,
    stop: watch::Sender<bool>,
    interval: Interval,
    beats: u32,
}

impl<'a> Pulse<'a> {
    /// Of a run that begins now. `stop` is told when its time is over.
    pub fn new(
        backends: &'a [Arc<OpenBackend>],
        shared: &Shared,
        stop: &watch::Sender<bool>,
    ) -> Self {
        let mut interval = interval(BEAT);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { backends, shared: shared.clone(), stop: stop.clone(), interval, beats: 0 }
    }

    /// Waits for the time of the next look.
    pub async fn beat(&mut self) {
        self.interval.tick().await;
    }

    /// Looks.
    pub async fn look(&mut self) {
        if self.shared.spending.is_over(Instant::now()) {
            // What is in flight would go on for as long as it likes.
            self.stop.send_replace(true);
        }
        self.beats += 1;
        self.changes().await;
        if self.beats.is_multiple_of(BEATS_A_PULSE) {
            let pulse = self.pulse();
            // It is out of date when there is no room for it.
            let _ = self.shared.notes.try_send(Note::Event(pulse));
        }
    }

    /// Tells what the routers have changed since the last time, and where requests were to go that must not.
    pub async fn changes(&self) {
        for backend in self.backends {
            for change in backend.router.take_changes() {
                let limit = Event::Limit { backend: backend.id.clone(), change };
                let _ = self.shared.notes.send(Note::Event(limit)).await;
            }
            for origin in backend.replicas.iter().flat_map(|replica| replica.instance.strays()) {
                let (id, plugin) = (backend.id.clone(), backend.manifest.plugin.id.clone());
                let stray = Event::ForbiddenOrigin { backend: id, plugin, origin };
                let _ = self.shared.notes.send(Note::Event(stray)).await;
            }
        }
    }

    fn pulse(&self) -> Event {
        let states = self.backends.iter().map(|backend| standing(backend));
        let is_shown = |state: &BackendPulse| {
            state.in_flight > 0 || !state.ejected.is_empty() || !state.resting.is_empty()
        };
        let backends = states.filter(is_shown);
        let backends = backends.collect();
        let slowest = self.shared.board.slowest(Instant::now());
        let slow = u64::try_from(SLOW.as_millis()).unwrap_or(u64::MAX);
        Event::Pulse { backends, slowest: slowest.filter(|slowest| slowest.age_ms >= slow) }
    }
}

/// How it stands at a backend now.
pub fn standing(backend: &OpenBackend) -> BackendPulse {
    let replicas = backend.router.snapshot();
    let is_ejected = |state| matches!(state, Standing::Ejected | Standing::Probing);
    let rests = replicas.iter().filter(|replica| replica.state == Standing::Resting);
    let resting = rests.map(|one| Resting { replica: one.name.clone(), for_ms: one.rests_ms });
    let ejected = replicas.iter().filter(|replica| is_ejected(replica.state));
    BackendPulse {
        backend: backend.id.clone(),
        in_flight: replicas.iter().map(|replica| replica.in_flight).sum(),
        limit: replicas.iter().map(|replica| replica.limit).sum(),
        ejected: ejected.map(|replica| replica.name.clone()).collect(),
        resting: resting.collect(),
    }
}
