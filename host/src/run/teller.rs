//! Makes durable what the recorder has written, and only then tells tallies and reporters of it.
//!
//! It runs on a thread of its own with a handle of its own, so that a slow disk does not keep the recorder from
//! writing. What waits for the disk is bounded: beyond that the recorder waits too.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    backlog::Reader,
    event::{Event, Reporter},
    recorder::RecordError,
    tally::{Counted, Tally},
};
use crate::{
    config::SyncPolicy,
    store::{run_dir, storage::Disk},
};

/// What tallies and reporters are to be told.
#[derive(Debug)]
pub enum Told {
    /// A sample is finished.
    Sample(Box<Sample>),
    /// An attempt at a sample of this unit is repeated.
    Retry(usize, Event),
    /// A record of this unit was left out.
    Skipped(usize, Event),
    /// Something else happened.
    Event(Event),
}

/// A finished sample, without what was said.
#[derive(Debug)]
pub struct Sample {
    /// The unit's position in the plan.
    pub unit: usize,
    /// Its id.
    pub id: String,
    /// Which repeat.
    pub repeat: u32,
    /// What is counted of it.
    pub counted: Counted,
    /// What failed last.
    pub error: Option<String>,
    /// When its first attempt began.
    pub started: Instant,
    /// When it was recorded.
    pub ended: Instant,
}

/// Tells.
pub struct Teller {
    /// Makes the journal durable.
    pub disk: Box<dyn Disk>,
    /// When that must have happened.
    pub policy: SyncPolicy,
    /// One a unit, in the plan's order.
    pub tallies: Vec<Tally>,
    /// Who is told.
    pub reporters: Vec<Box<dyn Reporter>>,
}

impl Teller {
    /// Tells everything that comes, until nobody writes any more.
    ///
    /// # Errors
    /// The disk fails, or a score cannot be counted. What was not told then counts as not done.
    pub fn run(&mut self, backlog: &Reader) -> Result<(), RecordError> {
        let within = match self.policy {
            SyncPolicy::Within(within) => within,
            SyncPolicy::Every | SyncPolicy::End => Duration::ZERO,
        };
        while let Some(told) = backlog.take(within) {
            let has_samples = told.iter().any(|told| matches!(told, Told::Sample(_)));
            if has_samples && self.policy != SyncPolicy::End {
                // One for all that have gathered.
                self.sync()?;
            }
            self.tell(told)?;
        }
        self.sync()
    }

    fn sync(&mut self) -> Result<(), RecordError> {
        let synced = self.disk.sync();
        synced.map_err(|source| RecordError::Write { file: run_dir::JOURNAL, source })
    }

    fn tell(&mut self, told: Vec<Told>) -> Result<(), RecordError> {
        for told in told {
            let event = match told {
                Told::Sample(sample) => {
                    let Some(tally) = self.tallies.get_mut(sample.unit) else { continue };
                    tell_of(*sample, tally)?
                }
                Told::Retry(unit, event) => {
                    self.tallies.get_mut(unit).into_iter().for_each(Tally::retry);
                    event
                }
                Told::Skipped(unit, event) => {
                    self.tallies.get_mut(unit).into_iter().for_each(|tally| tally.skip(1));
                    event
                }
                Told::Event(event) => event,
            };
            for reporter in &mut self.reporters {
                reporter.on(&event);
            }
        }
        Ok(())
    }
}

/// Counts a sample, and gives what reporters are told of it.
fn tell_of(sample: Sample, tally: &mut Tally) -> Result<Event, RecordError> {
    let Sample { id, repeat, counted, error, started, ended, .. } = sample;
    if let Err(source) = tally.add(&counted) {
        return Err(RecordError::Score { id, source });
    }
    tally.time(started, ended);
    let Counted { status, scores, ms, cached, usage, .. } = counted;
    let cost_usd_nanos = usage.cost_usd_nanos.filter(|_| !cached);
    let unit = tally.name().clone();
    Ok(Event::Sample { unit, id, repeat, status, scores, error, ms, cost_usd_nanos })
}
