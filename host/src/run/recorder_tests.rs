//! What is told is durable: shown with a disk that forgets what was never synced.

use std::{
    num::NonZeroU32,
    sync::{Condvar, Mutex},
};

use super::*;
use crate::{
    run::{event::UnitName, tally::Subject},
    score::metric::Metric,
    store::{record::Tokens, storage::Disk},
};

/// What the fake disk holds, and how it behaves.
#[derive(Default)]
struct Platter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    written: Vec<u8>,
    /// Lines of it.
    lines: usize,
    /// Of those the ones that would survive a loss of power now.
    durable: usize,
    syncs: usize,
    /// Syncs that succeed before one fails.
    good_syncs: Option<usize>,
    /// Lines that must be there before a sync returns.
    sync_waits_for: usize,
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

struct Fake(Arc<Platter>);

impl Storage for Fake {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.state.lock().unwrap();
        state.written.extend_from_slice(bytes);
        state.lines += lines(bytes);
        drop(state);
        self.0.changed.notify_all();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state.lock().unwrap().written.len() as u64)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.state.lock().unwrap().written.truncate(length as usize);
        Ok(())
    }

    fn disk(&self) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl Disk for Fake {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.state.lock().unwrap();
        let covered = state.lines;
        let minute = Duration::from_secs(60);
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, minute, |state| state.lines < state.sync_waits_for);
        state = waited.unwrap().0;
        assert!(state.lines >= state.sync_waits_for, "a sync keeps the recorder from writing");
        if state.good_syncs == Some(state.syncs) {
            return Err(io::Error::other("input/output error"));
        }
        state.syncs += 1;
        // What came during the sync need not be covered.
        state.durable = state.durable.max(covered);
        Ok(())
    }
}

/// Knows which samples it was told of, and that each was durable then if that is wanted.
struct Checking {
    platter: Arc<Platter>,
    told: Arc<Mutex<Vec<String>>>,
    written_is_enough: bool,
    /// A sample at which it panics.
    breaks_at: Option<u64>,
}

impl Reporter for Checking {
    fn on(&mut self, event: &Event) {
        let Event::Sample { id, .. } = event else { return };
        assert!(self.breaks_at.is_none_or(|at| *id != at.to_string()), "as the test wants it");
        let state = self.platter.state.lock().unwrap();
        // Samples come in the order of their ids.
        let stored = if self.written_is_enough { state.lines } else { state.durable };
        assert!(id.parse::<usize>().unwrap() < stored, "sample {id} is told, and not stored");
        self.told.lock().unwrap().push(id.clone());
    }
}

#[derive(Debug)]
struct TestNote(u64);

impl Noted for TestNote {
    fn write(&mut self, journal: &mut Journal, _: Store) -> io::Result<()> {
        journal.append(&serde_json::json!({ "id": self.0.to_string() }))
    }

    fn told(self, now: Instant) -> Told {
        let counted = Counted {
            index: self.0,
            cluster: None,
            status: Status::Scored,
            scores: Some(crate::score::parts::Parts([("acc".to_owned(), 1.0)].into())),
            usage: Tokens::default(),
            incidents: Vec::new(),
            boundary_merged: 0,
            changed: Vec::new(),
            ms: 1.0,
            cached: false,
            answered_by: None,
        };
        let (id, error) = (self.0.to_string(), None);
        let times = (now, now);
        let (started, ended) = times;
        Told::Sample(Box::new(Sample { unit: 0, id, repeat: 0, counted, error, started, ended }))
    }
}

fn tally() -> Tally {
    let name = UnitName { task: "t".to_owned(), backend: "b".to_owned() };
    Tally::new(Subject {
        name,
        model: None,
        mock: false,
        mocks: Vec::new(),
        fallback: false,
        prices: None,
        repeats: NonZeroU32::MIN,
        metrics: vec![Metric::Acc],
    })
}

/// The same, but one of them cannot be written.
#[derive(Debug)]
struct Fragile(u64);

impl Fragile {
    const BREAKS_AT: u64 = 700;
}

impl Noted for Fragile {
    fn write(&mut self, journal: &mut Journal, store: Store) -> io::Result<()> {
        assert_ne!(self.0, Self::BREAKS_AT, "as the test wants it");
        TestNote(self.0).write(journal, store)
    }

    fn told(self, now: Instant) -> Told {
        TestNote(self.0).told(now)
    }
}

struct Ran {
    platter: Arc<Platter>,
    told: Vec<String>,
    finished: u64,
    error: Option<String>,
    stopped: bool,
}

