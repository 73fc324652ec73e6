//! What the comparison of two runs comes to, for the page.

use super::chart::{self, Axis};
use crate::{
    report::{
        comparison::{
            compare::{Only, UnitComparison, compare},
            row::{Row, Test, Verdict},
            text::{probability, signed, verdict},
        },
        words::count,
    },
    score::metric::{Aggregation, Metric},
    store::stored_run::{ReadError, StoredRun},
};

/// The comparison of two runs.
#[derive(Debug, Default)]
pub struct Compared {
    /// A row for each task and metric.
    pub rows: Vec<ComparedRow>,
    /// What was left out, what else differs, or why nothing is compared.
    pub remarks: Vec<String>,
    /// What flipped, by task and backends.
    pub flipped: Vec<Flipped>,
}

/// The samples of a task at a backend of each run that flipped.
#[derive(Debug)]
pub struct Flipped {
    /// The task.
    pub task: String,
    /// The backends in A and in B.
    pub backends: [String; 2],
    /// Ids, and whether B has the sample right.
    pub samples: Vec<(String, bool)>,
}

/// A metric of a task in both runs.
#[derive(Debug)]
pub struct ComparedRow {
    /// The task, and the backends.
    pub unit: String,
    /// Name of the metric.
    pub metric: &'static str,
    /// Samples that both have scored.
    pub samples: String,
    /// The value in A.
    pub first: String,
    /// The value in B.
    pub second: String,
    /// B minus A.
    pub difference: String,
    /// The picture of it.
    pub picture: String,
    /// Its interval.
    pub interval: String,
    /// The adjusted p-value.
    pub p: String,
    /// How the p-value was computed, and the one before it was adjusted.
    pub test: String,
    /// Samples that are right in B only.
    pub gained: String,
    /// Samples that are right in A only.
    pub lost: String,
    /// What it comes to.
    pub verdict: String,
    /// Class of that.
    pub class: &'static str,
}

/// Compares the second run with the first. That they cannot be compared is something to be told, and no failure: the
/// page shows both all the same.
///
/// # Errors
/// A journal cannot be read.
pub fn compared(runs: &[StoredRun], only: &Only) -> Result<Compared, ReadError> {
    let comparison = match compare(runs, only) {
        Ok(comparison) => comparison,
        Err(error) => {
            return Ok(Compared { remarks: vec![error.to_string()], ..Compared::default() });
        }
    };
    let rows =
        comparison.units.iter().flat_map(|unit| unit.rows.iter().map(move |row| (unit, row)));
    // All differences are drawn to one scale.
    let most = rows
        .clone()
        .flat_map(|(_, row)| {
            let range = row.difference.interval;
            let ends = range.map_or([row.difference.mean; 2], |range| [range.low, range.high]);
            ends.map(f64::abs)
        })
        .fold(0.01, f64::max);
    let mut remarks = comparison.remarks.clone();
    for unit in &comparison.units {
        let name = unit_name(unit);
        remarks.extend(unit.differences.iter().map(|one| format!("{name}: differs: {one}")));
        if unit.rows.is_empty() {
            remarks.push(format!("{name}: no sample has a score in both"));
        }
    }
    let axis = Axis::linear(-most, most);
    let rows = rows.map(|(unit, row)| compared_row(unit, row, axis)).collect();
    let flipped = comparison.units.iter().map(|unit| {
        Ok::<_, ReadError>(Flipped {
            task: unit.task.clone(),
            backends: [unit.baseline.backend.clone(), unit.candidate.backend.clone()],
            samples: comparison.flipped(unit)?,
        })
    });
    Ok(Compared { rows, remarks, flipped: flipped.collect::<Result<_, _>>()? })
}

fn unit_name(unit: &UnitComparison) -> String {
    let (first, second) = (&unit.baseline.backend, &unit.candidate.backend);
    if first == second {
        format!("{} @ {first}", unit.task)
    } else {
        format!("{} @ {first} / {second}", unit.task)
    }
}

fn compared_row(unit: &UnitComparison, row: &Row, axis: Axis) -> ComparedRow {
    let range = row.difference.interval.map(|interval| [interval.low, interval.high]);
    let p = |p: Option<f64>| p.map_or_else(|| "–".to_owned(), probability);
    let is_share = matches!(row.metric.aggregation(), Aggregation::Mean { wrong: 0.0, right: 1.0 });
    let flips = |flips: u64| if is_share { count(flips) } else { "–".to_owned() };
    let test = match row.test {
        Test::McnemarExact => "McNemar's exact test",
        Test::PairedZ => "paired z-test",
    };
    ComparedRow {
        unit: unit_name(unit),
        metric: Metric::name(row.metric),
        samples: count(row.samples),
        first: format!("{:.4}", row.baseline.value),
        second: format!("{:.4}", row.candidate.value),
        difference: signed(row.difference.mean),
        picture: chart::interval(axis, row.difference.mean, range, None),
        interval: range
            .map(|[low, high]| format!("{} – {}", signed(low), signed(high)))
            .unwrap_or_default(),
        p: p(row.adjusted_p_value),
        test: format!("{test}, p {} before Holm's adjustment", p(row.p_value)),
        gained: flips(row.gained()),
        lost: flips(row.lost()),
        verdict: verdict(row),
        class: match row.verdict {
            Verdict::Better => "good",
            Verdict::Worse => "bad",
            Verdict::NoDifferenceShown | Verdict::SameScores | Verdict::TooFewSamples => "",
        },
    }
}
