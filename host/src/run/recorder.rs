//! Writes down what happens: the one owner of the journal.
//!
//! It runs on a thread of its own, since files block. A sample counts as finished when its line is durable as the
//! run file wants it; only then do tallies and reporters hear of it, from the [`Teller`].

use std::{
    borrow::Cow,
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    backlog::{self, Writer, backlog},
    event::{Event, Reporter},
    executor::Finished,
    feed::Work,
    grade::Graded,
    tally::{Counted, Tally, counted_apart},
    teller::{Sample, Teller, Told},
};
use crate::{
    config::{Store, SyncPolicy},
    secret::Redactor,
    stats::exact::ExactError,
    store::{
        journal::Journal,
        record::{self, Failure, QuestionLine, Response, SampleKeyLine, SampleLine, Status},
        run_dir,
        storage::Storage,
    },
    task::sample::ClusterKey,
};

/// Most notes that are written down at once.
const BATCH: usize = 128;
/// After a note, how long others are waited for: to wake up for each of them costs more than to write it. So short that
/// those who send notes do not have to wait meanwhile.
const GATHER: Duration = Duration::from_millis(2);

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

/// What a recorder can take: [`Note`], but for tests.
pub trait Noted: Send + 'static {
    /// Appends the line of a finished sample; nothing for anything else.
    ///
    /// # Errors
    /// The journal cannot be written.
    fn write(&mut self, journal: &mut Journal, store: Store) -> io::Result<()>;

    /// What is told of it once that is durable.
    fn told(self, now: Instant) -> Told;
}

/// Why nothing more can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file of the run directory cannot be written.
    #[error("cannot write {file} of the run directory: {source}")]
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
    /// A part of the host failed.
    #[error("the {0} failed; what the journal holds is kept")]
    Broken(&'static str),
}

/// What was recorded.
pub struct Recorded {
    /// One tally a unit, in the plan's order: of what is durable, and of nothing else.
    pub tallies: Vec<Tally>,
    /// The reporters, for what comes after.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// Why recording stopped, if it did.
    pub error: Option<RecordError>,
}

/// Files and listeners of a recorder.
pub struct Sinks {
    /// `journal.jsonl`.
    pub journal: Box<dyn Storage>,
    /// Who is told.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// What a finished sample stores.
    pub store: Store,
    /// When the disk must have it.
    pub sync: SyncPolicy,
    /// Hides secrets that a server may have echoed.
    pub redactor: Arc<Redactor>,
}

/// A recorder at work.
pub struct Recorder {
    writing: JoinHandle<Option<RecordError>>,
    telling: JoinHandle<Recorded>,
}

/// Starts the recorder: `tallies` has one a unit, in the plan's order, with what was recorded earlier. It ends when
/// nobody can send notes any more. At the first error it asks the run to stop and records nothing more.
///
/// # Errors
/// The system gives no thread, or the journal cannot be used.
pub fn start<N: Noted>(
    tallies: Vec<Tally>,
    sinks: Sinks,
    mut notes: mpsc::Receiver<N>,
    stop: watch::Sender<bool>,
) -> io::Result<Recorder> {
    let Sinks { journal, reporters, store, sync, redactor } = sinks;
    let mut teller = Teller { disk: journal.disk()?, policy: sync, tallies, reporters };
    let mut journal = Journal::new(journal, redactor)?;
    let (written, to_tell) = backlog();
    let stop_writing = stop.clone();
    let telling = thread::Builder::new().name("teller".to_owned()).spawn(move || {
        let error = heard("teller", || teller.run(&to_tell)).err();
        if error.is_some() {
            stop.send_replace(true);
        }
        Recorded { tallies: teller.tallies, reporters: teller.reporters, error }
    })?;
    let writing = thread::Builder::new().name("recorder".to_owned()).spawn(move || {
        let mut failed = None;
        let mut batch = Vec::with_capacity(BATCH);
        while notes.blocking_recv_many(&mut batch, BATCH) > 0 {
            if failed.is_some() {
                batch.clear();
                continue;
            }
            if batch.len() < BATCH {
                thread::sleep(GATHER);
                while batch.len() < BATCH
                    && let Ok(note) = notes.try_recv()
                {
                    batch.push(note);
                }
            }
            let recorded = heard("recorder", || record(&mut batch, &mut journal, store, &written));
            if let Err(stopped) = recorded {
                failed = Some(stopped);
                stop_writing.send_replace(true);
            }
        }
        failed.flatten()
    })?;
    Ok(Recorder { writing, telling })
}

/// Does a part of the recorder's work. A panic in it is an error like any other: else the run would go on, and nothing
/// of it would be kept.
fn heard<E: From<RecordError>>(
    part: &'static str,
    work: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    // What it was at work on is not told, and counts as not done; nothing is begun after it.
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(RecordError::Broken(part).into()))
}

impl Recorder {
    /// Waits until everything is recorded and told. Blocks.
    pub fn join(self) -> Result<Recorded, RecordError> {
        let written = self.writing.join().unwrap_or(Some(RecordError::Broken("recorder")));
        let mut recorded = self.telling.join().map_err(|_| RecordError::Broken("teller"))?;
        recorded.error = recorded.error.or(written);
        Ok(recorded)
    }
}

/// Why nothing more is written: an error, or none if the teller has one.
type Stopped = Option<RecordError>;

