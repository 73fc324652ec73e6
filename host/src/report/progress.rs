//! The progress line: on a terminal one that is drawn over, elsewhere a plain line every few seconds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use unicode_width::UnicodeWidthStr as _;

use crate::{
    printer::Printer,
    route::change::{LONG_REST, What},
    run::event::{Event, Reporter, Slow},
    store::record::Status,
};

/// Beyond it nothing more of a line is left out.
const MOST_BRIEF: u8 = 3;
/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

/// A rest that is shorter is over before anyone has read of it.
const SHOWN_MS: u64 = 2_000;

/// Shows how far a run is.
pub struct Progress {
    printer: Printer,
    started: Instant,
    /// Samples that were finished before this process began.
    done: u64,
    shown: Option<Instant>,
    /// Samples handed out, by unit, once all of them are.
    total: u64,
    units_read: usize,
    units: usize,
    scored: u64,
    unscored: u64,
    retries: u64,
    skipped: u64,
    in_flight: u32,
    limit: u32,
    slowest: Option<Slow>,
    /// The server that is left alone for the longest time because it asks for it, and until when.
    resting: Option<(String, jiff::Zoned)>,
    /// Sum and count of the first metric of each kind seen.
    means: BTreeMap<String, (f64, u64)>,
}

impl Progress {
    /// Nothing yet.
    pub fn new(printer: Printer) -> Self {
        Self {
            printer,
            started: Instant::now(),
            done: 0,
            shown: None,
            total: 0,
            units_read: 0,
            units: 0,
            scored: 0,
            unscored: 0,
            retries: 0,
            skipped: 0,
            in_flight: 0,
            limit: 0,
            slowest: None,
            resting: None,
            means: BTreeMap::new(),
        }
    }

    /// How it stands; in full under 0, and with less that can be left out the higher `brief` is.
    fn line(&self, brief: u8) -> String {
        let finished = self.scored + self.unscored;
        let done = self.done + finished;
        #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let rate = finished as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let total =
            if self.units_read == self.units { format!("/{}", self.total) } else { String::new() };
        let mut line = format!("{done}{total} samples, {rate:.1}/s");
        let means = if brief < 2 { 2 } else { 0 };
        let counted = self.means.iter().filter(|(_, (_, count))| *count > 0);
        for (metric, (sum, count)) in counted.take(means) {
            #[allow(clippy::cast_precision_loss, reason = "a mean to three digits")]
            let mean = sum / *count as f64;
            line.push_str(&format!(", {metric} {mean:.3}"));
        }
        if self.unscored > 0 {
            line.push_str(&format!(", {} unscored", self.unscored));
        }
        if self.skipped > 0 && brief < 3 {
            line.push_str(&format!(", {} left out", self.skipped));
        }
        if self.retries > 0 && brief < 3 {
            line.push_str(&format!(", {} retries", self.retries));
        }
        if self.limit > 0 {
            line.push_str(&format!(", {} of {} in flight", self.in_flight, self.limit));
        }
        if let Some((replica, until)) = &self.resting {
            line.push_str(&format!("; {replica} rests until {}", clock(until)));
        }
        if let Some(Slow { unit, id, attempt, age_ms, .. }) = &self.slowest {
            let seconds = age_ms / 1000;
            line.push_str(&if brief < 1 {
                format!("; slowest: {unit}, sample {id}, attempt {attempt}, {seconds} s")
            } else {
                format!("; slowest: {id}, {seconds} s")
            });
        }
        line
    }

    fn show(&mut self) {
        let terminal = self.printer.stderr_is_terminal();
        let pause = if terminal { REDRAW } else { PLAIN };
        let since = self.shown.unwrap_or(self.started);
        if since.elapsed() < pause {
            return;
        }
        self.shown = Some(Instant::now());
        if terminal {
            let columns = self.printer.columns().unwrap_or(usize::MAX);
            let mut lines = (0..=MOST_BRIEF).map(|brief| self.line(brief));
            let fits = lines.find(|line| line.width() < columns);
            self.printer.status(&fits.unwrap_or_else(|| self.line(MOST_BRIEF)));
        } else {
            self.printer.note(&self.line(0));
        }
    }
}

fn from_now(ms: u64) -> jiff::Zoned {
    let span = jiff::SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    let now = jiff::Zoned::now();
    now.saturating_add(span)
}

