//! The charts of a run, from its overview.

use super::chart::{Axis, Chart};
use crate::report::{
    log_histogram::LogHistogram,
    overview::Overview,
    timeline::{Bin, Timeline},
    view::View,
    words::{count, duration, tick},
};

/// Most bars of a histogram.
const BARS: u32 = 40;
/// Most bars along a time.
const TIME_BARS: usize = 80;
/// Most histograms, one a backend; of more there is one for all of them.
const MOST_BACKENDS: usize = 4;
/// Most servers in the chart of limits.
const MOST_SERVERS: usize = 6;
/// Latency percentiles over time, and their class.
const PERCENTILES: [(f64, &str, &str); 3] =
    [(0.5, "p50", "s1"), (0.9, "p90", "s2"), (0.99, "p99", "s3")];

/// A chart with what stands above it.
#[derive(Debug)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// The rest of what must be said.
    pub note: String,
    /// Class and word of each of its lines; empty where there is one kind of thing only.
    pub legend: Vec<(String, String)>,
    /// The chart.
    pub svg: String,
}

/// All charts of a run for which there is something to show.
pub fn figures(view: &View, overview: &Overview) -> Vec<Figure> {
    let mut figures = histograms(view, overview);
    let timeline = &overview.timeline;
    if overview.timed > 0 && timeline.length_ms() > 0 {
        let bins = coarser(timeline.bins());
        figures.extend(latency_over_time(timeline, &bins));
        figures.push(throughput(timeline, &bins));
        figures.extend(errors(timeline, &bins));
    }
    figures.extend(limits(timeline, overview));
    figures
}

/// Latency of scored samples, by backend.
fn histograms(view: &View, overview: &Overview) -> Vec<Figure> {
    let mut backends: Vec<(&str, LogHistogram)> = Vec::new();
    for (result, latency) in view.results.iter().zip(&overview.latency) {
        match backends.iter_mut().find(|(backend, _)| *backend == result.backend) {
            Some((_, sum)) => sum.merge(latency),
            None => backends.push((&result.backend, latency.clone())),
        }
    }
    backends.retain(|(_, latency)| latency.count() > 0);
    if backends.len() > MOST_BACKENDS {
        let mut all = LogHistogram::default();
        backends.iter().for_each(|(_, latency)| all.merge(latency));
        backends = vec![("all backends", all)];
    }
    let is_one = backends.len() == 1;
    backends
        .iter()
        .map(|(backend, latency)| {
            let title = if is_one { "Latency".to_owned() } else { format!("Latency, {backend}") };
            histogram(title, latency)
        })
        .collect()
}

fn histogram(title: String, latency: &LogHistogram) -> Figure {
    let bars = latency.bars(BARS);
    let from = bars.first().map_or(1.0, |bar| bar.0);
    let to = bars.last().map_or(10.0, |bar| bar.1);
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(0);
    let (x, y) = (Axis::logarithmic(from, to), Axis::up_to(most as f64));
    let mut chart = Chart::new(x, y, duration, tick);
    for (from, to, samples) in bars {
        let title = format!("{} to {}: {}", duration(from), duration(to), count(samples));
        chart.bar("fill", [from, to], [0.0, samples as f64], &title);
    }
    let shown = PERCENTILES
        .iter()
        .filter_map(|(share, name, _)| Some((name, latency.percentile(*share)?)))
        .map(|(name, ms)| format!("{name} {}", duration(ms)))
        .collect::<Vec<_>>()
        .join(", ");
    let label = format!("{title}: {shown}");
    let note = format!("scored samples, first attempt to end; {shown}");
    Figure { title, note, legend: Vec::new(), svg: chart.finish(&label) }
}

type Bins = Vec<(u64, u64, Bin)>;

/// Neighbours put together until there are few enough to be looked at.
fn coarser(bins: Bins) -> Bins {
    let group = bins.len().div_ceil(TIME_BARS).max(1);
    if group == 1 {
        return bins;
    }
    let join = |bins: &[(u64, u64, Bin)]| {
        let mut bins = bins.iter().cloned();
        let mut sum = bins.next()?;
        for (_, end, bin) in bins {
            sum.1 = end;
            sum.2.merge(&bin);
        }
        Some(sum)
    };
    bins.chunks(group).filter_map(join).collect()
}

fn time_axis(timeline: &Timeline) -> Axis {
    Axis::time(timeline.length_ms() as f64)
}

fn time_word(ms: f64) -> String {
    if ms == 0.0 { "0".to_owned() } else { duration(ms) }
}

fn over_time(timeline: &Timeline, y: Axis, y_word: impl Fn(f64) -> String) -> Chart {
    let mut chart = Chart::new(time_axis(timeline), y, time_word, y_word);
    timeline.seams().iter().for_each(|at| chart.seam(*at as f64, "the run was taken up again"));
    chart
}

