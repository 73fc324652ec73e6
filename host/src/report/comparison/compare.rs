//! Compares runs: pairs what belongs together, reads each journal once, and computes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    attempts::{self, Attempts, Wanted},
    counts::{SampleCounts, look},
    difference::{self, Difference, Sided},
    flip::{self, FlipText},
    pairing::{self, Pair, TaskBackends},
    row::{self, Flip, Row},
};
use crate::{
    score::metric::Metric,
    stats::{exact::ExactError, holm::holm},
    store::stored_run::{ReadError, StoredRun, StoredSamples},
};

/// Why runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is one run, and no task of it has a second backend.
    #[error(
        "{}: no task of this run was asked at two backends, so there is nothing to compare within it; name a second run \
         directory",
        .0.display()
    )]
    Single(PathBuf),
    /// The runs share nothing.
    #[error("the runs share nothing that can be compared{}", because(.0))]
    NothingShared(Vec<String>),
    /// What was asked for is in none of the runs.
    #[error("no run has the {what} `{name}`; there is {there}")]
    Unknown {
        /// What it is.
        what: &'static str,
        /// Its name, as typed.
        name: String,
        /// What there is.
        there: String,
    },
    /// A score that no run writes.
    #[error("task `{task}`: a score of the metric {metric} cannot be compared: {source}")]
    Score {
        /// Id of the task.
        task: String,
        /// Which metric.
        metric: Metric,
        /// What is wrong with it.
        source: ExactError,
    },
}

fn because(left_out: &[String]) -> String {
    if left_out.is_empty() { String::new() } else { format!(": {}", left_out.join("; ")) }
}

/// What of the runs is compared; an empty list stands for everything.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// Ids of tasks.
    pub tasks: Vec<String>,
    /// Ids of backends.
    pub backends: Vec<String>,
    /// Metrics; one that is named is compared also if its task does not report it.
    pub metrics: Vec<Metric>,
}

/// What came of a comparison.
#[derive(Debug)]
pub struct Comparison {
    /// In the order of candidates, tasks and backends.
    pub units: Vec<UnitComparison>,
    /// What was left out, and what else the reader should know, in words.
    pub remarks: Vec<String>,
    /// The journals of the runs, in their order, for the texts of flipped samples.
    journals: Vec<StoredSamples>,
}

/// One task at one backend of the baseline and one of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitComparison {
    /// Id of the task.
    pub task: String,
    /// What is compared with.
    pub baseline: Side,
    /// What is compared.
    pub candidate: Side,
    /// How many samples are compared, and how many are not and why.
    pub samples: SampleCounts,
    /// One a metric.
    pub rows: Vec<Row>,
    /// What else differs.
    pub differences: Vec<Difference>,
}

/// A backend of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// Which run, in the order in which they were given, from 0.
    pub number: usize,
    /// Its directory, as it was given.
    pub directory: String,
    /// Id of the run.
    pub run: String,
    /// Id of the backend.
    pub backend: String,
    /// The model: as the run file says, else as the backend describes itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Compares each run after the first with the first; a single run's backends with its first backend.
///
/// # Errors
/// A run cannot be read, or there is nothing that can be compared.
pub fn compare(runs: &[StoredRun], only: &Only) -> Result<Comparison, CompareError> {
    let all: Vec<Vec<TaskBackends>> = runs.iter().map(|run| chosen(run, only)).collect();
    check_names(&runs.iter().collect::<Vec<_>>(), only)?;
    let journals = runs.iter().map(StoredRun::samples).collect::<Result<Vec<_>, _>>()?;
    let mut comparison = Comparison { units: Vec::new(), remarks: Vec::new(), journals };
    let mut left_out = Vec::new();
    for run in runs.iter().filter(|run| run.summary.is_none()) {
        comparison.remarks.push(format!(
            "{}: it has no summary.json, so it goes on or was stopped hard; what its journal holds is compared",
            run.directory.display()
        ));
    }
    let Some((first, others)) = all.split_first() else {
        return Err(CompareError::NothingShared(Vec::new()));
    };
    if others.is_empty() {
        comparison.compare(runs, (0, 0), &pairing::within(first), only)?;
    }
    for (number, other) in others.iter().enumerate() {
        let number = number + 1;
        let name = |number: usize| {
            runs.get(number).map_or(String::new(), |run| run.directory.display().to_string())
        };
        let (pairs, not) = pairing::between(first, other, [&name(0), &name(number)]);
        left_out.extend(not);
        comparison.compare(runs, (0, number), &pairs, only)?;
    }
    if comparison.units.is_empty() {
        return Err(match (runs, others) {
            ([run], []) => CompareError::Single(run.directory.clone()),
            _ => CompareError::NothingShared(left_out),
        });
    }
    comparison.remarks.extend(left_out);
    comparison.decide();
    Ok(comparison)
}