/// A time of this day as the user's clock shows it, with the date if it is of another day.
fn clock(time: &jiff::Zoned) -> String {
    let is_today =
        time.date() == jiff::Zoned::now().with_time_zone(time.time_zone().clone()).date();
    time.strftime(if is_today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

impl Reporter for Progress {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Launch { units, directory, done, .. } => {
                self.units = units.len();
                self.done = *done;
                self.started = Instant::now();
                self.printer.note(&format!("run directory: {directory}"));
                if *done > 0 {
                    self.printer.note(&format!("{done} samples are finished already"));
                }
            }
            Event::Sample { status, scores, .. } => {
                match status {
                    Status::Scored => self.scored += 1,
                    Status::Unscored(_) => self.unscored += 1,
                }
                for name in ["acc", "acc_norm", "exact_match"] {
                    if let Some(value) = scores.as_ref().and_then(|scores| scores.0.get(name)) {
                        let (sum, count) = self.means.entry(name.to_owned()).or_default();
                        *sum += value;
                        *count += 1;
                    }
                }
                self.show();
            }
            Event::Retry { unit, id, attempt, message, wait_ms, .. } => {
                self.retries += 1;
                // One line tells the user what is wrong; the count tells how often.
                if self.retries == 1 {
                    self.printer.warn(&format!(
                        "{unit}, sample {id}: attempt {attempt} failed ({message}); next in {wait_ms} ms"
                    ));
                }
                self.show();
            }
            Event::Skipped { unit, reason } => {
                self.skipped += 1;
                // The first few show the pattern; each is in events.jsonl.
                if self.skipped <= 3 {
                    self.printer.warn(&format!("{unit}: left out: {reason}"));
                }
            }
            Event::Read { samples, .. } => {
                self.total += samples;
                self.units_read += 1;
            }
            Event::Pulse { backends, slowest } => {
                self.in_flight = backends.iter().map(|backend| backend.in_flight).sum();
                self.limit = backends.iter().map(|backend| backend.limit).sum();
                self.slowest.clone_from(slowest);
                let resting = backends.iter().flat_map(|backend| &backend.resting);
                let resting = resting.filter(|one| one.for_ms >= SHOWN_MS);
                self.resting = resting
                    .max_by_key(|one| one.for_ms)
                    .map(|one| (one.replica.clone(), from_now(one.for_ms)));
                self.show();
            }
            Event::Limit { backend, change } => {
                let (server, ms) = (&change.replica, Duration::from_millis);
                let text = match change.what {
                    What::Ejected { failures, .. } => format!(
                        "{server} failed {failures} times in a row; it is left alone but for a probe now and then"
                    ),
                    What::Recovered { after_ms } => {
                        format!("{server} answers again, after {:.1?}", ms(after_ms))
                    }
                    What::Rest { ms: rest, .. } if ms(rest) > LONG_REST => format!(
                        "{server} asks to be left alone until {}; nothing is sent to it before",
                        clock(&from_now(rest))
                    ),
                    // events.jsonl has them all.
                    _ => return,
                };
                self.printer.warn(&format!("backend `{backend}`: {text}"));
            }
            // The command's last word says it.
            Event::Fatal { .. } => {}
            Event::Spent { reason } => self
                .printer
                .warn(&format!("{reason}: nothing more is asked; what is finished is kept")),
            Event::ServerEnded { backend, message } => {
                self.printer.warn(&format!("backend `{backend}`: {message}"));
            }
            Event::Warning { backend, message } => {
                self.printer.warn(&format!("backend `{backend}`: {message}"));
            }
            Event::Interrupted => self.printer.warn("stopped; what is finished is kept"),
            Event::Done { .. } => self.printer.status(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        printer::Mode,
        run::event::{BackendPulse, Resting},
    };

    #[test]
    fn the_server_that_rests_longest_is_named_with_the_time_of_its_return() {
        let mut progress = Progress::new(Printer::new(Mode::Quiet));
        let resting = |replica: &str, for_ms| Resting { replica: replica.to_owned(), for_ms };
        let mut pulse = |resting| {
            let backend = "b".to_owned();
            let state = BackendPulse { backend, in_flight: 0, limit: 1, ejected: vec![], resting };
            progress.on(&Event::Pulse { backends: vec![state], slowest: None });
            progress.line(0)
        };
        let before = from_now(90_000);
        let line = pulse(vec![resting("short", 2_500), resting("long", 90_000)]);
        let said = line.rsplit_once("; long rests until ").unwrap().1;
        assert!((clock(&before)..=clock(&from_now(90_000))).contains(&said.to_owned()), "{line}");
        assert!(!pulse(vec![resting("moment", 100)]).contains("rests"));
    }

    #[test]
    fn what_is_stuck_is_named_also_where_there_is_little_room() {
        let mut progress = Progress::new(Printer::new(Mode::Quiet));
        let unit = crate::run::event::UnitName { task: "piqa".into(), backend: "small".into() };
        let slowest =
            Slow { unit, id: "validation-17".into(), repeat: 0, attempt: 2, age_ms: 61_000 };
        progress.on(&Event::Pulse { backends: vec![], slowest: Some(slowest) });
        let long = "; slowest: piqa @ small, sample validation-17, attempt 2, 61 s";
        assert!(progress.line(0).ends_with(long), "{}", progress.line(0));
        for brief in 1..=MOST_BRIEF {
            assert!(progress.line(brief).ends_with("; slowest: validation-17, 61 s"));
        }
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let clock_of = |ms| clock(&from_now(ms));
        assert_eq!(clock_of(0).len(), "23:59:59".len());
        assert_eq!(clock_of(48 * 3_600_000).len(), "2026-01-01 23:59:59".len());
        // A server may ask for anything.
        let _ = clock_of(u64::MAX);
    }
}