/// Records so many samples on a disk.
fn run(sync: SyncPolicy, samples: u64, state: State) -> Ran {
    run_notes(sync, (0..samples).map(TestNote), state, None)
}

fn run_notes<N: Noted + std::fmt::Debug>(
    sync: SyncPolicy,
    all: impl Iterator<Item = N>,
    state: State,
    breaks_at: Option<u64>,
) -> Ran {
    let platter = Arc::new(Platter { state: Mutex::new(state), changed: Condvar::new() });
    let told = Arc::<Mutex<Vec<String>>>::default();
    let checking = Checking {
        platter: Arc::clone(&platter),
        told: Arc::clone(&told),
        written_is_enough: sync == SyncPolicy::End,
        breaks_at,
    };
    let sinks = Sinks {
        journal: Box::new(Fake(Arc::clone(&platter))),
        reporters: vec![Box::new(checking)],
        store: Store::Full,
        sync,
        redactor: Arc::default(),
    };
    let (notes, taken) = mpsc::channel(100);
    let (stop, stopped) = watch::channel(false);
    let recorder = start(vec![tally()], sinks, taken, stop).unwrap();
    for note in all {
        notes.blocking_send(note).unwrap();
    }
    drop(notes);
    let recorded = recorder.join().unwrap();
    let told = told.lock().unwrap().clone();
    Ran {
        platter,
        told,
        finished: recorded.tallies[0].finished(),
        error: recorded.error.map(|error| error.to_string()),
        stopped: *stopped.borrow(),
    }
}

#[test]
fn nothing_is_told_before_it_is_durable_and_everything_in_the_end() {
    let policies = [
        SyncPolicy::Every,
        SyncPolicy::Within(Duration::from_millis(3)),
        SyncPolicy::Within(Duration::from_secs(3600)),
        SyncPolicy::End,
    ];
    let expected: Vec<String> = (0..3000).map(|number: u32| number.to_string()).collect();
    for policy in policies {
        let ran = run(policy, 3000, State::default());
        assert_eq!(ran.told, expected, "{policy:?}");
        assert_eq!((ran.finished, ran.error, ran.stopped), (3000, None, false));
        let state = ran.platter.state.lock().unwrap();
        assert_eq!([state.durable, lines(&state.written)], [3000, 3000], "{policy:?}");
        if policy == SyncPolicy::End {
            assert_eq!(state.syncs, 1);
        }
    }
}

#[test]
fn a_disk_that_fails_stops_the_run_and_what_it_lost_is_not_told() {
    // However the threads take turns, there are two syncs: one for what has gathered, and one at the end.
    for (policy, good) in [
        (SyncPolicy::Every, 0),
        (SyncPolicy::Every, 1),
        (SyncPolicy::Within(Duration::from_millis(1)), 1),
    ] {
        let state = State { good_syncs: Some(good), ..State::default() };
        let ran = run(policy, 3000, state);
        assert!(ran.error.unwrap().contains("cannot write journal.jsonl"));
        assert!(ran.stopped);
        // The tallies that reach a summary hold what was told and no more.
        assert_eq!(ran.finished, ran.told.len() as u64);
        assert!(ran.told.len() <= ran.platter.state.lock().unwrap().durable);
        assert!(good > 0 || ran.told.is_empty());
    }
}

#[test]
fn a_slow_disk_does_not_keep_the_recorder_from_writing() {
    // The first sync returns only when nearly all is written, which is less than what may wait for the disk.
    let state = State { sync_waits_for: 800, ..State::default() };
    let ran = run(SyncPolicy::Every, 900, state);
    assert_eq!((ran.finished, ran.error), (900, None));
    assert!(ran.platter.state.lock().unwrap().syncs < 30, "one sync for all that wait");
}

#[test]
fn a_part_that_panics_stops_the_run_and_what_was_told_is_kept() {
    let policy = SyncPolicy::Every;
    let teller = run_notes(policy, (0..3000).map(TestNote), State::default(), Some(700));
    assert_eq!((teller.told.len(), teller.finished), (700, 701), "the tally comes first");
    let recorder = run_notes(policy, (0..3000).map(Fragile), State::default(), None);
    assert_eq!(recorder.finished, recorder.told.len() as u64);
    // What was in one batch with the one that broke it is not told.
    assert!((700 - BATCH..=700).contains(&recorder.told.len()), "{}", recorder.told.len());
    for (part, ran) in [("teller", teller), ("recorder", recorder)] {
        assert_eq!(ran.error, Some(format!("the {part} failed; what the journal holds is kept")));
        assert!(ran.stopped, "{part}");
    }
}
