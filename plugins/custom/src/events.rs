//! Bytes cut anywhere as the events of a stream, in either format.
//!
//! Pure; does not read what is in an event.

use plugin_api::SseParser;

use crate::config::Format;

/// Bytes cut anywhere as the data of events.
#[derive(Debug)]
pub enum Splitter {
    /// Server-sent events.
    Sse(SseParser),
    /// Lines, with the beginning of the one that is not yet whole.
    Lines(Vec<u8>),
}

impl Splitter {
    /// For a stream of this format.
    pub fn new(format: Format) -> Self {
        match format {
            Format::Sse => Self::Sse(SseParser::default()),
            Format::Ndjson => Self::Lines(Vec::new()),
        }
    }

    /// Takes bytes in and gives the data of the events that they complete, some of it perhaps empty.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        match self {
            Self::Sse(parser) => parser.push(bytes).into_iter().map(|event| event.data).collect(),
            Self::Lines(pending) => {
                // Only what is new can hold the line's end.
                let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
                    pending.extend_from_slice(bytes);
                    return Vec::new();
                };
                let (whole, rest) = bytes.split_at(last);
                pending.extend_from_slice(whole);
                let lines = pending
                    .split(|byte| *byte == b'\n')
                    .map(|line| String::from_utf8_lossy(line).into_owned())
                    .collect();
                pending.clear();
                pending.extend(rest.iter().skip(1));
                lines
            }
        }
    }

    /// Whether this may be the beginning of a stream's first event, or is nothing yet.
    pub fn would_begin(&self, head: &[u8]) -> bool {
        let beginnings: &[&[u8]] = match self {
            Self::Sse(_) => &[b":", b"data:", b"event:", b"id:", b"retry:"],
            Self::Lines(_) => &[b"{"],
        };
        beginnings
            .iter()
            .any(|beginning| head.starts_with(beginning) || beginning.starts_with(head))
    }

    /// The event that lacks its closing line end, once the stream is over.
    pub fn finish(&mut self) -> Option<String> {
        match self {
            Self::Sse(parser) => parser.finish().map(|event| event.data),
            Self::Lines(pending) => {
                let line = std::mem::take(pending);
                (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = "{\"a\":\"é\"}\r\n\n{\"b\":1}\n{\"c\"".as_bytes();
        for size in 1..=bytes.len() {
            let mut splitter = Splitter::new(Format::Ndjson);
            let mut lines: Vec<String> =
                bytes.chunks(size).flat_map(|chunk| splitter.push(chunk)).collect();
            assert_eq!(splitter.finish().as_deref(), Some("{\"c\""), "chunks of {size}");
            lines.retain(|line| !line.trim().is_empty());
            assert_eq!(lines, ["{\"a\":\"é\"}\r", "{\"b\":1}"], "chunks of {size}");
        }
    }
}