/// The tasks and backends of a run that may be compared.
fn chosen(run: &StoredRun, only: &Only) -> Vec<TaskBackends> {
    let has = |list: &[String], id: &String| list.is_empty() || list.contains(id);
    let tasks = difference::tasks_of(run).into_iter().filter(|(task, _)| has(&only.tasks, task));
    let backends = tasks.map(|(task, backends)| {
        let backends =
            backends.into_iter().filter(|backend| has(&only.backends, backend)).collect();
        TaskBackends { task, backends }
    });
    backends.filter(|task| !task.backends.is_empty()).collect()
}

/// Which task at which backend of two runs is compared with which.
pub fn paired(baseline: &StoredRun, candidate: &StoredRun, only: &Only) -> Vec<Pair> {
    pairing::between(&chosen(baseline, only), &chosen(candidate, only), ["", ""]).0
}

/// Refuses names that no run has: a mistyped one would silently compare less.
///
/// # Errors
/// There is one.
pub fn check_names(runs: &[&StoredRun], only: &Only) -> Result<(), CompareError> {
    let (mut tasks, mut backends) = (Vec::new(), Vec::new());
    for (task, of_task) in runs.iter().flat_map(|run| difference::tasks_of(run)) {
        tasks.push(task);
        backends.extend(of_task);
    }
    for (what, names, mut there) in
        [("task", &only.tasks, tasks), ("backend", &only.backends, backends)]
    {
        if let Some(name) = names.iter().find(|name| !there.contains(name)) {
            there.sort_unstable();
            there.dedup();
            let there = there.join(", ");
            return Err(CompareError::Unknown { what, name: name.clone(), there });
        }
    }
    Ok(())
}

