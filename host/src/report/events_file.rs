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
        if matches!(event, Event::Sample { .. } | Event::Pulse { .. }) {
            return;
        }
        // The journal is the truth; a line that is lost here costs no result.
        if let Ok(line) = serde_json::to_string(event) {
            let line = stamped(&line, &jiff::Timestamp::now().to_string());
            let _ = writeln!(self.file, "{}", self.redactor.redact_json(&line))
                .and_then(|()| self.file.flush());
        }
    }
}

/// An event's JSON object with the time as its first member.
fn stamped(object: &str, time: &str) -> String {
    let members = object.strip_prefix('{').unwrap_or(object);
    format!("{{\"time\":\"{time}\",{members}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_event_with_its_time() {
        let line = serde_json::to_string(&Event::Interrupted).unwrap();
        let stamped = stamped(&line, "2026-01-02T03:04:05Z");
        assert_eq!(stamped, r#"{"time":"2026-01-02T03:04:05Z","event":"interrupted"}"#);
    }
}
