//! What a router decides, as a state machine: who may be asked now, and what an attempt's end changes. Reads no
//! clock and wakes nobody; every time is one since the router began.

use std::time::Duration;

use plugin_api::ErrorKind;

use crate::config::Concurrency;

use super::{
    change::{Change, Changes, LONG_REST, Pause, ReplicaState, Rest, Standing, What, milliseconds},
    health::{Admission, Health, Turn, sign},
    limiter::{Ended, Limiter, Move, Reason},
    policy::{Load, Policy},
    rate::{InFlight, Learnt, Pace, Paced},
    router::{Attempt, ReplicaSettings, RouterSettings, Wanted},
};

/// Share of recent attempts that a replica must have refused before its `Retry-After` is taken for all: a server
/// that refuses some requests at random names a time as well, but means only these.
const MOST: f64 = 0.5;
/// With other replicas to ask, a server's wish for rest is taken for no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// First rest that is taken unasked, where even the fewest requests are refused.
const REST: Duration = Duration::from_millis(100);
/// Longest such rest.
const REST_CAP: Duration = Duration::from_secs(5);

/// All replicas of a backend.
#[derive(Debug)]
pub(super) struct Core {
    replicas: Vec<Replica>,
    /// What a policy sees of them, in the same order.
    loads: Vec<Load>,
    policy: Policy,
    pace: Pace,
    paced: Paced,
    held: Held,
    /// Number of the next attempt.
    next: u64,
    changes: Changes,
}

#[derive(Debug)]
struct Replica {
    name: String,
    limiter: Limiter,
    health: Health,
    learnt: Learnt,
    /// Nothing is sent before.
    rests_until: Duration,
    /// What it said to that.
    rests_for: ErrorKind,
    /// Until when a rest was noted as a change.
    rests_noted: Duration,
    /// Rests in a row that were taken unasked, and the first attempt after the last of them.
    rests: u32,
    rested: u64,
    /// Tokens of what is in flight, as estimated.
    tokens: u64,
}

/// The time in which the user let nothing begin.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    total: Duration,
    /// Since when it is so now.
    since: Option<Duration>,
}

impl Held {
    fn until(&self, now: Duration) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

/// Leave to send one attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) replica: usize,
    pub(super) number: u64,
    pub(super) is_probe: bool,
    /// Attempts that had failed at the replica since its last answer when it began.
    pub(super) failed_before: u32,
    /// Attempts in flight at the replica when it began, itself included.
    used: u32,
    tokens: u64,
}

impl Core {
    pub(super) fn new(settings: &RouterSettings, random: fastrand::Rng) -> Self {
        let replica = |one: &ReplicaSettings| Replica {
            name: one.name.clone(),
            limiter: Limiter::new(settings.concurrency_of(one)),
            health: Health::new(settings.eject_after),
            learnt: Learnt::default(),
            rests_until: Duration::ZERO,
            rests_for: ErrorKind::RateLimited,
            rests_noted: Duration::ZERO,
            rests: 0,
            rested: 0,
            tokens: 0,
        };
        let load = |name: &str, weight: u32| Load {
            weight: weight.max(1),
            in_flight: 0,
            identity: identity(name),
            free: false,
        };
        let replicas = &settings.replicas;
        Self {
            replicas: replicas.iter().map(replica).collect(),
            loads: replicas.iter().map(|one| load(&one.name, one.weight)).collect(),
            policy: Policy::new(settings.route, replicas.len(), random),
            pace: Pace::new(settings.rpm, settings.tpm),
            paced: Paced::default(),
            held: Held::default(),
            next: 0,
            changes: Changes::default(),
        }
    }