fn latency_over_time(timeline: &Timeline, bins: &Bins) -> Option<Figure> {
    let line = |share| -> Vec<Option<(f64, f64)>> {
        bins.iter()
            .map(|(from, to, bin)| {
                let middle = (from + to) as f64 / 2.0;
                bin.latency.percentile(share).map(|ms| (middle, ms))
            })
            .collect()
    };
    let lines: Vec<_> =
        PERCENTILES.iter().map(|(share, _, class)| (*class, line(*share))).collect();
    let values = || lines.iter().flat_map(|(_, line)| line.iter().flatten().map(|(_, ms)| *ms));
    let most = values().fold(0.0, f64::max);
    let least = values().fold(f64::INFINITY, f64::min);
    if most <= 0.0 {
        return None;
    }
    // Where the slowest are many times slower, the others would lie on the ground.
    let is_wide = most / least > 20.0;
    let y = if is_wide { Axis::logarithmic(least * 0.8, most * 1.1) } else { Axis::up_to(most) };
    let mut chart = over_time(timeline, y, duration);
    lines.iter().for_each(|(class, line)| chart.line(class, line));
    Some(Figure {
        title: "Latency over time".to_owned(),
        note: "of the samples that ended then".to_owned(),
        legend: PERCENTILES
            .iter()
            .map(|(_, name, class)| ((*class).to_owned(), (*name).to_owned()))
            .collect(),
        svg: chart.finish("Latency percentiles over the time of the run"),
    })
}

/// So many in a bin as a number a second.
fn rate(from: u64, to: u64, count: u64) -> f64 {
    count as f64 * 1e3 / (to.saturating_sub(from)).max(1) as f64
}

fn throughput(timeline: &Timeline, bins: &Bins) -> Figure {
    let finished = |bin: &Bin| bin.scored + bin.unscored;
    let most =
        bins.iter().map(|(from, to, bin)| rate(*from, *to, finished(bin))).fold(0.0, f64::max);
    let mut chart = over_time(timeline, Axis::up_to(most), tick);
    for (from, to, bin) in bins {
        let height = rate(*from, *to, finished(bin));
        let title = format!(
            "{} to {}: {} samples, {} a second",
            time_word(*from as f64),
            time_word(*to as f64),
            count(finished(bin)),
            tick(height)
        );
        chart.bar("fill", [*from as f64, *to as f64], [0.0, height], &title);
    }
    Figure {
        title: "Throughput".to_owned(),
        note: "finished samples a second".to_owned(),
        legend: Vec::new(),
        svg: chart.finish("Finished samples a second over the time of the run"),
    }
}

fn errors(timeline: &Timeline, bins: &Bins) -> Option<Figure> {
    let all = |bin: &Bin| bin.retries + bin.unscored;
    let most = bins.iter().map(|(from, to, bin)| rate(*from, *to, all(bin))).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let mut chart = over_time(timeline, Axis::up_to(most), tick);
    for (from, to, bin) in bins {
        let unscored = rate(*from, *to, bin.unscored);
        let top = rate(*from, *to, all(bin));
        let title = format!(
            "{} to {}: {} attempts failed and were repeated, {} samples unscored",
            time_word(*from as f64),
            time_word(*to as f64),
            count(bin.retries),
            count(bin.unscored)
        );
        let span = [*from as f64, *to as f64];
        chart.bar("unscored", span, [0.0, unscored], &title);
        chart.bar("retried", span, [unscored, top], &title);
    }
    Some(Figure {
        title: "Errors".to_owned(),
        note: "a second".to_owned(),
        legend: vec![
            ("retried".to_owned(), "attempts that were repeated".to_owned()),
            ("unscored".to_owned(), "samples left unscored".to_owned()),
        ],
        svg: chart.finish("Failed attempts and unscored samples a second over the time of the run"),
    })
}

fn limits(timeline: &Timeline, overview: &Overview) -> Option<Figure> {
    let mut servers: Vec<_> = overview.history.limits.iter().collect();
    servers.sort_by_key(|(_, line)| std::cmp::Reverse(line.points.len()));
    let (all, cuts, pauses) = (
        servers.len(),
        servers.iter().map(|(_, line)| line.cuts).sum::<u64>(),
        servers.iter().map(|(_, line)| line.pauses).sum::<u64>(),
    );
    servers.truncate(MOST_SERVERS);
    if servers.is_empty() || timeline.length_ms() == 0 {
        return None;
    }
    let most = servers.iter().flat_map(|(_, line)| &line.points).map(|(_, limit)| *limit).max();
    let mut chart = over_time(timeline, Axis::up_to(most.unwrap_or(1) as f64), tick);
    let mut legend = Vec::new();
    for (number, ((backend, replica), line)) in servers.iter().enumerate() {
        let class = format!("s{}", number + 1);
        let mut points: Vec<(f64, f64)> = line
            .points
            .iter()
            .map(|(at, limit)| (timeline.elapsed_ms(*at) as f64, *limit as f64))
            .collect();
        if let Some((_, first)) = points.first().copied() {
            points.insert(0, (0.0, first));
        }
        chart.steps(&class, &points);
        let is_alone = replica == backend;
        legend.push((
            class,
            if is_alone { backend.clone() } else { format!("{backend} at {replica}") },
        ));
    }
    let few = match all - servers.len() {
        0 => String::new(),
        more => format!("; {more} further servers, whose limits moved less, are left out"),
    };
    Some(Figure {
        title: "Requests in flight, at most".to_owned(),
        note: format!(
            "how the limiter moved: cut {} times, paused {} times (at 0){few}",
            count(cuts),
            count(pauses)
        ),
        legend,
        svg: chart.finish("Limits of requests in flight over the time of the run"),
    })
}
