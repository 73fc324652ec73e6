//! Writes the page: results and charts first, so that a browser shows them before it has read the rest, then the
//! samples, a piece at a time. Nothing of a sample is kept in memory but what pairs it with another run's.

use std::{
    io::{self, Write},
    path::Path,
};

use askama::Template as _;
use serde::Serialize;

use super::{
    charts::figures,
    comparison::{Flipped, compared},
    detail::Detail,
    details::{Chooser, Kept, MOST_BYTES},
    embed,
    page::{End, Page, Samples},
    results,
};
use crate::{
    report::{
        answer::InWords,
        comparison::compare::{Only, paired},
        error::ReportError,
        file,
        overview::Overview,
        pairing::{Flips, SampleFinder, UnitPair, pair_units},
        verdict::Verdict,
        view::View,
    },
    score::metric::Metric,
    store::{
        SampleRecord,
        stored_run::{StoredRun, StoredSamples},
    },
};

/// Most samples of which a run that ends writes more than the results, unasked.
pub const MOST_UNASKED: u64 = 100_000;
/// Rows of the list that are packed together.
const INDEX_ROWS: usize = 4_000;
/// Bytes of details that are packed together, more or less: what is unpacked to show one sample.
const DETAILS_BYTES: usize = 192 * 1024;

/// Writes the report of one run, or of two side by side, to this path: as a whole, or not at all. `only` is what the
/// views were left with.
///
/// # Errors
/// A run cannot be read, or the file cannot be written.
pub fn write_file(views: &[View], only: &Only, path: &Path) -> Result<(), ReportError> {
    file::write(path, |page| write(views, only, page))
}

/// Writes the report at the end of a run, next to its results. Of a very large run it has no charts and samples, which
/// would take longer than a user waits.
///
/// # Errors
/// As for [`write_file`].
pub fn write_at_end(directory: &Path, path: &Path) -> Result<(), ReportError> {
    let views = [View::open(directory)?];
    let total: u64 = views.iter().flat_map(|view| &view.results).map(|one| one.samples.total).sum();
    if total <= MOST_UNASKED {
        return write_file(&views, &Only::default(), path);
    }
    let why = format!(
        "This run has more than {MOST_UNASKED} samples, so its end wrote the results only. `host report {}` makes the \
         whole report, with charts and samples.",
        directory.display()
    );
    file::write(path, |page| {
        let groups = results::groups(&views, &pair_units(&[], &first_results(&views), &[]));
        Page::new(&views, groups, Samples::Absent(why)).write_into(page)?;
        End { meta: "null".to_owned() }.write_into(page)?;
        Ok(())
    })
}

fn first_results(views: &[View]) -> Vec<crate::store::summary::TaskResult> {
    views.first().map(|view| view.results.clone()).unwrap_or_default()
}

/// A run with what is needed to go through its samples.
struct Side<'a> {
    view: &'a View,
    samples: StoredSamples,
    overview: Overview,
    /// By result, the pairs that it is in, and what says whether a sample of it is right.
    units: Vec<(Vec<usize>, Option<Metric>)>,
}

/// Writes the page of one run, or of two.
///
/// # Errors
/// A run cannot be read, or the page takes nothing more.
pub fn write(views: &[View], only: &Only, page: &mut dyn Write) -> Result<(), ReportError> {
    let pairs = match views {
        [first, second, ..] => {
            let compared = paired(&first.run, &second.run, only);
            pair_units(&compared, &first.results, &second.results)
        }
        _ => pair_units(&[], &first_results(views), &[]),
    };
    let mut finder = SampleFinder::default();
    let mut sides = Vec::new();
    for (number, view) in views.iter().enumerate() {
        let samples = view.samples()?;
        let units = units(&pairs, number, view);
        let overview = Overview::of(view, &samples, |unit, outcome, line| {
            if number == 1 {
                for pair in units.get(unit).into_iter().flat_map(|(pairs, _)| pairs) {
                    finder.add(*pair, &outcome.sample.id, outcome.sample.repeat, line);
                }
            }
        })?;
        sides.push(Side { view, samples, overview, units });
    }
    // What stands beside several of the other run is there as often.
    let sum = |of: fn(&Overview) -> u64| {
        sides.iter().map(|side| of(&side.overview) * side.most_pairs()).sum()
    };
    let kept = Kept::within(
        MOST_BYTES,
        sum(|overview| overview.notable_bytes),
        sum(|overview| overview.plain_bytes),
    );
    let groups = results::groups(views, &pairs);
    let mut head = Page::new(views, groups, Samples::Listed(note(views, kept)));
    let mut flips = Flips::default();
    if views.len() > 1 {
        let runs: Vec<StoredRun> = views
            .iter()
            .map(|view| StoredRun::open(&view.run.directory))
            .collect::<Result<_, _>>()?;
        let compared = compared(&runs, only)?;
        flips = self::flips(views, &pairs, &compared.flipped);
        head.comparison = Some(compared);
    }
    for (run, side) in head.runs.iter_mut().zip(&sides) {
        run.figures = figures(side.view, &side.overview);
        let finished: u64 = side.overview.verdict_sums().iter().sum();
        if side.overview.timed < finished {
            "Some samples do not say when they ended, since an earlier host wrote them; they are in no chart over time."
                .clone_into(&mut run.chart_note);
        }
    }
    head.write_into(page)?;
    page.flush()?;
    let rows = write_samples(&sides, finder, flips, kept, page)?;
    let meta = Meta {
        runs: (0..views.len()).map(|number| results::letter(views.len(), number)).collect(),
        units: pairs.iter().map(|pair| unit_name(views, pair)).collect(),
        rows,
    };
    End { meta: embed::json(&meta) }.write_into(page)?;
    page.flush()?;
    Ok(())
}