    /// Leave to send an attempt now, also as a probe to a replica that is due one; else when it is worth asking again,
    /// if only time stands against it.
    pub(super) fn take(
        &mut self,
        now: Duration,
        wanted: &Wanted,
    ) -> Result<Grant, Option<Duration>> {
        if self.held.since.is_some() {
            return Err(None);
        }
        let ready = self.pace.ready_at(wanted.tokens);
        if ready > now {
            self.paced.add(now, ready);
            return Err(Some(ready));
        }
        let well = self.well();
        let mut later = None;
        let mut learnt = None;
        let mut probe = None;
        for index in 0..self.replicas.len() {
            let admission = self.admits(now, index, wanted.tokens, well);
            self.loads[index].free = admission == Admission::Yes;
            match admission {
                Admission::Probe if probe.is_none() => probe = Some(index),
                Admission::Yes | Admission::Probe => {}
                Admission::Later(until) => {
                    later = sooner(later, until);
                    let replica = &self.replicas[index];
                    if replica.rests_until <= now && until.is_some() && replica.health.is_well() {
                        learnt = sooner(learnt, until);
                    }
                }
            }
        }
        // A replica that is due a probe gets it before the others are looked at, else a policy might never choose
        // it. But who comes from a failure is not sent into the next one.
        let chosen = match probe.filter(|_| wanted.avoid.is_none()) {
            Some(probe) => Some(probe),
            None => self.choose(wanted).or(probe),
        };
        match chosen {
            Some(replica) => Ok(self.begin(now, replica, wanted.tokens)),
            None => {
                if let Some(ready) = learnt {
                    self.paced.add(now, ready);
                }
                Err(later)
            }
        }
    }

    /// For how long, until now, attempts have waited because of a rate, of the backend or of a server that is well, or
    /// because the user holds everything.
    pub(super) fn paced(&self, now: Duration) -> Duration {
        self.paced.until(now) + self.held.until(now)
    }

    /// From now on nothing is begun, or everything is again.
    pub(super) fn hold(&mut self, now: Duration, holds: bool) {
        match (holds, self.held.since) {
            (true, None) => self.held.since = Some(now),
            (false, Some(_)) => self.held = Held { total: self.held.until(now), since: None },
            _ => {}
        }
    }

    /// Other bounds on the attempts in flight. What is known of what the servers bear begins anew.
    pub(super) fn set_concurrency(&mut self, now: Duration, each: &[Concurrency]) {
        for (index, concurrency) in each.iter().enumerate() {
            let Some(replica) = self.replicas.get_mut(index) else { continue };
            let from = replica.limiter.limit();
            replica.limiter = Limiter::new(*concurrency);
            let to = replica.limiter.limit();
            self.changes.add(now, index, What::Limit { from, to, reason: Reason::Asked });
        }
    }

    /// Whether every replica asks to be left alone now, and until when at least one does.
    pub(super) fn rest(&self, now: Duration) -> Option<Rest> {
        let first = self.replicas.iter().map(Replica::rest).min_by_key(|(until, _)| *until);
        let (until, kind) = first.filter(|(until, _)| *until > now)?;
        Some(Rest { kind, left: until - now })
    }

    fn choose(&mut self, wanted: &Wanted) -> Option<usize> {
        let avoided = wanted.avoid.filter(|&avoid| self.loads.get(avoid).is_some_and(|l| l.free));
        let Some(avoided) = avoided else { return self.policy.pick(&self.loads, wanted.prefix) };
        self.loads[avoided].free = false;
        self.policy.pick(&self.loads, wanted.prefix).or(Some(avoided))
    }

    fn admits(&self, now: Duration, index: usize, tokens: u64, well: usize) -> Admission {
        let replica = &self.replicas[index];
        if self.loads[index].in_flight >= replica.limiter.limit() {
            return Admission::Later(None);
        }
        let ready = replica.rests_until.max(replica.learnt.ready_at(tokens));
        if ready > now {
            return Admission::Later(Some(ready));
        }
        replica.health.admits(now, is_alone(replica, well))
    }

    fn begin(&mut self, now: Duration, index: usize, tokens: u64) -> Grant {
        let number = self.next;
        self.next += 1;
        let (replica, load) = (&mut self.replicas[index], &mut self.loads[index]);
        let is_probe = !replica.health.is_well();
        let failed_before = replica.health.failed();
        if is_probe {
            replica.health.probe(now, number);
            self.changes.add(now, index, What::Probe {});
        }
        self.pace.take(now, tokens);
        replica.learnt.take(now, tokens);
        replica.tokens += tokens;
        load.in_flight += 1;
        Grant { replica: index, number, is_probe, failed_before, used: load.in_flight, tokens }
    }

