//! Writes the folder that lm-evaluation-harness's `--output_path` is: one folder a model, in it the results and the
//! samples of each task.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    results::{Documents, generation, results},
    samples,
};
use crate::{
    report::{error::ReportError, file, overview::Overview, task_config::task_of, view::View},
    score::metric::Metric,
    store::{SampleRecord, record::Status, stored_run::StoredSamples},
};

/// What was written.
#[derive(Debug, Default)]
pub struct Exported {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Documents that have no line, since none of their repeats has a score: that harness knows no such thing.
    pub left_out: u64,
}

/// Where a sample stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    unit: usize,
    index: u64,
    repeat: u32,
    number: usize,
}

/// Writes the files of a run below this folder, which is made if it is not there.
///
/// # Errors
/// The run stores digests only, cannot be read, or the files cannot be written.
pub fn export(view: &View, folder: &Path) -> Result<Exported, ReportError> {
    if view.is_hashed() {
        let directory = view.run.directory.clone();
        return Err(ReportError::Hashed { directory, format: "lm-eval" });
    }
    let journal = view.samples()?;
    let mut places = Vec::with_capacity(journal.len());
    Overview::of(view, &journal, |unit, outcome, number| {
        let (index, repeat) = (outcome.sample.index, outcome.sample.repeat);
        if outcome.status == Status::Scored {
            places.push(Place { unit, index, repeat, number });
        } else {
            // It may be the only one of its document: then that is left out.
            places.push(Place { unit, index, repeat: u32::MAX, number });
        }
    })?;
    places.sort_unstable();
    let documents = documents(&places, view.results.len());
    let stamp = stamp(view);
    let mut exported = Exported::default();
    for (backend, folder_name, model) in folders(view) {
        let folder = folder.join(&folder_name);
        fs::create_dir_all(&folder)
            .map_err(|source| ReportError::Write { path: folder.clone(), source })?;
        let path = folder.join(format!("results_{stamp}.json"));
        let content = results(view, &documents, (&backend, &model, &folder_name));
        file::write(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, &content).map_err(std::io::Error::from)?;
            Ok(file.write_all(b"\n")?)
        })?;
        exported.files.push(path);
        let mut taken = HashSet::new();
        for (unit, result) in view.results.iter().enumerate() {
            if result.backend != backend {
                continue;
            }
            let name = free(&mut taken, word(&result.task), "_");
            let path = folder.join(format!("samples_{name}_{stamp}.jsonl"));
            let from = places.partition_point(|place| place.unit < unit);
            let to = places.partition_point(|place| place.unit <= unit);
            let own = places.get(from..to).unwrap_or_default();
            let metrics: Vec<Metric> =
                view.metrics(result).iter().filter_map(|one| Metric::from_name(one.name)).collect();
            let generate = generation(task_of(&view.run.manifest, &result.task));
            file::write(&path, |file| {
                exported.left_out += lines(&journal, own, &metrics, &generate, file)?;
                Ok(())
            })?;
            exported.files.push(path);
        }
    }
    Ok(exported)
}

/// Of each unit how many documents it has. Places are sorted.
fn documents(places: &[Place], units: usize) -> Vec<Documents> {
    let mut documents = vec![Documents::default(); units];
    let same = |a: &Place, b: &Place| (a.unit, a.index) == (b.unit, b.index);
    for document in places.chunk_by(same) {
        let unit = document.first().and_then(|place| documents.get_mut(place.unit));
        if let Some(unit) = unit {
            unit.finished += 1;
            unit.scored += u64::from(document.iter().any(|place| place.repeat != u32::MAX));
        }
    }
    documents
}

/// Writes the lines of a unit's documents; how many of them have none.
fn lines(
    journal: &StoredSamples,
    places: &[Place],
    metrics: &[Metric],
    generate: &Value,
    file: &mut dyn Write,
) -> Result<u64, ReportError> {
    let mut left_out = 0;
    let mut buffer = Vec::new();
    for document in places.chunk_by(|a, b| a.index == b.index) {
        let scored = document.iter().filter(|place| place.repeat != u32::MAX);
        let records: Vec<SampleRecord> = scored
            .map(|place| Ok(journal.parse(journal.line(place.number, &mut buffer)?)?))
            .collect::<Result<_, ReportError>>()?;
        match samples::line(&records, metrics, generate) {
            Some(line) => {
                serde_json::to_writer(&mut *file, &line).map_err(std::io::Error::from)?;
                file.write_all(b"\n")?;
            }
            None => left_out += 1,
        }
    }
    Ok(left_out)
}

