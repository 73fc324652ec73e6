//! `events.jsonl`: whatever happened beside finished samples, which have their lines in the journal.

use std::{
    fs::File,
    io::{BufWriter, Write},
    sync::Arc,
};

use crate::{
    run::event::{Event, Reporter},
    secret::Redactor,
};

/// Writes the file.
pub struct EventsFile {
    file: BufWriter<File>,
    redactor: Arc<Redactor>,
}

impl EventsFile {
    /// Appends to this file, with the secrets that `redactor` knows taken out.
    pub fn new(file: File, redactor: Arc<Redactor>) -> Self {
        Self { file: BufWriter::new(file), redactor }
    }
}

impl Reporter for EventsFile {
    fn on(&mut self, event: &Event) {
        if matches!(event, Event::Sample { .. }) {
            return;
        }
        // The journal is the truth; a line that is lost here costs no result.
        if let Ok(line) = serde_json::to_string(&Stamped { time: jiff::Timestamp::now().to_string(), event }) {
            let _ = writeln!(self.file, "{}", self.redactor.redact(&line)).and_then(|()| self.file.flush());
        }
    }
}

#[derive(serde::Serialize)]
struct Stamped<'a> {
    time: String,
    event: &'a Event,
}
