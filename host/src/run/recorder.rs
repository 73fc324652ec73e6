//! Writes down what happens: the one owner of the journal, the tallies and the reporters.
//!
//! It runs on a thread of its own, since files block. A sample counts as finished when its line is in the
//! journal; only then do tallies and reporters hear of it.

use std::{fs::File, io, sync::Arc, thread};

use plugin_api::Error;
use tokio::sync::{mpsc, watch};

use super::{
    event::{Event, Reporter},
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
    },
};

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
        while let Some(note) = notes.blocking_recv() {
            if error.is_some() {
                continue;
            }
            let idle = notes.is_empty();
            if let Err(failed) = recorder.take(note, idle) {
                error = Some(failed);
                stop.send_replace(true);
            }
        }
        let finished = recorder.journal.finish();
        let error = error.or_else(|| {
            finished.err().map(|source| RecordError::Write { file: "journal.jsonl", source })
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
    fn take(&mut self, note: Note, idle: bool) -> Result<(), RecordError> {
        match note {
            Note::Event(event) => self.report(&event),
            Note::Retry(unit, event) => {
                if let Some(tally) = self.tallies.get_mut(unit) {
                    tally.retry();
                }
                self.report(&event);
            }
            Note::Skipped(unit, event) => {
                if let Some(tally) = self.tallies.get_mut(unit) {
                    tally.skip();
                }
                self.report(&event);
            }
            Note::Finished(finished) => self.finished(*finished, idle)?,
        }
        Ok(())
    }

    fn finished(&mut self, finished: Finished, idle: bool) -> Result<(), RecordError> {
        let write = |source| RecordError::Write { file: "journal.jsonl", source };
        let unit = finished.work.unit.index;
        if let Some(tally) = self.tallies.get_mut(unit) {
            tally.time(&finished);
        }
        let record = record(finished, self.store);
        self.journal.append(&record).map_err(write)?;
        if idle {
            self.journal.flush().map_err(write)?;
        }
        if let Some(tally) = self.tallies.get_mut(unit) {
            let id = || record.sample.id.clone();
            tally.add(&record).map_err(|source| RecordError::Score { id: id(), source })?;
            let name = tally.name().clone();
            let event = Event::Sample {
                unit: name,
                id: record.sample.id,
                repeat: record.sample.repeat,
                status: record.status,
                scores: record.scores,
                error: record.error.map(|error| format!("{}: {}", error.kind, error.message)),
                ms: record.timing_ms.total,
            };
            self.report(&event);
        }
        Ok(())
    }

    fn report(&mut self, event: &Event) {
        for reporter in &mut self.reporters {
            reporter.on(event);
        }
    }
}

/// What is stored of a finished sample.
fn record(finished: Finished, store: Store) -> SampleRecord {
    let Finished { work, result, attempts, timing, .. } = finished;
    let sample = &work.prepared.sample;
    let (status, scores, response, error, usage, changed) = match result {
        Ok(Graded { outcome: Ok(parts), response, usage, changed }) => {
            (Status::Scored, Some(parts), Some(response), None, usage, changed)
        }
        Ok(Graded { outcome: Err(reason), response, usage, changed }) => {
            (Status::Unscored(reason), None, Some(response), None, usage, changed)
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
        replica: work.unit.backend.base_url.clone(),
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