/// What must be said of the samples.
fn note(views: &[View], kept: Kept) -> String {
    let hashed = views.iter().any(View::is_hashed);
    let hashed = if hashed {
        "The run stores digests only (run.store = \"hash\"): there are no prompts, and answers are shown by their digest."
    } else {
        ""
    };
    [hashed, &kept.in_words()].join(" ").trim().to_owned()
}

/// What the page's script must know.
#[derive(Serialize)]
struct Meta {
    runs: Vec<&'static str>,
    units: Vec<String>,
    rows: usize,
}

fn unit_name(views: &[View], pair: &UnitPair) -> String {
    let of = |number: usize, at: Option<usize>| views.get(number)?.results.get(at?);
    match (of(0, pair.first), of(1, pair.second)) {
        (Some(first), Some(second)) if first.backend != second.backend => {
            format!("{} @ {} / {}", first.task, first.backend, second.backend)
        }
        (Some(result), _) | (None, Some(result)) => format!("{} @ {}", result.task, result.backend),
        (None, None) => String::new(),
    }
}

/// By result of this run, the numbers of its pairs, and what says whether a sample of it is right.
fn units(pairs: &[UnitPair], run: usize, view: &View) -> Vec<(Vec<usize>, Option<Metric>)> {
    let own = |pair: &UnitPair| if run == 0 { pair.first } else { pair.second };
    let unit = |(at, result)| {
        let numbered = pairs.iter().enumerate().filter(|(_, pair)| own(pair) == Some(at));
        (numbered.map(|(number, _)| number).collect(), View::judged_by(result))
    };
    view.results.iter().enumerate().map(unit).collect()
}

/// What flipped, by the numbers of pairs.
fn flips(views: &[View], pairs: &[UnitPair], flipped: &[Flipped]) -> Flips {
    let mut flips = Flips::default();
    for Flipped { task, backends: [a, b], samples } in flipped {
        let unit = |run: usize, backend: &str| views.get(run)?.unit(task, backend);
        let pair = UnitPair { first: unit(0, a), second: unit(1, b) };
        let Some(pair) = pairs.iter().position(|one| *one == pair) else { continue };
        samples.iter().for_each(|(id, gained)| flips.add(pair, id, *gained));
    }
    flips
}

/// Writes all samples; gives how many rows the list has.
fn write_samples(
    sides: &[Side<'_>],
    mut finder: SampleFinder,
    flips: Flips,
    kept: Kept,
    page: &mut dyn Write,
) -> Result<usize, ReportError> {
    let mut rows = Rows::new(kept, flips, page);
    let [first, rest @ ..] = sides else { return Ok(0) };
    let second = rest.first();
    let mut buffer = Vec::new();
    first.samples.each(|_, line| {
        let record: SampleRecord = first.samples.parse(line)?;
        let Some((pairs, _)) = first.unit(&record) else { return Ok(()) };
        for pair in pairs {
            let own = Some(first.judged(record.clone()));
            let Some(second) = second else {
                rows.add(*pair, &[own])?;
                continue;
            };
            let partner = finder.take(*pair, &record.sample.id, record.sample.repeat);
            let partner = partner.map(|number| second.record(number, &mut buffer)).transpose()?;
            rows.add(*pair, &[own, partner])?;
        }
        Ok::<_, ReportError>(())
    })?;
    if let Some(second) = second {
        for (number, pair) in finder.left() {
            let record = second.record(number, &mut buffer)?;
            rows.add(pair, &[None, Some(record)])?;
        }
    }
    rows.finish()
}

/// A sample of a run, and what says whether it is right.
struct Judged {
    record: SampleRecord,
    by: Option<Metric>,
}

impl Side<'_> {
    /// The pairs of the unit that a sample is of, and what it is judged by.
    fn unit(&self, record: &SampleRecord) -> Option<&(Vec<usize>, Option<Metric>)> {
        self.units.get(self.view.unit(&record.task, &record.backend)?)
    }

    fn judged(&self, record: SampleRecord) -> Judged {
        let by = self.unit(&record).and_then(|(_, by)| *by);
        Judged { record, by }
    }

    fn record(&self, number: usize, buffer: &mut Vec<u8>) -> Result<Judged, ReportError> {
        let line = self.samples.line(number, buffer)?;
        Ok(self.judged(self.samples.parse(line)?))
    }

    /// In how many pairs a unit of this run is at most.
    fn most_pairs(&self) -> u64 {
        self.units.iter().map(|(pairs, _)| pairs.len() as u64).max().unwrap_or(1)
    }
}

