//! A streamed answer, event by event: each is a reply with the next part, the last one says why it ended. There is no
//! closing event; the stream just ends (wire.md 4.4).
//!
//! Pure: gets events, sends nothing.

use plugin_api::{Completion, Error, Result, SseEvent};

use crate::call::Collect;

use super::decode::{Gathered, Response};

/// A collector that cuts the answer at these stop texts.
pub fn collector(stop: &[String]) -> Box<dyn Collect> {
    Box::new(Collector { gathered: Gathered::new(stop), events: 0, over: false })
}

struct Collector {
    gathered: Gathered,
    events: u64,
    over: bool,
}

impl Collect for Collector {
    /// A reason for the end is not taken for the end: some versions send one with every part, and the last counts of
    /// tokens may come behind it. So an answer is complete early only where all of it was cut at a stop text.
    fn take(&mut self, event: &SseEvent) -> Result<bool> {
        if event.data.is_empty() {
            return Ok(self.gathered.is_cut());
        }
        self.events += 1;
        let response: Response<'_> = serde_json::from_str(&event.data).map_err(|error| {
            Error::unexpected(format!("an event of the stream is not the expected JSON: {error}"))
                .with_excerpt(event.data.as_bytes())
        })?;
        self.gathered.take(response).map_err(|error| error.with_excerpt(event.data.as_bytes()))?;
        Ok(self.gathered.is_cut())
    }

    fn delta(&mut self) -> String {
        self.gathered.delta(self.over)
    }

    fn finish(&mut self) -> Result<Completion> {
        self.over = true;
        self.gathered.completion().map_err(|mut error| {
            error.message = format!("after {} events, {}", self.events, error.message);
            error
        })
    }
}
