//! The progress line: on a terminal one that is drawn over, elsewhere a plain line every few seconds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    printer::Printer,
    route::change::What,
    run::event::{Event, Reporter, Slow},
    store::record::Status,
};

/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

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
            means: BTreeMap::new(),
        }
    }

    fn line(&self) -> String {
        let finished = self.scored + self.unscored;
        let done = self.done + finished;
        #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let rate = finished as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let total =
            if self.units_read == self.units { format!("/{}", self.total) } else { String::new() };
        let mut line = format!("{done}{total} samples, {rate:.1}/s");
        for (metric, (sum, count)) in self.means.iter().filter(|(_, (_, count))| *count > 0).take(2)
        {
            #[allow(clippy::cast_precision_loss, reason = "a mean to three digits")]
            let mean = sum / *count as f64;
            line.push_str(&format!(", {metric} {mean:.3}"));
        }
        if self.unscored > 0 {
            line.push_str(&format!(", {} unscored", self.unscored));
        }
        if self.skipped > 0 {
            line.push_str(&format!(", {} left out", self.skipped));
        }
        if self.retries > 0 {
            line.push_str(&format!(", {} retries", self.retries));
        }
        if self.limit > 0 {
            line.push_str(&format!(", {} of {} in flight", self.in_flight, self.limit));
        }
        if let Some(Slow { unit, id, attempt, age_ms, .. }) = &self.slowest {
            let seconds = age_ms / 1000;
            line.push_str(&format!(
                "; slowest: {unit}, sample {id}, attempt {attempt}, {seconds} s"
            ));
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
            self.printer.status(&self.line());
        } else {
            self.printer.note(&self.line());
        }
    }
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