    /// An attempt that was granted has not been sent: as if it had not been asked for.
    pub(super) fn undo(&mut self, now: Duration, grant: Grant) {
        self.pace.give_back(grant.tokens);
        self.replicas[grant.replica].learnt.give_back(now, grant.tokens);
        self.finish(now, grant, None);
    }

    /// An attempt is over. Without a verdict it was cancelled, and says nothing of its replica.
    pub(super) fn finish(&mut self, now: Duration, grant: Grant, attempt: Option<&Attempt<'_>>) {
        let (replica, load) = (&mut self.replicas[grant.replica], &mut self.loads[grant.replica]);
        let used = grant.used.max(load.in_flight);
        load.in_flight -= 1;
        replica.tokens = replica.tokens.saturating_sub(grant.tokens);
        let ended = Ended { number: grant.number, next: self.next, used };
        let error = attempt.map(|attempt| attempt.result.err());
        self.heed_health(now, ended, grant.replica, error);
        if let Some(attempt) = attempt {
            self.correct(now, grant.tokens, attempt.result);
            self.heed_limits(now, ended, grant.replica, attempt);
            self.heed_result(now, ended, grant.replica, attempt);
        }
    }

    /// What an attempt really used. A refused one used nothing; of one that was cut off nobody knows.
    fn correct(&mut self, now: Duration, estimate: u64, result: Result<u64, ErrorKind>) {
        let used = match result {
            Ok(0) | Err(ErrorKind::Timeout | ErrorKind::Transport) => return,
            Ok(used) => used,
            Err(_) => 0,
        };
        self.pace.correct(now, estimate, used);
    }

    fn heed_limits(&mut self, now: Duration, ended: Ended, index: usize, attempt: &Attempt<'_>) {
        let Some(limits) = attempt.limits else { return };
        let replica = &mut self.replicas[index];
        let requests = self.loads[index].in_flight.into();
        let others = InFlight { requests, tokens: replica.tokens };
        if let Some(hold) = replica.learnt.note(now, ended.number, limits, others) {
            let ms = milliseconds(hold);
            self.changes.add(now, index, What::Rest { ms, reason: Pause::Limits });
        }
    }

    fn heed_result(&mut self, now: Duration, ended: Ended, index: usize, attempt: &Attempt<'_>) {
        let replica = &mut self.replicas[index];
        let reason = match attempt.result {
            Ok(_) => {
                replica.rests = 0;
                let moved = replica.limiter.answered(ended, now, attempt.took);
                return self.note_move(now, index, moved);
            }
            Err(ErrorKind::RateLimited) => Reason::RateLimited,
            Err(ErrorKind::Overloaded) => Reason::Overloaded,
            Err(ErrorKind::Timeout) => Reason::Timeout,
            Err(ErrorKind::Loading) => {
                return self.heed_wish(now, index, attempt.retry_after, ErrorKind::Loading);
            }
            Err(_) => return,
        };
        let moved = replica.limiter.refuse(ended, reason);
        let unasked = replica.rest_unasked(ended, reason);
        let asked = attempt.retry_after.filter(|_| replica.limiter.refused() >= MOST);
        let kind = if reason == Reason::Overloaded {
            ErrorKind::Overloaded
        } else {
            ErrorKind::RateLimited
        };
        self.note_move(now, index, moved);
        match (asked, unasked) {
            (Some(asked), unasked) => {
                let asked = asked.max(unasked.unwrap_or_default());
                self.heed_wish(now, index, Some(asked), kind);
            }
            (None, Some(rest)) => self.pause(now, index, rest, kind, Pause::RateLimited),
            (None, None) => {}
        }
    }

    fn note_move(&mut self, now: Duration, index: usize, moved: Option<Move>) {
        if let Some(Move { from, to, reason }) = moved {
            self.changes.add(now, index, What::Limit { from, to, reason });
        }
    }

