//! `summary.index.json`, format 1: all runs below a folder, so that a leaderboard, or whoever draws one, need not look
//! for them. Made from the runs alone: made again from the same runs it is the same, byte for byte.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    run_dir::{self, StoreError},
    stored_run::StoredRun,
    summary::{State, TaskResult},
};
use crate::secret::Redactor;

/// Format of this file.
pub const FORMAT: u32 = 1;
/// Name of the file.
pub const FILE: &str = "summary.index.json";
/// How many folders below the first are looked into.
const DEEPEST: usize = 16;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Index {
    /// Format of this file.
    pub format: u32,
    /// The runs, by model, task, backend and start.
    pub runs: Vec<RunEntry>,
    /// What looks like a run and has no results to show, by path.
    pub broken: Vec<BrokenRun>,
}

/// A run that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunEntry {
    /// Its id.
    pub run: String,
    /// Name from the run file.
    pub name: String,
    /// Its directory, relative to this file.
    pub directory: String,
    /// Its results, relative to this file.
    pub summary: String,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub finished: String,
    /// How it ended.
    pub state: State,
    /// Version of the host.
    pub host_version: String,
    /// Digest of the run file as meant.
    pub config_blake3: String,
    /// Whether no run of this name and configuration began later.
    pub latest: bool,
    /// One entry a task and backend, by model, task and backend.
    pub results: Vec<TaskResult>,
}

/// What looks like a run and has no results to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokenRun {
    /// The directory, relative to this file.
    pub directory: String,
    /// Why it has none.
    pub reason: String,
}

/// Finds the runs below a folder. Links are not followed; what cannot be read is among the broken.
pub fn collect(root: &Path) -> Index {
    let mut index = Index { format: FORMAT, runs: Vec::new(), broken: Vec::new() };
    walk(root, root, 0, &mut index);
    index.runs.sort_by(order);
    index.broken.sort_by(|a, b| a.directory.cmp(&b.directory));
    let mut latest: HashMap<(String, String), usize> = HashMap::new();
    for (number, run) in index.runs.iter().enumerate() {
        let key = (run.name.clone(), run.config_blake3.clone());
        let newest = latest.entry(key).or_insert(number);
        let is_newer = |other: &RunEntry| when(&run.started) >= when(&other.started);
        if index.runs.get(*newest).is_some_and(is_newer) {
            *newest = number;
        }
    }
    for number in latest.into_values() {
        if let Some(run) = index.runs.get_mut(number) {
            run.latest = true;
        }
    }
    index
}

impl Index {
    /// Whether there is nothing to show or to tell.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.broken.is_empty()
    }

    /// Writes the file into the folder whose runs it has; where it lies then.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, root: &Path) -> Result<PathBuf, StoreError> {
        run_dir::write_json(root, FILE, self, &Redactor::default())?;
        Ok(root.join(FILE))
    }
}

fn walk(root: &Path, folder: &Path, depth: usize, index: &mut Index) {
    let relative = |path: &Path| match path.strip_prefix(root).unwrap_or(path).display().to_string()
    {
        path if path.is_empty() => ".".to_owned(),
        path => path,
    };
    let mut broken = |path: &Path, reason: String| {
        index.broken.push(BrokenRun { directory: relative(path), reason });
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return broken(folder, format!("the folder cannot be read: {error}")),
    };
    let mut folders = Vec::new();
    let mut files = Vec::new();
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => folders.push(entry.path()),
            Ok(kind) if kind.is_file() => files.push(entry.file_name()),
            _ => {}
        }
    }
    let has = |name: &str| files.iter().any(|file| file == name);
    let is_run = has(run_dir::MANIFEST);
    if is_run || has(run_dir::JOURNAL) || has(run_dir::SUMMARY) {
        match StoredRun::open(folder) {
            Ok(run) => match entry(&run, relative(folder)) {
                Some(entry) => index.runs.push(entry),
                None => broken(
                    folder,
                    "it has no summary.json: it is at work, or was killed; `host resume` finishes it".to_owned(),
                ),
            },
            Err(error) => broken(folder, error.to_string()),
        }
        return;
    }
    if depth == DEEPEST && !folders.is_empty() {
        return broken(
            folder,
            format!("it lies {DEEPEST} folders deep; what is below it is not looked at"),
        );
    }
    folders.sort();
    for folder in folders {
        walk(root, &folder, depth + 1, index);
    }
}

fn entry(run: &StoredRun, directory: String) -> Option<RunEntry> {
    let summary = run.summary.clone()?;
    let path = match directory.as_str() {
        "." => run_dir::SUMMARY.to_owned(),
        directory => format!("{directory}/{}", run_dir::SUMMARY),
    };
    let mut results = summary.results;
    results.sort_by(|a, b| key(a).cmp(&key(b)));
    let identity = summary.run;
    Some(RunEntry {
        run: identity.id,
        name: identity.name,
        directory,
        summary: path,
        started: identity.started,
        finished: identity.finished,
        state: identity.state,
        host_version: identity.host_version,
        config_blake3: identity.config_blake3,
        latest: false,
        results,
    })
}

