//! What a run did when, in bins. The run's length need not be known: once there are too many bins, each two become one.
//!
//! A run that was taken up again has a session for each time; what lies between them is left out.

use super::log_histogram::LogHistogram;

/// Most bins of a session.
const MOST: usize = 160;
/// Width of a bin at first.
pub const FINEST_MS: u64 = 50;

/// What happened in a piece of time.
#[derive(Clone, Debug, Default)]
pub struct Bin {
    /// Samples that were finished with a score.
    pub scored: u64,
    /// Samples that were finished without.
    pub unscored: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Latency of those that were asked and scored.
    pub latency: LogHistogram,
}

impl Bin {
    /// Adds what happened in another piece of time.
    pub fn merge(&mut self, other: &Self) {
        self.scored += other.scored;
        self.unscored += other.unscored;
        self.retries += other.retries;
        self.latency.merge(&other.latency);
    }
}

/// One process's part of a run.
#[derive(Clone, Debug)]
pub struct Session {
    /// When it began, in Unix milliseconds.
    pub start_ms: u64,
    /// The last that is known of it.
    pub end_ms: u64,
    /// How long a bin is.
    pub width_ms: u64,
    /// From the start on.
    pub bins: Vec<Bin>,
}

impl Session {
    /// A session that begins.
    pub fn new(start_ms: u64) -> Self {
        Self { start_ms, end_ms: start_ms, width_ms: FINEST_MS, bins: Vec::new() }
    }

    /// The bin of a moment; a moment before the beginning counts as that.
    fn at(&mut self, unix_ms: u64) -> Option<&mut Bin> {
        self.end_ms = self.end_ms.max(unix_ms);
        let since = unix_ms.saturating_sub(self.start_ms);
        while since / self.width_ms >= MOST as u64 {
            self.width_ms *= 2;
            self.bins = self.bins.chunks(2).map(sum).collect();
        }
        let number = usize::try_from(since / self.width_ms).ok()?;
        if self.bins.len() <= number {
            self.bins.resize_with(number + 1, Bin::default);
        }
        self.bins.get_mut(number)
    }

    /// How long it was.
    pub fn length_ms(&self) -> u64 {
        self.end_ms - self.start_ms
    }
}

fn sum(bins: &[Bin]) -> Bin {
    let mut sum = Bin::default();
    bins.iter().for_each(|bin| sum.merge(bin));
    sum
}

/// All sessions of a run, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// In the order of time.
    pub sessions: Vec<Session>,
}

impl Timeline {
    /// Sessions that begin at these moments, which ascend.
    pub fn new(starts: &[u64]) -> Self {
        Self { sessions: starts.iter().map(|start| Session::new(*start)).collect() }
    }

    /// The bin of a moment. None if no session is known.
    pub fn at(&mut self, unix_ms: u64) -> Option<&mut Bin> {
        let number = self.session_of(unix_ms)?;
        self.sessions.get_mut(number)?.at(unix_ms)
    }

    /// A moment that a session lasted at least to.
    pub fn lasts_to(&mut self, unix_ms: u64) {
        if let Some(session) =
            self.session_of(unix_ms).and_then(|number| self.sessions.get_mut(number))
        {
            session.end_ms = session.end_ms.max(unix_ms);
        }
    }

    fn session_of(&self, unix_ms: u64) -> Option<usize> {
        let begun = self.sessions.partition_point(|session| session.start_ms <= unix_ms);
        (!self.sessions.is_empty()).then(|| begun.saturating_sub(1))
    }

    /// How long all of them were.
    pub fn length_ms(&self) -> u64 {
        self.sessions.iter().map(Session::length_ms).sum()
    }

    /// How much time of sessions lies before a moment.
    pub fn elapsed_ms(&self, unix_ms: u64) -> u64 {
        let Some(number) = self.session_of(unix_ms) else { return 0 };
        let before: u64 = self.sessions.iter().take(number).map(Session::length_ms).sum();
        let own = self
            .sessions
            .get(number)
            .map_or(0, |session| unix_ms.saturating_sub(session.start_ms).min(session.length_ms()));
        before + own
    }

    /// Each bin with where it begins and ends, in elapsed milliseconds. The last one of a session ends with it; if
    /// little time is left for it, it is a part of the one before, since rates over it would say nothing.
    pub fn bins(&self) -> Vec<(u64, u64, Bin)> {
        let (mut all, mut before) = (Vec::<(u64, u64, Bin)>::new(), 0);
        for session in &self.sessions {
            for (bin, number) in session.bins.iter().zip(0_u64..) {
                let from = number * session.width_ms;
                let to = (from + session.width_ms).min(session.length_ms().max(1));
                let is_short = to < from + session.width_ms / 2;
                match all.last_mut().filter(|_| is_short && number > 0) {
                    Some((_, end, last)) => {
                        last.merge(bin);
                        *end = (*end).max(before + to);
                    }
                    None => all.push((before + from, before + to, bin.clone())),
                }
            }
            before += session.length_ms();
        }
        all
    }

    /// Where sessions after the first begin, in elapsed milliseconds.
    pub fn seams(&self) -> Vec<u64> {
        let mut sum = 0;
        let mut ends: Vec<u64> = self
            .sessions
            .iter()
            .map(|session| {
                sum += session.length_ms();
                sum
            })
            .collect();
        ends.pop();
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_widen_and_lose_nothing() {
        let mut timeline = Timeline::new(&[1_000]);
        for second in 0..10_000 {
            timeline.at(1_000 + second * 1_000).unwrap().scored += 1;
        }
        let session = &timeline.sessions[0];
        assert!(session.bins.len() <= MOST && session.bins.len() > MOST / 4);
        assert_eq!(session.bins.iter().map(|bin| bin.scored).sum::<u64>(), 10_000);
        assert_eq!(timeline.length_ms(), 9_999_000);
    }

    #[test]
    fn time_between_sessions_does_not_count() {
        let day = 86_400_000;
        let mut timeline = Timeline::new(&[0, day]);
        timeline.at(2_000).unwrap().scored += 1;
        timeline.at(day + 500).unwrap().unscored += 1;
        timeline.lasts_to(day + 3_000);
        assert_eq!((timeline.length_ms(), timeline.seams()), (5_000, vec![2_000]));
        let elapsed = [(1_000, 1_000), (70_000, 2_000), (day + 1_000, 3_000), (day * 2, 5_000)];
        for (unix, expected) in elapsed {
            assert_eq!(timeline.elapsed_ms(unix), expected, "{unix}");
        }
        let filled: Vec<(u64, u64)> = timeline
            .bins()
            .into_iter()
            .filter(|(_, _, bin)| bin.scored + bin.unscored > 0)
            .map(|(from, to, _)| (from, to))
            .collect();
        // The first sample came at the very end of its session.
        assert_eq!(filled, [(1_950, 2_000), (2_500, 2_550)]);
        assert!(Timeline::new(&[]).at(5).is_none());
    }
}