/// Each backend with its folder and its model. Backends whose models have one folder's name are told apart by their ids.
fn folders(view: &View) -> Vec<(String, String, String)> {
    let mut backends: Vec<(&str, &str, String)> = Vec::new();
    for result in &view.results {
        if backends.iter().all(|(backend, ..)| *backend != result.backend) {
            let model = result.model.as_deref().unwrap_or(&result.backend);
            backends.push((&result.backend, model, sanitized(model)));
        }
    }
    let mut taken = HashSet::new();
    let named = |(backend, model, folder): &(&str, &str, String)| {
        let folder = match backends.iter().filter(|(.., other)| other == folder).count() {
            1 => folder.clone(),
            _ => format!("{folder}__{}", sanitized(backend)),
        };
        let folder = free(&mut taken, folder, "__");
        ((*backend).to_owned(), folder, (*model).to_owned())
    };
    backends.iter().map(named).collect()
}

/// The name, or with a number after it if it is taken: names that differ may be one when they are made fit for files.
fn free(taken: &mut HashSet<String>, name: String, between: &str) -> String {
    let numbered = (2_u32..).map(|number| format!("{name}{between}{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_else(|| name.clone());
    taken.insert(free.clone());
    free
}

/// A model's name as a folder: `re.sub(r"[\"<>:/\|\\?\*\[\]]+", "__", name)`.
fn sanitized(name: &str) -> String {
    let is_bad = |c: char| "\"<>:/|\\?*[]".contains(c);
    let mut folder = String::new();
    let mut after_bad = false;
    for c in name.chars() {
        match (is_bad(c), after_bad) {
            (true, false) => folder.push_str("__"),
            (true, true) => {}
            (false, _) => folder.push(c),
        }
        after_bad = is_bad(c);
    }
    // A model's name comes from a server: it must not lead elsewhere.
    if folder.chars().all(|c| c == '.') { "model".to_owned() } else { folder }
}

/// A task's name in a file's: `re.sub(r"\W", "_", name)`.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// When the run ended, as ISO 8601 without colons; when it began, if it has not.
fn stamp(view: &View) -> String {
    let time = view.finished.as_deref().unwrap_or(&view.run.manifest.started);
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%dT%H-%M-%S%.6f").to_string(),
        Err(_) => time.replace(':', "-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_harness_gives() {
        for (name, expected) in [
            ("meta-llama/Llama-3:8b", "meta-llama__Llama-3__8b"),
            ("a//b", "a__b"),
            ("..", "model"),
            ("gpt-4o", "gpt-4o"),
        ] {
            assert_eq!(sanitized(name), expected);
        }
        assert_eq!(word("a-b c.é"), "a_b_c_é");
        let view = crate::report::view::tests::view("r");
        assert_eq!(stamp(&view), "2026-01-02T03-05-05.000000");
        assert_eq!(folders(&view), [("b".to_owned(), "b".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn names_that_become_one_are_told_apart() {
        let mut taken = HashSet::new();
        let names = ["a-b", "a_b", "a_b_2", "a.b"].map(|name| free(&mut taken, word(name), "_"));
        assert_eq!(names, ["a_b", "a_b_2", "a_b_2_2", "a_b_3"]);
        let mut view = crate::report::view::tests::view("r");
        let result = view.results[0].clone();
        let at = |backend: &str, model: &str| {
            let (backend, model) = (backend.to_owned(), Some(model.to_owned()));
            crate::store::summary::TaskResult { backend, model, ..result.clone() }
        };
        view.results = vec![at("x", "m/n"), at("y", "m:n"), at("z", "m")];
        let folders: Vec<String> =
            folders(&view).into_iter().map(|(_, folder, _)| folder).collect();
        assert_eq!(folders, ["m__n__x", "m__n__y", "m"]);
    }

    #[test]
    fn documents_are_counted_and_not_their_repeats() {
        let place = |unit, index, repeat| Place { unit, index, repeat, number: 0 };
        const UNSCORED: u32 = u32::MAX;
        let places = [
            place(0, 0, 0),
            place(0, 0, 1),
            place(0, 1, 0),
            place(0, 1, UNSCORED),
            place(0, 2, UNSCORED),
            place(0, 2, UNSCORED),
            place(2, 2, 0),
        ];
        let of = |finished, scored| Documents { finished, scored };
        assert_eq!(documents(&places, 3), [of(3, 2), of(0, 0), of(1, 1)]);
    }
}
