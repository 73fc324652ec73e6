//! What `events.jsonl` tells of a run's course: when it was at work, what was retried, how limits moved.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;
use serde_json::Value;

use super::timeline::{FINEST_MS, Timeline};
use crate::store::run_dir;

/// Most points of one server's line; beyond it every second one is left out.
const MOST_POINTS: usize = 2_000;

/// How the number of requests that a server may be sent at once has moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitLine {
    /// When, in Unix milliseconds, and to what; it ascends in time. 0 while the server was left alone.
    pub points: Vec<(u64, u64)>,
    /// The limit before that.
    before: u64,
    /// How often it was cut.
    pub cuts: u64,
    /// How often the server was left alone: it failed too often, or asked for it.
    pub pauses: u64,
}

impl LimitLine {
    fn add(&mut self, at: u64, limit: u64) {
        if self.points.len() >= MOST_POINTS {
            let mut number = 0;
            self.points.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        self.points.push((at, limit));
        if limit > 0 {
            self.before = limit;
        }
    }
}

/// What the events tell.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// When each session of the run began, in Unix milliseconds.
    pub launches: Vec<u64>,
    /// The last event of each session.
    last: Vec<u64>,
    /// By backend and server.
    pub limits: BTreeMap<(String, String), LimitLine>,
    retries: Vec<(u64, u64)>,
}

/// The members of an event that are looked at.
#[derive(Deserialize)]
struct EventLine<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    backend: Option<Cow<'a, str>>,
    #[serde(default)]
    change: Option<ChangeLine>,
}

#[derive(Deserialize)]
struct ChangeLine {
    replica: String,
    change: Value,
}

impl History {
    /// Reads the events of a run directory. A run without any has no history, and lines that say nothing to us are
    /// passed over: no result follows from them.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let file = match File::open(directory.join(run_dir::EVENTS)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut history = Self::default();
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            if let Ok(event) = serde_json::from_slice::<EventLine<'_>>(&line)
                && let Ok(time) = event.time.parse::<jiff::Timestamp>()
                && let Ok(at) = u64::try_from(time.as_millisecond())
            {
                history.add(at, event);
            }
            line.clear();
        }
        Ok(history)
    }

    fn add(&mut self, at: u64, event: EventLine<'_>) {
        match &*event.event {
            "launch" => {
                self.launches.push(at);
                self.last.push(at);
            }
            "retry" => {
                // A bin holds many.
                let is_same = |(last, _): &&mut (u64, u64)| *last / FINEST_MS == at / FINEST_MS;
                match self.retries.last_mut().filter(is_same) {
                    Some((_, count)) => *count += 1,
                    None => self.retries.push((at, 1)),
                }
            }
            "limit" => {
                if let (Some(backend), Some(change)) = (event.backend, event.change) {
                    let key = (backend.into_owned(), change.replica);
                    changed(self.limits.entry(key).or_default(), at, &change.change);
                }
            }
            _ => {}
        }
        if let Some(last) = self.last.last_mut() {
            *last = (*last).max(at);
        }
    }

    /// A time line with these sessions and retries, and no sample yet.
    pub fn timeline(&self) -> Timeline {
        let mut timeline = Timeline::new(&self.launches);
        self.last.iter().for_each(|last| timeline.lasts_to(*last));
        for (at, count) in &self.retries {
            if let Some(bin) = timeline.at(*at) {
                bin.retries += count;
            }
        }
        timeline
    }
}

/// Takes over what has changed at a server.
fn changed(line: &mut LimitLine, at: u64, change: &Value) {
    if let Some(limit) = change.get("limit") {
        let number = |key| limit.get(key).and_then(Value::as_u64);
        let (Some(from), Some(to)) = (number("from"), number("to")) else { return };
        if line.points.is_empty() {
            line.add(at, from);
        }
        line.cuts += u64::from(to < from);
        line.add(at, to);
    } else if change.get("ejected").is_some() {
        line.pauses += 1;
        line.add(at, 0);
    } else if change.get("recovered").is_some() {
        let before = line.before;
        line.add(at, before);
    } else if let Some(rest) = change.get("rest") {
        line.pauses += 1;
        let before = line.before;
        if let Some(ms) = rest.get("ms").and_then(Value::as_u64)
            && before > 0
        {
            line.add(at, 0);
            line.add(at + ms, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sessions_retries_and_limits_are_read_and_the_rest_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        assert!(History::read(folder.path()).unwrap().launches.is_empty());
        let limit = |second: u32, change: &str| {
            format!(
                r#"{{"time":"1970-01-01T00:00:{second:02}Z","event":"limit","backend":"b","change":{{"at_ms":1,"replica":"r","change":{change}}}}}"#
            )
        };
        let lines = [
            r#"{"time":"1970-01-01T00:00:01Z","event":"launch","format":1}"#.to_owned(),
            limit(2, r#"{"limit":{"from":8,"to":4,"reason":"overloaded"}}"#),
            limit(3, r#"{"ejected":{"failures":5,"probe_in_ms":1}}"#),
            limit(4, r#"{"recovered":{"after_ms":1000}}"#),
            limit(5, r#"{"rest":{"ms":1500,"reason":"retry_after"}}"#),
            r#"{"time":"1970-01-01T00:00:06Z","event":"retry","unit":{"task":"t","backend":"b"}}"#
                .to_owned(),
            r#"{"time":"1970-01-01T00:00:06.5Z","event":"retry"}"#.to_owned(),
            "no event".to_owned(),
            r#"{"time":"1970-01-01T00:01:00Z","event":"launch","format":1}"#.to_owned(),
        ];
        fs::write(folder.path().join("events.jsonl"), lines.join("\n")).unwrap();
        let history = History::read(folder.path()).unwrap();
        assert_eq!(history.launches, [1_000, 60_000]);
        let line = &history.limits[&("b".to_owned(), "r".to_owned())];
        let points = [(2_000, 8), (2_000, 4), (3_000, 0), (4_000, 4), (5_000, 0), (6_500, 4)];
        assert_eq!((&line.points[..], line.cuts, line.pauses), (&points[..], 1, 2));
        let timeline = history.timeline();
        assert_eq!(timeline.length_ms(), 5_500);
        assert_eq!(timeline.bins().iter().map(|bin| bin.2.retries).sum::<u64>(), 2);
    }
}