    /// As the server asks. The wish of a lone server is not shortened: who cannot wait for so long is not asked
    /// ([`Core::rest`]).
    fn heed_wish(&mut self, now: Duration, index: usize, asked: Option<Duration>, kind: ErrorKind) {
        let Some(asked) = asked else { return };
        let rest = if self.replicas.len() > 1 { asked.min(LONGEST_REST) } else { asked };
        self.pause(now, index, rest, kind, Pause::RetryAfter);
    }

    fn pause(
        &mut self,
        now: Duration,
        index: usize,
        rest: Duration,
        kind: ErrorKind,
        reason: Pause,
    ) {
        let replica = &mut self.replicas[index];
        let until = now.saturating_add(rest);
        if until <= replica.rests_until {
            return;
        }
        // A burst of refusals that all ask for about the same rest is one rest.
        let is_new = replica.rests_until <= now;
        let is_longer = until.saturating_sub(replica.rests_noted) > LONG_REST;
        (replica.rests_until, replica.rests_for) = (until, kind);
        if is_new || is_longer {
            replica.rests_noted = until;
            self.changes.add(now, index, What::Rest { ms: milliseconds(rest), reason });
        }
    }

    fn heed_health(
        &mut self,
        now: Duration,
        ended: Ended,
        index: usize,
        error: Option<Option<ErrorKind>>,
    ) {
        let well = self.well();
        let replica = &mut self.replicas[index];
        let alone = is_alone(replica, well);
        let sign = error.map_or(super::health::Sign::None, |error| sign(error, alone));
        let turn = replica.health.ended(now, ended.number, ended.next, sign);
        let probe_in_ms = milliseconds(replica.health.back_off(alone));
        let what = match turn {
            None => return,
            Some(Turn::Ejected { failures }) => What::Ejected { failures, probe_in_ms },
            Some(Turn::StillIll) => What::ProbeFailed { probe_in_ms },
            Some(Turn::Recovered { after }) => What::Recovered { after_ms: milliseconds(after) },
        };
        self.changes.add(now, index, what);
    }

    fn well(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.health.is_well()).count()
    }

    pub(super) fn snapshot(&self, now: Duration) -> Vec<ReplicaState> {
        let state = |replica: &Replica| match &replica.health {
            health if health.is_probing() => Standing::Probing,
            health if !health.is_well() => Standing::Ejected,
            _ if replica.rest().0 > now => Standing::Resting,
            _ => Standing::Well,
        };
        let of = |(replica, load): (&Replica, &Load)| {
            let state = state(replica);
            let rests = replica.rest().0.saturating_sub(now);
            let rests_ms = if state == Standing::Resting { milliseconds(rests) } else { 0 };
            let (name, limit) = (replica.name.clone(), replica.limiter.limit());
            ReplicaState { name, limit, in_flight: load.in_flight, state, rests_ms }
        };
        self.replicas.iter().zip(&self.loads).map(of).collect()
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let replicas = &self.replicas;
        self.changes.take(|index| replicas.get(index).map_or("", |replica| &replica.name))
    }
}

impl Replica {
    /// Until when its server asks to be left alone, and what it said to that.
    fn rest(&self) -> (Duration, ErrorKind) {
        match self.learnt.ready_at(0) {
            until if until > self.rests_until => (until, ErrorKind::RateLimited),
            _ => (self.rests_until, self.rests_for),
        }
    }

    /// How long to rest although nobody named a time: when even the fewest attempts are mostly refused, the next
    /// one would be too, and cost a sample one of its retries. Attempts go on, ever more slowly, and any answer
    /// ends it.
    fn rest_unasked(&mut self, ended: Ended, reason: Reason) -> Option<Duration> {
        let refused = self.limiter.is_lowest() && self.limiter.refused() >= MOST;
        if reason != Reason::RateLimited || !refused || ended.number < self.rested {
            return None;
        }
        self.rested = ended.next;
        let doublings = self.rests;
        self.rests = self.rests.saturating_add(1);
        let rest = REST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        Some(rest.min(REST_CAP))
    }
}

/// Whether no other replica is well.
fn is_alone(replica: &Replica, well: usize) -> bool {
    well <= usize::from(replica.health.is_well())
}

fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The same in every process: what a server has in its prefix cache outlives a run.
fn identity(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}