/// What the list tells of a sample in two runs, as the page's script knows it.
#[derive(Clone, Copy)]
enum Mark {
    /// It did not flip, or is in one run only.
    None = 0,
    /// Wrong in A, and right in B.
    Gained = 1,
    /// Right in A, and wrong in B.
    Lost = 2,
    /// Of one id, and another record in each: they are not compared.
    OtherRecord = 3,
}

/// Rows on their way into the page.
struct Rows<'a> {
    page: &'a mut dyn Write,
    chooser: Chooser,
    flips: Flips,
    rows: usize,
    /// JSON lines of the list, and how many.
    index: (Vec<u8>, usize),
    /// JSON lines of details.
    details: Vec<u8>,
    /// The row at which they begin.
    details_from: usize,
}

impl<'a> Rows<'a> {
    fn new(kept: Kept, flips: Flips, page: &'a mut dyn Write) -> Self {
        Self {
            page,
            chooser: Chooser::new(kept),
            flips,
            rows: 0,
            index: (Vec::new(), 0),
            details: Vec::new(),
            details_from: 0,
        }
    }

    /// Adds a sample: its record in each run, or none where a run does not have it.
    fn add(&mut self, pair: usize, sides: &[Option<Judged>]) -> Result<(), ReportError> {
        let Some(any) = sides.iter().flatten().next() else { return Ok(()) };
        let any = &any.record.sample;
        let in_words = |side: &Judged| InWords::of(&side.record, side.by).short();
        let brief: Vec<Option<InWords>> =
            sides.iter().map(|side| side.as_ref().map(in_words)).collect();
        let target = brief.iter().flatten().map(|brief| brief.target.as_str()).next();
        let told: Vec<Option<(usize, f64, &str)>> = sides
            .iter()
            .zip(&brief)
            .map(|(side, brief)| {
                let (Judged { record, by }, brief) = (side.as_ref()?, brief.as_ref()?);
                let verdict = Verdict::of(*by, &record.status, record.scores.as_ref());
                let ms = (record.timing_ms.total * 10.0).round() / 10.0;
                Some((verdict.number(), ms, brief.answer.as_str()))
            })
            .collect();
        let is_notable = told.iter().flatten().any(|(verdict, ..)| {
            *verdict == Verdict::Wrong.number() || *verdict == Verdict::Unscored.number()
        });
        let mark = self.mark(pair, sides);
        line(&mut self.index.0, &(&any.id, pair, any.repeat, target, &told, mark as u8))?;
        self.index.1 += 1;
        if self.chooser.keeps(is_notable) {
            let detail = |side: &Option<Judged>| Some(Detail::from(side.as_ref()?.record.clone()));
            let details: Vec<Option<Detail>> = sides.iter().map(detail).collect();
            line(&mut self.details, &(self.rows, details))?;
        }
        self.rows += 1;
        if self.index.1 >= INDEX_ROWS {
            self.end_index()?;
        }
        if self.details.len() >= DETAILS_BYTES {
            self.end_details()?;
        }
        Ok(())
    }

    /// What the comparison says of a sample: of its repeats as of one.
    fn mark(&self, pair: usize, sides: &[Option<Judged>]) -> Mark {
        let [Some(first), Some(second)] = sides else { return Mark::None };
        let (own, other) = (&first.record.sample, &second.record.sample);
        match self.flips.gained(pair, &own.id) {
            _ if own.digest != other.digest => Mark::OtherRecord,
            Some(true) => Mark::Gained,
            Some(false) => Mark::Lost,
            None => Mark::None,
        }
    }

    fn end_index(&mut self) -> io::Result<()> {
        if self.index.1 > 0 {
            embed::block(self.page, &format!("data-index=\"{}\"", self.index.1), &self.index.0)?;
        }
        self.index = (Vec::new(), 0);
        Ok(())
    }

    fn end_details(&mut self) -> io::Result<()> {
        if !self.details.is_empty() {
            let attributes = format!("data-details=\"{}\"", self.details_from);
            embed::block(self.page, &attributes, &self.details)?;
        }
        self.details.clear();
        self.details_from = self.rows;
        Ok(())
    }

    fn finish(mut self) -> Result<usize, ReportError> {
        self.end_index()?;
        self.end_details()?;
        Ok(self.rows)
    }
}

/// Adds a value as a line of JSON.
fn line<T: Serialize>(lines: &mut Vec<u8>, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, value)?;
    lines.push(b'\n');
    Ok(())
}
