//! Writes down what happens: the one owner of the journal, the tallies and the reporters.
//!
//! It runs on a thread of its own, since files block. A sample counts as finished when its line is in the
//! journal; only then do tallies and reporters hear of it.

use std::{fs::File, io, sync::Arc, thread};

use plugin_api::Error;
use tokio::sync::{mpsc, watch};

use super::{
    event::{Event, Reporter, UnitName},
    executor::Finished,
    feed::Work,
    grade::Graded,
    plan::Unit,
    tally::Tally,
};
use crate::{
    config::Store,
    secret::Redactor,
    stats::exact::ExactError,
    store::{
        journal::Journal,
        record::{self, Failure, Question, Response, SampleKey, SampleRecord, Status, Tokens},
        run_dir,
    },
};

/// Most notes that are written down before the file is flushed and anyone is told.
const BATCH: usize = 256;

/// What the recorder is told.
#[derive(Debug)]
pub enum Note {
    /// A sample was asked.
    Finished(Box<Finished>),
    /// An attempt at a sample of this unit is repeated.
    Retry(usize, Event),
    /// A record of this unit was left out.
    Skipped(usize, Event),
    /// Something else happened.
    Event(Event),
}

/// Why nothing more can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file of the run directory cannot be written.
    #[error("cannot write {file} of the run directory: {source}; what is in it so far is kept")]
    Write {
        /// Name of the file.
        file: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A score that is out of any range.
    #[error("sample `{id}`: {source}")]
    Score {
        /// The sample.
        id: String,
        /// What is wrong with it.
        source: ExactError,
    },
}

/// What was recorded.
pub struct Recorded {
    /// One tally a unit, in the plan's order.
    pub tallies: Vec<Tally>,
    /// The reporters, for what comes after.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// Why recording stopped, if it did.
    pub error: Option<RecordError>,
}

/// Files and listeners of a recorder.
pub struct Sinks {
    /// `journal.jsonl`.
    pub journal: File,
    /// Who is told.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// What a finished sample stores.
    pub store: Store,
    /// Hides secrets that a server may have echoed.
    pub redactor: Arc<Redactor>,
}

/// Starts the recorder. It ends when nobody can send notes any more. At the first error it asks the run to
/// stop and records nothing more.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    units: &[Arc<Unit>],
    sinks: Sinks,
    mut notes: mpsc::Receiver<Note>,
    stop: watch::Sender<bool>,
) -> io::Result<thread::JoinHandle<Recorded>> {
    let tallies = units.iter().map(|unit| Tally::new(Arc::clone(unit))).collect();
    thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        let mut recorder = Recorder {
            journal: Journal::new(sinks.journal, sinks.redactor),
            tallies,
            reporters: sinks.reporters,
            store: sinks.store,
        };
        let mut error = None;
        let mut batch = Vec::new();
        while let Some(note) = notes.blocking_recv() {
            batch.push(note);
            while batch.len() < BATCH {
                let Ok(note) = notes.try_recv() else { break };
                batch.push(note);
            }
            if error.is_some() {
                batch.clear();
            } else if let Err(failed) = recorder.take(&mut batch) {
                error = Some(failed);
                stop.send_replace(true);
            }
        }
        let finished = recorder.journal.finish();
        let error = error.or_else(|| {
            finished.err().map(|source| RecordError::Write { file: run_dir::JOURNAL, source })
        });
        Recorded { tallies: recorder.tallies, reporters: recorder.reporters, error }
    })
}

struct Recorder {
    journal: Journal,
    tallies: Vec<Tally>,
    reporters: Vec<Box<dyn Reporter>>,
    store: Store,
}

