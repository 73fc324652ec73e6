//! What a run leaves behind, read from outside: the formats are checked here without the host's own code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::page;

/// A run directory.
#[derive(Debug)]
pub struct Left {
    /// The directory.
    pub path: PathBuf,
    /// `summary.json`.
    pub summary: Value,
    /// `manifest.json`.
    pub manifest: Value,
    /// The lines of `journal.jsonl`, sorted by task, backend, sample and repeat; each is whole.
    pub journal: Vec<Value>,
    /// The lines of `events.jsonl`.
    pub events: Vec<Value>,
}

impl Left {
    /// Reads everything, and checks each line of the journal.
    pub fn read(path: &Path) -> Self {
        let text = |name: &str| {
            let path = path.join(name);
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let lines = text("journal.jsonl");
        assert!(
            lines.is_empty() || lines.ends_with('\n'),
            "the last line of the journal is cut off"
        );
        let mut journal: Vec<Value> = lines.lines().map(whole).collect();
        journal.sort_by_key(|line| {
            let name = |key: &str| line[key].as_str().unwrap().to_owned();
            let sample = |key: &str| line["sample"][key].as_u64().unwrap();
            (name("task"), name("backend"), sample("index"), sample("repeat"))
        });
        Self {
            path: path.to_owned(),
            summary: json(&text("summary.json")),
            manifest: json(&text("manifest.json")),
            journal,
            events: text("events.jsonl").lines().map(json).collect(),
        }
    }

    /// The result of a run with one task at one backend.
    pub fn result(&self) -> &Value {
        let results = self.summary["results"].as_array().unwrap();
        assert_eq!(results.len(), 1, "{results:?}");
        &results[0]
    }

    /// The result of a backend that has one task.
    pub fn of_backend(&self, id: &str) -> &Value {
        let mut results = self.summary["results"].as_array().unwrap().iter();
        results.find(|result| result["backend"] == id).unwrap_or_else(|| panic!("nothing of {id}"))
    }

    /// A metric's value in a run with one task at one backend.
    pub fn metric(&self, name: &str) -> f64 {
        let value = &self.result()["metrics"][name]["value"];
        value.as_f64().unwrap_or_else(|| panic!("no metric {name}: {}", self.result()))
    }

    /// Total, scored and unscored samples of a run with one task at one backend.
    pub fn counts(&self) -> [u64; 3] {
        counts(self.result())
    }

    /// Why samples are unscored, in the order of the journal; empty for a scored one.
    pub fn reasons(&self) -> Vec<&str> {
        self.journal.iter().map(|line| line["status"]["unscored"].as_str().unwrap_or("")).collect()
    }

    /// Every byte of every file of the directory, and what the report has packed.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.path).unwrap() {
            all.extend(fs::read(entry.unwrap().path()).unwrap());
        }
        if let Ok(page) = fs::read_to_string(self.path.join("report.html")) {
            for attribute in ["data-index", "data-details"] {
                let unpacked = page::unpacked(&page, attribute);
                assert_eq!(unpacked.is_empty(), self.journal.is_empty(), "{attribute}");
                all.extend(unpacked.into_bytes());
            }
        }
        all
    }
}

/// Total, scored and unscored samples of a result.
pub fn counts(result: &Value) -> [u64; 3] {
    ["total", "scored", "unscored"].map(|key| result["samples"][key].as_u64().unwrap())
}

/// Checks the seal of a journal line: `,"crc32c":"xxxxxxxx"}` over everything before it.
fn whole(line: &str) -> Value {
    let (sealed, seal) = line.split_at(line.len() - 21);
    let checksum = crc32c::crc32c(sealed.as_bytes());
    assert_eq!(
        seal,
        format!(",\"crc32c\":\"{checksum:08x}\"}}"),
        "a line of the journal is damaged"
    );
    serde_json::from_str(line).unwrap()
}

impl Left {
    /// The summary without what differs between two runs that come to the same: identity, times, rates, retries.
    pub fn results(&self) -> Value {
        let mut summary = self.summary.clone();
        summary.as_object_mut().unwrap().remove("run");
        for result in summary["results"].as_array_mut().unwrap() {
            let result = result.as_object_mut().unwrap();
            for key in ["latency_ms", "samples_per_second", "retries"] {
                result.remove(key);
            }
        }
        summary
    }
}
