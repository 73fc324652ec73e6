//! How far a run is: on a terminal a line a task and backend that is drawn over, elsewhere a plain line every few
//! seconds.

mod rows;

use std::time::{Duration, Instant};

#[cfg(test)]
use unicode_width::UnicodeWidthStr as _;

use crate::{
    printer::Printer,
    route::change::{LONG_REST, What},
    run::event::{BackendPulse, Event, Reporter, Slow, UnitName},
};

use rows::{Row, Total};

/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two plain lines.
const PLAIN: Duration = Duration::from_secs(5);

/// A rest that is shorter is over before anyone has read of it.
const SHOWN_MS: u64 = 2_000;
/// Rows of a terminal that are left to what was said before.
const LEFT_ROWS: usize = 4;

/// Shows how far a run is.
pub struct Progress {
    printer: Printer,
    started: Instant,
    /// Samples that were finished before this process began.
    done: u64,
    shown: Option<Instant>,
    rows: Vec<Row>,
    retries: u64,
    skipped: u64,
    backends: Vec<BackendPulse>,
    slowest: Option<Slow>,
    /// The server that is left alone for the longest time because it asks for it, and until when.
    resting: Option<(String, jiff::Zoned)>,
    /// What the user has changed last, if it still holds everything.
    is_held: bool,
}

impl Progress {
    /// Nothing yet.
    pub fn new(printer: Printer) -> Self {
        Self {
            printer,
            started: Instant::now(),
            done: 0,
            shown: None,
            rows: Vec::new(),
            retries: 0,
            skipped: 0,
            backends: Vec::new(),
            slowest: None,
            resting: None,
            is_held: false,
        }
    }

