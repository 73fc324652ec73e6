//! What a mock was asked and how much of it at once: counted for whoever tests a client, and bounded where the mock
//! stands for a server of limited capacity.
//!
//! Knows requests as numbers and times, and nothing of what is in them. Times are counted from the mock's start.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use super::{
    pace::{Allowance, Bucket},
    settings::Capacity,
};

/// Format of [`Stats`].
const FORMAT: u32 = 1;

/// What a mock was asked so far. Requests are those with a body; what only probes has no part in any other count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    /// Format of this object.
    format: u32,
    /// Requests that came.
    requests: u64,
    /// Those that were answered with success and to the end, as far as the mock knows.
    answered: u64,
    /// Those that were hit by a fault or refused for lack of capacity, by its kind.
    faults: BTreeMap<&'static str, u64>,
    /// Requests whose answer is not sent yet.
    in_flight: u64,
    /// Most of these at once.
    most_in_flight: u64,
    /// Most requests that came within a second.
    most_in_a_second: u64,
    /// When the first request came, in milliseconds from the start.
    first_ms: Option<u64>,
    /// When the last one came.
    last_ms: Option<u64>,
    /// Requests without a body.
    probes: u64,
    /// Requests that were refused for their key, with a body or without. They have no part in any other count.
    refused: u64,
}

/// The requests of a mock.
#[derive(Debug)]
pub(crate) struct Traffic {
    max_in_flight: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stats: Stats,
    /// Requests that are worked on: in flight, and not refused for lack of capacity.
    working: u32,
    /// When the requests of the last second came, in microseconds.
    recent: VecDeque<u64>,
    bucket: Option<Bucket>,
}

/// A request that has come in.
#[derive(Debug)]
pub(crate) struct Entered {
    /// How many came before it.
    pub(crate) number: u64,
    /// What is left of the rate, if there is one.
    pub(crate) allowance: Option<Allowance>,
    /// Why the server cannot take it, if it cannot.
    pub(crate) refused: Option<Refused>,
    /// Its place among those in flight, until this is dropped.
    pub(crate) place: Place,
}

/// Why a server takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It works on as many as it can.
    Full,
    /// They come too fast.
    TooFast {
        /// Until one more is taken.
        wait: Duration,
    },
}

/// A place among the requests in flight.
#[derive(Debug)]
pub(crate) struct Place {
    traffic: Arc<Traffic>,
    works: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.traffic.state();
        state.stats.in_flight = state.stats.in_flight.saturating_sub(1);
        if self.works {
            state.working = state.working.saturating_sub(1);
        }
    }
}

impl Traffic {
    /// No requests yet.
    pub(crate) fn new(capacity: &Capacity) -> Self {
        let bucket = capacity
            .rpm
            .map(|rpm| Bucket::new(rpm, capacity.rpm_burst.unwrap_or(rpm.div_ceil(60))));
        let stats = Stats { format: FORMAT, ..Stats::default() };
        let state = State { stats, working: 0, recent: VecDeque::new(), bucket };
        Self { max_in_flight: capacity.max_in_flight, state: Mutex::new(state) }
    }

    /// A request comes.
    pub(crate) fn enter(self: &Arc<Self>, now: Duration) -> Entered {
        let mut state = self.state();
        let number = state.stats.requests;
        state.arrive(now);
        let (allowance, too_fast) = match state.bucket.as_mut().map(|bucket| bucket.take(now)) {
            None => (None, None),
            Some(Ok(allowance)) => (Some(allowance), None),
            Some(Err((wait, allowance))) => (Some(allowance), Some(Refused::TooFast { wait })),
        };
        let full = self.max_in_flight.is_some_and(|most| state.working >= most);
        let refused = too_fast.or(full.then_some(Refused::Full));
        let works = refused.is_none();
        state.working += u32::from(works);
        drop(state);
        let place = Place { traffic: Arc::clone(self), works };
        Entered { number, allowance, refused, place }
    }