fn key(result: &TaskResult) -> (&str, &str, &str) {
    (result.model.as_deref().unwrap_or_default(), &result.task, &result.backend)
}

fn order(a: &RunEntry, b: &RunEntry) -> Ordering {
    let first = |run: &RunEntry| {
        run.results.first().map(|result| {
            let (model, task, backend) = key(result);
            (model.to_owned(), task.to_owned(), backend.to_owned())
        })
    };
    first(a)
        .cmp(&first(b))
        .then_with(|| when(&a.started).cmp(&when(&b.started)))
        .then_with(|| a.directory.cmp(&b.directory))
}

/// A time as it is compared: runs may have begun in different time zones.
fn when(time: &str) -> Option<jiff::Timestamp> {
    time.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run with one result, in a folder of its own.
    fn run(root: &Path, folder: &str, model: &str, config: &str, started: &str) {
        let path = root.join(folder);
        fs::create_dir_all(&path).unwrap();
        let write = |name: &str, value: serde_json::Value| {
            fs::write(path.join(name), value.to_string()).unwrap();
        };
        write(
            run_dir::MANIFEST,
            json!({
                "format": 1, "id": folder, "name": "n", "started": started, "host_version": "0", "config_blake3": config,
                "config": {}, "plugins": [], "backends": [], "data": [],
            }),
        );
        write(
            run_dir::SUMMARY,
            json!({
                "format": 1,
                "run": { "id": folder, "name": "n", "started": started, "finished": started, "state": "complete",
                    "host_version": "0", "config_blake3": config },
                "results": [{
                    "task": "t", "backend": "b", "model": model, "unscored_reasons": {}, "metrics": {},
                    "samples": { "total": 1, "scored": 1, "unscored": 0 }, "tokens": { "prompt": 1, "completion": 1 },
                    "latency_ms": { "p50": 1.0, "p90": 1.0, "p99": 1.0 }, "samples_per_second": 1.0, "retries": 0,
                }],
            }),
        );
    }

    #[test]
    fn runs_are_found_in_order_and_the_newest_of_each_is_marked() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        run(root, "x/late", "m", "c", "2026-01-02T00:00:00+00:00");
        // Earlier than the other, although its clock says a later hour.
        run(root, "y/early", "m", "c", "2026-01-02T01:00:00+02:00");
        run(root, "a", "m", "d", "2026-01-01T00:00:00Z");
        run(root, "z", "l", "c", "2026-01-01T00:00:00Z");
        let index = collect(root);
        let found: Vec<_> =
            index.runs.iter().map(|run| (run.directory.as_str(), run.latest)).collect();
        assert_eq!(found, [("z", false), ("a", true), ("y/early", false), ("x/late", true)]);
        assert_eq!(index.runs[3].summary, "x/late/summary.json");
        assert!(index.broken.is_empty());
        index.write(root).unwrap();
        let written = fs::read(root.join(FILE)).unwrap();
        collect(root).write(root).unwrap();
        assert_eq!(fs::read(root.join(FILE)).unwrap(), written, "made again it is the same");
        let itself = collect(&root.join("a"));
        assert_eq!(
            (itself.runs[0].directory.as_str(), itself.runs[0].summary.as_str()),
            (".", "summary.json")
        );
    }

    #[test]
    fn what_is_broken_is_told_with_its_reason_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for name in ["cut", "killed", "future", "headless"] {
            run(root, name, "m", "c", "2026-01-01T00:00:00Z");
        }
        fs::write(root.join("cut").join(run_dir::MANIFEST), "{\"format\": 1,").unwrap();
        fs::remove_file(root.join("killed").join(run_dir::SUMMARY)).unwrap();
        fs::write(root.join("future").join(run_dir::SUMMARY), "{\"format\": 9}").unwrap();
        fs::remove_file(root.join("headless").join(run_dir::MANIFEST)).unwrap();
        std::os::unix::fs::symlink(root, root.join("link")).unwrap();
        let index = collect(root);
        assert!(index.runs.is_empty());
        let expected = [
            ("cut", "manifest.json: it is not what a run writes"),
            ("future", "summary.json: it is of format 9"),
            ("headless", "it has no manifest.json"),
            ("killed", "it has no summary.json: it is at work, or was killed"),
        ];
        assert_eq!(index.broken.len(), expected.len(), "{:?}", index.broken);
        for (broken, (directory, reason)) in index.broken.iter().zip(expected) {
            assert_eq!(broken.directory, directory);
            assert!(broken.reason.contains(reason), "{}", broken.reason);
        }
    }
}