    fn row(&mut self, unit: &UnitName) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.is_of(unit))
    }

    /// All of it on one line.
    fn line(&self) -> String {
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).sum::<u64>();
        let (scored, unscored) = (sum(|row| row.scored), sum(|row| row.unscored));
        let finished = scored + unscored;
        #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let rate = finished as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let all: Option<u64> = self.rows.iter().map(|row| row.total.exact()).sum();
        let total = all.map_or_else(String::new, |all| format!("/{all}"));
        let mut line = format!("{}{total} samples, {rate:.1}/s", self.done + finished);
        if let [row] = self.rows.as_slice()
            && let Some(mean) = row.mean()
        {
            line.push_str(&format!(", {mean}"));
        }
        if unscored > 0 {
            line.push_str(&format!(", {unscored} unscored"));
        }
        if self.skipped > 0 {
            line.push_str(&format!(", {} left out", self.skipped));
        }
        if self.retries > 0 {
            line.push_str(&format!(", {} retries", self.retries));
        }
        let limit: u32 = self.backends.iter().map(|backend| backend.limit).sum();
        if limit > 0 {
            let in_flight: u32 = self.backends.iter().map(|backend| backend.in_flight).sum();
            line.push_str(&format!(", {in_flight} of {limit} in flight"));
        }
        for remark in self.remarks() {
            line.push_str(&format!("; {remark}"));
        }
        line
    }

    /// What is stuck, or stands still.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.is_held {
            remarks.push("paused; `host ctl DIR resume` goes on".to_owned());
        }
        if let Some((replica, until)) = &self.resting {
            remarks.push(format!("{replica} rests until {}", clock(until)));
        }
        if let Some(Slow { unit, id, attempt, age_ms, .. }) = &self.slowest {
            let seconds = age_ms / 1000;
            remarks.push(format!("slowest: {unit}, sample {id}, attempt {attempt}, {seconds} s"));
        }
        remarks
    }

    /// A line a task and backend, as they fit, and one a remark.
    fn lines(&self, columns: usize, most: usize) -> Vec<String> {
        let remarks = self.remarks();
        let room = most.saturating_sub(remarks.len()).max(1);
        let mut shown: Vec<&Row> = self.rows.iter().collect();
        let mut left_out = None;
        if shown.len() > room {
            // Those that are at work first, then those that are not begun; each in its order.
            shown.sort_by_key(|row| (row.is_done(), row.began.is_none()));
            let finished = self.rows.iter().filter(|row| row.is_done()).count();
            let more = shown.len() - room.saturating_sub(1);
            shown.truncate(room.saturating_sub(1));
            left_out =
                Some(format!("and {more} more ({finished} of {} finished)", self.rows.len()));
        }
        let mut lines = rows::aligned(&shown, &self.backends, columns);
        lines.extend(left_out);
        lines.extend(remarks);
        lines
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
            let rows = self.printer.rows().unwrap_or(usize::MAX);
            self.printer.status_lines(&self.lines(columns, rows.saturating_sub(LEFT_ROWS).max(1)));
        } else {
            self.printer.note(&self.line());
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
                self.rows = units.iter().map(Row::new).collect();
                self.done = *done;
                self.started = Instant::now();
                self.printer.note(&format!("run directory: {directory}"));
                if *done > 0 {
                    self.printer.note(&format!("{done} samples are finished already"));
                }
            }
            Event::Sample { unit, status, scores, ms, cost_usd_nanos, .. } => {
                if let Some(row) = self.row(unit) {
                    row.finished(status, scores.as_ref(), *ms, *cost_usd_nanos);
                }
                self.show();
            }
            Event::Retry { unit, id, attempt, message, wait_ms, .. } => {
                self.retries += 1;
                if let Some(row) = self.row(unit) {
                    row.retries += 1;
                }
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
            Event::Read { unit, samples } => {
                if let Some(row) = self.row(unit) {
                    row.total = Total::Exact(*samples);
                }
            }
            Event::Pulse { backends, slowest } => {
                self.backends.clone_from(backends);
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
            Event::ForbiddenOrigin { backend, plugin, origin } => self.printer.warn(&format!(
                "backend `{backend}`: requests of plugin `{plugin}` to {origin} are not made: it is not allowed to reach it"
            )),
            Event::ServerEnded { backend, message } => {
                self.printer.warn(&format!("backend `{backend}`: {message}"));
            }
            Event::Warning { backend: Some(backend), message } => {
                self.printer.warn(&format!("backend `{backend}`: {message}"));
            }
            Event::Warning { backend: None, message } => self.printer.warn(message),
            Event::Control { command } => {
                match command.as_str() {
                    "pause" => self.is_held = true,
                    "resume" => self.is_held = false,
                    _ => {}
                }
                self.printer.note(&format!("asked for by `host ctl`: {command}"));
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
        run::event::{Resting, UnitPlan},
        store::record::Status,
    };

    fn launch(units: &[(&str, Option<u64>)]) -> Progress {
        let mut progress = Progress::new(Printer::new(Mode::Quiet));
        let plan = |(task, samples): &(&str, Option<u64>)| UnitPlan {
            task: (*task).to_owned(),
            backend: "small".to_owned(),
            samples: *samples,
            done: 0,
        };
        progress.on(&Event::Launch {
            format: 1,
            run: "r".to_owned(),
            directory: "runs/r".to_owned(),
            units: units.iter().map(plan).collect(),
            done: 0,
        });
        progress
    }

    fn unit(task: &str) -> UnitName {
        UnitName { task: task.into(), backend: "small".into() }
    }

    fn finish(progress: &mut Progress, task: &str, status: Status, acc: f64) {
        let scores = crate::score::parts::Parts([("acc".to_owned(), acc)].into());
        progress.on(&Event::Sample {
            unit: unit(task),
            id: "1".into(),
            repeat: 0,
            scores: (status == Status::Scored).then_some(scores),
            status,
            error: None,
            ms: 100.0,
            cost_usd_nanos: Some(2_000_000),
        });
    }

    #[test]
    fn each_task_at_each_backend_has_a_line_of_its_own() {
        let mut progress = launch(&[("piqa", Some(1838)), ("gsm8k", None)]);
        finish(&mut progress, "piqa", Status::Scored, 1.0);
        finish(&mut progress, "piqa", Status::Scored, 0.0);
        finish(&mut progress, "piqa", Status::Unscored("timeout".into()), 0.0);
        let state = BackendPulse {
            backend: "small".into(),
            in_flight: 8,
            limit: 32,
            ejected: vec![],
            resting: vec![],
        };
        progress.on(&Event::Pulse { backends: vec![state], slowest: None });
        let wide = progress.lines(200, 10);
        assert_eq!(wide.len(), 2, "{wide:#?}");
        let has =
            ["piqa @ small", "3/1838", "/s", "acc 0.500", "8 of 32", "1 unscored", "$0.006", "ETA"];
        for text in has {
            assert!(wide[0].contains(text), "no `{text}` in {}", wide[0]);
        }
        assert!(wide[1].contains("gsm8k @ small") && !wide[1].contains("of 32"), "{}", wide[1]);
        for columns in [80, 60, 40, 20] {
            for line in progress.lines(columns, 10) {
                assert!(line.width() < columns, "{columns}: {line}");
            }
        }
        assert!(progress.lines(80, 10)[0].contains("ETA"));
        progress.on(&Event::Read { unit: unit("piqa"), samples: 3 });
        assert!(progress.lines(80, 10)[0].contains("done"), "{:?}", progress.lines(80, 10));
    }

    #[test]
    fn where_there_are_more_than_rows_those_at_work_come_first() {
        let names: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
        let units: Vec<(&str, Option<u64>)> =
            names.iter().map(|name| (name.as_str(), Some(1))).collect();
        let mut progress = launch(&units);
        for task in ["t0", "t1"] {
            finish(&mut progress, task, Status::Scored, 1.0);
            progress.on(&Event::Read { unit: unit(task), samples: 1 });
        }
        progress.on(&Event::Read { unit: unit("t7"), samples: 2 });
        finish(&mut progress, "t7", Status::Scored, 1.0);
        let lines = progress.lines(80, 5);
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines[0].starts_with("t7 @ small"), "{lines:#?}");
        assert_eq!(lines[4], "and 16 more (2 of 20 finished)");
    }

    #[test]
    fn the_server_that_rests_longest_is_named_with_the_time_of_its_return() {
        let mut progress = launch(&[("t", None)]);
        let resting = |replica: &str, for_ms| Resting { replica: replica.to_owned(), for_ms };
        let mut pulse = |resting| {
            let backend = "b".to_owned();
            let state = BackendPulse { backend, in_flight: 0, limit: 1, ejected: vec![], resting };
            progress.on(&Event::Pulse { backends: vec![state], slowest: None });
            progress.line()
        };
        let before = from_now(90_000);
        let line = pulse(vec![resting("short", 2_500), resting("long", 90_000)]);
        let said = line.rsplit_once("; long rests until ").unwrap().1;
        assert!((clock(&before)..=clock(&from_now(90_000))).contains(&said.to_owned()), "{line}");
        assert!(!pulse(vec![resting("moment", 100)]).contains("rests"));
    }

    #[test]
    fn what_is_stuck_is_named() {
        let mut progress = launch(&[("piqa", None)]);
        let (unit, id) = (unit("piqa"), "validation-17".to_owned());
        let slowest = Slow { unit, id, repeat: 0, attempt: 2, age_ms: 61_000 };
        progress.on(&Event::Pulse { backends: vec![], slowest: Some(slowest) });
        let named = "slowest: piqa @ small, sample validation-17, attempt 2, 61 s";
        assert!(progress.line().ends_with(named), "{}", progress.line());
        assert_eq!(progress.lines(80, 10).last().unwrap(), named);
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
