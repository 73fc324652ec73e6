//! Requests and tokens a minute: those that the run file allows, and those that a server says are left. Reads no
//! clock: every time is one since the run began.
//!
//! What the run file allows is spread evenly by the generic cell rate algorithm (ITU-T I.371, annex A): each cost
//! moves the *theoretical arrival time* forward by its share of a minute, and what would arrive more than the
//! tolerance ahead of now has to wait. So in no window of 60 s are there more than a minute's worth and the burst.

use std::time::Duration;

use plugin_api::message::Limits;

const MINUTE_NS: u128 = 60_000_000_000;

/// One rate.
#[derive(Clone, Copy, Debug)]
pub struct Gcra {
    per_minute: u64,
    /// A burst's worth of time, in nanoseconds.
    tolerance: u64,
    /// Theoretical arrival time, in nanoseconds.
    arrival: u64,
}

impl Gcra {
    /// So many units a minute, of which a second's worth (at least one unit) may come at once.
    pub fn per_minute(per_minute: u64) -> Self {
        let per_minute = per_minute.max(1);
        let mut rate = Self { per_minute, tolerance: 0, arrival: 0 };
        rate.tolerance = rate.nanoseconds(rate.burst());
        rate
    }

    /// Units that may come at once.
    pub fn burst(&self) -> u64 {
        (self.per_minute / 60).max(1)
    }

    /// From when on so many units may be taken. More than a burst may be taken when nothing is owed.
    pub fn ready_at(&self, units: u64) -> Duration {
        let cost = self.nanoseconds(units).min(self.tolerance);
        Duration::from_nanos(self.arrival.saturating_add(cost).saturating_sub(self.tolerance))
    }

    /// Takes them.
    pub fn take(&mut self, now: Duration, units: u64) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.arrival = self.arrival.max(now).saturating_add(self.nanoseconds(units));
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, units: u64) {
        self.arrival = self.arrival.saturating_sub(self.nanoseconds(units));
    }

    /// What was `taken` was an estimate: this many were used.
    pub fn correct(&mut self, now: Duration, taken: u64, used: u64) {
        if used > taken {
            self.take(now, used - taken);
        } else {
            self.give_back(taken - used);
        }
    }

    /// What so many units take, rounded up, so that rounding never lets more through.
    fn nanoseconds(&self, units: u64) -> u64 {
        let time = (u128::from(units) * MINUTE_NS).div_ceil(u128::from(self.per_minute));
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

/// What the run file allows a backend, over all its replicas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    requests: Option<Gcra>,
    tokens: Option<Gcra>,
}

impl Pace {
    /// From `rpm` and `tpm`.
    pub fn new(rpm: Option<u32>, tpm: Option<u64>) -> Self {
        Self {
            requests: rpm.map(|rpm| Gcra::per_minute(rpm.into())),
            tokens: tpm.map(Gcra::per_minute),
        }
    }

    /// From when on a request of about so many tokens may be sent.
    pub fn ready_at(&self, tokens: u64) -> Duration {
        let requests = self.requests.map_or(Duration::ZERO, |rate| rate.ready_at(1));
        requests.max(self.tokens.map_or(Duration::ZERO, |rate| rate.ready_at(tokens)))
    }

    /// It is sent.
    pub fn take(&mut self, now: Duration, tokens: u64) {
        if let Some(rate) = &mut self.requests {
            rate.take(now, 1);
        }
        if let Some(rate) = &mut self.tokens {
            rate.take(now, tokens);
        }
    }

    /// It was not sent after all.
    pub fn give_back(&mut self, tokens: u64) {
        if let Some(rate) = &mut self.requests {
            rate.give_back(1);
        }
        if let Some(rate) = &mut self.tokens {
            rate.give_back(tokens);
        }
    }

    /// It is over and used this many tokens, not the estimate.
    pub fn correct(&mut self, now: Duration, estimate: u64, used: u64) {
        if let Some(rate) = &mut self.tokens {
            rate.correct(now, estimate, used);
        }
    }
}

/// When a server says that nothing is left, but not until when.
const UNTOLD_RESET: Duration = Duration::from_secs(1);
/// Longest that a server's word is taken for; after it one asks again.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// What a replica's server said is left of its own limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Learnt {
    requests: Option<Credit>,
    tokens: Option<Credit>,
}

#[derive(Clone, Copy, Debug)]
struct Credit {
    left: u64,
    until: Duration,
    /// Number of the attempt whose reply said so.
    number: u64,
}

/// What is in flight besides the attempt whose reply is looked at: the server may not have counted it yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct InFlight {
    /// Attempts.
    pub requests: u64,
    /// Their tokens, as estimated.
    pub tokens: u64,
}

impl Learnt {
    /// The reply to the attempt of this number said so. Returns for how long nothing more may be sent, if that is
    /// what it comes to.
    pub fn note(
        &mut self,
        now: Duration,
        number: u64,
        limits: &Limits,
        others: InFlight,
    ) -> Option<Duration> {
        let reset = limits.reset_ms.map_or(UNTOLD_RESET, Duration::from_millis).min(LONGEST_HOLD);
        let until = now.saturating_add(reset);
        let mut held = false;
        for (credit, remaining, in_flight) in [
            (&mut self.requests, limits.requests_remaining, others.requests),
            (&mut self.tokens, limits.tokens_remaining, others.tokens),
        ] {
            let Some(remaining) = remaining else { continue };
            let left = remaining.saturating_sub(in_flight);
            let known = credit.filter(|credit| credit.until > now);
            // Replies overtake each other; what an earlier request was told can only make it less.
            *credit = Some(match known {
                Some(known) if known.number > number => {
                    Credit { left: known.left.min(left), ..known }
                }
                _ => Credit { left, until, number },
            });
            held |= left == 0 && known.is_none_or(|known| known.left > 0);
        }
        held.then_some(reset)
    }

    /// From when on a request of about so many tokens may be sent.
    pub fn ready_at(&self, tokens: u64) -> Duration {
        let at = |credit: Option<Credit>, wanted| match credit {
            Some(credit) if credit.left < wanted => credit.until,
            _ => Duration::ZERO,
        };
        at(self.requests, 1).max(at(self.tokens, tokens.max(1)))
    }

    /// It is sent.
    pub fn take(&mut self, now: Duration, tokens: u64) {
        for (credit, units) in [(&mut self.requests, 1), (&mut self.tokens, tokens)] {
            match credit {
                Some(known) if known.until > now => known.left = known.left.saturating_sub(units),
                _ => *credit = None,
            }
        }
    }

    /// It was not sent after all.
    pub fn give_back(&mut self, now: Duration, tokens: u64) {
        for (credit, units) in [(&mut self.requests, 1), (&mut self.tokens, tokens)] {
            if let Some(known) = credit.as_mut().filter(|known| known.until > now) {
                known.left = known.left.saturating_add(units);
            }
        }
    }
}

/// The time in which rates kept attempts waiting, each moment counted once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paced {
    total: Duration,
    /// The end of what is counted; it may be still to come.
    end: Duration,
}

impl Paced {
    /// Somebody is kept waiting from `now` until `ready`.
    pub fn add(&mut self, now: Duration, ready: Duration) {
        self.total += ready.saturating_sub(self.end.max(now));
        self.end = self.end.max(ready);
    }

    /// How much of it has gone by.
    pub fn until(&self, now: Duration) -> Duration {
        self.total.saturating_sub(self.end.saturating_sub(now))
    }
}
