//! What a journal holds of a run: its results so far, and what need not be asked again. It is read once, and of each
//! sample its last line counts.

use std::{path::Path, sync::Arc};

use super::{
    budget::Used,
    done::Done,
    plan::Pair,
    resume::{ResumeError, Retry},
    tally::{Subject, Tally},
};
use crate::{
    store::{
        bits::Bits,
        journal_reader::Backwards,
        journal_tail::Cut,
        line::{self, Unread},
        outcome::SampleOutcome,
        record::Status,
        storage::LockedFile,
    },
    task::{
        raw::OnBadSample,
        resolve::Task,
        stream::{Next, SampleError},
    },
};

/// What an earlier process left of the units of a run.
#[derive(Debug)]
pub struct Replayed {
    /// By unit.
    units: Vec<(Tally, Arc<Done>)>,
    /// What was not whole at the journal's end; it is cut off.
    pub torn: Cut,
    /// Lines that are of no sample of the run any more.
    pub stale: u64,
    /// Unscored samples that are asked again.
    pub again: u64,
    /// What all of it used, also what is not counted any more.
    pub used: Used,
}

/// The same, with the units that are open apart.
#[derive(Debug)]
pub struct Left {
    /// Of the open ones, in their order.
    pub tallies: Vec<Tally>,
    /// What is done of each.
    pub done: Vec<Arc<Done>>,
    /// Of those that cannot be asked this time.
    pub others: Vec<Tally>,
    /// What all of it used.
    pub used: Used,
}

impl Replayed {
    /// How many samples are done, repeats counted.
    pub fn done(&self) -> u64 {
        self.units.iter().map(|(_, done)| done.count()).sum()
    }

    /// The tallies of all units.
    pub fn into_tallies(self) -> Vec<Tally> {
        self.units.into_iter().map(|(tally, _)| tally).collect()
    }

    /// The tallies of all units if there is nothing left to ask, with the records that are left out counted. Reads
    /// the data as far as the first sample that is missing.
    ///
    /// # Errors
    /// The data cannot be read, or is not what it was.
    pub fn complete(&mut self, pairs: &[Pair]) -> Result<Option<Vec<Tally>>, ResumeError> {
        let mut skipped = Vec::with_capacity(pairs.len());
        for (pair, (_, done)) in pairs.iter().zip(&self.units) {
            let failed = |error| data_error(&pair.task, error);
            let mut left_out = 0;
            for next in done.leave_out(pair.task.samples().map_err(failed)?) {
                match next.map_err(failed)? {
                    Next::Ready(_) => return Ok(None),
                    Next::PassedOver => {}
                    Next::Skipped { .. } => left_out += 1,
                }
            }
            skipped.push(left_out);
        }
        let all = std::mem::take(&mut self.units).into_iter().zip(skipped);
        let tallies = all.map(|((mut tally, _), skipped)| {
            tally.skip(skipped);
            tally
        });
        Ok(Some(tallies.collect()))
    }

    /// What is left of the units that are open, in their order, and of the others.
    ///
    /// # Errors
    /// A task takes another form than it had.
    pub fn of_units(
        mut self,
        subjects: Vec<Subject>,
        directory: &Path,
    ) -> Result<Left, ResumeError> {
        let (mut tallies, mut all_done) = (Vec::new(), Vec::new());
        for subject in subjects {
            let own = self.units.iter().position(|(tally, _)| *tally.name() == subject.name);
            let own = own.map(|at| self.units.remove(at));
            let (tally, done) = match own {
                Some((tally, done)) if tally.has_form_of(&subject) || done.count() == 0 => {
                    (tally, done)
                }
                _ => {
                    let directory = directory.to_owned();
                    return Err(ResumeError::Form { directory, unit: subject.name });
                }
            };
            tallies.push(if done.count() == 0 { Tally::new(subject) } else { tally.of(subject) });
            all_done.push(done);
        }
        let used = self.used;
        Ok(Left { tallies, done: all_done, others: self.into_tallies(), used })
    }
}

fn data_error(task: &Task, error: SampleError) -> ResumeError {
    ResumeError::Data { task: task.id.0.clone(), error: Box::new(error) }
}

/// The beginning of the digest of each record of a task; 0 for one that cannot be used.
///
/// # Errors
/// The data cannot be read.
pub(super) fn digests(task: &Task) -> Result<Vec<u64>, ResumeError> {
    let failed = |error: crate::task::data::DataError| data_error(task, error.into());
    let limit = task.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut digests = Vec::new();
    for next in task.data.open().map_err(failed)?.take(limit) {
        digests.push(match next {
            Ok((_, sample)) => sample.digest.short(),
            Err(error) if task.on_bad_sample == OnBadSample::Skip && error.spoils_one_record() => 0,
            Err(error) => return Err(failed(error)),
        });
    }
    Ok(digests)
}

/// Counts what a journal holds: of each sample its last line. `current` has the digests of each unit's records, if
/// lines that fit none of them are to be left out.
///
/// # Errors
/// The journal is damaged.
pub(super) fn replay(
    journal: &LockedFile,
    mut tallies: Vec<Tally>,
    current: Option<Vec<Vec<u64>>>,
    retry: Option<&Retry>,
) -> Result<Replayed, ResumeError> {
    let (mut lines, torn) = Backwards::open(journal.file(), journal.path())?;
    let mut done: Vec<Done> = tallies.iter().map(|tally| Done::nothing(tally.repeats())).collect();
    let mut seen: Vec<Bits> = tallies.iter().map(|_| Bits::default()).collect();
    let (mut stale, mut again, mut last) = (0, 0, 0);
    let mut used = Used::default();
    while let Some((at, line)) = lines.previous()? {
        let outcome = match line::parse::<SampleOutcome<'_>>(line) {
            Ok(outcome) => outcome,
            Err(Unread::Format(format)) => return Err(lines.of_format(at, format).into()),
            Err(Unread::Damaged(reason)) => return Err(lines.damaged(at, &reason).into()),
        };
        used += &Used::of(&outcome.usage, outcome.cached, false);
        let is_own = |tally: &Tally| {
            tally.name().task == outcome.task && tally.name().backend == outcome.backend
        };
        // Lines of one unit stand together, mostly.
        if !tallies.get(last).is_some_and(is_own) {
            last = tallies.iter().position(is_own).unwrap_or(usize::MAX);
        }
        let key = &outcome.sample;
        let Some(digest) = key.short_digest() else {
            return Err(lines.damaged(at, "its sample has no digest").into());
        };
        let record = usize::try_from(key.index).unwrap_or(usize::MAX);
        let fits = |current: &Vec<Vec<u64>>| {
            current.get(last).and_then(|digests| digests.get(record)) == Some(&digest)
        };
        let (Some(tally), Some(done), Some(seen)) =
            (tallies.get_mut(last), done.get_mut(last), seen.get_mut(last))
        else {
            stale += 1;
            continue;
        };
        if key.repeat >= tally.repeats().get() || !current.as_ref().is_none_or(fits) {
            stale += 1;
            continue;
        }
        if !seen.set(done.bit(key.index, key.repeat)) {
            continue;
        }
        if let (Status::Unscored(reason), Some(retry)) = (&outcome.status, retry)
            && retry.has(reason)
        {
            again += 1;
            continue;
        }
        done.add(key.index, key.repeat, digest);
        tally
            .replay(outcome)
            .map_err(|source| ResumeError::Score { path: journal.path().to_owned(), source })?;
    }
    let units = tallies.into_iter().zip(done.into_iter().map(Arc::new)).collect();
    Ok(Replayed { units, torn, stale, again, used })
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
