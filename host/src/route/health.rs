//! Whether a replica is well: it is left alone after failures in a row, and comes back by probe. Reads no clock.
//!
//! While another replica is well, an ejected one gets a single attempt as a probe, after a back-off that doubles up
//! to half a minute. If none is well there is nothing to gain by leaving them alone, only attempts to save: then
//! the back-off is at most a few seconds, and a probe that has not failed for a moment lets further ones follow,
//! twice as many each time. So a lone server that was away for some seconds is not asked by every sample at once,
//! none waits for a single slow answer, and one that is merely slow or flaky is asked as if there were no health.

use std::time::Duration;

use plugin_api::ErrorKind;

/// First back-off.
const BACK_OFF: Duration = Duration::from_millis(250);
/// Longest back-off while another replica is well.
const CAP: Duration = Duration::from_secs(30);
/// Longest back-off while none is.
const CAP_ALONE: Duration = Duration::from_secs(5);
/// While none is well: after this time without a failure twice as many probes may be out.
const TRUST: Duration = Duration::from_millis(250);
/// Answers in a row after which what was is forgotten.
const FORGIVEN: u32 = 16;

/// The health of one replica.
#[derive(Clone, Debug)]
pub struct Health {
    eject_after: u32,
    /// Failures in a row.
    failures: u32,
    /// Attempts that failed since the last answer, each of a burst.
    failed: u32,
    /// Answers in a row.
    answers: u32,
    /// How often it was ejected, or failed a probe, since it was last trusted.
    strikes: u32,
    /// Attempts with a smaller number began before the last refusal that counted.
    since: u64,
    ejected: Option<Ejected>,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    /// When it was ejected.
    from: Duration,
    /// When its back-off began: then, or at the last failed probe.
    at: Duration,
    trial: Option<Trial>,
}

/// Probes are out.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// When the first was sent.
    began: Duration,
    /// Number of the first.
    number: u64,
    out: u32,
}

/// Whether an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// As any other.
    Yes,
    /// As a probe.
    Probe,
    /// Not yet: earliest then, or when a probe ends.
    Later(Option<Duration>),
}

/// What an end of an attempt means for health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The server lives.
    Life,
    /// It fails, each time that it is seen.
    Failure,
    /// It has too much to do; a burst of these is one.
    Refusal,
    /// Nothing: it may never have been asked.
    None,
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is left alone after so many failures.
    Ejected {
        /// In a row.
        failures: u32,
    },
    /// A probe failed.
    StillIll,
    /// It is back after so long.
    Recovered {
        /// Since it was ejected.
        after: Duration,
    },
}

/// What this end of an attempt says of the replica. `alone`: no other replica is well.
pub fn sign(error: Option<ErrorKind>, alone: bool) -> Sign {
    match error {
        None => Sign::Life,
        Some(ErrorKind::Transport | ErrorKind::Timeout | ErrorKind::Loading) => Sign::Failure,
        Some(ErrorKind::Overloaded) => Sign::Refusal,
        // Another replica may do better. If there is none, waiting would not mend it.
        Some(ErrorKind::UnexpectedReply) if !alone => Sign::Failure,
        Some(
            ErrorKind::UnexpectedReply
            | ErrorKind::RateLimited
            | ErrorKind::Unauthorized
            | ErrorKind::InvalidRequest
            | ErrorKind::ContextLength
            | ErrorKind::ContentFilter,
        ) => Sign::Life,
        Some(_) => Sign::None,
    }
}

impl Health {
    /// Well.
    pub fn new(eject_after: u32) -> Self {
        let eject_after = eject_after.max(1);
        Self {
            eject_after,
            failures: 0,
            failed: 0,
            answers: 0,
            strikes: 0,
            since: 0,
            ejected: None,
        }
    }

    /// Whether it is not ejected.
    pub fn is_well(&self) -> bool {
        self.ejected.is_none()
    }

    /// Attempts that failed since the last answer.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// Whether probes are out.
    pub fn is_probing(&self) -> bool {
        self.ejected.is_some_and(|ejected| ejected.trial.is_some())
    }

    /// Whether an attempt may begin now. `alone`: no other replica is well.
    pub fn admits(&self, now: Duration, alone: bool) -> Admission {
        let Some(ejected) = self.ejected else { return Admission::Yes };
        let Some(trial) = ejected.trial else {
            let due = ejected.at.saturating_add(self.back_off(alone));
            return if due <= now { Admission::Probe } else { Admission::Later(Some(due)) };
        };
        let doublings = match alone {
            true => now.saturating_sub(trial.began).as_nanos() / TRUST.as_nanos(),
            false => 0,
        };
        let doublings = u32::try_from(doublings).unwrap_or(u32::MAX);
        if trial.out < 1_u32.checked_shl(doublings).unwrap_or(u32::MAX) {
            return Admission::Probe;
        }
        let next = TRUST.saturating_mul(doublings.saturating_add(1)).saturating_add(trial.began);
        Admission::Later(alone.then_some(next))
    }

    /// How long it is left alone now.
    pub fn back_off(&self, alone: bool) -> Duration {
        let cap = if alone { CAP_ALONE } else { CAP };
        let doublings = self.strikes.saturating_sub(1);
        BACK_OFF.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(cap)
    }

    /// An attempt begins as a probe.
    pub fn probe(&mut self, now: Duration, number: u64) {
        if let Some(ejected) = &mut self.ejected {
            let trial = ejected.trial.get_or_insert(Trial { began: now, number, out: 0 });
            trial.out += 1;
        }
    }

    /// The attempt of this number ended; the next to begin will have the number `next`.
    pub fn ended(&mut self, now: Duration, number: u64, next: u64, sign: Sign) -> Option<Turn> {
        let of_trial = self.end_probe(number);
        if matches!(sign, Sign::Failure | Sign::Refusal) {
            self.failed = self.failed.saturating_add(1);
        }
        match sign {
            Sign::None => None,
            Sign::Life => self.lives(now),
            Sign::Refusal if number < self.since => None,
            Sign::Failure | Sign::Refusal => {
                self.since = next;
                self.fails(now, of_trial)
            }
        }
    }

    /// Takes a probe out of the trial, if the attempt of this number is one.
    fn end_probe(&mut self, number: u64) -> bool {
        let Some(Ejected { trial: Some(trial), .. }) = &mut self.ejected else { return false };
        // Every attempt that began since the trial did is one of its probes.
        let of_trial = number >= trial.number;
        trial.out = trial.out.saturating_sub(u32::from(of_trial));
        of_trial
    }

    fn lives(&mut self, now: Duration) -> Option<Turn> {
        (self.failures, self.failed) = (0, 0);
        self.answers = self.answers.saturating_add(1);
        if self.answers >= FORGIVEN {
            self.strikes = 0;
        }
        let ejected = self.ejected.take()?;
        Some(Turn::Recovered { after: now.saturating_sub(ejected.from) })
    }

    fn fails(&mut self, now: Duration, of_trial: bool) -> Option<Turn> {
        self.answers = 0;
        self.failures = self.failures.saturating_add(1);
        match &mut self.ejected {
            None if self.failures < self.eject_after => None,
            None => {
                self.strikes = self.strikes.saturating_add(1);
                self.ejected = Some(Ejected { from: now, at: now, trial: None });
                Some(Turn::Ejected { failures: self.failures })
            }
            Some(ejected) if of_trial => {
                self.strikes = self.strikes.saturating_add(1);
                ejected.at = now;
                ejected.trial = None;
                Some(Turn::StillIll)
            }
            // It was sent before the ejection, or before this back-off began: nothing new.
            Some(_) => None,
        }
    }
}
