//! What is counted from a journal is what was counted when it was written, wherever it was cut.

use std::{fs, num::NonZeroU32};

use super::*;
use crate::{
    run::event::UnitName,
    score::{metric::Metric, parts::Parts},
    store::{
        journal::Journal,
        record::{FORMAT, QuestionLine, SampleKeyLine, SampleLine, Status, Timing, Tokens},
        storage::Storage,
    },
    task::sample::{Digest, SampleId},
};

fn subject(repeats: u32) -> Subject {
    Subject {
        name: UnitName { task: "t".to_owned(), backend: "b".to_owned() },
        model: Some("m".to_owned()),
        mock: false,
        mocks: Vec::new(),
        fallback: false,
        prices: None,
        repeats: NonZeroU32::new(repeats).unwrap(),
        metrics: vec![Metric::Acc],
    }
}

/// One sample's line; every seventh is unscored.
#[derive(Clone, Copy)]
struct Line {
    index: u64,
    repeat: u32,
    scored: bool,
}

fn append(journal: &mut Journal, line: Line) {
    let reason = if line.index.is_multiple_of(2) { "timeout" } else { "overloaded" };
    let status = if line.scored { Status::Scored } else { Status::Unscored(reason.to_owned()) };
    let parts = Parts([("acc".to_owned(), (line.index % 5) as f64 / 3.0)].into());
    let record = SampleLine {
        format: FORMAT,
        task: "t",
        backend: "b",
        sample: SampleKeyLine {
            id: &SampleId(line.index.to_string()),
            index: line.index,
            repeat: line.repeat,
            digest: digest(line.index),
            cluster: Some(digest(line.index % 3).to_string().into()),
        },
        status: &status,
        scores: line.scored.then_some(&parts),
        question: QuestionLine::Hash { blake3: "00".to_owned() },
        response: None,
        error: None,
        usage: Tokens { prompt: line.index, completion: 1, ..Tokens::default() },
        timing_ms: Timing { total: line.index as f64 * 1.1, attempt: 1.0, ..Timing::default() },
        answered_by: None,
        replica: None,
        attempts: 1,
        cached: false,
        changed: &[],
    };
    journal.append(&record).unwrap();
}

fn digest(index: u64) -> Digest {
    Digest([index as u8 + 1; 32])
}

fn write(path: &Path, lines: &[Line]) {
    let file = LockedFile::open(path).unwrap();
    let mut journal = Journal::new(Box::new(file), Arc::default()).unwrap();
    lines.iter().for_each(|line| append(&mut journal, *line));
    journal.flush().unwrap();
}

fn read(path: &Path, repeats: u32, retry: Option<&Retry>) -> Replayed {
    let file = LockedFile::open(path).unwrap();
    replay(&file, vec![Tally::new(subject(repeats))], None, retry).unwrap()
}

/// The results of a replay, but for what of them is of one process.
fn results(replayed: &Replayed) -> serde_json::Value {
    serde_json::to_value(replayed.units[0].0.result().unwrap()).unwrap()
}

fn lines(samples: u64, repeats: u32) -> Vec<Line> {
    let all = (0..samples).flat_map(|index| (0..repeats).map(move |repeat| (index, repeat)));
    all.map(|(index, repeat)| Line { index, repeat, scored: index % 7 != 3 }).collect()
}

#[test]
fn a_journal_cut_at_every_byte_of_its_last_4_kib_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let all = lines(7, 2);
    write(&path, &all);
    let whole = fs::read(&path).unwrap();
    let expected = results(&read(&path, 2, None));
    assert!(whole.len() > 4096);
    for cut in whole.len() - 4096..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let replayed = read(&path, 2, None);
        let kept = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(replayed.done(), kept as u64, "cut at {cut}");
        // What is missing is asked, in whatever order it ends.
        let done = &replayed.units[0].1;
        let missing = |line: &&Line| {
            let record = serde_json::Map::new();
            let (index, id) = (line.index, SampleId(line.index.to_string()));
            let sample = crate::task::sample::Sample {
                id,
                index,
                record,
                digest: digest(index),
                cluster: None,
            };
            done.missing(&sample).any(|repeat| repeat == line.repeat)
        };
        let mut rest: Vec<Line> = all.iter().filter(missing).copied().collect();
        assert_eq!(rest.len(), all.len() - kept, "cut at {cut}");
        rest.reverse();
        write(&path, &rest);
        assert_eq!(results(&read(&path, 2, None)), expected, "cut at {cut}");
    }
}

#[test]
fn of_several_lines_of_one_sample_the_last_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let all = lines(14, 1);
    write(&path, &all);
    let unscored = |retry: Option<Retry>| {
        let replayed = read(&path, 1, retry.as_ref());
        (replayed.done(), replayed.again)
    };
    // 3 for being overloaded, 10 for a time-out.
    assert_eq!(unscored(None), (14, 0));
    assert_eq!(unscored(Some(Retry::All)), (12, 2));
    assert_eq!(unscored(Some(Retry::Reason("timeout".to_owned()))), (13, 1));
    assert_eq!(unscored(Some(Retry::Reason("other".to_owned()))), (14, 0));
    write(&path, &[Line { index: 3, repeat: 0, scored: true }]);
    assert_eq!(unscored(Some(Retry::All)), (13, 1));
    let result = read(&path, 1, None).units[0].0.result().unwrap();
    assert_eq!((result.samples.total, result.samples.scored), (14, 13));
    assert_eq!(result.unscored_reasons, [("timeout".to_owned(), 1)].into());
}

#[test]
fn lines_of_what_is_not_asked_any_more_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    write(&path, &lines(5, 2));
    let file = LockedFile::open(&path).unwrap();
    let tallies = |repeats| vec![Tally::new(subject(repeats))];
    // The third record is another one, and the last is gone.
    let mut current: Vec<u64> = (0..4).map(|index| digest(index).short()).collect();
    current[2] = 7;
    let replayed = replay(&file, tallies(2), Some(vec![current]), None).unwrap();
    assert_eq!((replayed.done(), replayed.stale), (6, 4));
    let replayed = replay(&file, tallies(1), None, None).unwrap();
    assert_eq!((replayed.done(), replayed.stale), (5, 5));
    let mut other = subject(2);
    other.name.backend = "c".to_owned();
    let replayed = replay(&file, vec![Tally::new(other)], None, None).unwrap();
    assert_eq!((replayed.done(), replayed.stale), (0, 10));
}

#[test]
fn a_line_that_is_not_understood_is_told_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    write(&path, &lines(2, 1));
    let table = [
        (serde_json::json!({ "format": 2 }), "journal.jsonl:3: the line is of format 2"),
        (serde_json::json!({ "format": 1 }), "journal.jsonl:3: the line is damaged: missing field"),
    ];
    for (record, expected) in table {
        let whole = fs::read(&path).unwrap();
        let file = LockedFile::open(&path).unwrap();
        let mut journal = Journal::new(Box::new(file), Arc::default()).unwrap();
        journal.append(&record).unwrap();
        journal.flush().unwrap();
        drop(journal);
        write(&path, &lines(1, 1));
        let file = LockedFile::open(&path).unwrap();
        let error =
            replay(&file, vec![Tally::new(subject(1))], None, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(file.length().unwrap() > whole.len() as u64, "nothing is cut");
        drop(file);
        fs::write(&path, whole).unwrap();
    }
}