    /// A request without a body comes.
    pub(crate) fn probed(&self) {
        self.state().stats.probes += 1;
    }

    /// A request comes whose key is refused.
    pub(crate) fn refused(&self) {
        self.state().stats.refused += 1;
    }

    /// A request is answered with success.
    pub(crate) fn answered(&self) {
        self.state().stats.answered += 1;
    }

    /// A request fails on cue.
    pub(crate) fn failed(&self, kind: &'static str) {
        *self.state().stats.faults.entry(kind).or_default() += 1;
    }

    /// What was counted so far.
    pub(crate) fn stats(&self) -> Stats {
        self.state().stats.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts are whole after each step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn arrive(&mut self, now: Duration) {
        const SECOND_US: u64 = 1_000_000;
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        while self.recent.front().is_some_and(|then| now_us - then >= SECOND_US) {
            self.recent.pop_front();
        }
        self.recent.push_back(now_us);
        let stats = &mut self.stats;
        stats.requests += 1;
        stats.in_flight += 1;
        stats.most_in_flight = stats.most_in_flight.max(stats.in_flight);
        stats.most_in_a_second = stats.most_in_a_second.max(self.recent.len() as u64);
        stats.first_ms = stats.first_ms.or(Some(now_us / 1000));
        stats.last_ms = Some(now_us / 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn traffic(capacity: Capacity) -> Arc<Traffic> {
        Arc::new(Traffic::new(&capacity))
    }

    #[test]
    fn what_comes_and_goes_is_counted() {
        let traffic = traffic(Capacity::default());
        let first = traffic.enter(ms(100));
        let second = traffic.enter(ms(200));
        assert_eq!((first.number, second.number), (0, 1));
        drop(first);
        let third = traffic.enter(ms(1150));
        assert!(third.refused.is_none() && third.allowance.is_none());
        drop((second, third.place));
        traffic.answered();
        traffic.failed("dropped");
        traffic.probed();
        traffic.refused();
        let expected = Stats {
            format: FORMAT,
            requests: 3,
            answered: 1,
            faults: BTreeMap::from([("dropped", 1)]),
            in_flight: 0,
            most_in_flight: 2,
            most_in_a_second: 2,
            first_ms: Some(100),
            last_ms: Some(1150),
            probes: 1,
            refused: 1,
        };
        assert_eq!(traffic.stats(), expected);
    }

    #[test]
    fn what_is_refused_takes_no_ones_place() {
        let traffic = traffic(Capacity { max_in_flight: Some(2), ..Capacity::default() });
        let mut held: Vec<Entered> = (0..2).map(|_| traffic.enter(ms(0))).collect();
        assert!(held.iter().all(|entered| entered.refused.is_none()));
        let refused: Vec<Entered> = (0..3).map(|_| traffic.enter(ms(0))).collect();
        assert!(refused.iter().all(|entered| entered.refused == Some(Refused::Full)));
        held.pop();
        assert_eq!(traffic.enter(ms(0)).refused, None);
        drop(refused);
        assert_eq!(traffic.enter(ms(0)).refused, None);
        held.push(traffic.enter(ms(0)));
        assert_eq!(traffic.enter(ms(0)).refused, Some(Refused::Full));
        assert_eq!(traffic.stats().most_in_flight, 5);
    }

    #[test]
    fn what_comes_too_fast_is_told_when_to_come_again() {
        let traffic = traffic(Capacity { rpm: Some(120), ..Capacity::default() });
        let of = |at| {
            let entered = traffic.enter(ms(at));
            (entered.refused, entered.allowance.unwrap().remaining)
        };
        assert_eq!([of(0), of(0)], [(None, 1), (None, 0)]);
        assert_eq!(of(0), (Some(Refused::TooFast { wait: ms(500) }), 0));
        assert_eq!(of(500), (None, 0));
    }
}