impl Comparison {
    /// Compares what was paired of two runs.
    fn compare(
        &mut self,
        runs: &[StoredRun],
        (baseline, candidate): (usize, usize),
        pairs: &[Pair],
        only: &Only,
    ) -> Result<(), CompareError> {
        let (Some(a), Some(b)) = (runs.get(baseline), runs.get(candidate)) else { return Ok(()) };
        let (Some(journal_a), Some(journal_b)) =
            (self.journals.get(baseline), self.journals.get(candidate))
        else {
            return Ok(());
        };
        // A unit that is compared with several is read once.
        let wanted = |run: &StoredRun, backend: fn(&Pair) -> &String| {
            let mut all: Vec<Wanted> = Vec::new();
            for pair in pairs {
                let one = wanted(run, &pair.task, backend(pair), only);
                if !all.contains(&one) {
                    all.push(one);
                }
            }
            all
        };
        let read_a = attempts::read(journal_a, wanted(a, |pair| &pair.baseline))?;
        let read_b = attempts::read(journal_b, wanted(b, |pair| &pair.candidate))?;
        let mut told: Vec<Difference> = Vec::new();
        for pair in pairs {
            let of = |read: &'_ [Attempts], backend: &str| {
                read.iter().position(|unit| unit.is_of(&pair.task, backend))
            };
            let unit_a = of(&read_a, &pair.baseline).and_then(|at| read_a.get(at));
            let unit_b = of(&read_b, &pair.candidate).and_then(|at| read_b.get(at));
            let (Some(unit_a), Some(unit_b)) = (unit_a, unit_b) else { continue };
            let sides = [(a, &pair.baseline, baseline), (b, &pair.candidate, candidate)];
            let [sided_a, sided_b] = sides.map(|(run, backend, _)| Sided { run, backend });
            let [side_a, side_b] = sides.map(|(run, backend, number)| Side {
                number,
                directory: run.directory.display().to_string(),
                run: run.manifest.id.clone(),
                backend: backend.clone(),
                model: Sided { run, backend }.model(),
            });
            let (samples, of_samples) = look(&pair.task, [unit_a, unit_b], journal_a)?;
            let mut differences = of_samples;
            differences.extend(difference::of_task(&pair.task, sided_a, sided_b));
            // What is true of all tasks is said once.
            let general = difference::of_backends(sided_a, sided_b);
            differences.extend(general.iter().filter(|one| !told.contains(one)).cloned());
            told.extend(general);
            for (sided, side) in [(sided_a, &side_a), (sided_b, &side_b)] {
                say_mocked(sided, side, &mut self.remarks);
            }
            let unit = UnitComparison {
                task: pair.task.clone(),
                baseline: side_a,
                candidate: side_b,
                samples,
                rows: rows(&pair.task, unit_a, unit_b)?,
                differences,
            };
            if unit.rows.is_empty() {
                self.remarks.push(no_rows(&unit));
            }
            self.units.push(unit);
        }
        Ok(())
    }

    /// Adjusts all p-values together, and decides.
    fn decide(&mut self) {
        let mut rows: Vec<&mut Row> =
            self.units.iter_mut().flat_map(|unit| &mut unit.rows).collect();
        let known: Vec<f64> = rows.iter().filter_map(|row| row.p_value).collect();
        let tests = known.len();
        let mut adjusted = holm(&known).into_iter();
        for row in &mut rows {
            let own = row.p_value.and_then(|_| adjusted.next());
            row.decide(own, tests);
        }
    }

    /// The samples of a unit that flipped, by the first metric that says right or wrong: the id of each, and whether the
    /// candidate has it right.
    ///
    /// # Errors
    /// A journal cannot be read.
    pub fn flipped(&self, unit: &UnitComparison) -> Result<Vec<(String, bool)>, ReadError> {
        let row = unit.rows.iter().find(|row| row.metric.is_right_or_wrong());
        let (Some(row), Some(journal)) = (row, self.journals.get(unit.baseline.number)) else {
            return Ok(Vec::new());
        };
        let id = |flip: &Flip| Ok((flip::id_of(journal, flip.baseline_line)?, flip.gained));
        row.flips.iter().map(id).collect()
    }

    /// What a flipped sample was asked and answered.
    ///
    /// # Errors
    /// A journal cannot be read.
    pub fn flip_text(
        &self,
        unit: &UnitComparison,
        metric: Metric,
        flip: Flip,
    ) -> Result<FlipText, ReadError> {
        let of = |side: &Side, line: u32| match self.journals.get(side.number) {
            Some(journal) => flip::read(journal, line, metric).map(Some),
            None => Ok(None),
        };
        let baseline = of(&unit.baseline, flip.baseline_line)?;
        let candidate = of(&unit.candidate, flip.candidate_line)?;
        let asked = baseline.clone().unwrap_or_default();
        Ok(FlipText {
            sample: asked.sample,
            target: asked.target,
            baseline: asked.answer,
            candidate: candidate.unwrap_or_default().answer,
        })
    }
}

/// What is read of a unit: the metrics that were asked for, else those that its run reports.
fn wanted(run: &StoredRun, task: &str, backend: &str, only: &Only) -> Wanted {
    let reported = || {
        let results = &run.summary.as_ref()?.results;
        let result = results.iter().find(|one| one.task == task && one.backend == backend)?;
        Some(result.metrics.keys().filter_map(|name| Metric::from_name(name)).collect())
    };
    let metrics = if only.metrics.is_empty() { reported() } else { Some(only.metrics.clone()) };
    Wanted { task: task.to_owned(), backend: backend.to_owned(), metrics }
}

fn rows(task: &str, a: &Attempts, b: &Attempts) -> Result<Vec<Row>, CompareError> {
    let metrics = a.metrics().into_iter().filter(|metric| b.metrics().contains(metric));
    let rows = metrics.map(|metric| {
        row::compare(metric, a, b).map_err(|source| {
            let task = task.to_owned();
            CompareError::Score { task, metric, source }
        })
    });
    rows.filter_map(Result::transpose).collect()
}

/// Says once of a side that the mock answered for it.
fn say_mocked(sided: Sided<'_>, side: &Side, remarks: &mut Vec<String>) {
    let said = format!(
        "{} @ {}: the host's own mock answered and no model, so these are no scores",
        side.directory, side.backend
    );
    if sided.is_mock() && !remarks.contains(&said) {
        remarks.push(said);
    }
}

/// Why a unit has no rows.
fn no_rows(unit: &UnitComparison) -> String {
    let (task, a, b) = (&unit.task, &unit.baseline.backend, &unit.candidate.backend);
    if unit.samples.compared == 0 {
        return format!("task `{task}`, {a} / {b}: no sample is scored on both sides");
    }
    format!(
        "task `{task}`, {a} / {b}: no metric is a mean that both sides have; perplexities are not compared sample \
         by sample, `host report` shows those of two runs side by side"
    )
}
