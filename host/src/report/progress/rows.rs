//! The lines of a run on a terminal: one a task and backend, its cells below those of the others. What does not fit is left
//! out, the least important first.

use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr as _;

use crate::{
    report::words::{countdown, dollars},
    run::event::{BackendPulse, UnitName, UnitPlan},
    score::{metric::Metric, parts::Parts},
    store::record::Status,
};

/// Between two cells.
const GAP: &str = "  ";

/// How many samples there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    /// Nothing is known.
    Unknown,
    /// As many as the file has lines.
    About(u64),
    /// All are read.
    Exact(u64),
}

impl Total {
    pub(super) fn exact(self) -> Option<u64> {
        match self {
            Self::Exact(samples) => Some(samples),
            _ => None,
        }
    }

    fn roughly(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::About(samples) | Self::Exact(samples) => Some(samples),
        }
    }
}

/// A task at a backend.
#[derive(Debug)]
pub(super) struct Row {
    unit: UnitName,
    done: u64,
    pub(super) total: Total,
    pub(super) scored: u64,
    pub(super) unscored: u64,
    pub(super) retries: u64,
    cost_usd_nanos: Option<u64>,
    /// The metric that is shown, and its sum and count.
    mean: Option<(&'static str, f64, u64)>,
    /// When its first sample was asked.
    pub(super) began: Option<Instant>,
}

impl Row {
    pub(super) fn new(plan: &UnitPlan) -> Self {
        Self {
            unit: UnitName { task: plan.task.clone(), backend: plan.backend.clone() },
            done: plan.done,
            total: plan.samples.map_or(Total::Unknown, Total::About),
            scored: 0,
            unscored: 0,
            retries: 0,
            cost_usd_nanos: None,
            mean: None,
            began: None,
        }
    }

    pub(super) fn is_of(&self, unit: &UnitName) -> bool {
        self.unit == *unit
    }

    /// A sample is finished.
    pub(super) fn finished(
        &mut self,
        status: &Status,
        scores: Option<&Parts>,
        ms: f64,
        cost_usd_nanos: Option<u64>,
    ) {
        match status {
            Status::Scored => self.scored += 1,
            Status::Unscored(_) => self.unscored += 1,
        }
        let took = Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default();
        let now = Instant::now();
        self.began.get_or_insert_with(|| now.checked_sub(took).unwrap_or(now));
        if let Some(cost) = cost_usd_nanos {
            self.cost_usd_nanos = Some(self.cost_usd_nanos.unwrap_or(0).saturating_add(cost));
        }
        let Some(scores) = scores else { return };
        let first = Metric::ALL.into_iter().find(|metric| scores.get(*metric).is_some());
        let name = self.mean.map(|(name, ..)| name).or(first.map(Metric::name));
        if let Some(name) = name
            && let Some(value) = scores.0.get(name)
        {
            let (_, sum, count) = self.mean.get_or_insert((name, 0.0, 0));
            (*sum, *count) = (*sum + value, *count + 1);
        }
    }

    /// Whether everything is finished.
    pub(super) fn is_done(&self) -> bool {
        self.total.exact().is_some_and(|total| self.count() >= total)
    }

    /// The first metric so far.
    pub(super) fn mean(&self) -> Option<String> {
        let (name, sum, count) = self.mean?;
        #[allow(clippy::cast_precision_loss, reason = "a mean to three digits")]
        let mean = sum / count as f64;
        Some(format!("{name} {mean:.3}"))
    }

    fn count(&self) -> u64 {
        self.done + self.scored + self.unscored
    }

    /// Finished samples a second.
    fn rate(&self) -> Option<f64> {
        let seconds = self.began?.elapsed().as_secs_f64().max(1e-3);
        #[allow(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let rate = (self.scored + self.unscored) as f64 / seconds;
        Some(rate)
    }

