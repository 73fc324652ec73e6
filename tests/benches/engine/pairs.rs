//! The host and the bare loop in turns, and what their pairs come to.

use std::fmt;

use super::{
    bare, child,
    child::Spent,
    work::{Recorded, Work},
};

/// What the pairs come to: medians, and of the ratios the extremes too.
pub(crate) struct Pairs {
    samples: usize,
    pairs: Vec<(Spent, Spent)>,
}

/// Measures pairs on one server. Which of the two goes first changes.
pub(crate) fn run(
    work: &Work,
    recorded: &Recorded,
    url: &str,
    samples: usize,
    concurrency: usize,
    pairs: usize,
) -> Pairs {
    let host = || {
        let run = work.run(recorded.wire, url, samples, concurrency);
        child::measure(&mut run.command(), false)
    };
    let bare = || {
        let (order, out) = (work.path(), work.path());
        let spent = child::measure(
            &mut bare::command(&recorded.order(url, samples, concurrency, out.clone()), &order),
            false,
        );
        let lines = std::fs::read(&out).unwrap();
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), samples);
        std::fs::remove_file(out).unwrap();
        spent
    };
    let pairs = (0..pairs)
        .map(|pair| {
            if pair % 2 == 0 {
                let host = host();
                (host, bare())
            } else {
                let bare = bare();
                (host(), bare)
            }
        })
        .collect();
    Pairs { samples, pairs }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.samples as f64;
        let rate = |spent: &Spent| samples / spent.seconds;
        let cpu = |spent: &Spent| spent.cpu_seconds * 1e6 / samples;
        let of =
            |figure: &dyn Fn(&(Spent, Spent)) -> f64| Middle::of(self.pairs.iter().map(figure));
        write!(
            f,
            "{:.0} | {:.0} | {:.3} | {:.1} | {:.1} | {:.3}",
            of(&|(host, _)| rate(host)).median,
            of(&|(_, bare)| rate(bare)).median,
            of(&|(host, bare)| rate(host) / rate(bare)),
            of(&|(host, _)| cpu(host)).median,
            of(&|(_, bare)| cpu(bare)).median,
            of(&|(host, bare)| cpu(host) / cpu(bare)),
        )
    }
}

/// A median between its extremes.
pub(crate) struct Middle {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Middle {
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (figures[0], figures[figures.len() - 1]);
        Self { median: figures[figures.len() / 2], least, most }
    }
}

impl fmt::Display for Middle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let Self { median, least, most } = self;
        write!(f, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