impl Recorder {
    /// Records a batch: its lines are handed to the system before anyone hears of a sample in it.
    fn take(&mut self, batch: &mut Vec<Note>) -> Result<(), RecordError> {
        let write = |source| RecordError::Write { file: run_dir::JOURNAL, source };
        let mut heard = Vec::with_capacity(batch.len());
        for note in batch.drain(..) {
            let tally = note.unit().and_then(|unit| self.tallies.get_mut(unit));
            heard.push(match (note, tally) {
                (Note::Retry(_, event), Some(tally)) => {
                    tally.retry();
                    event
                }
                (Note::Skipped(_, event), Some(tally)) => {
                    tally.skip();
                    event
                }
                (Note::Finished(finished), Some(tally)) => {
                    tally.time(&finished);
                    let record = record(*finished, self.store);
                    self.journal.append(&record).map_err(write)?;
                    let id = || record.sample.id.clone();
                    tally.add(&record).map_err(|source| RecordError::Score { id: id(), source })?;
                    event(tally.name().clone(), record)
                }
                (Note::Event(event) | Note::Retry(_, event) | Note::Skipped(_, event), _) => event,
                (Note::Finished(_), None) => continue,
            });
        }
        self.journal.flush().map_err(write)?;
        for event in &heard {
            for reporter in &mut self.reporters {
                reporter.on(event);
            }
        }
        Ok(())
    }
}

impl Note {
    /// The unit that it is about.
    fn unit(&self) -> Option<usize> {
        match self {
            Self::Finished(finished) => Some(finished.work.unit.index),
            Self::Retry(unit, _) | Self::Skipped(unit, _) => Some(*unit),
            Self::Event(_) => None,
        }
    }
}

/// What reporters are told of a finished sample.
fn event(unit: UnitName, record: SampleRecord) -> Event {
    Event::Sample {
        unit,
        id: record.sample.id,
        repeat: record.sample.repeat,
        status: record.status,
        scores: record.scores,
        error: record.error.map(|error| format!("{}: {}", error.kind, error.message)),
        ms: record.timing_ms.total,
    }
}

/// What is stored of a finished sample.
fn record(finished: Finished, store: Store) -> SampleRecord {
    let replica = finished.replica_name();
    let answered_by = (!finished.is_of_its_own()).then(|| finished.backend.id.clone());
    let Finished { work, result, attempts, timing, .. } = finished;
    let sample = &work.prepared.sample;
    let (status, scores, response, error, usage, changed) = match result {
        Ok(Graded { outcome: Ok(parts), response, usage, changed }) => {
            (Status::Scored, Some(parts), Some(response), None, usage, changed)
        }
        Ok(Graded { outcome: Err(unscored), response, usage, changed }) => {
            let error = unscored.error.as_ref().map(Failure::from);
            (Status::Unscored(unscored.reason), None, Some(response), error, usage, changed)
        }
        Err(error) => unanswered(&error),
    };
    let error = error.map(|error| match store {
        Store::Full => error,
        // What a server says may quote the prompt.
        Store::Hash => Failure { excerpt: None, ..error },
    });
    SampleRecord {
        format: record::FORMAT,
        task: work.unit.name.task.clone(),
        backend: work.unit.name.backend.clone(),
        sample: SampleKey {
            id: sample.id.0.clone(),
            index: sample.index,
            repeat: work.repeat,
            digest: sample.digest.to_string(),
        },
        status,
        scores,
        question: question(&work, store),
        response: response.map(|response| stored(response, store)),
        error,
        usage,
        timing_ms: timing,
        answered_by,
        replica,
        attempts,
        changed,
    }
}

type Fields = (
    Status,
    Option<crate::score::parts::Parts>,
    Option<Response>,
    Option<Failure>,
    Tokens,
    Vec<plugin_api::Changed>,
);

fn unanswered(error: &Error) -> Fields {
    let status = Status::Unscored(error.kind.to_string());
    (status, None, None, Some(Failure::from(error)), Tokens::default(), Vec::new())
}

fn question(work: &Work, store: Store) -> Question {
    let rendered = &work.prepared.rendered;
    match store {
        Store::Full => Question::Full {
            document: work.prepared.sample.record.clone(),
            prompt: rendered.prompt.clone(),
            form: rendered.form.clone(),
        },
        Store::Hash => {
            let json = serde_json::to_vec(rendered).unwrap_or_default();
            Question::Hash { blake3: blake3::hash(&json).to_hex().to_string() }
        }
    }
}

fn stored(mut response: Response, store: Store) -> Response {
    if let (Store::Hash, Response::Completion { choices, .. }) = (store, &mut response) {
        let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        for choice in choices {
            choice.text = digest(&choice.text);
            choice.reasoning = choice.reasoning.take().map(|text| digest(&text));
            // Where nothing is extracted, the answer is the whole text.
            choice.answer = choice.answer.take().map(|text| digest(&text));
            choice.logprobs = None;
        }
    }
    response
}