    fn eta(&self) -> Option<String> {
        if self.is_done() {
            return Some("done".to_owned());
        }
        let left = self.total.roughly()?.saturating_sub(self.count());
        #[allow(clippy::cast_precision_loss, reason = "a guess needs no more digits")]
        let seconds = left as f64 / self.rate().filter(|rate| *rate > 0.0)?;
        Some(format!("ETA {}", countdown(seconds)))
    }

    /// The cells in the order in which they are shown, and in which they are dropped: those of the highest number first.
    fn cells(&self, backends: &[BackendPulse]) -> [(u8, String); 9] {
        let total = match self.total {
            Total::Unknown => String::new(),
            Total::About(samples) | Total::Exact(samples) => format!("/{samples}"),
        };
        // Units of a backend come one after the other.
        let is_at_work = self.began.is_some() && !self.is_done();
        let pulse = backends.iter().find(|one| one.backend == self.unit.backend);
        let in_flight = pulse.filter(|_| is_at_work);
        let counted = |count: u64, what: &str| {
            if count > 0 { format!("{count} {what}") } else { String::new() }
        };
        #[allow(clippy::cast_precision_loss, reason = "an estimate needs no more digits")]
        let cost = self.cost_usd_nanos.map(|nanos| dollars(nanos as f64 / 1e9));
        [
            (0, self.unit.to_string()),
            (0, format!("{}{total}", self.count())),
            (3, self.rate().map(|rate| format!("{rate:.1}/s")).unwrap_or_default()),
            (1, self.mean().unwrap_or_default()),
            (
                4,
                in_flight
                    .map(|pulse| format!("{} of {}", pulse.in_flight, pulse.limit))
                    .unwrap_or_default(),
            ),
            (1, counted(self.unscored, "unscored")),
            (6, counted(self.retries, "retries")),
            (5, cost.unwrap_or_default()),
            (2, self.eta().unwrap_or_default()),
        ]
    }
}

/// The rows as lines of less than so many columns.
pub(super) fn aligned(rows: &[&Row], backends: &[BackendPulse], columns: usize) -> Vec<String> {
    let cells: Vec<_> = rows.iter().map(|row| row.cells(backends)).collect();
    let mut widths = [0; 9];
    for row in &cells {
        for (width, (_, cell)) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let ranks: Vec<u8> = cells.first().into_iter().flatten().map(|(rank, _)| *rank).collect();
    let width_up_to = |most: u8| -> usize {
        let shown = ranks.iter().zip(widths).filter(|(rank, width)| **rank <= most && *width > 0);
        shown.map(|(_, width)| width + GAP.len()).sum()
    };
    let most = (0..=6).rev().find(|most| width_up_to(*most) < columns.saturating_add(GAP.len()));
    let most = most.unwrap_or(0);
    let over = (width_up_to(most) + 1).saturating_sub(columns.saturating_add(GAP.len()));
    let name = widths[0].saturating_sub(over).max(8);
    let line = |row: &[(u8, String); 9]| {
        let mut line = String::new();
        let shown = row.iter().zip(widths).enumerate();
        for (column, ((rank, cell), width)) in
            shown.filter(|(_, ((rank, _), width))| *rank <= most && *width > 0)
        {
            let (cell, width) = match column {
                0 => (shortened(cell, name), name.min(width)),
                _ => (cell.clone(), width),
            };
            let _ = rank;
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            // Numbers stand at the right of their cells, names at the left.
            line.push_str(&if column == 0 {
                format!("{cell}{pad}{GAP}")
            } else {
                format!("{pad}{cell}{GAP}")
            });
        }
        let line = line.trim_end().to_owned();
        if line.width() < columns { line } else { shortened(&line, columns.saturating_sub(1)) }
    };
    cells.iter().map(line).collect()
}

/// A text in so many columns, its end left out.
fn shortened(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) + 1 > columns {
            break;
        }
        short.push(c);
    }
    format!("{short}…")
}
