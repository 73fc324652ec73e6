//! Server-sent events out of chunks cut anywhere.
//!
//! The subset that model servers use: `data` lines, joined by newlines when an event has several; named
//! events keep their name; comments and other fields are passed over. Lines end in LF, CRLF or CR
//! (WHATWG HTML, section 9.2).

/// One event.
///
/// ```
/// use plugin_api::{SseEvent, SseParser};
///
/// let events = SseParser::default().push(b"event: ping\ndata: {}\n\n");
/// assert_eq!(events, [SseEvent { name: "ping".into(), data: "{}".into() }]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; empty if there was none.
    pub name: String,
    /// The `data` lines, joined by newlines.
    pub data: String,
}

/// Collects bytes and gives events.
///
/// ```
/// use plugin_api::SseParser;
///
/// let mut parser = SseParser::default();
/// assert!(parser.push(b"data: {\"text\":").is_empty());
/// let events = parser.push(b"\"Hi\"}\n\ndata: [DONE]\n");
/// assert_eq!(events[0].data, r#"{"text":"Hi"}"#);
/// assert_eq!(parser.finish().unwrap().data, "[DONE]");
/// ```
#[derive(Debug, Default)]
pub struct SseParser {
    pending: Vec<u8>,
    /// Bytes of `pending` that are known to hold no line end.
    searched: usize,
    event: SseEvent,
    has_data: bool,
    after_cr: bool,
}

impl SseParser {
    /// Takes bytes in and gives the events that they complete. Bytes that are not UTF-8 are replaced.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut start = 0;
        if self.after_cr && self.pending.first() == Some(&b'\n') {
            start = 1;
        }
        if !self.pending.is_empty() {
            self.after_cr = false;
        }
        let mut at = self.searched.max(start);
        while let Some(offset) = self
            .pending
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| matches!(b, b'\n' | b'\r')))
        {
            let end = at + offset;
            let line = String::from_utf8_lossy(&self.pending[start..end]).into_owned();
            let is_cr = self.pending[end] == b'\r';
            start = end + 1;
            if is_cr {
                match self.pending.get(start) {
                    Some(b'\n') => start += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            at = start;
            if let Some(event) = self.line(&line) {
                events.push(event);
            }
        }
        self.pending.drain(..start);
        self.searched = self.pending.len();
        events
    }

    fn line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "event" => self.event.name = value.to_owned(),
            _ => {}
        }
        None
    }

    /// The event that lacks its closing blank line, once the stream is over.
    pub fn finish(&mut self) -> Option<SseEvent> {
        let mut events = self.push(b"\n\n");
        events.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\ndata:{\"a\":\"é\"}\r\n\r\nevent: error\rdata: one\rdata: two\r\rid: 3\n\ndata\n\ndata: [DONE]";

    fn expected() -> Vec<(&'static str, &'static str)> {
        vec![("", "{\"a\":\"é\"}"), ("error", "one\ntwo"), ("", ""), ("", "[DONE]")]
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = STREAM.as_bytes();
        for size in 1..=bytes.len() {
            let mut parser = SseParser::default();
            let mut events: Vec<SseEvent> =
                bytes.chunks(size).flat_map(|chunk| parser.push(chunk)).collect();
            events.extend(parser.finish());
            let found: Vec<_> =
                events.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
            assert_eq!(found, expected(), "chunks of {size}");
        }
    }
}
