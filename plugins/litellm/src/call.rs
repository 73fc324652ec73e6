//! What every vendor's codec gives to the plugin's glue: a request ready to be sent, and a streamed answer being
//! collected.
//!
//! Pure. Base URLs, keys and the sending itself are the glue's business; no codec knows them.

use plugin_api::{Changed, Completion, Result, SseEvent};

/// A generation request as one vendor takes it.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// What is appended to the base URL; begins with a slash.
    pub route: String,
    /// Headers beside the key and the content type.
    pub headers: Vec<(String, String)>,
    /// The body, JSON.
    pub body: Vec<u8>,
    /// Stop texts that the answer is cut at, also those that the vendor does not get.
    pub stop: Vec<String>,
    /// What was dropped or changed. With `strict_params` any entry fails the request.
    pub changed: Vec<Changed>,
}

/// A streamed answer being collected.
pub trait Collect: Send {
    /// Takes one event; true once the answer is complete (further events do not matter).
    ///
    /// # Errors
    /// The failure that the event tells; `unexpected_reply` if it is of an unknown shape.
    fn take(&mut self, event: &SseEvent) -> Result<bool>;

    /// Text of choice 0 that is new and cannot become part of a stop text; after [`Collect::finish`], the rest of it.
    fn delta(&mut self) -> String;

    /// The answer; `transport` if the stream broke off before its last event.
    ///
    /// # Errors
    /// As said, and `unexpected_reply` if what came is no answer.
    fn finish(&mut self) -> Result<Completion>;
}
