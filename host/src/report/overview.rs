//! What a journal comes to as a whole: one pass over it, before any of its samples is shown.

use super::{
    error::ReportError,
    history::History,
    log_histogram::LogHistogram,
    timeline::Timeline,
    verdict::{VERDICTS, Verdict},
    view::View,
};
use crate::{
    score::metric::Metric,
    store::{outcome::SampleOutcome, record::Status, stored_run::StoredSamples},
};

/// A run as a whole.
#[derive(Debug, Default)]
pub struct Overview {
    /// By result, how many samples have each verdict.
    pub verdicts: Vec<[u64; VERDICTS]>,
    /// By result, the sum of the samples' times in milliseconds.
    pub total_ms: Vec<f64>,
    /// By result, latency of samples that were asked and scored.
    pub latency: Vec<LogHistogram>,
    /// What happened when; without samples if the journal does not say when they ended.
    pub timeline: Timeline,
    /// How many samples say when they ended.
    pub timed: u64,
    /// How limits moved.
    pub history: History,
    /// Bytes of the lines of samples that are right, or of which that cannot be said.
    pub plain_bytes: u64,
    /// Bytes of the lines of samples that are wrong or unscored: those that people look at.
    pub notable_bytes: u64,
}

impl Overview {
    /// Looks through journal and events. `seen` is told of each sample's result and number.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(
        view: &View,
        samples: &StoredSamples,
        mut seen: impl FnMut(usize, &SampleOutcome<'_>, usize),
    ) -> Result<Self, ReportError> {
        let history = History::read(&view.run.directory)?;
        let units = view.results.len();
        let judged_by: Vec<Option<Metric>> = view.results.iter().map(View::judged_by).collect();
        let mut overview = Self {
            verdicts: vec![[0; VERDICTS]; units],
            total_ms: vec![0.0; units],
            latency: vec![LogHistogram::default(); units],
            timeline: history.timeline(),
            history,
            ..Self::default()
        };
        let mut last = 0;
        samples.each(|number, line| {
            let outcome: SampleOutcome<'_> = samples.parse(line)?;
            // Lines of one unit stand together, mostly.
            let is_last = view.results.get(last).is_some_and(|result| {
                result.task == outcome.task && result.backend == outcome.backend
            });
            if !is_last {
                // A unit that the run does not have any more, since its run file changed, is in no result.
                let Some(unit) = view.unit(&outcome.task, &outcome.backend) else { return Ok(()) };
                last = unit;
            }
            let metric = judged_by.get(last).copied().flatten();
            let verdict = Verdict::of(metric, &outcome.status, outcome.scores.as_ref());
            overview.add(last, verdict, &outcome, line.len());
            seen(last, &outcome, number);
            Ok::<_, ReportError>(())
        })?;
        Ok(overview)
    }

    fn add(&mut self, unit: usize, verdict: Verdict, outcome: &SampleOutcome<'_>, bytes: usize) {
        let ms = outcome.timing_ms.total;
        let is_timed = outcome.status == Status::Scored && !outcome.cached;
        if let Some(count) =
            self.verdicts.get_mut(unit).and_then(|counts| counts.get_mut(verdict.number()))
        {
            *count += 1;
        }
        if let Some(sum) = self.total_ms.get_mut(unit) {
            *sum += ms;
        }
        if let Some(latency) = self.latency.get_mut(unit).filter(|_| is_timed) {
            latency.add(ms);
        }
        match verdict {
            Verdict::Wrong | Verdict::Unscored => self.notable_bytes += bytes as u64,
            Verdict::Right | Verdict::Graded => self.plain_bytes += bytes as u64,
        }
        let Some(ended) = outcome.timing_ms.ended_unix else { return };
        self.timed += 1;
        let Some(bin) = self.timeline.at(ended) else { return };
        match outcome.status {
            Status::Scored => bin.scored += 1,
            Status::Unscored(_) => bin.unscored += 1,
        }
        if is_timed {
            bin.latency.add(ms);
        }
    }

    /// All verdicts of the run.
    pub fn verdict_sums(&self) -> [u64; VERDICTS] {
        let mut sums = [0; VERDICTS];
        for counts in &self.verdicts {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        sums
    }
}