/// Writes a batch, and hands to the teller what is in the journal, even if not all of it is.
fn record<N: Noted>(
    batch: &mut Vec<N>,
    journal: &mut Journal,
    store: Store,
    written: &Writer,
) -> Result<(), Stopped> {
    let now = Instant::now();
    let mut ends = Vec::with_capacity(batch.len());
    let mut failed = None;
    for note in batch.iter_mut() {
        if let Err(error) = note.write(journal, store) {
            failed = Some(error);
            break;
        }
        ends.push(journal.end());
    }
    if failed.is_none() {
        failed = journal.flush().err();
    }
    let there = ends.iter().take_while(|end| **end <= journal.written()).count();
    let handed_over = written.push(batch.drain(..).take(there).map(|note| note.told(now)), now);
    match failed {
        Some(source) => Err(Some(RecordError::Write { file: run_dir::JOURNAL, source })),
        None => handed_over.map_err(|backlog::NobodyTells| None),
    }
}

impl Noted for Note {
    fn write(&mut self, journal: &mut Journal, store: Store) -> io::Result<()> {
        let Self::Finished(finished) = self else { return Ok(()) };
        if store == Store::Hash {
            hide_texts(&mut finished.result);
        }
        append(finished, journal, store)
    }

    fn told(self, now: Instant) -> Told {
        match self {
            Self::Finished(finished) => Told::Sample(Box::new(sample(*finished, now))),
            Self::Retry(unit, event) => Told::Retry(unit, event),
            Self::Skipped(unit, event) => Told::Skipped(unit, event),
            Self::Event(event) => Told::Event(event),
        }
    }
}

/// Appends the line of a sample: what is stored of it is borrowed from where it is.
fn append(finished: &Finished, journal: &mut Journal, store: Store) -> io::Result<()> {
    let Finished { work, result, usage, attempts, timing, .. } = finished;
    let sample = &work.prepared.sample;
    let changed = result.as_ref().map_or([].as_slice(), |graded| graded.changed.as_slice());
    let error = failure(result, store);
    journal.append(&SampleLine {
        format: record::FORMAT,
        task: &work.unit.name.task,
        backend: &work.unit.name.backend,
        sample: SampleKeyLine {
            id: &sample.id,
            index: sample.index,
            repeat: work.repeat,
            digest: sample.digest,
            cluster: sample.cluster.as_deref().map(|cluster| match store {
                Store::Full => Cow::Borrowed(cluster),
                Store::Hash => Cow::Owned(digest_of(cluster)),
            }),
        },
        status: &status(result),
        scores: result.as_ref().ok().and_then(|graded| graded.outcome.as_ref().ok()),
        question: question(work, store),
        response: result.as_ref().ok().map(|graded| &graded.response),
        error: error.as_ref(),
        usage: *usage,
        timing_ms: *timing,
        answered_by: (!finished.is_of_its_own()).then_some(finished.backend.id.as_str()),
        replica: finished.at(),
        attempts: *attempts,
        cached: finished.cached,
        changed,
    })
}

/// What tallies and reporters need of a sample.
fn sample(finished: Finished, now: Instant) -> Sample {
    let answered_by =
        (!finished.is_of_its_own() && finished.result.is_ok()).then(|| finished.backend.id.clone());
    let Finished { work, result, usage, timing, started, cached, .. } = finished;
    let status = status(&result);
    let error = failure(&result, Store::Hash)
        .map(|failure| format!("{}: {}", failure.kind, failure.message));
    let (incidents, boundary_merged) =
        counted_apart(result.as_ref().ok().map(|graded| &graded.response));
    let (scores, changed) = match result {
        Ok(Graded { outcome, changed, .. }) => (outcome.ok(), changed),
        Err(_) => (None, Vec::new()),
    };
    Sample {
        unit: work.unit.index,
        id: work.prepared.sample.id.0.clone(),
        repeat: work.repeat,
        counted: Counted {
            index: work.prepared.sample.index,
            cluster: work.prepared.sample.cluster.as_deref().map(ClusterKey::of),
            status,
            scores,
            usage,
            incidents,
            boundary_merged,
            changed,
            ms: timing.total,
            cached,
            answered_by,
        },
        error,
        started,
        ended: now,
    }
}

fn status(result: &Result<Graded, plugin_api::Error>) -> Status {
    match result {
        Ok(Graded { outcome: Ok(_), .. }) => Status::Scored,
        Ok(Graded { outcome: Err(unscored), .. }) => Status::Unscored(unscored.reason.clone()),
        Err(error) => Status::Unscored(error.kind.to_string()),
    }
}

/// What failed last, for a sample without a score.
fn failure(result: &Result<Graded, plugin_api::Error>, store: Store) -> Option<Failure> {
    let error = match result {
        Ok(graded) => graded.outcome.as_ref().err()?.error.as_ref()?,
        Err(error) => error,
    };
    let failure = Failure::from(error);
    Some(match store {
        Store::Full => failure,
        // What a server says may quote the prompt.
        Store::Hash => Failure { excerpt: None, ..failure },
    })
}

fn question(work: &Work, store: Store) -> QuestionLine<'_> {
    let rendered = &work.prepared.rendered;
    match store {
        Store::Full => QuestionLine::Full {
            document: &work.prepared.sample.record,
            prompt: &rendered.prompt,
            form: &rendered.form,
        },
        Store::Hash => {
            let json = serde_json::to_vec(rendered).unwrap_or_default();
            QuestionLine::Hash { blake3: blake3::hash(&json).to_hex().to_string() }
        }
    }
}

fn digest_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Puts digests in the place of what was generated.
fn hide_texts(result: &mut Result<Graded, plugin_api::Error>) {
    if let Ok(Graded { response: Response::Completion { choices, .. }, .. }) = result {
        for choice in choices {
            choice.text = digest_of(&choice.text);
            choice.reasoning = choice.reasoning.take().map(|text| digest_of(&text));
            // Where nothing is extracted, the answer is the whole text.
            choice.answer = choice.answer.take().map(|text| digest_of(&text));
            choice.logprobs = None;
        }
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
